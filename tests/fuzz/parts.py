"""What the golden files of tests/vectors are made of: each reader begins with the parts that it reads."""

from collections.abc import Iterator
from pathlib import Path

from bincodec.bitstream import container

FOLDER = Path(__file__).resolve().parents[1] / "vectors"


def files() -> Iterator[bytes]:
    """Whole files."""
    for path in sorted(FOLDER.glob("*.bld")):
        yield path.read_bytes()


def chunks() -> Iterator[container.Chunk]:
    """Chunks of layers."""
    for data in files():
        yield from container.read(data).chunks


def ancillary() -> Iterator[container.Ancillary]:
    """Chunks of other data."""
    for data in files():
        yield from container.read(data).ancillary
