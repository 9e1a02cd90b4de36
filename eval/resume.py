"""Continue interrupted work: results that are in the cache are not computed again."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from tqdm import tqdm

from bincodec.eval import workers
from bincodec.eval.cache import Cache
from bincodec.eval.workers import Broken

Task = TypeVar("Task")


class Keepable(Protocol):
    """A result that a cache can store."""

    def to_json(self) -> dict[str, Any]:
        """Return the result as values that `json` can write."""


Result = TypeVar("Result", bound=Keepable)


@dataclass(frozen=True)
class Piece(Generic[Task, Result]):
    """A piece of work: the `key` of its result, the `task`, and the complete result if it was `found`."""

    key: str
    task: Task
    found: Result | None


class Interrupted(KeyboardInterrupt):
    """Work was interrupted by Ctrl-C. `done` of `total` results are there, without failures.

    They have been stored if there is a cache.
    """

    def __init__(self, done: int, total: int) -> None:
        super().__init__(f"{done} of {total} done")
        self.done, self.total = done, total


def work(
    function: Callable[[Task], Result],
    pieces: Sequence[Piece[Task, Result]],
    *,
    jobs: int = 0,
    cache: Cache | None = None,
    label: str = "",
) -> list[Result | Broken]:
    """Return results in the order of the pieces. Each is stored in the cache as soon as it is computed.

    `workers.run` explains `jobs`. With a `label`, a progress bar is shown.

    Raises:
        Interrupted: on Ctrl-C.
    """
    results: dict[int, Result | Broken] = {i: p.found for i, p in enumerate(pieces) if p.found is not None}
    missing = [index for index in range(len(pieces)) if index not in results]
    running = workers.run(function, [pieces[index].task for index in missing], jobs)
    bar = tqdm(
        total=len(pieces), initial=len(results), desc=label, unit="file", disable=None if label else True
    )
    try:
        with bar:
            for position, result in running:
                index = missing[position]
                # The result is stored before it is counted, in case of an interruption in between.
                if not isinstance(result, Broken):
                    cache = _keep(cache, pieces[index].key, result)
                results[index] = result
                bar.update()
    except KeyboardInterrupt as stop:
        done = sum(not isinstance(result, Broken) for result in results.values())
        raise Interrupted(done, len(pieces)) from stop
    finally:
        running.close()
    return [results[index] for index in range(len(pieces))]


def _keep(cache: Cache | None, key: str, result: Keepable) -> Cache | None:
    """Store a result and return the cache. If that fails, warn, and return None to warn only once."""
    if cache is not None:
        try:
            cache.put(key, result.to_json())
        except OSError as error:
            warnings.warn(f"{cache.folder}: results are not kept: {error.strerror or error}", stacklevel=3)
            return None
    return cache
