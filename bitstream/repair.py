"""Correct a single wrong bit in the header or in the index (FORMAT, "What is missing").

Without header and index, nothing of a file can be read. Both are short enough that a CRC-32 identifies every
single wrong bit. In the header, one bit after the other is flipped until the checksum holds. An index may be
longer, and its bits determine where it ends. There, the wrong bit is looked up by the difference between the
stored and the computed checksum.
"""

import functools
import zlib
from collections.abc import Iterator

from bincodec.bitstream.errors import Corrupt, TooLarge, Truncated, Unsupported
from bincodec.bitstream.header import HEADER_BYTES, MAGIC, Header
from bincodec.bitstream.index import CRC_BYTES, Index, IndexParser
from bincodec.bitstream.limits import Limits

_MOST_BYTES = 2**11
"""A longer index is not corrected: it has so many possible ends that some would fit by chance."""


def repaired_header(data: bytes, limits: Limits) -> Header | None:
    """Return a valid header that differs by one bit from the first 36 bytes of `data`, or None."""
    data = data[:HEADER_BYTES]
    for bit in range(8 * len(MAGIC), 8 * len(data)):
        try:
            return Header.parse(_turned(data, bit), limits)
        except (Corrupt, Unsupported):
            continue
    return None


def repaired_index(header: Header, data: bytes, limits: Limits) -> tuple[Index, int] | None:
    """Return a valid index that differs by one bit from the one in `data`, and where it ends, or None."""
    for bit in _wrong_bits(header, data):
        parser = IndexParser(header, _turned(data, bit))
        try:
            return parser.parse(limits), parser.position
        except (Corrupt, Truncated, Unsupported, TooLarge):
            continue
    return None


def _wrong_bits(header: Header, data: bytes) -> Iterator[int]:
    """Yield, for each possible end of the index, the one wrong bit that would explain the checksum there."""
    differences, crc = _differences(), header.crc
    for end in range(HEADER_BYTES + 1, min(len(data) - CRC_BYTES, HEADER_BYTES + _MOST_BYTES) + 1):
        crc = zlib.crc32(data[end - 1 : end], crc)
        difference = crc ^ int.from_bytes(data[end : end + CRC_BYTES], "little")
        if not difference & difference - 1:  # One bit of the checksum itself is wrong, or none (0).
            if difference:
                yield 8 * end + difference.bit_length() - 1
        elif (before := differences.get(difference)) is not None and before <= 8 * (end - HEADER_BYTES):
            yield 8 * end - before


@functools.cache
def _differences() -> dict[int, int]:
    """Return a map from the change of a CRC-32 to the distance of the wrong bit from the end, in bits.

    A CRC is linear: the change depends on the place of the wrong bit and not on the other bits.
    """
    found = {}
    for bit in range(8):
        difference = zlib.crc32(bytes([1 << bit])) ^ zlib.crc32(b"\0")
        for before in range(_MOST_BYTES):
            found[difference] = 8 * (before + 1) - bit
            difference = zlib.crc32(b"\0", difference) ^ zlib.crc32(b"\0")
    return found


def _turned(data: bytes, bit: int) -> bytes:
    """Return `data` with one bit flipped."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
