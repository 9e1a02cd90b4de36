"""Work that goes on where it was interrupted: what the cache has is not done again."""

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
    """A result that a cache can hold."""

    def to_json(self) -> dict[str, Any]:
        """What `json` can write."""


Result = TypeVar("Result", bound=Keepable)


@dataclass(frozen=True)
class Piece(Generic[Task, Result]):
    """A piece of work: the `key` of its result, the `task`, and the result where it was `found` complete."""

    key: str
    task: Task
    found: Result | None


class Interrupted(KeyboardInterrupt):
    """Ctrl-C; `done` of `total` results are there, failures not counted, and kept where there is a cache."""

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
    """Results in the order of the pieces, each kept in the cache as soon as it is there.

    `jobs` as in `workers.run`; a progress bar is shown where it has a `label`.

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
                # Kept first: an interruption in between must not count what is not there.
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
    """Keep a result; the cache, or None where it takes nothing: then once is enough to say so."""
    if cache is not None:
        try:
            cache.put(key, result.to_json())
        except OSError as error:
            warnings.warn(f"{cache.folder}: results are not kept: {error.strerror or error}", stacklevel=3)
            return None
    return cache
