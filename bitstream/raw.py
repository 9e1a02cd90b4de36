"""Levels stored as plain binary numbers, where coding would not make them smaller (FORMAT, "Raw chunks")."""

from collections.abc import Iterable, Sequence

import numpy as np

from bincodec.bitstream.errors import Corrupt
from bincodec.bitstream.levels import Levels

Pass = tuple[Levels, int]
"""The levels of a pass and their maximum."""


def raw_size(passes: Sequence[Pass]) -> int:
    """Return the bytes that `pack_raw` would take."""
    return bytes_of((levels.size, maximum) for levels, maximum in passes)


def bytes_of(counts: Iterable[tuple[int, int]]) -> int:
    """Return the bytes of raw levels, given how many there are of each maximum."""
    return -(-sum(count * maximum.bit_length() for count, maximum in counts) // 8)


def pack_raw(passes: Sequence[Pass]) -> bytes:
    """Write each level in ceil(log2(J + 1)) bits, most significant first; zeros fill the last byte."""
    bits = [
        np.unpackbits(levels.reshape(-1, 1), axis=1)[:, -maximum.bit_length() :].ravel()
        for levels, maximum in passes
    ]
    return np.packbits(np.concatenate(bits)).tobytes()


class RawDecoder:
    """Reads what `pack_raw` wrote, pass by pass. What follows the last pass is the caller's to check."""

    def __init__(self, payload: bytes) -> None:
        self._payload = np.frombuffer(payload, np.uint8)
        self._position = 0

    def get(self, shape: tuple[int, ...], maximum: int) -> Levels:
        """Return the next levels.

        Raises:
            Corrupt: at the end of the payload, or for a level above `maximum`.
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
