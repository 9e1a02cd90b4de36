"""Files out of levels, as a writer makes them, or out of parts that no writer would put together.

No decoder needs it. It serves the tests, which compare files, and try what is to be refused although all
checksums hold.
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
    """A chunk: whether it is called raw, its payload, and the checksum of the levels up to its last."""

    raw: bool
    payload: bytes
    bits_crc: int


@dataclasses.dataclass(frozen=True)
class Draft:
    """What a file is made of; `groups` has the chunks of each group, tile by tile."""

    head: bytes
    ends: bytes
    extras: tuple[tuple[int, bytes], ...]
    groups: tuple[tuple[Piece, ...], ...]

    def index(self) -> bytes:
        """The index without its checksum."""
        extras = [bytes([kind]) + varint(len(payload)) for kind, payload in self.extras]
        chunks = [varint(2 * len(each.payload) + each.raw) for pieces in self.groups for each in pieces]
        return self.ends + varint(len(extras)) + b"".join(extras + chunks)

    def write(self, index: bytes | None = None) -> bytes:
        """The file, perhaps with an index that does not fit."""
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
        """The same with other bytes in the header."""
        head = self.head[:place] + value + self.head[place + len(value) :]
        return dataclasses.replace(self, head=head)

    def with_piece(self, piece: Piece) -> Draft:
        """The same with another first chunk."""
        (_, *pieces), *groups = self.groups
        return dataclasses.replace(self, groups=((piece, *pieces), *groups))


def draft_of(file: File) -> Draft:
    """The parts of a file that was taken apart."""
    header, layers = file.header, [chunk.layers for chunk in file.tiles[0]]
    pieces = [[Piece(chunk.raw, chunk.payload, chunk.bits_crc) for chunk in chunks] for chunks in file.tiles]
    groups = tuple(zip(*pieces, strict=True))
    return Draft(header.head, group_ends(layers), tuple(file.extras.items()), groups)


def group_ends(groups: Sequence[range]) -> bytes:
    """The first field of the index."""
    bits = sum(1 << layers.stop - 1 for layers in groups)
    return bits.to_bytes(-(-groups[-1].stop // 8), "little")


def varint(value: int) -> bytes:
    """Seven bits in each byte, the lowest first."""
    rest, low = divmod(value, 128)
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def _crc(*parts: bytes) -> bytes:
    return u32(crc_of(*parts))


class _Writer:
    """Stands where a decoder has a payload, and answers with levels that are known."""

    def __init__(self, passes: Iterator[Levels], tables: Tables) -> None:
        self._passes, self._tables = passes, tables
        self._encoder, self._raw_bits = RangeEncoder(), ""

    def read(self, mu: Integers, scale: Integers, maximum: int) -> Levels:
        """The levels of the next pass, which are written."""
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
        """Whether it is raw, and the bytes."""
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
    """The chunks of a whole picture's levels, group by group and in each tile by tile."""
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
    """The checksum of a tile's levels up to here."""
    return crc_of(head, u32(tile), *(part.astype("u1").tobytes() for part in levels))


def alpha_payload(plane: alpha.Plane, method: int) -> bytes:
    """Alpha by a method, be it the shortest or not."""
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
