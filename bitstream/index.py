"""The index of a file: how its layers are grouped, and how long everything is (FORMAT, "Index").

It stands right behind the header, so a reader knows where each chunk lies before it reads any.
"""

import itertools
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from bincodec.bitstream.errors import Corrupt, TooLarge, Truncated, Unsupported
from bincodec.bitstream.header import HEADER_BYTES, Header
from bincodec.bitstream.limits import DEFAULT_LIMITS, Limits
from bincodec.bitstream.tiles import count_tiles

ANCILLARY = 0x80
"""Bit of an extra's kind: a reader that does not know it goes on without."""
LEADING = 0x40
"""Bit of an extra's kind: it stands before the levels."""
CRITICAL_KINDS = (0x41,)
"""Critical extras that are defined: alpha (FORMAT, "Extras")."""

MAX_LENGTH = 2**31 - 1
"""Bytes of a payload: what every reader can count."""
CRC_BYTES = 4
CHUNK_TAIL = 2 * CRC_BYTES
EXTRA_TAIL = CRC_BYTES

_SEVEN = 0x7F
_MORE = 0x80


@dataclass(frozen=True)
class Index:
    """What stands in a file, without the payloads themselves.

    Args:
        groups: the number of layers in each group; a group of a tile is one chunk.
        extras: kind and payload length of each extra, in the order of the file.
        entries: by group and tile, the bytes of each chunk's payload, and whether it holds raw levels.
    """

    groups: tuple[int, ...]
    extras: tuple[tuple[int, int], ...]
    entries: tuple[tuple[tuple[int, bool], ...], ...]

    def pack(self, header: Header) -> bytes:
        """The bytes of the index, its checksum included."""
        ends = set(itertools.accumulate(self.groups))
        mask = sum(1 << (end - 1) for end in ends).to_bytes(-(-header.layers // 8), "little")
        body = bytearray(mask)
        body += varint(len(self.extras))
        for kind, length in self.extras:
            body.append(kind)
            body += varint(length)
        for length, raw in itertools.chain.from_iterable(self.entries):
            body += varint(2 * length + raw)
        return bytes(body) + zlib.crc32(body, header.crc).to_bytes(CRC_BYTES, "little")

    @property
    def leading(self) -> int:
        """How many extras stand before the levels."""
        return sum(bool(kind & LEADING) for kind, _ in self.extras)

    def sizes(self) -> Iterator[int]:
        """Bytes of each thing behind the index, its checksums included, in the order of the file."""
        extras = [length + EXTRA_TAIL for _, length in self.extras]
        yield from extras[: self.leading]
        yield from (length + CHUNK_TAIL for length, _ in itertools.chain.from_iterable(self.entries))
        yield from extras[self.leading :]


def file_order(kind: int) -> tuple[bool, int]:
    """What extras are sorted by in a file: leading ones, then trailing ones, each by kind."""
    return not kind & LEADING, kind


def varint(value: int) -> bytes:
    """An unsigned integer in groups of seven bits, the lowest first; bit 7 says that more follow (LEB128)."""
    result = bytearray()
    while value > _SEVEN:
        result.append(value & _SEVEN | _MORE)
        value >>= 7
    result.append(value)
    return bytes(result)


class IndexParser:
    """Reads an index from the beginning of a file, and says where the rest begins."""

    def __init__(self, header: Header, data: bytes) -> None:
        self._header = header
        self._data = data
        self.position = HEADER_BYTES

    def parse(self, limits: Limits = DEFAULT_LIMITS) -> Index:
        """The index that follows the header in `data`; `position` is then behind it.

        Raises:
            Truncated: if `data` ends before the index does.
            Corrupt: for a wrong checksum, or an index that no writer makes.
            Unsupported: for a critical extra that is not known.
            TooLarge: for more ancillary bytes than `limits` allow.
        """
        groups = self._groups()
        extras = tuple((self._byte(), self._length()) for _ in range(self._varint(255)))
        tiles = count_tiles(self._header.width, self._header.height, self._header.tile_side)
        # Each entry takes a byte at least, so a short file cannot ask for many.
        self._need(tiles * len(groups))
        entries = [[self._varint(2 * MAX_LENGTH + 1) for _ in range(tiles)] for _ in groups]
        self._check_crc()
        _check_extras(extras, limits)
        return Index(
            groups, extras, tuple(tuple((entry >> 1, bool(entry & 1)) for entry in row) for row in entries)
        )

    def _groups(self) -> tuple[int, ...]:
        layers = self._header.layers
        size = -(-layers // 8)
        self._need(size)
        mask = int.from_bytes(self._data[self.position : self.position + size], "little")
        self.position += size
        ends = [layer + 1 for layer in range(8 * size) if mask >> layer & 1]
        if not ends or ends[-1] != layers:
            # A mask that does not end with the last layer leads nowhere; the checksum will tell damage.
            msg = f"index: the last group ends with layer {ends[-1] if ends else 0} of {layers}"
            raise Corrupt(msg)
        return tuple(end - start for start, end in itertools.pairwise([0, *ends]))

    def _check_crc(self) -> None:
        self._need(CRC_BYTES)
        body = self._data[HEADER_BYTES : self.position]
        stored = self._data[self.position : self.position + CRC_BYTES]
        if zlib.crc32(body, self._header.crc).to_bytes(CRC_BYTES, "little") != stored:
            msg = "checksum of the index does not match"
            raise Corrupt(msg)
        self.position += CRC_BYTES

    def _need(self, size: int) -> None:
        if self.position + size > len(self._data):
            msg = f"file ends at byte {len(self._data)} within the index"
            raise Truncated(msg)

    def _byte(self) -> int:
        self._need(1)
        self.position += 1
        return self._data[self.position - 1]

    def _length(self) -> int:
        return self._varint(MAX_LENGTH)

    def _varint(self, most: int) -> int:
        """One number; one that is written longer than it has to be, or too large, is no writer's."""
        value, shift = 0, 0
        while True:
            byte = self._byte()
            value |= (byte & _SEVEN) << shift
            shift += 7
            endless = byte & _MORE and shift >= most.bit_length()
            if value > most or (byte == 0 and shift > 7) or endless:
                msg = (
                    f"index: a number at byte {self.position - 1} is over {most} or longer than it has to be"
                )
                raise Corrupt(msg)
            if not byte & _MORE:
                return value


def _check_extras(extras: tuple[tuple[int, int], ...], limits: Limits) -> None:
    order = [file_order(kind) for kind, _ in extras]
    for one, two in itertools.pairwise(order):
        if one >= two:
            msg = f"index: extras {one[1]:#04x}, {two[1]:#04x} are not in order, each once"
            raise Corrupt(msg)
    for kind, _ in extras:
        if not kind & ANCILLARY and kind not in CRITICAL_KINDS:
            msg = f"critical data of kind {kind:#04x} is not known"
            raise Unsupported(msg)
    size = sum(length for kind, length in extras if kind & ANCILLARY)
    if size > limits.ancillary_bytes:
        msg = f"ancillary data is {size} bytes, over the limit ancillary_bytes={limits.ancillary_bytes}"
        raise TooLarge(msg, option="ancillary_bytes", value=size, limit=limits.ancillary_bytes)
