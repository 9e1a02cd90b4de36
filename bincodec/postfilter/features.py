"""The features that a post-filter may add to a picture (FORMAT, "The post-filter").

Features are functions of the decoded picture around each pixel. There are four kinds of them:

- *tones*: polynomials of the pixel's own colour, and of the mean tone around it;
- *detail*: how much a pixel differs from the pixels next to it or near it. Some of these features are
  multiplied by the brightness, the saturation or the texture around the pixel, or by its place;
- *lines*: how far a pixel is from a line that describes, around the pixel, how its colour depends on the mean
  of the colours;
- *place*: how far to the right and how far down the pixel is.

Shared features are the same for all three colours. The other features are computed for each colour by itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

NEAR = ((0, 1), (1, -1), (1, 0), (1, 1))
"""The steps (down, right) to half of the neighbours in 3x3. The other half is on the opposite side."""
SHARED, OWN = 44, 12
SIZE = SHARED + OWN
"""The number of features. The shared ones have the first numbers."""

REACH = 8
"""The number of pixels on each side of a part that the features of its pixels depend on."""
_DEGREES = 5
_TEXTURE = 0.02
"""The mean detail at which a texture feature is 1/2. Its largest value is 1."""
_FINE, _WIDE = 3, 15
_TILE, _MAX_COLUMNS = 2**15, 1024
"""The number of pixels of a tile, which fits into a processor's cache, and the largest width of a tile."""


@dataclasses.dataclass(frozen=True)
class Tile:
    """A part of a picture of `height` x `width` pixels, and its place in the picture.

    `part` is (3, rows + 2 REACH, columns + 2 REACH) and clamped to 0..1. It includes REACH pixels on each
    side of the tile. `top` and `left` are the first row and column of the tile itself.
    """

    part: Tensor
    top: int
    left: int
    height: int
    width: int

    @property
    def here(self) -> Tensor:
        """The pixels of the tile without their surroundings, (3, rows, columns)."""
        return self.part[:, REACH:-REACH, REACH:-REACH]

    @property
    def place(self) -> tuple[slice, slice]:
        """The rows and columns of the tile in the picture, as slices."""
        rows, columns = self.here.shape[1:]
        return slice(self.top, self.top + rows), slice(self.left, self.left + columns)


@dataclasses.dataclass(frozen=True)
class View:
    """The place of an array of pixels in a picture, and the part of the picture that is to be processed.

    Args:
        top: the row of the picture that is the first row of the array.
        left: the column of the picture that is the first column of the array.
        height: the height of the picture.
        width: the width of the picture.
        rows: the rows of the picture that are to be processed. The array also holds REACH rows more on each
            side, as far as the picture has them.
        columns: likewise the columns.
    """

    top: int
    left: int
    height: int
    width: int
    rows: range
    columns: range
    every: int = 1
    """A part is read in strips of rows. Of so many strips, one is processed."""

    @classmethod
    def whole(cls, pixels: npt.NDArray[np.float32]) -> View:
        """Return the view of an array that is the whole picture."""
        height, width = pixels.shape[:2]
        return cls(0, 0, height, width, range(height), range(width))


def tiles(decoded: npt.NDArray[np.float32], view: View | None = None) -> Iterator[Tile]:
    """Yield the tiles of a picture (H, W, 3), or of the part of it that `view` describes.

    Outside the picture, its border is repeated.
    """
    view = view or View.whole(decoded)
    columns = min(len(view.columns), _MAX_COLUMNS)
    rows = max(1, _TILE // columns)
    for top in view.rows[rows * (view.every // 2) :: rows * view.every] or view.rows[::rows][:1]:
        inside = np.arange(top - REACH, min(top + rows, view.rows.stop) + REACH)
        strip = decoded[inside.clip(0, view.height - 1) - view.top]
        for left in view.columns[::columns]:
            beside = np.arange(left - REACH, min(left + columns, view.columns.stop) + REACH)
            beside = beside.clip(0, view.width - 1) - view.left
            part = torch.from_numpy(strip[:, beside]).permute(2, 0, 1).clamp(0, 1)
            yield Tile(part, top, left, view.height, view.width)


def _legendre(x: Tensor) -> Iterator[Tensor]:
    """Yield P_n(x) / 2 for n = 1..5, where P_n is the Legendre polynomial of degree n."""
    before, now = torch.ones_like(x), x
    for n in range(1, _DEGREES + 1):
        yield now / 2
        before, now = now, ((2 * n + 1) * x * now - n * before) / (n + 1)


def _taps(values: Tensor, margin: int, steps: tuple[tuple[int, int], ...]) -> list[Tensor]:
    """Return a(+k) + a(-k) - 2 a for each step k, at all pixels of (C, h, w) except those in the margin."""
    rows, columns = (side - 2 * margin for side in values.shape[1:])

    def at(down: int, right: int) -> Tensor:
        return values.narrow(1, margin + down, rows).narrow(2, margin + right, columns)

    return [at(*k) + at(-k[0], -k[1]) - 2 * at(0, 0) for k in steps]


def _slide(values: Tensor, side: int, combine: Callable[..., Tensor]) -> Tensor:
    """Combine all values in each square of side x side of (C, h, w), where the whole square is known.

    Whole rows and columns are combined at a time. On a CPU, this is many times faster than pooling.
    """
    for axis in (1, 2):
        length = values.shape[axis] - side + 1
        result = values.narrow(axis, 0, length).clone()
        for start in range(1, side):
            combine(result, values.narrow(axis, start, length), out=result)
        values = result
    return values


def _box(values: Tensor, side: int) -> Tensor:
    """Return the means over squares of side x side of (C, h, w), where the whole square is known."""
    return _slide(values, side, torch.add) / side**2


def _inside(values: Tensor, like: Tensor) -> Tensor:
    """Return the middle of (C, h, w), with the rows and columns of `like`."""
    rows, columns = like.shape[-2:]
    down, right = (values.shape[1] - rows) // 2, (values.shape[2] - columns) // 2
    return values[:, down : down + rows, right : right + columns]


def _textures(tile: Tile) -> tuple[Tensor, Tensor]:
    """Return the texture of the 3x3 and of the 15x15 pixels around, each (rows, columns) in 0..1."""
    taps = _taps(tile.part.mean(0, keepdim=True), 1, NEAR)
    detail = torch.stack(taps).abs().mean(0)
    fine, wide = (_box(detail, side) for side in (_FINE, _WIDE))
    fine, wide = _inside(fine, wide)[0], wide[0]
    return fine / (fine + _TEXTURE), wide / (wide + _TEXTURE)


def _guided(tile: Tile, side: int, least: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return means, and differences between a line fit and each pixel.

    The line is fitted in the square of `side` pixels around each pixel. It describes a colour as a linear
    function of the mean of the colours. Squares in which the mean has a variance far below `least` count as
    flat. This is the guided filter of He, Sun and Tang (2010) without its second averaging.

    Returns:
        The means of each colour over the square, (3, rows, columns), the line minus the pixel for each
        colour, (3, rows, columns), and the same for the mean of the colours, (rows, columns).
    """
    here = tile.here
    guide = tile.part.mean(0, keepdim=True)
    read = torch.cat([guide, guide**2, tile.part, guide * tile.part])
    boxes = _inside(_box(read, side), here)
    mean, square, own, product = boxes[:1], boxes[1:2], boxes[2:5], boxes[5:]
    spread = (square - mean**2).clamp_min(0) + least
    away = here.mean(0) - mean
    return own, own + (product - mean * own) / spread * away - here, (-least / spread * away)[0]


def compute(tile: Tile) -> tuple[Tensor, Tensor]:
    """Return the features of the table in FORMAT: shared (SHARED, pixels), and own (3, OWN, pixels).

    The constant factors make the weights of all features similar in size.
    """
    here = tile.here
    rows, columns = here.shape[1:]
    x = 2 * here - 1
    red, green, blue = x
    mean = x.mean(0)
    fine, wide = _textures(tile)
    near = torch.stack(_taps(tile.part, REACH, NEAR))
    taps = near.mean(1)
    detail, own = -taps.mean(0), -near.mean(0)
    near_mean, line, near_line = _guided(tile, 5, 1e-4)
    wide_mean, _, wide_line = _guided(tile, 9, 1e-3)
    coarse = wide_mean - here
    bulge, tone = coarse.mean(0), 2 * wide_mean.mean(0) - 1
    around = tile.part[:, REACH - 1 : 1 - REACH, REACH - 1 : 1 - REACH]
    above, below = _slide(around, 3, torch.maximum) - here, here - _slide(around, 3, torch.minimum)
    saturation = here.amax(0) - here.amin(0)
    right = ((2 * (tile.left + torch.arange(columns)) + 1).float() / tile.width - 1).expand(rows, columns)
    down = ((2 * (tile.top + torch.arange(rows)) + 1).float() / tile.height - 1)[:, None].expand(
        rows, columns
    )
    curves = zip(_legendre(x), (1, 1, 1 / 2, 1 / 8, 1 / 8), strict=True)
    tones = list(_legendre(tone))
    shared = [
        *torch.cat([factor * curve for curve, factor in curves]),
        *(pair / 2 for pair in (red * green, green * blue, red * blue)),
        *(red**2 * green / 2, red**2 * blue / 2, green**2 * red / 2),
        *(green**2 * blue / 2, blue**2 * red / 2, blue**2 * green / 2),
        *(tones[1] / 8, tones[2] / 8),
        *(detail, detail * mean, detail * mean**2, 4 * detail * fine, 4 * detail * wide),
        *(detail.clamp_min(0) / 2, (taps[0] + taps[2]) / 2, taps[2] / 8, detail * right**2 / 2),
        *(bulge, bulge.clamp_min(0), (near_mean - here).mean(0)),
        *(above.mean(0), below.mean(0), near_line, wide_line),
        *(right / 128, down / 128),
    ]
    alone = [
        *(own * x, own * x**2, own * saturation, 4 * own * fine, 4 * own * wide),
        *(own.clamp_min(0) / 2, own * right / 8, own * down / 8, coarse, line),
        *(tap / 8 for tap in _taps(tile.part, REACH, ((0, 2), (2, 0)))),
    ]
    return torch.stack(shared).flatten(1), torch.stack(alone, 1).flatten(2)
