"""Spread work over processes. If a process dies, only the task that it was working on is lost."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Any, TypeVar

from bincodec.io.interruption import blocked

Task = TypeVar("Task")
Result = TypeVar("Result")

_AHEAD = 4
"""So many tasks for each process are with the pool: enough that none waits, and memory stays small."""


@dataclass(frozen=True)
class Broken:
    """A task without a result, and the reason."""

    reason: str


def run(
    function: Callable[[Task], Result], tasks: Sequence[Task], jobs: int
) -> Generator[tuple[int, Result | Broken], None, None]:
    """Call `function` with every task in `jobs` processes. Yield the index and result of each when done.

    With `jobs` 0, the work is done in this process. Otherwise, the function and the tasks must be picklable,
    and the calling program must guard its main module, as `multiprocessing` requires for spawned processes.
    Closing the iterator ends the processes.
    """
    if not jobs:
        for index, task in enumerate(tasks):
            yield index, attempt(function, task)
        return
    from pebble import ProcessPool

    spawn = multiprocessing.get_context("spawn")
    # The pool starts its processes with the first task. Not all of its methods have types.
    pool: Any = ProcessPool(min(jobs, len(tasks)), initializer=_begin, context=spawn)
    futures: dict[Future[Result | Broken], int] = {}
    waiting = iter(enumerate(tasks))
    try:
        while True:
            # A terminal sends Ctrl-C to all of its processes. The pool's threads must be started here as
            # well, because they start new processes in place of those that died.
            with blocked("SIGINT"):
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
    code = getattr(error, "exitcode", None)  # pebble.ProcessExpired has it.
    if code is None:  # The task or the result could not be sent.
        return Broken(describe(error))
    cause = f"signal {-code}" if code < 0 else f"exit code {code}"
    return Broken(f"the process that worked on it died ({cause})")


def describe(error: BaseException) -> str:
    """Describe an exception in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def attempt(function: Callable[[Task], Result], task: Task) -> Result | Broken:
    """The result of one task, or what it raised."""
    try:
        return function(task)
    except Exception as error:  # An exception of one task must not end the others.
        return Broken(describe(error))


def _begin() -> None:
    """Prepare a new process: it uses one thread, and ends when the process that started it ends."""
    os.environ["OMP_NUM_THREADS"] = "1"
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
