"""Several parts of one picture at once: tiles and windows on threads, one core for each.

The heavy work, torch's and NumPy's, lets other threads run meanwhile. Inside a thread torch multiplies on one
core, so that threads do not compete; a picture of one part keeps all cores for itself.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from bincodec.isolation import isolated

Given = TypeVar("Given")
Made = TypeVar("Made")


def in_order(
    function: Callable[[Given], Made], parts: Iterable[Given], device: str = "cpu"
) -> Iterator[Made]:
    """`function` of each part, in the order of the parts, as many at once as torch has threads here.

    No more parts are begun than are soon asked for, so memory follows the number of threads. An exception
    ends the others as soon as they are done with their part. A GPU takes one part after the other.
    """
    parts = list(parts)
    threads = min(torch.get_num_threads(), len(parts))
    if threads < 2 or torch.device(device).type != "cpu":
        yield from map(function, parts)
        return
    pool = ThreadPoolExecutor(threads, "bincodec")
    waiting: collections.deque[Future[Made]] = collections.deque()
    try:
        _give_one_core_each(pool, threads)
        for part in parts:
            waiting.append(pool.submit(_apart, function, part))
            if len(waiting) == threads + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _give_one_core_each(pool: ThreadPoolExecutor, threads: int) -> None:
    """Start the threads of a pool, and let torch multiply on one core in each of them.

    What torch is told in one thread also becomes the default of threads that are yet to come, which may be
    the caller's own; so the caller's number is set again as soon as all of these have begun.
    """
    begun = threading.Barrier(threads + 1)

    def begin() -> None:
        torch.set_num_threads(1)
        begun.wait()

    for _ in range(threads):
        pool.submit(begin)
    begun.wait()
    torch.set_num_threads(torch.get_num_threads())


def _apart(function: Callable[[Given], Made], part: Given) -> Made:
    with isolated():
        return function(part)
