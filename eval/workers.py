"""Work spread over processes, each of which may die without taking more with it than what it was doing."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

_AHEAD = 4
"""So many tasks for each process are with the pool: enough that none waits, and memory stays small."""


@dataclass(frozen=True)
class Broken:
    """A task without a result, and why."""

    reason: str


def run(
    function: Callable[[Task], Result], tasks: Sequence[Task], jobs: int
) -> Generator[tuple[int, Result | Broken], None, None]:
    """Give every task to `function`, in `jobs` processes; yields the task's index and its result as it comes.

    With `jobs` 0 the work is done in this process. Otherwise function and tasks have to be picklable, and a
    program that calls this guards its main module as `multiprocessing` demands of those that spawn. Closing
    the iterator ends the processes.
    """
    if not jobs:
        for index, task in enumerate(tasks):
            yield index, attempt(function, task)
        return
    from pebble import ProcessPool

    spawn = multiprocessing.get_context("spawn")
    # It starts no process before it has a task; not all of its methods have types.
    pool: Any = ProcessPool(min(jobs, len(tasks)), initializer=_begin, context=spawn)
    futures: dict[Future[Result | Broken], int] = {}
    waiting = iter(enumerate(tasks))
    try:
        while True:
            with _interrupts_blocked():
                for index, task in itertools.islice(waiting, _AHEAD * jobs - len(futures)):
                    futures[pool.schedule(attempt, (function, task))] = index
            if not futures:
                return
            for future in wait(futures, return_when=FIRST_COMPLETED).done:
                yield futures.pop(future), _outcome(future)
    finally:
        pool.stop()
        pool.join()


def _outcome(future: Future[Result | Broken]) -> Result | Broken:
    error = future.exception()
    if error is None:
        return future.result()
    code = getattr(error, "exitcode", None)  # Of pebble.ProcessExpired.
    if code is None:  # The task could not be sent there or the result not back.
        return Broken(describe(error))
    cause = f"signal {-code}" if code < 0 else f"exit code {code}"
    return Broken(f"the process that worked on it died ({cause})")


def describe(error: BaseException) -> str:
    """An exception in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def attempt(function: Callable[[Task], Result], task: Task) -> Result | Broken:
    """The result of one task, or what it raised."""
    try:
        return function(task)
    except Exception as error:  # Whatever one task raises, the others are worth having.
        return Broken(describe(error))


def _begin() -> None:
    """Make a new process a good worker: one thread, and no longer alive than who started it."""
    os.environ["OMP_NUM_THREADS"] = "1"
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Ctrl-C reaches every process of a terminal; processes and threads begun in here are deaf to it.

    The pool's own threads start the processes that take the place of those that died.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
