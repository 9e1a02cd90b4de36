"""A whole file, as far as it is read without a model."""

from collections.abc import Iterator

import parts

from bincodec.bitstream import container

MAX_BYTES = 4096


def check(data: bytes) -> None:
    """What is read is written again as it was."""
    found = container.read(data)
    assert container.write(found.header, found.chunks, found.ancillary) == data


def seeds() -> Iterator[bytes]:
    yield from parts.files()
