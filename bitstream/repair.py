"""Header and index with a single wrong bit, set right (FORMAT, "What is missing").

Without them nothing of a file can be read, and they are short: each of their bits is turned over until the
checksums hold. A CRC-32 tells apart all single wrong bits of anything as short as this.
"""

from collections.abc import Iterator

from bincodec.bitstream.errors import Corrupt, TooLarge, Truncated, Unsupported
from bincodec.bitstream.header import HEADER_BYTES, MAGIC, Header
from bincodec.bitstream.index import CRC_BYTES, Index, IndexParser
from bincodec.bitstream.limits import Limits

_MOST_BYTES = 2**11
"""An index that is longer is not tried: that would take as long as the square of its length."""


def repaired_header(data: bytes, limits: Limits) -> Header | None:
    """The header that differs from the first 36 bytes of `data` by one bit and is whole, if there is one."""
    for candidate in _turned_over(data[:HEADER_BYTES], len(MAGIC), HEADER_BYTES):
        try:
            return Header.parse(candidate, limits)
        except (Corrupt, Unsupported):
            continue
    return None


def repaired_index(header: Header, data: bytes, end: int, limits: Limits) -> tuple[Index, int] | None:
    """The index that differs by one bit from what stands in `data` before `end`, and where it ends, if there
    is one that is whole."""
    if end - HEADER_BYTES > _MOST_BYTES:
        return None
    for candidate in _turned_over(data[: end + _MOST_BYTES], HEADER_BYTES, end + CRC_BYTES):
        parser = IndexParser(header, candidate)
        try:
            return parser.parse(limits), parser.position
        except (Corrupt, Truncated, Unsupported, TooLarge):
            continue
    return None


def _turned_over(data: bytes, start: int, end: int) -> Iterator[bytes]:
    """`data` with each bit from byte `start` up to byte `end` turned over in turn."""
    for bit in range(8 * start, 8 * min(end, len(data))):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)
