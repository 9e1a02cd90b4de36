"""The index: the groups of a file, and the length of each part (FORMAT, "Index" and "Extras")."""

from __future__ import annotations

import dataclasses

from .cursor import Cursor, crc_of
from .errors import refuse

ALPHA, ICC, POST_FILTER, EXIF, XMP = 0x41, 0xC1, 0x81, 0x82, 0x83
EXTRAS = {ALPHA: "alpha", ICC: "ICC profile", POST_FILTER: "post-filter", EXIF: "Exif", XMP: "XMP"}
"""The kinds of extras that the format defines."""

_ANCILLARY, _LEADING = 0x80, 0x40
_LARGEST_LENGTH = 2**31 - 1
_LARGEST_ANCILLARY = 2**24


@dataclasses.dataclass(frozen=True)
class ExtraEntry:
    """The entry of an extra in the index."""

    kind: int
    length: int

    @property
    def trailing(self) -> bool:
        """Whether the extra stands behind the chunks."""
        return not self.kind & _LEADING

    @property
    def ancillary(self) -> bool:
        """Whether a reader that does not know the kind may ignore the extra."""
        return bool(self.kind & _ANCILLARY)


@dataclasses.dataclass(frozen=True)
class ChunkEntry:
    """The entry of a chunk in the index."""

    raw: bool
    length: int


@dataclasses.dataclass(frozen=True)
class Index:
    """The layers of each group, and the extras and chunks in the order of the index."""

    groups: tuple[range, ...]
    extras: tuple[ExtraEntry, ...]
    chunks: tuple[ChunkEntry, ...]


def read_index(cursor: Cursor, head: bytes, layers: int, tiles: int) -> Index:
    """Read the index of a file with so many layers and tiles. `head` is the header without its checksum.

    Until the checksum has been checked, the contents of the index only serve to find its end.
    """
    start = cursor.place
    ends = [bool(byte >> bit & 1) for byte in cursor.take(-(-layers // 8)) for bit in range(8)]
    extras = [ExtraEntry(cursor.fixed(1), cursor.varint()) for _ in range(cursor.varint())]
    chunks = []
    for _ in range(tiles * sum(ends[:layers])):
        length, raw = divmod(cursor.varint(), 2)
        chunks.append(ChunkEntry(bool(raw), length))
    crc = crc_of(head, cursor.since(start))
    if cursor.fixed(4) != crc:
        refuse("corrupt", "the checksum of the index does not match")
    if not ends[layers - 1] or any(ends[layers:]):
        refuse("corrupt", "the last group does not end with the last layer")
    lengths = [extra.length for extra in extras] + [chunk.length for chunk in chunks]
    if max(lengths) > _LARGEST_LENGTH:
        refuse("corrupt", f"a payload of more than {_LARGEST_LENGTH} bytes")
    _check_extras(extras)
    return Index(_groups(ends[:layers]), tuple(extras), tuple(chunks))


def _groups(ends: list[bool]) -> tuple[range, ...]:
    """Return the layers of each group, given for each layer whether a group ends with it."""
    stops = [layer + 1 for layer, end in enumerate(ends) if end]
    return tuple(range(start, stop) for start, stop in zip([0, *stops], stops, strict=False))


def _check_extras(extras: list[ExtraEntry]) -> None:
    order = [(extra.trailing, extra.kind) for extra in extras]
    if order != sorted(set(order)):
        refuse("corrupt", "extras that occur twice or stand in another order")
    for extra in extras:
        if not extra.ancillary and extra.kind not in EXTRAS:
            refuse("unsupported", f"an extra of the unknown critical kind {extra.kind:#04x}")
    ancillary = sum(extra.length for extra in extras if extra.ancillary)
    if ancillary > _LARGEST_ANCILLARY:
        refuse("too large", f"{ancillary} bytes of ancillary extras")
