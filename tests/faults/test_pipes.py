"""The reader of the command's output goes away in the middle of it."""

from __future__ import annotations

import fcntl
import os
from typing import Any

import pytest


@pytest.mark.parametrize("portion", [1, 4096, 9000])
@pytest.mark.parametrize("where", ["standard output", "a named pipe"])
def test_the_reader_leaves(place: Any, where: str, portion: int) -> None:
    """It goes away after some bytes of a larger picture, through a pipe that holds 4096."""
    os.mkfifo(place.folder / "pipe")
    reader = os.open(place.folder / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(reader, True)
    if where == "standard output":
        run = place.start("decompress", "large.bld", "-", stdout="pipe")
        name = where
    else:
        run = place.start("decompress", "large.bld", "pipe")
        name = "pipe"
    run.blocks()  # A pipe without a writer ends at once, so the writer must be there.
    left = portion
    while left:
        left -= len(os.read(reader, left))
    os.close(reader)
    ended = run.end()
    assert (ended.code, ended.said) == (1, f"bincodec: error: {name}: Broken pipe\n")
    assert place.names() == {"pipe"}
