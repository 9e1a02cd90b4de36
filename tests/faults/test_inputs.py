"""An input that changes, vanishes or never ends while it is read."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

READING = ["bincodec/io/streams.py", "bincodec/io/files.py"]


@pytest.mark.parametrize("action", ["remove", "cut", "grow"])
def test_it_changes(
    place: Any, job: Any, check: Callable[..., None], chosen: Callable[[int], list[int]], action: str
) -> None:
    """The result is the output of the old input, or one line about the error, never that of a part."""
    source = place.folder / str(job.arguments[1])
    before = source.read_bytes()
    lines = place.count(READING, *job.arguments)
    for line in chosen(lines, 3):
        place.clear()
        source.write_bytes(before)
        fault = {"files": READING, "line": line, "action": action, "path": source.name}
        check(place, place.run(*job.arguments, fault=fault), job)


def test_it_never_ends(place: Any, job: Any, check: Callable[..., None]) -> None:
    """The real limit is one gibibyte. It is lower here."""
    os.mkfifo(place.folder / "pipe")

    def pour() -> None:
        with open(place.folder / "pipe", "wb", buffering=0) as pipe:
            try:
                while True:
                    pipe.write(bytes(2**16))
            except BrokenPipeError:
                pass

    pouring = threading.Thread(target=pour)
    pouring.start()
    command, _, *rest = job.arguments
    ended = place.run(command, "pipe", *rest, largest_input=2**20)
    pouring.join()
    assert (ended.code, ended.said) == (
        1,
        f"bincodec: error: pipe: it has more than {2**20} bytes, which is the limit\n",
    )
    assert place.names() == {"pipe"}


def test_who_writes_it_is_killed(place: Any, job: Any, check: Callable[..., None]) -> None:
    """Half of the input arrives through a pipe, and then the pipe ends."""
    source = place.folder / str(job.arguments[1])
    data = source.read_bytes()
    os.mkfifo(place.folder / "pipe")
    command, _, *rest = job.arguments
    run = place.start(command, "-", *rest, stdin="pipe")
    with open(place.folder / "pipe", "wb") as pipe:
        pipe.write(data[: len(data) // 2])
    ended = run.end()
    (place.folder / "pipe").unlink()
    assert ended.code == 1
    check(place, ended, job)
