"""The header of a file."""

from collections.abc import Iterator

import mending
import parts

from bincodec.bitstream import container
from bincodec.bitstream.container import Memory
from bincodec.bitstream.errors import BincodecError
from bincodec.bitstream.header import HEADER_BYTES, Header
from bincodec.bitstream.limits import DEFAULT_LIMITS

MAX_BYTES = 64


def check(data: bytes) -> None:
    """A parsed header packs to the bytes that it came from, except for one bit that may be corrected."""
    try:
        header = container.read_header(Memory(data), DEFAULT_LIMITS, partial=True)
    except BincodecError:
        header = None
    if header is not None:
        differing = int.from_bytes(header.pack()) ^ int.from_bytes(data[:HEADER_BYTES])
        assert differing.bit_count() <= 1
    strictly = Header.parse(data)
    assert strictly == header
    assert strictly.pack() == data[:HEADER_BYTES]


def seeds() -> Iterator[bytes]:
    for data in parts.files():
        yield data[:MAX_BYTES]


mutate = mending.header
