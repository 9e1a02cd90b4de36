"""The places of the tiles of a grid (FORMAT, "Grid and tiles")."""

from __future__ import annotations

import dataclasses
import itertools

from .order import grid_of


@dataclasses.dataclass(frozen=True)
class Tile:
    """The rows and the columns of a grid that belong to a tile."""

    rows: slice
    columns: slice

    @property
    def grid(self) -> tuple[int, int]:
        """The rows and columns of positions of the tile, which is coded as a grid of its own."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start


def tiles_of(width: int, height: int, side: int) -> list[Tile]:
    """Return the tiles of a picture, row by row, and from left to right in each row."""
    rows, columns = grid_of(width, height)
    return [Tile(down, right) for down in parts(rows, side) for right in parts(columns, side)]


def parts(positions: int, side: int) -> list[slice]:
    """Cut an axis into the fewest parts that are no longer than `side`. They differ by at most one."""
    count = -(-positions // side)
    ends = [i * positions // count for i in range(count + 1)]
    return [slice(*pair) for pair in itertools.pairwise(ends)]
