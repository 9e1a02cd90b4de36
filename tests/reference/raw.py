"""Levels that are stored as they are (FORMAT, "Raw chunks")."""

from __future__ import annotations

import numpy as np

from .errors import refuse
from .levels import Levels
from .probability import Integers


class RawLevels:
    """Levels as plain binary numbers in a payload, pass by pass."""

    def __init__(self, payload: bytes) -> None:
        self._bits = np.unpackbits(np.frombuffer(payload, np.uint8))
        self._next = 0

    def read(self, mu: Integers, scale: Integers, maximum: int) -> Levels:
        """The levels of the next pass; locations and scales only say how many there are."""
        size = maximum.bit_length()
        last = self._next + mu.size * size
        if last > self._bits.size:
            refuse("corrupt", f"{self._bits.size} raw bits, where {last} or more are needed")
        bits = self._bits[self._next : last].reshape(-1, size)
        self._next = last
        levels = bits @ (1 << np.arange(size)[::-1])
        if levels.max(initial=0) > maximum:
            refuse("corrupt", f"a raw level of {levels.max()}, beyond {maximum}")
        return levels.reshape(mu.shape)

    def check_end(self) -> None:
        """After the last pass: only zeros may be left, and less than a byte of them."""
        rest = self._bits[self._next :]
        if rest.size >= 8 or rest.any():
            refuse("corrupt", f"{rest.size} bits follow the last raw level")
