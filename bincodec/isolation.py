"""Make public calls independent of what the caller has set in PyTorch and NumPy.

PyTorch and NumPy have settings that change what the same code computes, or whether it runs at all. This
module changes and restores the settings of a thread: default device, autocast, gradients, inference mode,
denormals, and NumPy's error states. Settings of the whole process also belong to the caller's other threads,
so they stay, and the code does not depend on them: every tensor names its dtype instead of using the default,
and no bit depends on deterministic algorithms or warnings. The one exception is the precision of float32
products (`float32_products`). The number of threads is left to the caller. PyTorch chooses the library for
products by it, so it may change the last bit of a float in a pixel, but never an integer.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.context
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from bincodec._process import PROCESS
from bincodec.errors import Unsupported

_OUT_OF_MEMORY = re.compile("DefaultCPUAllocator|you tried to allocate|std::bad_alloc", re.IGNORECASE)
_AMOUNT = re.compile(r"tried to allocate ([\d.]+ \w+)", re.IGNORECASE)
_AUTOCAST_DEVICES = ("cpu", "cuda")
_FAITHFUL = ("none", "ieee")


@contextlib.contextmanager
def isolated() -> Iterator[None]:
    """Run a block, or a decorated function, without the caller's settings of PyTorch and NumPy.

    Afterwards, all settings are as before, even after an exception. Inside, gradients are enabled and new
    tensors are not inference tensors. Several threads may be inside at the same time, and blocks may be
    nested.

    Raises:
        MemoryError: if PyTorch reports in its own words that memory ran out.
        Unsupported: inside a transform of torch.func, which replaces every tensor.
    """
    _refuse_transforms()
    _keep_to_this_thread_after_a_fork()
    with (
        memory_errors(),
        float32_products,
        _denormals(),
        _plain_operations(),
        torch.inference_mode(mode=False),
        torch.autograd.graph.saved_tensors_hooks(torch.Tensor.detach, _unchanged),
        np.errstate(all="ignore"),
    ):
        yield


def _refuse_transforms() -> None:
    """Raise `Unsupported` inside grad, vmap, functionalize and the like, which replace every tensor."""
    if torch._C._functorch.peek_interpreter_stack() is not None:
        msg = "bincodec cannot run inside a transform of torch.func: call it outside"
        raise Unsupported(msg)


def _unchanged(value: Any) -> Any:
    """Return a saved tensor as it was saved, instead of what a hook of the caller would make of it.

    It was saved without its history. A result that an operation saves for its own gradient would otherwise
    keep the operation alive, which keeps the result alive, and neither of them would ever be freed.
    """
    return value


@contextlib.contextmanager
def memory_errors() -> Iterator[None]:
    """Turn PyTorch's errors about too little memory into Python's `MemoryError`, with a one-line message."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and not _OUT_OF_MEMORY.search(str(error)):
            raise
        amount = _AMOUNT.search(str(error))
        msg = f"not enough memory: {amount[1]} more were needed" if amount else "not enough memory"
        raise MemoryError(msg) from error


@contextlib.contextmanager
def _plain_operations() -> Iterator[None]:
    """Disable function modes, such as a default device, and autocast, so that operations keep their dtypes.

    Only modes that are active are disabled.
    """
    with contextlib.ExitStack() as stack:
        if torch._C._len_torch_function_stack():
            stack.enter_context(torch._C.DisableTorchFunction())
        for kind in _AUTOCAST_DEVICES:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


@contextlib.contextmanager
def _denormals() -> Iterator[None]:
    """Keep denormal floats in this thread instead of flushing them to zero.

    A draw multiplies many probabilities, so its products may be denormal.
    """
    flushed = sys.float_info.min / 2 == 0
    if flushed:
        torch.set_flush_denormal(False)
    try:
        yield
    finally:
        if flushed:
            torch.set_flush_denormal(True)


def outlives_forks(lock: threading.Lock, in_child: Callable[[], object] = bool) -> None:
    """Hold `lock` while the process forks, so that no other thread holds it then.

    A thread that holds the lock does not exist in the child process, so the lock would never be released
    there. In the child, `in_child` is called before the lock is released.
    """

    def release_in_child() -> None:
        in_child()
        lock.release()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=lock.acquire, after_in_parent=lock.release, after_in_child=release_in_child
        )


class _Float32Products:
    """Keep float32 products on a CPU in float32 while any thread is inside.

    The first thread that enters and finds a lower precision changes the setting. The last thread that leaves
    restores it, unless someone else has changed it meanwhile. During this time, the other threads of the
    process get more exact products than they asked for. With the default settings, nothing is changed.
    """

    def __init__(self, library: Any, switches: tuple[Any, ...]) -> None:
        """Manage `switches`. A switch with the value "none" follows the setting of its `library`."""
        self._library, self._switches = library, switches
        self._lock = threading.Lock()
        self._inside = 0
        self._moved: dict[Any, str] = {}
        outlives_forks(self._lock, self._forget)

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            for switch in self._switches:
                precision = switch.fp32_precision
                if precision not in _FAITHFUL:
                    follows = precision == self._library.fp32_precision
                    self._moved[switch] = "none" if follows else precision
                    switch.fp32_precision = "ieee"

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside = max(0, self._inside - 1)
            if self._inside == 0:
                self._restore()

    def _restore(self) -> None:
        for switch, before in self._moved.items():
            if switch.fp32_precision == "ieee":
                switch.fp32_precision = before
        self._moved.clear()

    def _forget(self) -> None:
        """Restore the settings in a forked process. It has none of the threads that were inside, except
        perhaps the one that forked."""
        self._inside = 0
        self._restore()


_ForkProcess: Any = getattr(multiprocessing.context, "ForkProcess", ())
_mkldnn: Any = torch.backends.mkldnn
float32_products = _Float32Products(_mkldnn, (_mkldnn.matmul, _mkldnn.conv))


def _keep_to_this_thread_after_a_fork() -> None:
    """Let PyTorch use one thread in a process that was forked from one that had loaded PyTorch.

    The threads of OpenMP do not survive a fork, but OpenMP does not know this, and the first parallel region
    would wait for them forever. With one thread, there are no parallel regions. PyTorch's `DataLoader` does
    the same in its workers. Processes of `multiprocessing.get_context("spawn")` may use all threads.
    """
    # A process may be forked before it imports this module, so the process that imported the package counts.
    forked = os.getpid() != PROCESS or isinstance(multiprocessing.current_process(), _ForkProcess)
    if forked and torch.get_num_threads() > 1:
        torch.set_num_threads(1)
