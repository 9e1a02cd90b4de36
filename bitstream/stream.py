"""Turn the levels of a tile into chunks, and chunks into levels (FORMAT, "Chunks" and "Strictness").

While the reader decodes a chunk, it writes the chunk again with the writer's own code and requires the same
bytes. It thus refuses a file that breaks a rule, and packing what was unpacked gives the same bytes.
"""

import zlib
from collections.abc import Sequence

import numpy as np

from bincodec.bitstream.coder import BitDecoder, BitEncoder
from bincodec.bitstream.container import Chunk, name_of
from bincodec.bitstream.errors import BitsMismatch, Corrupt, Truncated
from bincodec.bitstream.header import Header
from bincodec.bitstream.levels import Levels, decode_levels, encode_levels
from bincodec.bitstream.probability import Integers
from bincodec.bitstream.raw import Pass, RawDecoder, pack_raw, raw_size
from bincodec.bitstream.tiles import Tile

GROUP_BYTES = 2048
"""The size of the first group in bytes a tile. A writer ends the n-th group with the layer that brings it to
about n times this size. The first groups are small, so a first picture comes early. Later groups are larger,
so the bytes around the payloads stay few in proportion (FORMAT, "Chunks")."""


def group_layers(layer_bits: Sequence[int], tiles: int) -> tuple[int, ...]:
    """Return the number of layers of each group, given an estimate of the bits of each layer in all tiles."""
    groups: list[int] = []
    bits, layers = 0, 0
    for layer in layer_bits:
        bits, layers = bits + layer, layers + 1
        if bits >= 8 * GROUP_BYTES * tiles * (len(groups) + 1):
            groups.append(layers)
            bits, layers = 0, 0
    return (*groups, layers) if layers else tuple(groups)


class TileWriter:
    """Encode the passes of a tile's layers, in coding order, into chunks. Each group becomes one chunk."""

    def __init__(self, header: Header, tile: Tile, groups: Sequence[int]) -> None:
        self.chunks: list[Chunk] = []
        # The CRC continues from the CRC of the header's fields, so a forged header is noticed with the first
        # levels. (A CRC over a header and its own CRC would not work: it is the same for every header.)
        self.bits_crc = zlib.crc32(tile.number.to_bytes(4, "little"), header.crc)
        self._groups = groups
        self._left = 0
        self._open()

    def put(self, levels: Levels, mu: Integers, scale: Integers, maximum: int) -> None:
        """Encode one pass. Arrays are (channels, positions); `levels` is uint8; see `levels.decide`."""
        encode_levels(self.encoder, levels, mu, scale, maximum)
        self.keep(levels, maximum)

    def keep(self, levels: Levels, maximum: int) -> None:
        """Remember the levels of a pass that `encoder` has already received, in case they are stored raw."""
        self._passes.append((levels.copy(), maximum))

    def end_layer(self, levels: Levels) -> None:
        """Finish a layer after its last pass. `levels` is the whole layer, uint8 (channels, rows, columns).

        Raises:
            ValueError: if the levels have another type.
        """
        if levels.dtype != np.uint8:
            msg = f"levels are {levels.dtype}, not uint8"
            raise ValueError(msg)
        self.bits_crc = zlib.crc32(levels.tobytes(), self.bits_crc)
        self._left -= 1
        if self._left == 0:
            self.chunks.append(self._chunk())
            self._open()

    def _open(self) -> None:
        """Begin the next group, if there is one."""
        self.encoder = BitEncoder()
        self._passes: list[Pass] = []
        if len(self.chunks) < len(self._groups):
            self._left = self._groups[len(self.chunks)]

    def _chunk(self) -> Chunk:
        coded = self.encoder.finish()
        if len(coded) < raw_size(self._passes):
            return Chunk(coded, False, self.bits_crc)
        return Chunk(pack_raw(self._passes), True, self.bits_crc)


class TileReader:
    """Decode the passes of a tile's layers, in coding order."""

    def __init__(
        self, header: Header, tile: Tile, groups: Sequence[int], chunks: Sequence[Chunk | None]
    ) -> None:
        """Start with the first chunk. `chunks` are the chunks of this tile, by group."""
        self._tile = tile
        self._groups = groups
        self._chunks = chunks
        self.confirmed = 0
        """The number of layers that the checksums have confirmed."""
        self.rewritten_differs = False
        """Whether the bits are right, but a writer with these predictions would store them otherwise."""
        self._group = -1
        self._layers_left = 0
        self._again = TileWriter(header, tile, groups)

    def get(self, mu: Integers, scale: Integers, maximum: int) -> Levels:
        """Decode one pass, (channels, positions) like `mu` and `scale` (see `levels.decide`).

        Raises:
            Truncated: if the next chunk is missing.
            Corrupt: if no writer makes this payload.
        """
        if not self._layers_left:
            self._open()
        try:
            if self._chunk.raw:
                levels = self._raw.get(mu.shape, maximum)
                self._again.put(levels, mu, scale, maximum)
            else:
                levels = decode_levels(self._decoder, self._again.encoder, mu, scale, maximum)
                self._again.keep(levels, maximum)
        except Corrupt as error:
            msg = f"{self._name}: {error}"
            raise type(error)(msg) from error
        return levels

    def end_layer(self, levels: Levels) -> None:
        """Finish a layer. At the end of a chunk, check everything that was decoded from it.

        `levels` is the whole layer, as in `TileWriter.end_layer`.

        Raises:
            BitsMismatch: if the levels are not the ones that were written.
            Corrupt: if the levels are right, but a writer would have stored them differently.
        """
        self._layers_left -= 1
        self._again.end_layer(levels)
        if self._layers_left:
            return
        if self._again.bits_crc != self._chunk.bits_crc:
            msg = f"{self._name}: decoded levels have CRC {self._again.bits_crc:#010x}"
            msg += f", not {self._chunk.bits_crc:#010x}"
            raise BitsMismatch(msg)
        if self._again.chunks[-1] != self._chunk:
            self.rewritten_differs = True
            msg = f"{self._name}: {len(self._chunk.payload)} bytes are not what a writer makes of its levels"
            raise Corrupt(msg)
        self.confirmed += self._groups[self._group]

    @property
    def _name(self) -> str:
        return name_of(self._tile, self._group, self._groups)

    def _open(self) -> None:
        self._group += 1
        chunk = self._chunks[self._group] if self._group < len(self._groups) else None
        if chunk is None:
            msg = f"the chunk after {self._group} of {self._tile} is missing"
            raise Truncated(msg)
        self._chunk = chunk
        self._layers_left = self._groups[self._group]
        if chunk.raw:
            self._raw = RawDecoder(chunk.payload)
        else:
            self._decoder = BitDecoder(chunk.payload)
