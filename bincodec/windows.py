"""Windows: parts of the latent grid that the float networks process one at a time (DESIGN §6).

With windows, memory does not grow with the picture. Together with each window, the networks receive all
surroundings that can influence it. The result therefore has no seams: it differs from that of the whole
picture only by float rounding. Files do not depend on windows.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable

from bincodec.bitstream.tiles import POSITION, Tile, cuts

SIDE = 48
"""The largest side of a window in positions. Windows of this side fit a processor's caches, and are large
enough that their surroundings cost little. With two threads, 12 megapixels take less than a gigabyte."""


@dataclasses.dataclass(frozen=True)
class Window:
    """The rows from `top` up to, but not including, `bottom`, and the columns from `left` up to, but not
    including, `right` of a grid, in positions."""

    top: int
    left: int
    bottom: int
    right: int

    def grown(self, reach: int, grid: tuple[int, int]) -> Window:
        """Return the window with `reach` positions more on each side, as far as the grid has them."""
        height, width = grid
        return Window(
            max(0, self.top - reach),
            max(0, self.left - reach),
            min(height, self.bottom + reach),
            min(width, self.right + reach),
        )

    @property
    def place(self) -> tuple[slice, slice]:
        """The rows and columns of the window in an array of positions, as slices."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def within(self, outer: Window) -> tuple[slice, slice]:
        """Return the rows and columns of the window in an array that holds the window `outer`."""
        return (
            slice(self.top - outer.top, self.bottom - outer.top),
            slice(self.left - outer.left, self.right - outer.left),
        )

    def moved(self, outer: Window) -> Window:
        """Return the same window in coordinates that start at the upper left corner of `outer`."""
        return Window(
            self.top - outer.top, self.left - outer.left, self.bottom - outer.top, self.right - outer.left
        )

    def pixels(self, height: int, width: int) -> tuple[range, range]:
        """Return the rows and columns of the window's pixels in a picture of `height` x `width` pixels."""
        return (
            range(self.top * POSITION, min(self.bottom * POSITION, height)),
            range(self.left * POSITION, min(self.right * POSITION, width)),
        )


def covering(area: Window, side: int = SIDE) -> list[Window]:
    """Return windows of at most `side` positions a side that together cover an area, row by row."""
    rows = [area.top + cut for cut in cuts(area.bottom - area.top, side)]
    columns = [area.left + cut for cut in cuts(area.right - area.left, side)]
    return [
        Window(top, left, bottom, right)
        for top, bottom in itertools.pairwise(rows)
        for left, right in itertools.pairwise(columns)
    ]


def of_pixels(left: int, top: int, width: int, height: int) -> Window:
    """Return the positions that cover a rectangle of pixels."""
    return Window(
        top // POSITION, left // POSITION, -(-(top + height) // POSITION), -(-(left + width) // POSITION)
    )


def overlap(tile: Tile, window: Window) -> Window | None:
    """Return the intersection of a tile and a window, or None if it is empty."""
    top, left, bottom, right = tile.bounds
    common = Window(
        max(top, window.top), max(left, window.left), min(bottom, window.bottom), min(right, window.right)
    )
    return common if common.top < common.bottom and common.left < common.right else None


def tiles_under(window: Window, tiles: Iterable[Tile]) -> frozenset[int]:
    """Return the numbers of the tiles that intersect a window."""
    return frozenset(tile.number for tile in tiles if overlap(tile, window))
