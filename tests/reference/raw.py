"""Levels that are stored without coding (FORMAT, "Raw chunks")."""

from __future__ import annotations

import numpy as np

from .errors import refuse
from .levels import Bits, Levels, by_rounds
from .probability import Integers, Tables
from .range_encoder import RangeEncoder


class RawLevels:
    """Levels as plain binary numbers in a payload, pass by pass.

    They are also encoded, because a writer stores raw levels only if coding does not make them shorter.
    """

    def __init__(self, payload: bytes, tables: Tables) -> None:
        self._payload = payload
        self._bits = np.unpackbits(np.frombuffer(payload, np.uint8))
        self._next = 0
        self._tables = tables
        self._encoder = RangeEncoder()

    def read(self, mu: Integers, scale: Integers, maximum: int) -> Levels:
        """Return the levels of the next pass. Locations and scales say how they would be coded."""
        size = maximum.bit_length()
        last = self._next + mu.size * size
        if last > self._bits.size:
            refuse("corrupt", f"{self._bits.size} raw bits, where {last} or more are needed")
        bits = self._bits[self._next : last].reshape(-1, size)
        self._next = last
        levels = bits @ (1 << np.arange(size)[::-1])
        if levels.max(initial=0) > maximum:
            refuse("corrupt", f"a raw level of {levels.max()}, beyond {maximum}")

        def answers(which: Integers, thresholds: Integers, numerators: Integers) -> Bits:
            found: Bits = levels[which] >= thresholds
            self._encoder.put(found.tolist(), numerators.tolist())
            return found

        by_rounds(self._tables, mu, scale, maximum, answers)
        return levels.reshape(mu.shape)

    def check_end(self) -> None:
        """After the last pass, refuse anything beyond a few zeros, and levels that coding makes shorter."""
        rest = self._bits[self._next :]
        if rest.size >= 8 or rest.any():
            refuse("corrupt", f"{rest.size} bits follow the last raw level")
        coded = len(self._encoder.payload())
        if coded < len(self._payload):
            refuse("corrupt", f"a raw payload of {len(self._payload)} bytes, which coded would take {coded}")
