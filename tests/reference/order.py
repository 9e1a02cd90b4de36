"""The order of coding: layers, and in each its phases (MODEL, "Passes")."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.bool_]
"""True at the positions of a pass: (rows, columns)."""

_PHASES = {1: ((0, 0), (0, 0)), 2: ((0, 1), (1, 0)), 4: ((0, 2), (3, 1))}
"""By the number of phases: the phase of a position, by the parities of its row and of its column."""


def grid_of(width: int, height: int) -> tuple[int, int]:
    """Rows and columns of positions that cover so many pixels."""
    return -(-height // 16), -(-width // 16)


def passes_of(phases: int, grid: tuple[int, int]) -> list[Positions]:
    """The positions of each pass of a layer; where a grid is small, some have none."""
    rows, columns = (np.arange(side) % 2 for side in grid)
    phase = np.array(_PHASES[phases])[rows[:, None], columns]
    return [phase == number for number in range(phases)]
