"""Work spread over processes, each of which may die without taking more with it than what it was doing."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


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
            yield index, _attempt(function, task)
        return
    waiting = deque(enumerate(tasks))
    idle = [_Lane() for _ in range(min(jobs, len(tasks)))]
    busy: dict[Future[Result | Broken], tuple[int, _Lane]] = {}
    try:
        while waiting or busy:
            while waiting and idle:
                index, task = waiting.popleft()
                lane = idle.pop()
                busy[lane.submit(function, task)] = index, lane
            outcomes = []
            for future in wait(busy, return_when=FIRST_COMPLETED).done:
                index, lane = busy.pop(future)
                result, alive = lane.outcome(future)
                outcomes.append((index, result))
                idle.append(lane if alive else _Lane())
            yield from outcomes
    finally:
        for lane in [*idle, *(lane for _, lane in busy.values())]:
            lane.end()


class _Lane:
    """One process. A pool of one: should it break, it is clear over which task."""

    def __init__(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, spawn, initializer=_begin)
        self._process: multiprocessing.process.BaseProcess | None = None

    def submit(self, function: Callable[[Task], Result], task: Task) -> Future[Result | Broken]:
        """Begin a task; the first one starts the process."""
        before = set(multiprocessing.active_children())
        with _interrupts_blocked():
            future = self._pool.submit(_attempt, function, task)
        self._process = next(iter(set(multiprocessing.active_children()) - before), self._process)
        return future

    def outcome(self, future: Future[Result | Broken]) -> tuple[Result | Broken, bool]:
        """What came of a task that is over, and whether the process is alive."""
        try:
            return future.result(), True
        except BrokenProcessPool:
            # The pool's own thread collects the exit code: it is certain only when that thread is over.
            self.end()
            return Broken(f"the process that worked on it died{self._cause()}"), False
        except Exception as error:  # It could not be sent there or back.
            return Broken(describe(error)), True

    def end(self) -> None:
        """End the process, whatever it is doing."""
        if self._process is not None:
            self._process.terminate()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _cause(self) -> str:
        if self._process is None:
            return ""
        code = self._process.exitcode
        if code is None:
            return ""
        return f" (signal {-code})" if code < 0 else f" (exit code {code})"


def describe(error: BaseException) -> str:
    """An exception in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def _attempt(function: Callable[[Task], Result], task: Task) -> Result | Broken:
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
    """Ctrl-C reaches every process of a terminal; a process begun in here inherits deafness to it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
