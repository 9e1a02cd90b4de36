"""Header, chunks and checksums of a file (FORMAT, "Header" and "Chunks").

Of "Strictness" it holds what a decoder can see without an encoder: lengths, checksums, the end of each
payload, and that a coded payload is shorter than a raw one.
"""

from __future__ import annotations

import dataclasses
import math
import struct
import zlib
from collections.abc import Sequence

from .errors import refuse
from .levels import CodedLevels, Levels
from .passes import LevelReader
from .probability import Tables
from .raw import RawLevels

_MAGIC = b"\x93BLD\r\n\x1a\n"
_HEADER_BYTES = 36
_CODED, _RAW, _LAST, _ANCILLARY = 0x10, 0x20, 0x40, 0x80
_POST_FILTER = 0x82


@dataclasses.dataclass(frozen=True)
class Header:
    """What a file says of its picture."""

    width: int
    height: int
    quality: int
    layers: int
    grey: bool
    fingerprint: bytes


@dataclasses.dataclass(frozen=True)
class Chunk:
    """A chunk, its type without the mark of the last one."""

    kind: int
    payload: bytes
    bits_crc: int

    @property
    def layers(self) -> int:
        """How many layers it carries."""
        return 0 if self.kind & _ANCILLARY else self.kind & 15


@dataclasses.dataclass(frozen=True)
class File:
    """A file taken apart, with all checksums checked but those of the levels."""

    header: Header
    header_crc: int
    chunks: tuple[Chunk, ...]
    ancillary: tuple[Chunk, ...]

    @property
    def post_filter(self) -> bytes | None:
        """The payload of the post-filter, if there is one."""
        found = [chunk.payload for chunk in self.ancillary if chunk.kind == _POST_FILTER]
        if len(found) > 1:
            refuse("corrupt", f"{len(found)} post-filters")
        return found[0] if found else None


def read_file(data: bytes) -> File:
    """Take a whole file apart."""
    header = _read_header(data)
    everything, place, last = [], _HEADER_BYTES, False
    while not last:
        chunk, last, place = _read_chunk(data, place)
        everything.append(chunk)
    if place != len(data):
        refuse("corrupt", f"{len(data) - place} bytes follow the last chunk")
    chunks = [chunk for chunk in everything if not chunk.kind & _ANCILLARY]
    ancillary = everything[len(chunks) :]
    if any(chunk.kind & 0xF0 not in (_CODED, _RAW) or not chunk.layers for chunk in chunks):
        refuse("unsupported", "a chunk of an unknown type")
    if sum(chunk.layers for chunk in chunks) != header.layers or any(c.layers for c in ancillary):
        refuse("corrupt", f"the chunks do not carry the {header.layers} layers of the header")
    for chunk in ancillary:
        if chunk.bits_crc != zlib.crc32(chunk.payload, chunks[-1].bits_crc):
            refuse("corrupt", "an ancillary chunk of another picture")
    return File(header, zlib.crc32(data[:32]), tuple(chunks), tuple(ancillary))


def _read_header(data: bytes) -> Header:
    if data[:8] != _MAGIC:
        refuse("not a .bld file", "its first bytes are others")
    if len(data) < _HEADER_BYTES:
        refuse("truncated", f"only {len(data)} bytes of a header")
    major, minor, flags, width, height, quality, layers, tile, fingerprint, crc = struct.unpack(
        "<BBHIIBBH8sI", data[8:_HEADER_BYTES]
    )
    if (major, minor) != (0, 1):
        refuse("unsupported", f"version {major}.{minor}")
    if crc != zlib.crc32(data[:32]):
        refuse("corrupt", "the checksum of the header does not match")
    if flags > 1 or tile:
        refuse("unsupported", f"flags {flags}, tiles of {tile}")
    if not (width and height and layers) or quality > 100:
        refuse("corrupt", f"{width} x {height} pixels, {layers} layers, quality {quality}")
    return Header(width, height, quality, layers, bool(flags), fingerprint)


def _read_chunk(data: bytes, start: int) -> tuple[Chunk, bool, int]:
    """The chunk at `start`, whether it is the last one, and where it ends."""
    end = start + 12 + int.from_bytes(data[start + 1 : start + 4], "little")
    if start + 4 > len(data) or end > len(data):
        refuse("truncated", f"the chunk at byte {start} goes on after the end of the file")
    bits_crc, crc = struct.unpack("<II", data[end - 8 : end])
    if crc != zlib.crc32(data[start : end - 4]):
        refuse("corrupt", f"the checksum of the chunk at byte {start} does not match")
    kind = data[start]
    return Chunk(kind & ~_LAST, data[start + 4 : end - 8], bits_crc), bool(kind & _LAST), end


@dataclasses.dataclass(frozen=True)
class _Payload:
    chunk: Chunk
    reader: CodedLevels | RawLevels


class Payloads:
    """The readers of a file's levels, and what can be checked of them after they have been read."""

    def __init__(self, file: File, tables: Tables) -> None:
        self._file = file
        self._payloads = [
            _Payload(
                chunk,
                CodedLevels(chunk.payload, tables) if chunk.kind & _CODED else RawLevels(chunk.payload),
            )
            for chunk in file.chunks
        ]

    @property
    def readers(self) -> list[LevelReader]:
        """One for each layer."""
        return [each.reader for each in self._payloads for _ in range(each.chunk.layers)]

    def check(self, levels: Sequence[Levels], maximum: Sequence[int]) -> None:
        """Refuse the file unless these levels were written, and in the payloads that a writer makes."""
        crc, start = self._file.header_crc, 0
        for each in self._payloads:
            layers = slice(start, start + each.chunk.layers)
            for part in levels[layers]:
                crc = zlib.crc32(part.astype("u1").tobytes(), crc)
            if crc != each.chunk.bits_crc:
                refuse("bits mismatch", f"the levels of layers {layers.start} to {layers.stop - 1}")
            each.reader.check_end()
            raw_bits = sum(
                part.size * top.bit_length()
                for part, top in zip(levels[layers], maximum[layers], strict=True)
            )
            if each.chunk.kind & _CODED and len(each.chunk.payload) >= math.ceil(raw_bits / 8):
                refuse("corrupt", "a coded payload that is no shorter than a raw one")
            start = layers.stop
