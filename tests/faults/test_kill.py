"""SIGKILL at any moment: every file with its final name is whole, and later runs are not disturbed."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

WRITING = ["bincodec/io/files.py", "cli/places.py"]
OLD = b"an older file"


@pytest.mark.parametrize("old", [None, OLD], ids=["new", "replaced"])
def test_at_random(
    place: Any, job: Any, check: Callable[..., None], old: bytes | None, dice: random.Random, rounds: int
) -> None:
    options = ["--force"] if old else []
    for _ in range(4 * rounds):
        place.clear()
        if old:
            (place.folder / job.out).write_bytes(old)
        run = place.start(*job.arguments, *options)
        time.sleep(dice.uniform(0, job.seconds))
        run.send(signal.SIGKILL)
        check(place, run.end(), job, old)


def test_while_writing(
    place: Any, job: Any, check: Callable[..., None], chosen: Callable[[int], list[int]]
) -> None:
    """The kill comes before lines of the code that writes. All leftovers are in the way of the last run."""
    lines = place.count(WRITING, *job.arguments)
    place.clear()
    for line in chosen(lines, 6):
        (place.folder / job.out).unlink(missing_ok=True)
        ended = place.run(*job.arguments, fault={"files": WRITING, "line": line, "action": "SIGKILL"})
        assert ended.code == -signal.SIGKILL
        check(place, ended, job)
    left = place.names() - {job.out}
    assert left
    assert place.run(*job.arguments, "--force").code == 0
    assert (place.folder / job.out).read_bytes() == job.whole
    assert place.names() == {job.out, *left}
