"""Levels from decisions (FORMAT, "Order of decisions")."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from . import probability
from .probability import Integers, Tables
from .range_decoder import RangeDecoder

Levels = npt.NDArray[np.int64]
Bits = npt.NDArray[np.bool_]
Answers = Callable[[Integers, Integers, Integers], Bits]
"""A function of the numbers of levels, a j for each, and probabilities, which returns the bits z_j."""


def by_rounds(tables: Tables, mu: Integers, scale: Integers, maximum: int, answers: Answers) -> Levels:
    """Ask for the levels of a pass, round by round. Arrays are (channels, positions)."""
    shape, middle = mu.shape, (maximum + 1) // 2
    mu, scale = mu.ravel(), scale.ravel()
    undecided = np.arange(mu.size)
    up = answers(undecided, np.full(mu.size, middle), probability.first(tables, mu, scale, middle, maximum))
    # This is the level if no further decision follows, or if the next one has the other answer.
    levels = np.where(up, middle, middle - 1)
    for turn in range(1, middle + 1):
        above, below = middle + turn, middle - turn
        asked = np.where(up, above <= maximum, below >= 1)
        undecided, up = undecided[asked], up[asked]
        m, s = mu[undecided], scale[undecided]
        numerators = np.where(
            up,
            probability.rising(tables, m, s, above, maximum),
            probability.falling(tables, m, s, below, maximum),
        )
        goes_on = answers(undecided, np.where(up, above, below), numerators) == up
        undecided, up = undecided[goes_on], up[goes_on]
        levels[undecided] = np.where(up, above, below - 1)
    return levels.reshape(shape)


class CodedLevels:
    """Levels that are range coded in a payload, pass by pass."""

    def __init__(self, payload: bytes, tables: Tables) -> None:
        self._decoder = RangeDecoder(payload)
        self._tables = tables

    def read(self, mu: Integers, scale: Integers, maximum: int) -> Levels:
        """Return the levels of the next pass."""
        return by_rounds(self._tables, mu, scale, maximum, self._answers)

    def _answers(self, _levels: Integers, _thresholds: Integers, numerators: Integers) -> Bits:
        return np.array(self._decoder.bits(numerators.tolist()), np.bool_)

    def check_end(self) -> None:
        """After the last pass, refuse a payload that does not end as a writer ends it."""
        self._decoder.check_end()
