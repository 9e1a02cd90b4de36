"""The parts of the test vectors that decode. Each reader starts with the parts that it reads."""

import json
from collections.abc import Iterator
from pathlib import Path

from bincodec.bitstream import container
from bincodec.bitstream.container import Chunk, Extra, Memory

FOLDER = Path(__file__).resolve().parents[1] / "vectors" / "v1"


def files() -> Iterator[bytes]:
    """Yield whole files."""
    for case in sorted(FOLDER.glob("*/case.json")):
        if "error" not in json.loads(case.read_bytes()):
            yield (case.parent / "file.bld").read_bytes()


def chunks() -> Iterator[Chunk]:
    """Yield chunks of levels."""
    for data in files():
        for row in container.read(Memory(data)).chunks:
            yield from (chunk for chunk in row if chunk is not None)


def extras() -> Iterator[Extra]:
    """Yield the extras that files hold beside levels."""
    for data in files():
        yield from container.read(Memory(data)).extras
