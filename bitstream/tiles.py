"""The latent grid and its tiles (FORMAT, "Grid and tiles").

A picture is described on a grid of positions. One position stands for 16 x 16 pixels. The grid is cut into
tiles of nearly the same size, which are coded independently of each other. Each tile can therefore be read
alone, and damage to one tile does not affect the others.
"""

import functools
from dataclasses import dataclass

POSITION = 16
"""Pixels per position along each axis."""

SMALLEST_SIDE, LARGEST_SIDE = 16, 64
"""The range of the tile side, in positions. It bounds the number of tiles and the memory for one tile."""

DEFAULT_SIDE = 64
"""64 positions, or 1024 pixels. Tiles of this side make files less than 1 % larger (docs/decisions/0020)."""


@dataclass(frozen=True)
class Tile:
    """One tile of the grid, in positions.

    It has the rows from `top` up to, but not including, `bottom`, and the columns from `left` up to, but not
    including, `right`. `number` counts tiles from 0, row by row. `row` and `column` count them along each
    axis.
    """

    number: int
    row: int
    column: int
    top: int
    left: int
    bottom: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        """The height and width in positions."""
        return self.bottom - self.top, self.right - self.left

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """The top, left, bottom and right."""
        return self.top, self.left, self.bottom, self.right

    @property
    def place(self) -> tuple[slice, slice]:
        """The rows and columns of the tile in an array of positions, as slices."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def __str__(self) -> str:
        return f"tile {self.number} (row {self.row}, column {self.column})"


def grid_of(width: int, height: int) -> tuple[int, int]:
    """Return the number of rows and columns of positions for an image of `width` x `height` pixels."""
    return -(-height // POSITION), -(-width // POSITION)


@functools.lru_cache(maxsize=64)
def tiles_of(width: int, height: int, side: int) -> tuple[Tile, ...]:
    """Return the tiles of an image of `width` x `height` pixels. `side` is the largest side in positions.

    An axis of g positions is cut into n = ceil(g / side) parts. Part i reaches from floor(i g / n) up to, but
    not including, floor((i + 1) g / n). The tiles thus have nearly equal sides.
    """
    rows, columns = (cuts(length, side) for length in grid_of(width, height))
    across = len(columns) - 1
    return tuple(
        Tile(
            row * across + column, row, column, rows[row], columns[column], rows[row + 1], columns[column + 1]
        )
        for row in range(len(rows) - 1)
        for column in range(across)
    )


def count_tiles(width: int, height: int, side: int) -> int:
    """Return the number of tiles that `tiles_of` returns, without making them."""
    rows, columns = grid_of(width, height)
    return -(-rows // side) * -(-columns // side)


def cuts(length: int, side: int) -> list[int]:
    """Return where `length` positions are cut into the fewest parts of at most `side`, with both ends."""
    count = -(-length // side)
    return [index * length // count for index in range(count + 1)]
