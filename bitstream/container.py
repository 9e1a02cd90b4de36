"""Header, chunks, checksums: what can be read and checked without a model (FORMAT, "Chunks")."""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from bincodec.bitstream.errors import Corrupt, TooLarge, Truncated, Unsupported
from bincodec.bitstream.header import HEADER_BYTES, Header
from bincodec.bitstream.limits import DEFAULT_LIMITS, Limits

CODED = 0x10
RAW = 0x20
LAST = 0x40
ANCILLARY = 0x80
MAX_GROUPED = 15
"""Layers that may share a chunk: what four bits of the type can count."""

_CRC = struct.Struct("<I")
_HEAD_BYTES = 4
_TAIL_BYTES = 2 * _CRC.size
CHUNK_OVERHEAD = _HEAD_BYTES + _TAIL_BYTES
MAX_PAYLOAD = 2**24 - 1


@dataclass(frozen=True)
class Chunk:
    """Levels of one or more layers.

    Args:
        kind: CODED or RAW plus the number of layers; the file's type byte without LAST.
        payload: the coded or raw levels.
        bits_crc: CRC-32 of the header and the levels of all layers up to here; of an ancillary chunk's own
            payload as well.
    """

    kind: int
    payload: bytes
    bits_crc: int

    @property
    def layers(self) -> int:
        """How many layers the chunk carries."""
        return self.kind & MAX_GROUPED

    @property
    def raw(self) -> bool:
        """Whether the levels are stored uncoded."""
        return bool(self.kind & RAW)


@dataclass(frozen=True)
class Ancillary:
    """Data that a reader may ignore and must keep: `kind` is 0x80 to 0xBF."""

    kind: int
    payload: bytes

    @property
    def size(self) -> int:
        """Bytes that it takes in a file."""
        return CHUNK_OVERHEAD + len(self.payload)


@dataclass(frozen=True)
class Container:
    """A file taken apart; `intact` is false if its end was missing or damaged."""

    header: Header
    chunks: tuple[Chunk, ...]
    ancillary: tuple[Ancillary, ...] = ()
    intact: bool = True


def read_header(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Header:
    """Return the header of a file, given at least its first 36 bytes; errors as in `Header.parse`."""
    return Header.parse(data, limits)


def read(data: bytes, limits: Limits = DEFAULT_LIMITS, *, partial: bool = False) -> Container:
    """Take a whole file apart, given as any bytes-like object, and check all that needs no model.

    With `partial`, a file that is cut short or damaged yields the chunks before the first one that is missing
    or fails its checksum, and `intact` is false; so it is for a whole file with bytes after its last chunk.
    The header must be whole in any case.

    Raises:
        NotBld, Truncated, Corrupt, Unsupported, TooLarge: see `errors`.
    """
    header = Header.parse(data, limits)
    data = data if isinstance(data, bytes) else memoryview(data).tobytes()
    chunks: list[Chunk] = []
    ancillary: list[Ancillary] = []
    position, last = HEADER_BYTES, False
    while not last:
        try:
            chunk, last, position = _read_chunk(data, position)
        except (Truncated, Corrupt):
            if not partial:
                raise
            return Container(header, tuple(chunks), tuple(ancillary), intact=False)
        _check_limits(chunk, chunks, ancillary, limits)
        if chunk.kind & ANCILLARY:
            _check_ancillary(chunk, chunks, header)
            ancillary.append(Ancillary(chunk.kind, chunk.payload))
        else:
            _check_layers(chunk, chunks, ancillary, header)
            chunks.append(chunk)
    try:
        _check_end(position, len(data), chunks, header)
    except Corrupt:
        if not partial:
            raise
        return Container(header, tuple(chunks), tuple(ancillary), intact=False)
    return Container(header, tuple(chunks), tuple(ancillary))


def write(header: Header, chunks: Sequence[Chunk], ancillary: Sequence[Ancillary] = ()) -> bytes:
    """Put a file together; `chunks` carry the header's number of layers, as `stream.LayerWriter` makes them.

    Raises:
        TooLarge: for a payload beyond 2^24 - 1 bytes.
        ValueError: for chunks that `read` would refuse.
    """
    carried = sum(chunk.layers for chunk in chunks)
    if carried != header.layers:
        msg = f"chunks carry {carried} layers, the header promises {header.layers}"
        raise ValueError(msg)
    everything = list(chunks)
    for extra in ancillary:
        if extra.kind & ~(LAST - 1) != ANCILLARY:
            msg = f"ancillary type is {extra.kind:#04x}, not within 0x80..0xbf"
            raise ValueError(msg)
        everything.append(Chunk(extra.kind, extra.payload, zlib.crc32(extra.payload, chunks[-1].bits_crc)))
    flags = [0] * (len(everything) - 1) + [LAST]
    return header.pack() + b"".join(map(_pack_chunk, everything, flags))


def _pack_chunk(chunk: Chunk, flag: int) -> bytes:
    if len(chunk.payload) > MAX_PAYLOAD:
        msg = f"chunk payload is {len(chunk.payload)} bytes; the format holds at most {MAX_PAYLOAD}"
        raise TooLarge(msg, value=len(chunk.payload), limit=MAX_PAYLOAD)
    head = bytes([chunk.kind | flag]) + len(chunk.payload).to_bytes(3, "little")
    body = head + chunk.payload + _CRC.pack(chunk.bits_crc)
    return body + _CRC.pack(zlib.crc32(body))


def _read_chunk(data: bytes, start: int) -> tuple[Chunk, bool, int]:
    """Return the chunk at `start`, whether it is the last, and where it ends."""
    body = start + _HEAD_BYTES
    end = body + int.from_bytes(data[start + 1 : body], "little") + _TAIL_BYTES
    if body > len(data) or end > len(data):
        msg = f"file ends at byte {len(data)} within the chunk at byte {start}"
        raise Truncated(msg)
    stop = end - _CRC.size
    (crc,) = _CRC.unpack_from(data, stop)
    if zlib.crc32(memoryview(data)[start:stop]) != crc:
        msg = f"checksum of the chunk at byte {start} does not match"
        raise Corrupt(msg)
    (bits_crc,) = _CRC.unpack_from(data, stop - _CRC.size)
    kind = data[start]
    return Chunk(kind & ~LAST, data[body : stop - _CRC.size], bits_crc), bool(kind & LAST), end


def _check_limits(
    chunk: Chunk, chunks: Sequence[Chunk], ancillary: Sequence[Ancillary], limits: Limits
) -> None:
    if len(chunks) + len(ancillary) >= limits.chunks:
        msg = f"file has more chunks than the limit chunks={limits.chunks}"
        raise TooLarge(msg, option="chunks", value=len(chunks) + len(ancillary) + 1, limit=limits.chunks)
    if chunk.kind & ANCILLARY:
        size = sum(len(extra.payload) for extra in ancillary) + len(chunk.payload)
        if size > limits.ancillary_bytes:
            msg = f"ancillary data is {size} bytes, over the limit ancillary_bytes={limits.ancillary_bytes}"
            raise TooLarge(msg, option="ancillary_bytes", value=size, limit=limits.ancillary_bytes)


def _check_ancillary(chunk: Chunk, chunks: Sequence[Chunk], header: Header) -> None:
    if sum(before.layers for before in chunks) != header.layers:
        msg = f"ancillary chunk {chunk.kind:#04x} stands before the last layer"
        raise Corrupt(msg)
    if chunk.bits_crc != zlib.crc32(chunk.payload, chunks[-1].bits_crc):
        msg = f"ancillary chunk {chunk.kind:#04x} belongs to another picture"
        raise Corrupt(msg)


def _check_layers(
    chunk: Chunk, chunks: Sequence[Chunk], ancillary: Sequence[Ancillary], header: Header
) -> None:
    if chunk.kind - chunk.layers not in (CODED, RAW) or not chunk.layers:
        msg = f"critical chunk type {chunk.kind:#04x} is not known"
        raise Unsupported(msg)
    carried = sum(before.layers for before in chunks) + chunk.layers
    if ancillary or carried > header.layers:
        msg = f"chunks carry {carried} layers or more, the header promises {header.layers}"
        raise Corrupt(msg)


def _check_end(position: int, size: int, chunks: Sequence[Chunk], header: Header) -> None:
    carried = sum(chunk.layers for chunk in chunks)
    if carried != header.layers:
        msg = f"file ends after {carried} of {header.layers} layers"
        raise Corrupt(msg)
    if position != size:
        msg = f"{size - position} bytes follow the last chunk"
        raise Corrupt(msg)
