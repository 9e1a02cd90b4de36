"""Two commands write one output at the same time."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest


@pytest.mark.parametrize("forces", [(False, False), (True, True), (False, True)])
def test_two_writers(
    place: Any, model: str, forces: tuple[bool, bool], dice: random.Random, rounds: int
) -> None:
    """The file is whole. Without --force, one of the commands writes it; with --force, the last one does."""
    commands = [
        ["compress", "photo.png", "out.bld", "--model", model, "-q", quality, *(["--force"] if force else [])]
        for quality, force in zip(("10", "90"), forces, strict=True)
    ]
    wholes = []
    for command in commands:
        place.clear()
        assert place.run(*command).code == 0
        wholes.append((place.folder / "out.bld").read_bytes())
    assert wholes[0] != wholes[1]
    for _ in range(3 * rounds):
        place.clear()
        runs = []
        for command in dice.sample(commands, 2):
            runs.append((commands.index(command), place.start(*command)))
            time.sleep(dice.uniform(0, 0.02))
        ended = dict(sorted((number, run.end()) for number, run in runs))
        codes = [ended[0].code, ended[1].code]
        found = (place.folder / "out.bld").read_bytes()
        assert place.names() == {"out.bld"}
        assert found in wholes
        if forces == (False, False):
            assert sorted(codes) == [0, 1]
            assert found == wholes[codes.index(0)]
        elif forces == (True, True):
            assert codes == [0, 0]
        else:
            assert codes[1] == 0
            assert found == wholes[1]
        for number in range(2):
            if codes[number]:
                said = "bincodec: error: out.bld: this file exists; --force overwrites it\n"
                assert ended[number].said == said
