"""Header and index with a single wrong bit, set right (FORMAT, "What is missing").

Without them nothing of a file can be read, and they are short: a CRC-32 tells apart all single wrong bits of
anything as short as this. Of the header each bit is turned over until the checksum holds. An index may be
longer, and where it ends depends on its bits: so the difference between checksums is looked up.
"""

import functools
import zlib
from collections.abc import Iterator

from bincodec.bitstream.errors import Corrupt, TooLarge, Truncated, Unsupported
from bincodec.bitstream.header import HEADER_BYTES, MAGIC, Header
from bincodec.bitstream.index import CRC_BYTES, Index, IndexParser
from bincodec.bitstream.limits import Limits

_MOST_BYTES = 2**11
"""An index that is longer is not set right: it may end at more places, and chance explains some of them."""


def repaired_header(data: bytes, limits: Limits) -> Header | None:
    """The header that differs from the first 36 bytes of `data` by one bit and is whole, if there is one."""
    data = data[:HEADER_BYTES]
    for bit in range(8 * len(MAGIC), 8 * len(data)):
        try:
            return Header.parse(_turned(data, bit), limits)
        except (Corrupt, Unsupported):
            continue
    return None


def repaired_index(header: Header, data: bytes, limits: Limits) -> tuple[Index, int] | None:
    """The index that differs by one bit from what stands in `data`, and where it ends, if one is whole."""
    for bit in _wrong_bits(header, data):
        parser = IndexParser(header, _turned(data, bit))
        try:
            return parser.parse(limits), parser.position
        except (Corrupt, Truncated, Unsupported, TooLarge):
            continue
    return None


def _wrong_bits(header: Header, data: bytes) -> Iterator[int]:
    """The bit that is wrong if the index ends here, for each place where one wrong bit would explain it."""
    differences, crc = _differences(), header.crc
    for end in range(HEADER_BYTES + 1, min(len(data) - CRC_BYTES, HEADER_BYTES + _MOST_BYTES) + 1):
        crc = zlib.crc32(data[end - 1 : end], crc)
        difference = crc ^ int.from_bytes(data[end : end + CRC_BYTES], "little")
        if not difference & difference - 1:  # Of the checksum one bit is wrong; 0 is no damage.
            if difference:
                yield 8 * end + difference.bit_length() - 1
        elif (before := differences.get(difference)) is not None and before <= 8 * (end - HEADER_BYTES):
            yield 8 * end - before


@functools.cache
def _differences() -> dict[int, int]:
    """How far before the end a wrong bit is, in bits, by what it changes of a CRC-32: that is linear."""
    found = {}
    for bit in range(8):
        difference = zlib.crc32(bytes([1 << bit])) ^ zlib.crc32(b"\0")
        for before in range(_MOST_BYTES):
            found[difference] = 8 * (before + 1) - bit
            difference = zlib.crc32(b"\0", difference) ^ zlib.crc32(b"\0")
    return found


def _turned(data: bytes, bit: int) -> bytes:
    """`data` with a bit turned over."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
