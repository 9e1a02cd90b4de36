"""Store levels as plain binary numbers if coding would not make them smaller (FORMAT, "Raw chunks")."""

from collections.abc import Iterable, Sequence

import numpy as np

from bincodec.bitstream.errors import Corrupt
from bincodec.bitstream.levels import Levels

Pass = tuple[Levels, int]
"""The levels of a pass, and their maximum J."""


def raw_size(passes: Sequence[Pass]) -> int:
    """Return the number of bytes that `pack_raw` would return."""
    return bytes_of((levels.size, maximum) for levels, maximum in passes)


def bytes_of(counts: Iterable[tuple[int, int]]) -> int:
    """Return the bytes that raw levels take, given pairs of the number of levels and their maximum J."""
    return -(-sum(count * maximum.bit_length() for count, maximum in counts) // 8)


def pack_raw(passes: Sequence[Pass]) -> bytes:
    """Return each level in ceil(log2(J + 1)) bits, most significant first. Zeros fill the last byte."""
    bits = [
        np.unpackbits(levels.reshape(-1, 1), axis=1)[:, -maximum.bit_length() :].ravel()
        for levels, maximum in passes
    ]
    return np.packbits(np.concatenate(bits)).tobytes()


class RawDecoder:
    """Read what `pack_raw` wrote, pass by pass. The caller checks what follows the last pass."""

    def __init__(self, payload: bytes) -> None:
        self._payload = np.frombuffer(payload, np.uint8)
        self._position = 0

    def get(self, shape: tuple[int, ...], maximum: int) -> Levels:
        """Return the next levels, of this shape.

        Raises:
            Corrupt: if the payload ends before them, or if a level is above `maximum`.
        """
        width, count = maximum.bit_length(), int(np.prod(shape))
        start, stop = self._position, self._position + count * width
        if stop > 8 * self._payload.size:
            msg = f"raw chunk has {8 * self._payload.size} bits, needs {stop} or more"
            raise Corrupt(msg)
        self._position = stop
        bits = np.unpackbits(self._payload[start // 8 : -(-stop // 8)])[start % 8 :][: count * width]
        levels = np.packbits(bits.reshape(count, width), axis=1).ravel() >> np.uint8(8 - width)
        if count and levels.max() > maximum:
            msg = f"raw level {levels.max()} is over the maximum of {maximum}"
            raise Corrupt(msg)
        return levels.reshape(shape)
