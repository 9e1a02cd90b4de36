"""Process several parts of one picture, tiles or windows, at once on threads.

PyTorch and NumPy let other threads run during their heavy work. Inside each of these threads, PyTorch uses
one core, so that the threads do not compete. If a picture has one part, that part uses all cores.
"""

from __future__ import annotations

import collections
import contextlib
import contextvars
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from bincodec.isolation import isolated, outlives_forks

Given = TypeVar("Given")
Made = TypeVar("Made")

_NAME = "bincodec"
_beginning = threading.Lock()
outlives_forks(_beginning)


Progress = Callable[[str, int, int], None]
"""A function that is called with the name of a task, the number of parts that are done, and the number of all
parts."""

_progress: contextvars.ContextVar[Progress | None] = contextvars.ContextVar("progress", default=None)


@contextlib.contextmanager
def watched(progress: Progress) -> Iterator[None]:
    """Call `progress` for every finished part of a picture while the block runs, in this thread."""
    token = _progress.set(progress)
    try:
        yield
    finally:
        _progress.reset(token)


def in_order(
    task: str, function: Callable[[Given], Made], parts: Iterable[Given], device: str = "cpu"
) -> Iterator[Made]:
    """Yield `function(part)` for each part, in the order of the parts. Several parts are computed at once.

    There are as many threads as PyTorch uses in the calling thread. `task` is the name that `watched` passes
    to its function. Parts are started only shortly before they are needed, so memory grows with the number of
    threads and not with the number of parts. After an exception, the other threads stop at the end of their
    parts. On a GPU, and in a process that cannot start threads, parts are computed one after the other.
    """
    parts, progress = list(parts), _progress.get()
    for done, made in enumerate(_made(function, parts, device), 1):
        if progress is not None:
            progress(task, done, len(parts))
        yield made


def _made(function: Callable[[Given], Made], parts: list[Given], device: str) -> Iterator[Made]:
    with _beginning:  # While a pool begins, a thread that is new to PyTorch would be told the wrong number.
        threads = min(torch.get_num_threads(), len(parts))
    pool = _begun(threads) if threads > 1 and torch.device(device).type == "cpu" else None
    if pool is None:
        yield from map(function, parts)
        return
    waiting: collections.deque[Future[Made]] = collections.deque()
    try:
        for part in parts:
            waiting.append(pool.submit(_apart, function, part))
            if len(waiting) == threads + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _begun(threads: int) -> ThreadPoolExecutor | None:
    """Return a pool of running threads in which PyTorch uses one core each, or None if they cannot start.

    The number of cores that is set in one thread also becomes PyTorch's default for later threads, which may
    be the caller's own. A separate thread, the keeper, therefore reads the default before and sets it again
    when all threads have started. The caller's own number is not touched. Pools start one at a time, because
    otherwise each of them could mistake the other's number for the default.
    """
    pool, begun = ThreadPoolExecutor(threads, _NAME), threading.Barrier(threads + 1)
    try:
        with _beginning, ThreadPoolExecutor(1, _NAME) as keeper:
            default = keeper.submit(torch.get_num_threads).result()
            try:
                for _ in range(threads):
                    pool.submit(_begin, begun)
                begun.wait()
            except BaseException:
                begun.abort()  # Threads that have started must not wait for one that will never start.
                pool.shutdown(cancel_futures=True)
                raise
            finally:
                keeper.submit(torch.set_num_threads, default).result()
    except RuntimeError:  # The system has no more threads, or the interpreter is about to end.
        return None
    return pool


def _begin(begun: threading.Barrier) -> None:
    # PyTorch takes the default when a thread first asks for its number, even if it was set before.
    torch.get_num_threads()
    torch.set_num_threads(1)
    begun.wait()


def _apart(function: Callable[[Given], Made], part: Given) -> Made:
    with isolated():
        return function(part)
