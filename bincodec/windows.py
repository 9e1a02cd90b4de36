"""Parts of the latent grid that the float networks see one at a time, so that memory does not grow with the
picture (DESIGN §3).

Around each window the networks see as much more as can reach it, so no seam shows: what comes out differs
from the whole picture's only as float rounding does. Files know nothing of windows.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable

from bincodec.bitstream.tiles import POSITION, Tile, cuts

SIDE = 48
"""Positions a side: few enough for a processor's caches, many enough for what is seen around them not to
matter. On two threads 12 megapixels stay within a gigabyte."""


@dataclasses.dataclass(frozen=True)
class Window:
    """Rows `top` up to `bottom`, columns `left` up to `right` of a grid, in positions."""

    top: int
    left: int
    bottom: int
    right: int

    def grown(self, reach: int, grid: tuple[int, int]) -> Window:
        """With `reach` positions more on each side, as far as the grid goes."""
        height, width = grid
        return Window(
            max(0, self.top - reach),
            max(0, self.left - reach),
            min(height, self.bottom + reach),
            min(width, self.right + reach),
        )

    @property
    def place(self) -> tuple[slice, slice]:
        """Its rows and columns in an array of positions."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def within(self, outer: Window) -> tuple[slice, slice]:
        """Its rows and columns in an array that holds `outer`."""
        return (
            slice(self.top - outer.top, self.bottom - outer.top),
            slice(self.left - outer.left, self.right - outer.left),
        )

    def moved(self, outer: Window) -> Window:
        """The same, counted from where `outer` begins."""
        return Window(
            self.top - outer.top, self.left - outer.left, self.bottom - outer.top, self.right - outer.left
        )

    def pixels(self, height: int, width: int) -> tuple[range, range]:
        """Its rows and columns of pixels in a picture of that size."""
        return (
            range(self.top * POSITION, min(self.bottom * POSITION, height)),
            range(self.left * POSITION, min(self.right * POSITION, width)),
        )


def covering(area: Window, side: int = SIDE) -> list[Window]:
    """Windows of at most `side` positions a side that make up an area, row by row."""
    rows = [area.top + cut for cut in cuts(area.bottom - area.top, side)]
    columns = [area.left + cut for cut in cuts(area.right - area.left, side)]
    return [
        Window(top, left, bottom, right)
        for top, bottom in itertools.pairwise(rows)
        for left, right in itertools.pairwise(columns)
    ]


def of_pixels(left: int, top: int, width: int, height: int) -> Window:
    """The positions that cover a rectangle of pixels."""
    return Window(
        top // POSITION, left // POSITION, -(-(top + height) // POSITION), -(-(left + width) // POSITION)
    )


def overlap(tile: Tile, window: Window) -> Window | None:
    """What a tile and a window have in common, if anything."""
    top, left, bottom, right = tile.bounds
    common = Window(
        max(top, window.top), max(left, window.left), min(bottom, window.bottom), min(right, window.right)
    )
    return common if common.top < common.bottom and common.left < common.right else None


def tiles_under(window: Window, tiles: Iterable[Tile]) -> frozenset[int]:
    """The numbers of the tiles that have something in common with a window."""
    return frozenset(tile.number for tile in tiles if overlap(tile, window))
