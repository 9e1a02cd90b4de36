"""The one place that makes a public call independent of what its caller has set in torch and numpy.

torch and numpy have switches that change what the same code computes, or whether it runs at all. Those of a
thread are entered and left here: default device, autocast, gradients, inference mode, denormals, numpy's
errors. Those of the whole process belong to the caller's other threads as well, so nothing else depends on
them: every tensor says its type instead of taking the default one, and no bit depends on deterministic
algorithms or warnings. Only the precision of float32 products has no such way out (`float32_products`). The
number of threads is the caller's: by it torch chooses the library that multiplies, so it may move a pixel by
the last bit of a float, and integers never.
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
    """Around a block, or as a decorator: nothing that the caller has set in torch or numpy gets in.

    Afterwards all of it is as it was, also after an exception. Gradients are on inside, and tensors normal
    ones. Threads may be inside at the same time, and a thread several times.

    Raises:
        MemoryError: where torch says so in words of its own.
        Unsupported: inside one of torch.func's transforms, which see no bits.
    """
    _refuse_transforms()
    _keep_to_this_thread_after_a_fork()
    with (
        memory_errors(),
        float32_products,
        _denormals(),
        _plain_operations(),
        torch.inference_mode(mode=False),
        torch.autograd.graph.saved_tensors_hooks(_unchanged, _unchanged),
        np.errstate(all="ignore"),
    ):
        yield


def _refuse_transforms() -> None:
    """Raise `Unsupported` inside grad, vmap, functionalize and the like, which replace every tensor."""
    if torch._C._functorch.peek_interpreter_stack() is not None:
        msg = "bincodec cannot run inside a transform of torch.func: call it outside"
        raise Unsupported(msg)


def _unchanged(value: Any) -> Any:
    return value


@contextlib.contextmanager
def memory_errors() -> Iterator[None]:
    """Torch's ways to say that memory ran out become Python's `MemoryError`, in one line."""
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
    """Operations are torch's own and keep their types: no default device or other mode, no autocast.

    Only what is on is left.
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
    """The smallest floats are themselves in this thread, not zero: a draw multiplies many probabilities."""
    flushed = sys.float_info.min / 2 == 0
    if flushed:
        torch.set_flush_denormal(False)
    try:
        yield
    finally:
        if flushed:
            torch.set_flush_denormal(True)


def outlives_forks(lock: threading.Lock, in_child: Callable[[], object] = bool) -> None:
    """See to it that no thread holds `lock` while the process forks: in the child nobody would release it.

    There `in_child` is called while it is held.
    """

    def release_in_child() -> None:
        in_child()
        lock.release()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=lock.acquire, after_in_parent=lock.release, after_in_child=release_in_child
        )


class _Float32Products:
    """Keeps the products of float32 on a CPU in float32 while any thread is inside.

    The first in that finds a switch elsewhere sets it, the last out sets it back, unless somebody else has
    moved it meanwhile. Whoever shares the process gets products that are more exact than asked for, for that
    long. Where the switches stand as they do by default, nothing is touched.
    """

    def __init__(self, library: Any, switches: tuple[Any, ...]) -> None:
        """A switch that says "none" follows its `library`."""
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
        """Of the threads that were inside, a forked process has none, but perhaps the one that forked."""
        self._inside = 0
        self._restore()


_ForkProcess: Any = getattr(multiprocessing.context, "ForkProcess", ())
_mkldnn: Any = torch.backends.mkldnn
float32_products = _Float32Products(_mkldnn, (_mkldnn.matmul, _mkldnn.conv))


def _keep_to_this_thread_after_a_fork() -> None:
    """In a process forked from one that had loaded torch, keep this thread to itself.

    The threads of OpenMP do not survive a fork, but its books say that they do, and the first parallel
    region waits for them for ever. With one thread there is none. Torch's `DataLoader` does the same in its
    workers. `multiprocessing.get_context("spawn")` gives processes with as many threads as one likes.
    """
    # A process may be forked before it imports this module, so where the package was imported counts.
    forked = os.getpid() != PROCESS or isinstance(multiprocessing.current_process(), _ForkProcess)
    if forked and torch.get_num_threads() > 1:
        torch.set_num_threads(1)
