"""Split a file into its parts and join them, as far as no model is needed (FORMAT, "Layout")."""

import struct
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from bincodec.bitstream.errors import Corrupt, TooLarge, Truncated, Unsupported
from bincodec.bitstream.header import HEADER_BYTES, Header
from bincodec.bitstream.index import (
    ANCILLARY,
    CHUNK_TAIL,
    CRC_BYTES,
    EXTRA_TAIL,
    KNOWN_KINDS,
    MAX_LENGTH,
    Index,
    IndexParser,
    file_order,
    title_of,
)
from bincodec.bitstream.limits import DEFAULT_LIMITS, Limits
from bincodec.bitstream.repair import repaired_header, repaired_index
from bincodec.bitstream.tiles import Tile

_CRC = struct.Struct("<I")
_TAIL = struct.Struct("<II")
_INDEX_READ = 2**12
"""The number of bytes that are read first. They contain the whole index, except for large pictures."""


@dataclass(frozen=True)
class Chunk:
    """The levels of one group of layers in one tile.

    Args:
        payload: the coded or raw levels.
        raw: whether the levels are stored without coding.
        bits_crc: CRC-32 of the header, the number of the tile, and the tile's levels of all layers up to the
            last one of this group.
    """

    payload: bytes
    raw: bool
    bits_crc: int


@dataclass(frozen=True)
class Extra:
    """Data that a file holds beside levels. `kind` is a byte (`bincodec.bitstream.extras`)."""

    kind: int
    payload: bytes

    @property
    def size(self) -> int:
        """The bytes that it takes in a file: payload, checksum, and about three bytes in the index."""
        return len(self.payload) + EXTRA_TAIL + 3


Chunks = tuple[tuple[Chunk | None, ...], ...]
"""Chunks by group and tile. None stands for a chunk that is missing, damaged or not asked for."""


@dataclass(frozen=True)
class Container:
    """The parts of a file.

    Args:
        header: the first 36 bytes of the file.
        groups: the number of layers in each group.
        chunks: the chunks by group and tile.
        extras: the extras in the order of the file.
        damage: one sentence for each part that is missing or damaged; empty for a file that is intact.
    """

    header: Header
    groups: tuple[int, ...]
    chunks: Chunks
    extras: tuple[Extra, ...] = ()
    damage: tuple[str, ...] = ()

    @property
    def intact(self) -> bool:
        """Whether no part is missing or damaged."""
        return not self.damage

    @property
    def tile_layers(self) -> tuple[int, ...]:
        """The number of layers of each tile that are there without a gap, counted from the first layer."""
        result = [0] * len(self.header.tiles)
        before = 0
        for layers, row in zip(self.groups, self.chunks, strict=True):
            for tile, chunk in enumerate(row):
                if chunk is not None and result[tile] == before:
                    result[tile] += layers
            before += layers
        return tuple(result)


@runtime_checkable
class ByteSource(Protocol):
    """The source of a file's bytes: memory, or a file that can be read at any position."""

    def read_at(self, position: int, size: int) -> bytes:
        """Return `size` bytes from `position` on, or fewer if the file ends before that."""

    def size(self) -> int:
        """Return the number of bytes of the whole file."""


class Memory:
    """A file in memory, given as a bytes-like object."""

    def __init__(self, data: bytes) -> None:
        self._view = memoryview(data).cast("B")

    def read_at(self, position: int, size: int) -> bytes:
        """Return `size` bytes from `position` on (see `ByteSource.read_at`)."""
        return bytes(self._view[position : position + size])

    def size(self) -> int:
        """Return the number of bytes (see `ByteSource.size`)."""
        return self._view.nbytes


def read_index(source: ByteSource, limits: Limits = DEFAULT_LIMITS) -> tuple[Header, Index, int]:
    """Return the header, the index, and the position of the first byte behind the index.

    Raises:
        NotBld, Truncated, Corrupt, Unsupported, TooLarge: see `errors`.
    """
    header = read_header(source, limits)
    return header, *_parse_index(source, header, limits, [], partial=False)


def _parse_index(
    source: ByteSource, header: Header, limits: Limits, damage: list[str], *, partial: bool
) -> tuple[Index, int]:
    """Return the index and the position behind it. With `partial`, one wrong bit is corrected."""
    wanted = _INDEX_READ
    while True:
        data = source.read_at(0, wanted)
        parser = IndexParser(header, data)
        try:
            return parser.parse(limits), parser.position
        except Truncated:
            if len(data) == wanted:
                wanted *= 4
                continue
            if not partial or (found := repaired_index(header, data, limits)) is None:
                raise
        except (Corrupt, Unsupported):
            if not partial or (found := repaired_index(header, data, limits)) is None:
                raise
        damage.append("one bit of the index was wrong and has been corrected")
        return found


def read_header(
    source: ByteSource, limits: Limits, damage: list[str] | None = None, *, partial: bool = False
) -> Header:
    """Return the header. With `partial`, one wrong bit is corrected, and a note is added to `damage`.

    Raises:
        NotBld, Truncated, Corrupt, Unsupported, TooLarge: see `errors`.
    """
    data = source.read_at(0, HEADER_BYTES)
    try:
        return Header.parse(data, limits)
    except (Corrupt, Unsupported):
        header = repaired_header(data, limits) if partial else None
        if header is None:
            raise
    if damage is not None:
        damage.append("one bit of the header was wrong and has been corrected")
    return header


def read(
    source: ByteSource,
    limits: Limits = DEFAULT_LIMITS,
    *,
    partial: bool = False,
    tiles: Collection[int] | None = None,
) -> Container:
    """Split a file into its parts and check everything that needs no model.

    With `partial`, chunks and extras that are missing or fail their checksums are left out, and `damage`
    names them. One wrong bit in the header and one in the index are corrected; any other fault in them is an
    error. With `tiles`, only the chunks of the tiles with these numbers are read.

    Raises:
        NotBld, Truncated, Corrupt, Unsupported, TooLarge: see `errors`.
    """
    damage: list[str] = []
    header = read_header(source, limits, damage, partial=partial)
    index, position = _parse_index(source, header, limits, damage, partial=partial)
    reader = _Reader(source, header, partial, damage)
    whole = position + sum(index.sizes())
    if source.size() > whole:
        reader.note(Corrupt(f"{source.size() - whole} bytes follow the end of the file"))
    extras: list[Extra | None] = []
    chunks: list[tuple[Chunk | None, ...]] = []
    for kind, length in index.extras[: index.leading]:
        extras.append(reader.extra(position, kind, length))
        position += length + EXTRA_TAIL
    for group, entries in enumerate(index.entries):
        row: list[Chunk | None] = []
        for tile, (length, raw) in zip(header.tiles, entries, strict=True):
            chunk = None
            if tiles is None or tile.number in tiles:
                name = f"the chunk of {name_of(tile, group, index.groups)}"
                chunk = reader.chunk(position, length, (group, tile.number), name, raw=raw)
            row.append(chunk)
            position += length + CHUNK_TAIL
        chunks.append(tuple(row))
    for kind, length in index.extras[index.leading :]:
        extras.append(reader.extra(position, kind, length))
        position += length + EXTRA_TAIL
    there = tuple(extra for extra in extras if extra is not None)
    return Container(header, index.groups, tuple(chunks), there, tuple(reader.damage))


class _Reader:
    """Read and check the parts that the index names. Collect what is wrong with them, or raise it."""

    def __init__(self, source: ByteSource, header: Header, partial: bool, damage: list[str]) -> None:
        self.damage = damage
        self._source = source
        self._header = header
        self._partial = partial

    def note(self, error: Truncated | Corrupt) -> None:
        """Collect an error as damage, or raise it if damage is not tolerated."""
        if not self._partial:
            raise error
        self.damage.append(str(error))

    def chunk(
        self, position: int, length: int, place: tuple[int, int], name: str, *, raw: bool
    ) -> Chunk | None:
        """Return the chunk of a group and a tile, or None if it is damaged."""
        data = self._bytes(position, length + CHUNK_TAIL, name)
        if data is None:
            return None
        bits_crc, crc = _TAIL.unpack_from(data, length)
        if crc != _chunk_crc(self._header, place, data[: length + CRC_BYTES]):
            self.note(Corrupt(f"the checksum of {name} does not match"))
            return None
        return Chunk(data[:length], raw, bits_crc)

    def extra(self, position: int, kind: int, length: int) -> Extra | None:
        """Return an extra, or None if it is damaged."""
        name = title_of(kind)
        data = self._bytes(position, length + EXTRA_TAIL, name)
        if data is None:
            return None
        extra = Extra(kind, data[:length])
        if _CRC.pack(_extra_crc(self._header, extra)) != data[length:]:
            self.note(Corrupt(f"the checksum of {name} does not match"))
            return None
        return extra

    def _bytes(self, position: int, size: int, name: str) -> bytes | None:
        data = self._source.read_at(position, size)
        if len(data) == size:
            return data
        self.note(Truncated(f"the file ends at byte {self._source.size()}, within or before {name}"))
        return None


def in_file_order(extras: Sequence[Extra]) -> list[Extra]:
    """Sort extras: first the leading ones, then the trailing ones, each by kind."""
    return sorted(extras, key=lambda extra: file_order(extra.kind))


def name_of(tile: Tile, group: int, groups: Sequence[int]) -> str:
    """Describe the layers and the tile of a chunk in words."""
    first = sum(groups[:group]) + 1
    last = first + groups[group] - 1
    return f"layer {first} of {tile}" if first == last else f"layers {first} to {last} of {tile}"


def write(header: Header, groups: Sequence[int], chunks: Chunks, extras: Sequence[Extra] = ()) -> bytes:
    """Return the bytes of a file. `chunks` are given by group and tile, as `stream.TileWriter` makes them.

    Raises:
        TooLarge: if a payload has more than 2^31 - 1 bytes.
        ValueError: if `read` would refuse the groups, the chunks or the extras.
    """
    tiles = len(header.tiles)
    layers = sum(groups) if min(groups, default=0) > 0 else 0
    if layers != header.layers or [len(row) for row in chunks] != [tiles] * len(groups):
        msg = f"{[len(row) for row in chunks]} chunks in groups of {list(groups)} layers"
        msg += f" do not make {header.layers} layers of {tiles} tiles"
        raise ValueError(msg)
    whole = [[_whole(chunk) for chunk in row] for row in chunks]
    extras = _in_order(extras)
    for payload in (*(extra.payload for extra in extras), *(chunk.payload for row in whole for chunk in row)):
        if len(payload) > MAX_LENGTH:
            msg = f"a payload is {len(payload)} bytes; the format holds at most {MAX_LENGTH}"
            raise TooLarge(msg, value=len(payload), limit=MAX_LENGTH)
    index = Index(
        tuple(groups),
        tuple((extra.kind, len(extra.payload)) for extra in extras),
        tuple(tuple((len(chunk.payload), chunk.raw) for chunk in row) for row in whole),
    )
    packed = [extra.payload + _CRC.pack(_extra_crc(header, extra)) for extra in extras]
    parts = [header.pack(), index.pack(header), *packed[: index.leading]]
    for group, row in enumerate(whole):
        for tile, chunk in enumerate(row):
            body = chunk.payload + _CRC.pack(chunk.bits_crc)
            parts += [body, _CRC.pack(_chunk_crc(header, (group, tile), body))]
    return b"".join([*parts, *packed[index.leading :]])


def _in_order(extras: Sequence[Extra]) -> list[Extra]:
    """Sort extras as in a file. Each kind must occur once, and be known to readers or ancillary."""
    kinds = {extra.kind for extra in extras}
    known = all(kind in KNOWN_KINDS or ANCILLARY <= kind < 2 * ANCILLARY for kind in kinds)
    if not known or len(kinds) != len(extras):
        listed = ", ".join(f"{extra.kind:#04x}" for extra in extras)
        msg = f"extras {listed}: each kind must occur once, and be known or ancillary"
        raise ValueError(msg)
    return in_file_order(extras)


def _whole(chunk: Chunk | None) -> Chunk:
    if chunk is None:
        msg = "a chunk is missing"
        raise ValueError(msg)
    return chunk


def _chunk_crc(header: Header, place: tuple[int, int], body: bytes) -> int:
    """Return the CRC-32 of the header, the chunk's place and the chunk.

    Because of the place, a chunk that stands in the place of another one counts as damage.
    """
    return zlib.crc32(body, zlib.crc32(_TAIL.pack(*place), header.crc))


def _extra_crc(header: Header, extra: Extra) -> int:
    return zlib.crc32(extra.payload, zlib.crc32(bytes([extra.kind]), header.crc))
