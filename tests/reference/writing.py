"""Make files of levels, as a writer does, or of parts that no writer would put together.

No decoder needs this module. The tests compare its files, and try what must be refused although all checksums
hold.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from . import alpha
from .container import File, Header
from .cursor import crc_of, u32
from .integer_network import IntegerNetwork
from .levels import Bits, Levels, by_rounds
from .order import passes_of
from .passes import decode_passes
from .probability import Integers, Tables
from .range_encoder import RangeEncoder


@dataclasses.dataclass(frozen=True)
class Piece:
    """A chunk: whether it claims to be raw, its payload, and the checksum of the levels up to its last."""

    raw: bool
    payload: bytes
    bits_crc: int


@dataclasses.dataclass(frozen=True)
class Draft:
    """The parts of a file. `groups` has the chunks of each group, tile by tile."""

    head: bytes
    ends: bytes
    extras: tuple[tuple[int, bytes], ...]
    groups: tuple[tuple[Piece, ...], ...]

    def index(self) -> bytes:
        """Return the index without its checksum."""
        extras = [bytes([kind]) + varint(len(payload)) for kind, payload in self.extras]
        chunks = [varint(2 * len(each.payload) + each.raw) for pieces in self.groups for each in pieces]
        return self.ends + varint(len(extras)) + b"".join(extras + chunks)

    def write(self, index: bytes | None = None) -> bytes:
        """Return the file, possibly with an index that does not fit."""
        table = self.index() if index is None else index
        file = self.head + _crc(self.head) + table + _crc(self.head, table)
        file += b"".join(self._extra(*extra) for extra in self.extras if extra[0] & 0x40)
        for group, pieces in enumerate(self.groups):
            for tile, piece in enumerate(pieces):
                inside = piece.payload + u32(piece.bits_crc)
                file += inside + _crc(self.head, u32(group), u32(tile), inside)
        return file + b"".join(self._extra(*extra) for extra in self.extras if not extra[0] & 0x40)

    def _extra(self, kind: int, payload: bytes) -> bytes:
        return payload + _crc(self.head, bytes([kind]), payload)

    def with_head(self, place: int, value: bytes) -> Draft:
        """Return the same parts with other bytes in the header."""
        head = self.head[:place] + value + self.head[place + len(value) :]
        return dataclasses.replace(self, head=head)

    def with_piece(self, piece: Piece) -> Draft:
        """Return the same parts with another first chunk."""
        (_, *pieces), *groups = self.groups
        return dataclasses.replace(self, groups=((piece, *pieces), *groups))


def draft_of(file: File) -> Draft:
    """Return the parts of a file that was read."""
    header, layers = file.header, [chunk.layers for chunk in file.tiles[0]]
    pieces = [[Piece(chunk.raw, chunk.payload, chunk.bits_crc) for chunk in chunks] for chunks in file.tiles]
    groups = tuple(zip(*pieces, strict=True))
    return Draft(header.head, group_ends(layers), tuple(file.extras.items()), groups)


def group_ends(groups: Sequence[range]) -> bytes:
    """Return the first field of the index."""
    bits = sum(1 << layers.stop - 1 for layers in groups)
    return bits.to_bytes(-(-groups[-1].stop // 8), "little")


def varint(value: int) -> bytes:
    """Return a number with seven bits in each byte, the lowest first."""
    rest, low = divmod(value, 128)
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def _crc(*parts: bytes) -> bytes:
    return u32(crc_of(*parts))


class _Writer:
    """A replacement for a decoder's payload, which returns levels that are known and writes them."""

    def __init__(self, passes: Iterator[Levels], tables: Tables) -> None:
        self._passes, self._tables = passes, tables
        self._encoder, self._raw_bits = RangeEncoder(), ""

    def read(self, mu: Integers, scale: Integers, maximum: int) -> Levels:
        """Write the levels of the next pass and return them."""
        levels = next(self._passes)
        flat = levels.ravel()

        def answers(which: Integers, thresholds: Integers, numerators: Integers) -> Bits:
            bits: Bits = flat[which] >= thresholds
            self._encoder.put(bits.tolist(), numerators.tolist())
            return bits

        by_rounds(self._tables, mu, scale, maximum, answers)
        self._raw_bits += "".join(f"{level:0{maximum.bit_length()}b}" for level in flat.tolist())
        return levels

    def payload(self, *, always_raw: bool) -> tuple[bool, bytes]:
        """Return whether the payload is raw, and its bytes."""
        coded, bits = self._encoder.payload(), self._raw_bits
        raw = bytes(int(bits[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(bits), 8))
        return (False, coded) if len(coded) < len(raw) and not always_raw else (True, raw)


def pieces_of(
    network: IntegerNetwork,
    tables: Tables,
    header: Header,
    levels: Sequence[Levels],
    groups: Sequence[range],
    *,
    always_raw: bool = False,
) -> tuple[tuple[Piece, ...], ...]:
    """Return the chunks of a whole picture's levels, by group and then by tile."""
    architecture, by_tile = network.architecture, []
    for number, tile in enumerate(header.tiles):
        own = [layer[:, tile.rows, tile.columns] for layer in levels]
        passes = (
            part[:, positions]
            for layer, part in enumerate(own)
            for positions in passes_of(architecture.layer_phases[layer], tile.grid)
            if positions.any()
        )
        writers = [_Writer(passes, tables) for _ in groups]
        readers = [writer for writer, layers in zip(writers, groups, strict=True) for _ in layers]
        decode_passes(network, readers, header.quality, tile.grid)
        by_tile.append(
            [
                Piece(
                    *writer.payload(always_raw=always_raw), bits_crc(header.head, number, own[: layers.stop])
                )
                for writer, layers in zip(writers, groups, strict=True)
            ]
        )
    return tuple(zip(*by_tile, strict=True))


def bits_crc(head: bytes, tile: int, levels: Sequence[Levels]) -> int:
    """Return the checksum of a tile's levels up to here."""
    return crc_of(head, u32(tile), *(part.astype("u1").tobytes() for part in levels))


def alpha_payload(plane: alpha.Plane, method: int) -> bytes:
    """Return alpha stored by a method, whether it is the shortest or not."""
    if method == alpha.CODED:
        return bytes([method, plane[0, 0]]) + _coded_samples(plane)
    samples = plane
    for axis, bit in ((1, 1), (0, 2)):
        if method & bit:
            samples = np.diff(samples, axis=axis, prepend=np.zeros_like(samples.take([0], axis)))
    return bytes([method]) + zlib.compress(samples.tobytes(), 9)


def _coded_samples(plane: alpha.Plane) -> bytes:
    encoder = RangeEncoder()

    def answer(
        places: alpha.Places, numerators: Integers, truth: Callable[[Integers], alpha.Bits]
    ) -> alpha.Bits:
        bits = truth(plane[places].astype(np.int64))
        encoder.put(bits.tolist(), numerators.tolist())
        return bits

    alpha.plane_of(int(plane[0, 0]), plane.shape, answer)
    return encoder.payload()
