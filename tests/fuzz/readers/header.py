"""The header of a file."""

from collections.abc import Iterator

import parts

from bincodec.bitstream.header import Header

MAX_BYTES = 64


def check(data: bytes) -> None:
    """What is parsed packs to the bytes that it came from."""
    packed = Header.parse(data).pack()
    assert packed == data[: len(packed)]


def seeds() -> Iterator[bytes]:
    for data in parts.files():
        yield data[:MAX_BYTES]
