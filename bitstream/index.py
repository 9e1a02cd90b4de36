"""The index of a file: how its layers are grouped, and how long each part is (FORMAT, "Index").

The index follows the header, so a reader knows where each chunk is before it reads any chunk.
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
"""Bit of an extra's kind: a reader that does not know the kind ignores the extra."""
LEADING = 0x40
"""Bit of an extra's kind: the extra stands before the chunks."""
ALPHA, POST_FILTER, EXIF, XMP, ICC = 0x41, 0x81, 0x82, 0x83, 0xC1
"""The kinds of extras that are defined (FORMAT, "Extras")."""
_TITLES = {
    ALPHA: "the alpha",
    POST_FILTER: "the post-filter",
    EXIF: "the Exif data",
    XMP: "the XMP data",
    ICC: "the colour profile",
}
KNOWN_KINDS = tuple(_TITLES)
"""All kinds that are defined."""

MAX_LENGTH = 2**31 - 1
"""The largest number of bytes of a payload. It fits a signed 32-bit integer, so every reader can count it."""
CRC_BYTES = 4
CHUNK_TAIL = 2 * CRC_BYTES
EXTRA_TAIL = CRC_BYTES

_SEVEN = 0x7F
_MORE = 0x80


def title_of(kind: int) -> str:
    """Return what messages call an extra, such as "the post-filter"."""
    return _TITLES.get(kind, f"the extra of kind {kind:#04x}")


@dataclass(frozen=True)
class Index:
    """What a file contains, without the payloads themselves.

    Args:
        groups: the number of layers in each group. One group of one tile is one chunk.
        extras: the kind and the payload length of each extra, in the order of the file.
        entries: for each chunk, by group and tile, the length of its payload in bytes and whether it is raw.
    """

    groups: tuple[int, ...]
    extras: tuple[tuple[int, int], ...]
    entries: tuple[tuple[tuple[int, bool], ...], ...]

    def pack(self, header: Header) -> bytes:
        """Return the bytes of the index, including its checksum."""
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
        """The number of extras that stand before the chunks."""
        return sum(bool(kind & LEADING) for kind, _ in self.extras)

    def sizes(self) -> Iterator[int]:
        """Yield the bytes of each part behind the index, including checksums, in the order of the file."""
        extras = [length + EXTRA_TAIL for _, length in self.extras]
        yield from extras[: self.leading]
        yield from (length + CHUNK_TAIL for length, _ in itertools.chain.from_iterable(self.entries))
        yield from extras[self.leading :]


def file_order(kind: int) -> tuple[bool, int]:
    """Return the sorting key of extras in a file: leading ones first, then trailing ones, each by kind."""
    return not kind & LEADING, kind


def varint(value: int) -> bytes:
    """Encode an unsigned integer as LEB128: seven bits a byte, lowest first; bit 7 says that more follow."""
    result = bytearray()
    while value > _SEVEN:
        result.append(value & _SEVEN | _MORE)
        value >>= 7
    result.append(value)
    return bytes(result)


class IndexParser:
    """Read the index in the beginning of a file, and find the position behind it."""

    def __init__(self, header: Header, data: bytes) -> None:
        self._header = header
        self._data = data
        self.position = HEADER_BYTES

    def parse(self, limits: Limits = DEFAULT_LIMITS) -> Index:
        """Return the index that follows the header in `data`. Afterwards, `position` is behind the index.

        Raises:
            Truncated: if `data` ends before the index does.
            Corrupt: if the checksum is wrong, or if no writer makes such an index.
            Unsupported: if there is a critical extra of an unknown kind.
            TooLarge: if there are more ancillary bytes than `limits` allow.
        """
        groups = self._groups()
        extras = tuple((self._byte(), self._length()) for _ in range(self._varint(255)))
        tiles = count_tiles(self._header.width, self._header.height, self._header.tile_side)
        # Each entry takes at least one byte, so a short file cannot make the reader allocate many entries.
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
            # Without a group that ends with the last layer, the rest of the index has no defined length.
            msg = f"index: the last group ends with layer {ends[-1] if ends else 0} of {layers}"
            raise Corrupt(msg)
        return tuple(end - start for start, end in itertools.pairwise([0, *ends]))

    def _check_crc(self) -> None:
        self._need(CRC_BYTES)
        body = self._data[HEADER_BYTES : self.position]
        stored = self._data[self.position : self.position + CRC_BYTES]
        if zlib.crc32(body, self._header.crc).to_bytes(CRC_BYTES, "little") != stored:
            msg = "the checksum of the index does not match"
            raise Corrupt(msg)
        self.position += CRC_BYTES

    def _need(self, size: int) -> None:
        if self.position + size > len(self._data):
            msg = f"the file ends at byte {len(self._data)}, within the index"
            raise Truncated(msg)

    def _byte(self) -> int:
        self._need(1)
        self.position += 1
        return self._data[self.position - 1]

    def _length(self) -> int:
        return self._varint(MAX_LENGTH)

    def _varint(self, most: int) -> int:
        """Read one number. It must be at most `most` and must not be longer than necessary."""
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
            msg = f"index: extras {one[1]:#04x}, {two[1]:#04x} are not in order or not unique"
            raise Corrupt(msg)
    for kind, _ in extras:
        if not kind & ANCILLARY and kind not in KNOWN_KINDS:
            msg = (
                f"critical data of kind {kind:#04x} is not known; a later version of the format may define it"
            )
            raise Unsupported(msg)
    size = sum(length for kind, length in extras if kind & ANCILLARY)
    if size > limits.ancillary_bytes:
        msg = f"ancillary data is {size} bytes, over the limit ancillary_bytes={limits.ancillary_bytes}"
        raise TooLarge(msg, option="ancillary_bytes", value=size, limit=limits.ancillary_bytes)
