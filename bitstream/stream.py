"""Layers in, file out, and back (FORMAT, "Chunks" and "Strictness").

The reader writes the file again as it reads, with the writer's own code but in the file's groups of layers,
and requires every chunk to come out as it was. So a file that breaks a rule is refused, and packing what was
unpacked from a file of the same grouping gives the same bytes.
"""

import zlib
from collections.abc import Sequence

import numpy as np

from bincodec.bitstream.coder import BitDecoder, BitEncoder
from bincodec.bitstream.container import CODED, MAX_GROUPED, RAW, Ancillary, Chunk, Container, write
from bincodec.bitstream.errors import BitsMismatch, Corrupt, Truncated
from bincodec.bitstream.header import FIELD_BYTES, Header
from bincodec.bitstream.levels import Levels, decode_levels, encode_levels
from bincodec.bitstream.probability import Integers
from bincodec.bitstream.raw import Pass, RawDecoder, pack_raw, raw_size

CHUNK_BYTES = 2048
"""A file's n-th chunk ends with the layer that brings its coded size to n times this: a picture is there
early, and what surrounds a payload stays in proportion to what came before it (FORMAT, "Overhead")."""


class LayerWriter:
    """Takes the passes of each layer in coding order and makes the file."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self.chunks: list[Chunk] = []
        # It goes on from the header's own CRC, so a forged header is noticed with the first levels. (A CRC
        # over a header and its CRC would not do: that is the same number for every header.)
        self.bits_crc = zlib.crc32(header.pack()[:FIELD_BYTES])
        self._layers = 0
        self._open()

    def put(self, levels: Levels, mu: Integers, scale: Integers, maximum: int) -> None:
        """Code one pass; all arrays (channels, positions), `levels` uint8, the rest as in `levels.decide`."""
        encode_levels(self._encoder, levels, mu, scale, maximum)
        self._passes.append((levels.copy(), maximum))

    def end_layer(self, levels: Levels, *, ends_chunk: bool | None = None) -> None:
        """Note that a layer's passes are complete; `levels` holds them all, uint8 (channels, rows, columns).

        Whether its chunk ends here is the writer's to choose (None), or it is known from a file.
        """
        if levels.dtype != np.uint8:
            msg = f"levels are {levels.dtype}, not uint8"
            raise ValueError(msg)
        self.bits_crc = zlib.crc32(levels.tobytes(), self.bits_crc)
        self._layers += 1
        self._grouped += 1
        if self._is_enough() if ends_chunk is None else ends_chunk:
            self.chunks.append(self._chunk())
            self._open()

    def finish(self, ancillary: Sequence[Ancillary] = ()) -> bytes:
        """Return the file.

        Raises:
            ValueError: if the header promises another number of layers than were ended.
            TooLarge: if a chunk outgrew the format.
        """
        return write(self.header, self.chunks, ancillary)

    def _open(self) -> None:
        self._encoder = BitEncoder()
        self._passes: list[Pass] = []
        self._grouped = 0

    def _is_enough(self) -> bool:
        if self._layers == self.header.layers or self._grouped == MAX_GROUPED:
            return True
        return self._encoder.size >= CHUNK_BYTES * (len(self.chunks) + 1)

    def _chunk(self) -> Chunk:
        coded = self._encoder.finish()
        if len(coded) < raw_size(self._passes):
            return Chunk(CODED + self._grouped, coded, self.bits_crc)
        return Chunk(RAW + self._grouped, pack_raw(self._passes), self.bits_crc)


class LayerReader:
    """Gives back the passes of each layer, in coding order."""

    def __init__(self, container: Container) -> None:
        self.layers_available = sum(chunk.layers for chunk in container.chunks)
        self._chunks = iter(container.chunks)
        self._layers_left = 0
        self._again = LayerWriter(container.header)

    def get(self, mu: Integers, scale: Integers, maximum: int) -> Levels:
        """Decode one pass, shape (channels, positions) like `mu` and `scale`; arguments as in
        `levels.decide`.

        Raises:
            Truncated: after the last of `layers_available`.
            Corrupt: for a payload that no writer makes.
        """
        if not self._layers_left:
            self._open()
        if self._chunk.raw:
            levels = self._raw.get(mu.shape, maximum)
        else:
            levels = decode_levels(self._decoder, mu, scale, maximum)
        self._again.put(levels, mu, scale, maximum)
        return levels

    def end_layer(self, levels: Levels) -> None:
        """Check, at the end of a chunk, all that was decoded from it; `levels` as in `LayerWriter.end_layer`.

        Raises:
            BitsMismatch: if the levels are not those that were written.
            Corrupt: if they are, but a writer would have stored them differently.
        """
        self._layers_left -= 1
        self._again.end_layer(levels, ends_chunk=not self._layers_left)
        if self._layers_left:
            return
        if self._again.bits_crc != self._chunk.bits_crc:
            msg = f"decoded levels have CRC {self._again.bits_crc:#010x}, not {self._chunk.bits_crc:#010x}"
            raise BitsMismatch(msg)
        if self._again.chunks[-1] != self._chunk:
            msg = f"chunk of {len(self._chunk.payload)} bytes is not the one that its levels make"
            raise Corrupt(msg)

    def _open(self) -> None:
        chunk = next(self._chunks, None)
        if chunk is None:
            msg = f"file carries only {self.layers_available} intact layers"
            raise Truncated(msg)
        self._chunk = chunk
        self._layers_left = chunk.layers
        if chunk.raw:
            self._raw = RawDecoder(chunk.payload)
        else:
            self._decoder = BitDecoder(chunk.payload)
