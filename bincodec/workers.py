"""Several parts of one picture at once: tiles and windows on threads, one core for each.

The heavy work, torch's and NumPy's, lets other threads run meanwhile. Inside a thread torch multiplies on one
core, so that threads do not compete; a picture of one part keeps all cores for itself.
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
"""Called with the name of a task, and how many of its parts are done, of how many."""

_progress: contextvars.ContextVar[Progress | None] = contextvars.ContextVar("progress", default=None)


@contextlib.contextmanager
def watched(progress: Progress) -> Iterator[None]:
    """While inside, `progress` is told of every part of a picture that is done, in this thread."""
    token = _progress.set(progress)
    try:
        yield
    finally:
        _progress.reset(token)


def in_order(
    task: str, function: Callable[[Given], Made], parts: Iterable[Given], device: str = "cpu"
) -> Iterator[Made]:
    """`function` of each part, in the order of the parts, as many at once as torch has threads here.

    `task` is its name, for whoever is `watched`. No more parts are begun than are soon asked for, so memory
    follows the number of threads. An exception ends the others as soon as they are done with their part. A
    GPU takes one part after the other, and so does a process that cannot start threads.
    """
    parts, progress = list(parts), _progress.get()
    for done, made in enumerate(_made(function, parts, device), 1):
        if progress is not None:
            progress(task, done, len(parts))
        yield made


def _made(function: Callable[[Given], Made], parts: list[Given], device: str) -> Iterator[Made]:
    with _beginning:  # Torch would tell a thread that it does not know yet the number of those that begin.
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
    """Threads that have begun, in each of which torch multiplies on one core; None if they cannot begin.

    What torch is told in one thread also becomes the default of threads that are yet to come, which may be
    the caller's own. So a keeper, a thread that does nothing else, reads the default before and sets it again
    when all have begun; the caller's own number is never touched. Two pools that begin at the same time would
    take each other's number for the default.
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
                begun.abort()  # Nobody is to wait for a thread that does not come.
                pool.shutdown(cancel_futures=True)
                raise
            finally:
                keeper.submit(torch.set_num_threads, default).result()
    except RuntimeError:  # The system has no more threads, or the interpreter is about to end.
        return None
    return pool


def _begin(begun: threading.Barrier) -> None:
    # In each thread torch takes the default when it first needs a number, whatever it was told before.
    torch.get_num_threads()
    torch.set_num_threads(1)
    begun.wait()


def _apart(function: Callable[[Given], Made], part: Given) -> Made:
    with isolated():
        return function(part)
