"""What a post-filter may add to a picture: its features, pixel by pixel (FORMAT, "The post-filter").

They are functions of the decoded picture around a pixel, of these kinds:

- *tones*: polynomials of the pixel's own colour, and of the mean tone around it;
- *detail*: how much a pixel differs from those next to it or near it, plain or times what is around it
  (brightness, saturation, texture, where in the picture);
- *lines*: how far a pixel is from the line that its channel follows with the mean of all channels around it;
- *place*: how far right and down.

Some are the same for all channels (shared), some read their own channel.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

NEAR = ((0, 1), (1, -1), (1, 0), (1, 1))
"""Half of the neighbours in 3x3: steps down and right. The other half lies opposite."""
SHARED, OWN = 44, 12
SIZE = SHARED + OWN
"""Features: the shared ones have the first numbers."""

REACH = 8
"""Pixels around a part that its features read."""
_DEGREES = 5
_TEXTURE = 0.02
"""Detail at which texture counts as half of the most it can count."""
_FINE, _WIDE = 3, 15
_TILE, _MAX_COLUMNS = 2**15, 1024
"""Pixels of a tile, few enough for a processor's cache, and its width at the most."""


@dataclasses.dataclass(frozen=True)
class Tile:
    """A part of a picture of `height` x `width` pixels, (3, rows + 2 REACH, columns + 2 REACH), clamped to
    0..1, and where it lies."""

    part: Tensor
    top: int
    left: int
    height: int
    width: int

    @property
    def here(self) -> Tensor:
        """The pixels without what is around them, (3, rows, columns)."""
        return self.part[:, REACH:-REACH, REACH:-REACH]

    @property
    def place(self) -> tuple[slice, slice]:
        """Its rows and columns in the picture."""
        rows, columns = self.here.shape[1:]
        return slice(self.top, self.top + rows), slice(self.left, self.left + columns)


@dataclasses.dataclass(frozen=True)
class View:
    """Where an array of pixels lies in a picture of `height` x `width`, and which part of it is meant.

    Args:
        top: the picture's row that is the array's first.
        left: likewise the column.
        rows: the rows of the picture that are meant. REACH more on each side are in the array, where the
            picture has them.
        columns: likewise.
    """

    top: int
    left: int
    height: int
    width: int
    rows: range
    columns: range
    every: int = 1
    """Of the strips that a part is read in, one in so many is meant."""

    @classmethod
    def whole(cls, pixels: npt.NDArray[np.float32]) -> View:
        """Of an array that is the picture."""
        height, width = pixels.shape[:2]
        return cls(0, 0, height, width, range(height), range(width))


def tiles(decoded: npt.NDArray[np.float32], view: View | None = None) -> Iterator[Tile]:
    """The tiles of a picture (H, W, 3), or of the part of it that `view` describes. What lies outside the
    picture repeats its border."""
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
    """P_n(x) / 2 for n = 1..5."""
    before, now = torch.ones_like(x), x
    for n in range(1, _DEGREES + 1):
        yield now / 2
        before, now = now, ((2 * n + 1) * x * now - n * before) / (n + 1)


def _taps(values: Tensor, margin: int, steps: tuple[tuple[int, int], ...]) -> list[Tensor]:
    """a(+k) + a(-k) - 2 a for each step k, at all places of (C, h, w) but those in the margin."""
    rows, columns = (side - 2 * margin for side in values.shape[1:])

    def at(down: int, right: int) -> Tensor:
        return values.narrow(1, margin + down, rows).narrow(2, margin + right, columns)

    return [at(*k) + at(-k[0], -k[1]) - 2 * at(0, 0) for k in steps]


def _slide(values: Tensor, side: int, combine: Callable[..., Tensor]) -> Tensor:
    """What `combine` makes of side x side of (C, h, w), where all of them are known.

    By whole rows and columns: on a CPU many times faster than pooling.
    """
    for axis in (1, 2):
        length = values.shape[axis] - side + 1
        result = values.narrow(axis, 0, length).clone()
        for start in range(1, side):
            combine(result, values.narrow(axis, start, length), out=result)
        values = result
    return values


def _box(values: Tensor, side: int) -> Tensor:
    """Means over side x side of (C, h, w), where all of them are known."""
    return _slide(values, side, torch.add) / side**2


def _inside(values: Tensor, like: Tensor) -> Tensor:
    """The middle of (C, h, w), as large as `like`."""
    rows, columns = like.shape[-2:]
    down, right = (values.shape[1] - rows) // 2, (values.shape[2] - columns) // 2
    return values[:, down : down + rows, right : right + columns]


def _textures(tile: Tile) -> tuple[Tensor, Tensor]:
    """How much detail there is in 3x3 and in 15x15 pixels around, each (rows, columns) in 0..1."""
    taps = _taps(tile.part.mean(0, keepdim=True), 1, NEAR)
    detail = torch.stack(taps).abs().mean(0)
    fine, wide = (_box(detail, side) for side in (_FINE, _WIDE))
    fine, wide = _inside(fine, wide)[0], wide[0]
    return fine / (fine + _TEXTURE), wide / (wide + _TEXTURE)


def _guided(tile: Tile, side: int, least: float) -> tuple[Tensor, Tensor, Tensor]:
    """Means over the square of `side` pixels around, (3, rows, columns), and how far a line through that
    square is from each pixel: of each channel as it goes with Y, (3, rows, columns), and of Y.

    Squares in which Y varies by less than `least` count as flat (a guided filter, He, Sun and Tang 2010,
    without its second averaging).
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
    """The features of FORMAT's table: shared (SHARED, pixels), and own (3, OWN, pixels).

    Factors make the weights of all alike in size.
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
