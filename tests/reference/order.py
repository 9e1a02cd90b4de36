"""The order of coding: layers, and phases in each layer (MODEL, "Passes")."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.bool_]
"""True at the positions of a pass, (rows, columns)."""

_PHASES = {1: ((0, 0), (0, 0)), 2: ((0, 1), (1, 0)), 4: ((0, 2), (3, 1))}
"""The phase of a position by the parities of its row and its column, for each number of phases."""


def grid_of(width: int, height: int) -> tuple[int, int]:
    """Return the rows and columns of positions that cover so many pixels."""
    return -(-height // 16), -(-width // 16)


def passes_of(phases: int, grid: tuple[int, int]) -> list[Positions]:
    """Return the positions of each pass of a layer. On a small grid, some passes have none."""
    rows, columns = (np.arange(side) % 2 for side in grid)
    phase = np.array(_PHASES[phases])[rows[:, None], columns]
    return [phase == number for number in range(phases)]
