"""The parts of a file: header, index, extras and chunks (FORMAT, "Layout" to "Extras").

All checksums are checked here except those of the levels, which are not known yet.
"""

from __future__ import annotations

import dataclasses
import struct

from .cursor import Cursor, crc_of, u32
from .errors import refuse
from .index import ALPHA, POST_FILTER, ChunkEntry, ExtraEntry, read_index
from .tiles import Tile, tiles_of

_MAGIC = b"\x93BLD\r\n\x1a\n"
_HEADER_BYTES = 36
_MAJOR_VERSION = 1
_GREY = 1
_LARGEST_AREA = 64 * 2**20
_LARGEST_SIDE = 65535


@dataclasses.dataclass(frozen=True)
class Header:
    """What a file says about its picture."""

    width: int
    height: int
    grey: bool
    quality: int
    layers: int
    tile_side: int
    fingerprint: bytes
    head: bytes
    """The header without its checksum. All other checksums of the file begin with it."""

    @property
    def tiles(self) -> list[Tile]:
        """The tiles of the picture."""
        return tiles_of(self.width, self.height, self.tile_side)


@dataclasses.dataclass(frozen=True)
class Chunk:
    """The levels of a group of layers in one tile, as the file stores them."""

    layers: range
    raw: bool
    payload: bytes
    bits_crc: int


@dataclasses.dataclass(frozen=True)
class File:
    """The parts of a file: for each tile its chunks, and the payloads of extras by their kinds."""

    header: Header
    tiles: tuple[tuple[Chunk, ...], ...]
    extras: dict[int, bytes]

    @property
    def alpha(self) -> bytes | None:
        """The payload of alpha, if there is one."""
        return self.extras.get(ALPHA)

    @property
    def post_filter(self) -> bytes | None:
        """The payload of the post-filter, if there is one."""
        return self.extras.get(POST_FILTER)


def read_file(data: bytes) -> File:
    """Split a whole file into its parts."""
    cursor = Cursor(data)
    header = read_header(cursor)
    tiles = len(header.tiles)
    index = read_index(cursor, header.head, header.layers, tiles)
    leading = [extra for extra in index.extras if not extra.trailing]
    trailing = [extra for extra in index.extras if extra.trailing]
    extras = {extra.kind: _read_extra(cursor, header, extra) for extra in leading}
    entries, groups = iter(index.chunks), []
    for number, layers in enumerate(index.groups):
        groups.append([_read_chunk(cursor, header, next(entries), layers, (number, i)) for i in range(tiles)])
    extras |= {extra.kind: _read_extra(cursor, header, extra) for extra in trailing}
    if cursor.left:
        refuse("corrupt", f"{cursor.left} bytes follow the last one that the index names")
    return File(header, tuple(zip(*groups, strict=True)), extras)


def read_header(cursor: Cursor) -> Header:
    """Read the header, in the order of checks that the format defines."""
    magic = cursor.take(min(len(_MAGIC), cursor.left))
    if not magic or not _MAGIC.startswith(magic):
        refuse("not a .bld file", "its first bytes are others")
    rest = cursor.take(_HEADER_BYTES - len(magic))
    major, minor, flags, width, height, quality, layers, side, reserved, fingerprint, crc = struct.unpack(
        "<BBHIIBBBB8sI", rest
    )
    if major != _MAJOR_VERSION:
        refuse("unsupported", f"version {major}.{minor}")
    head = _MAGIC + rest[:-4]
    if crc != crc_of(head):
        refuse("corrupt", "the checksum of the header does not match")
    if flags & ~_GREY or reserved:
        refuse("unsupported", f"flags {flags}, reserved byte {reserved}")
    if not (width and height and layers) or quality > 100 or not 16 <= side <= 64:
        refuse(
            "corrupt",
            f"{width} x {height} pixels, quality {quality}, {layers} layers, tiles of {side} positions",
        )
    if width * height > _LARGEST_AREA or max(width, height) > _LARGEST_SIDE:
        refuse("too large", f"{width} x {height} pixels")
    return Header(width, height, bool(flags & _GREY), quality, layers, side, fingerprint, head)


def _read_extra(cursor: Cursor, header: Header, extra: ExtraEntry) -> bytes:
    payload, crc = cursor.take(extra.length), cursor.fixed(4)
    if crc != crc_of(header.head, bytes([extra.kind]), payload):
        refuse("corrupt", f"the checksum of the extra of kind {extra.kind:#04x} does not match")
    return payload


def _read_chunk(
    cursor: Cursor, header: Header, entry: ChunkEntry, layers: range, place: tuple[int, int]
) -> Chunk:
    """Read the next chunk. `place` holds the numbers of its group and its tile."""
    payload, bits_crc, crc = cursor.take(entry.length), cursor.fixed(4), cursor.fixed(4)
    group, tile = place
    if crc != crc_of(header.head, u32(group), u32(tile), payload, u32(bits_crc)):
        refuse("corrupt", f"the checksum of the chunk of group {group} and tile {tile} does not match")
    return Chunk(layers, entry.raw, payload, bits_crc)
