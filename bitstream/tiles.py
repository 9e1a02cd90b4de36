"""The latent grid and its tiles (FORMAT, "Grid and tiles").

A picture is described on a grid of positions, each for 16 x 16 pixels. The grid is cut into tiles of nearly
the same size, which are coded independently of each other: each can be read, and damaged, alone.
"""

import functools
from dataclasses import dataclass

POSITION = 16
"""Pixels per position along each axis."""

SMALLEST_SIDE, LARGEST_SIDE = 16, 64
"""The range of a header's tile side, in positions: what bounds the number of tiles, and memory for one."""

DEFAULT_SIDE = 64
"""1024 pixels: losses at the seams stay below one percent (docs/decisions/0020)."""


@dataclass(frozen=True)
class Tile:
    """One tile: rows `top` up to `bottom`, columns `left` up to `right` of the grid, in positions.

    `number` counts tiles from 0, row by row; `row` and `column` count them along each axis.
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
        """Height and width in positions."""
        return self.bottom - self.top, self.right - self.left

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """Top, left, bottom and right."""
        return self.top, self.left, self.bottom, self.right

    @property
    def place(self) -> tuple[slice, slice]:
        """Its rows and columns in an array of positions."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def __str__(self) -> str:
        return f"tile {self.number} (row {self.row}, column {self.column})"


def grid_of(width: int, height: int) -> tuple[int, int]:
    """Rows and columns of positions that cover an image of that many pixels."""
    return -(-height // POSITION), -(-width // POSITION)


@functools.lru_cache(maxsize=64)
def tiles_of(width: int, height: int, side: int) -> tuple[Tile, ...]:
    """The tiles of an image of that many pixels, where `side` is the most positions that one may have a side.

    Along an axis of g positions there are n = ceil(g / side) tiles; tile i reaches from floor(i g / n) up to
    floor((i + 1) g / n). So no tile is a sliver.
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
    """How many tiles `tiles_of` gives, without making them."""
    rows, columns = grid_of(width, height)
    return -(-rows // side) * -(-columns // side)


def cuts(length: int, side: int) -> list[int]:
    """Where `length` positions are cut into the fewest parts of at most `side`, both ends included."""
    count = -(-length // side)
    return [index * length // count for index in range(count + 1)]
