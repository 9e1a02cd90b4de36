"""Where the tiles of a grid lie (FORMAT, "Grid and tiles")."""

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
        """Its own rows and columns of positions: it is coded as if it were a grid of its own."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start


def tiles_of(width: int, height: int, side: int) -> list[Tile]:
    """The tiles of a picture, row by row, each row from left to right."""
    rows, columns = grid_of(width, height)
    return [Tile(down, right) for down in parts(rows, side) for right in parts(columns, side)]


def parts(positions: int, side: int) -> list[slice]:
    """An axis in as few parts as will do that are no longer than `side`; they differ by one at most."""
    count = -(-positions // side)
    ends = [i * positions // count for i in range(count + 1)]
    return [slice(*pair) for pair in itertools.pairwise(ends)]
