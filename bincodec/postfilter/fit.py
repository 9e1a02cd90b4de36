"""Fit the post-filter of a picture: least squares, choosing the features worth their bytes, and rounding."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import torch

from bincodec.bitstream import rice
from bincodec.bitstream.container import Extra
from bincodec.bitstream.index import POST_FILTER
from bincodec.postfilter.features import OWN, SHARED, View, compute, tiles
from bincodec.postfilter.filter import OFFSET_STEPS, PostFilter

Floats = npt.NDArray[np.float64]

WORTHWHILE_SHARE = 0.25
"""The share of the squared error that offsets alone must remove to be stored whatever their bytes cost."""

_USUAL = 0.1
"""The usual size of weights. It determines the ridge, which keeps weights from following noise."""
_ASSUMED_BITS = 19
"""The bits that are assumed for the three weights of a feature while features are chosen."""
_STEPS = range(2, 13)
_LARGEST_OFFSET = 2**15 - 1


Decoded = npt.NDArray[np.float32]


def fit_filter(original: npt.NDArray[np.uint8], decoded: Decoded, error_weight: float) -> tuple[Extra, ...]:
    """Fit a filter that brings a `decoded` picture (H, W, 3) closer to `original`, uint8 (H, W, 3).

    See `fit_moments` for the rest.
    """
    return fit_moments(moments_of(original, decoded), error_weight)


def fit_moments(moments: Moments, error_weight: float) -> tuple[Extra, ...]:
    """Fit a filter to the moments of a picture.

    `error_weight` is what a squared error of 1, summed over pixels and colours, is worth in bits. The filter
    is returned as an extra if it lowers the sum of bits and weighted error, or if it removes a visible colour
    cast; otherwise the result is empty. If the moments come from parts of the picture, the error is an
    estimate.
    """
    if not np.isfinite(moments.products).all() or not np.isfinite(moments.errors).all():
        return ()
    nothing = float(moments.squared.sum())
    offsets, left = moments.fit((), 0)
    seen = np.abs(offsets.offsets).max() >= OFFSET_STEPS / 2
    cast = seen and left < (1 - WORTHWHILE_SHARE) * nothing
    chosen = moments.choose(error_weight)
    found = [(offsets, left), *(moments.fit(chosen, steps) for steps in _STEPS if chosen)]
    best: tuple[Extra, ...] = ()
    lowest = error_weight * nothing
    for tried, error in found:
        chunk = Extra(POST_FILTER, tried.payload())
        cost = 8 * chunk.size + error_weight * error
        if cost < lowest or (cast and not best):
            best, lowest = (chunk,), min(cost, lowest)
    return best


@dataclasses.dataclass(frozen=True)
class Moments:
    """Sums over pixels for each colour, from which filters are fitted.

    e is the error of a pixel, and x holds what e is fitted with: the features, and 1 as the last item.

    Args:
        products: the sums of x x^T, (3, n, n).
        errors: the sums of x e, (3, n).
        squared: the sums of e^2, (3,).
        pixels: the number of pixels.
    """

    products: Floats
    errors: Floats
    squared: Floats
    pixels: int

    def __add__(self, other: Moments) -> Moments:
        """Return the moments of two parts of a picture together."""
        return Moments(
            self.products + other.products,
            self.errors + other.errors,
            self.squared + other.squared,
            self.pixels + other.pixels,
        )

    def extrapolated(self, pixels: int) -> Moments:
        """Return what these moments of some of the pixels promise for a picture of so many `pixels`."""
        share = pixels / self.pixels
        return Moments(share * self.products, share * self.errors, share * self.squared, pixels)

    def error(self, weights: Floats) -> float:
        """Return the squared error that remains with `weights` (3, n)."""
        left = self.squared - 2 * (weights * self.errors).sum(1)
        left += np.einsum("ci,cij,cj->c", weights, self.products, weights)
        return float(left.clip(0).sum())

    def ridged(self) -> Floats:
        """Return the products plus a ridge. It keeps weights small and separates nearly equal features."""
        largest = self.products.diagonal(axis1=1, axis2=2).max(1)
        ridge = (self.squared / self.pixels + 1e-9) / _USUAL**2 + 1e-10 * largest
        ridged: Floats = self.products + ridge[:, None, None] * np.eye(self.errors.shape[1])
        return ridged

    def choose(self, error_weight: float) -> tuple[int, ...]:
        """Return the features that are worth their bits. Each one removes the most of the remaining error.

        After each choice, Gaussian elimination removes the chosen feature from all others.
        """
        size = self.errors.shape[1] - 1
        table = np.concatenate([self.ridged(), self.errors[:, :, None]], 2)
        corner = np.concatenate([self.errors, self.squared[:, None]], 1)
        table = np.concatenate([table, corner[:, None]], 1)
        _eliminate(table, size)
        left, order = np.ones(size, bool), []
        worth, most = 0, 0.0
        before = float(table[:, -1, -1].sum())
        for count in range(1, size + 1):
            own = np.where(left, table.diagonal(axis1=1, axis2=2)[:, :size], 1.0)
            gains = np.where(left, (table[:, :size, -1] ** 2 / own).sum(0), -1.0)
            best = int(gains.argmax())
            left[best] = False
            order.append(best)
            _eliminate(table, best)
            gain = error_weight * (before - table[:, -1, -1].sum()) - _ASSUMED_BITS * count
            if gain > most:
                worth, most = count, gain
        return tuple(order[:worth])

    def fit(self, chosen: tuple[int, ...], steps: int) -> tuple[PostFilter, float]:
        """Return the post-filter with the features `chosen`, in units of 1/2^`steps`, and its squared error.

        Weights are rounded one after the other in the order of `chosen`, and the offset last. The weights
        that are rounded later compensate for the rounding of earlier ones.
        """
        some = [*chosen, self.errors.shape[1] - 1]
        unit = np.array([2.0**-steps] * len(chosen) + [1 / (255 * OFFSET_STEPS)])
        largest = np.array([rice.LARGEST] * len(chosen) + [_LARGEST_OFFSET])
        products = self.ridged()[:, some][:, :, some]
        exact = np.linalg.solve(products, self.errors[:, some, None])[..., 0]
        # Because of the reversed order, each row of the triangular root involves one weight to be rounded and
        # those that were rounded before it.
        root = np.linalg.cholesky(products[:, ::-1, ::-1]).swapaxes(1, 2)[:, ::-1, ::-1]
        stored, missed = np.zeros(exact.shape), np.zeros(exact.shape)
        for index in range(len(some)):
            made_up = (root[:, index, :index] * missed[:, :index]).sum(1) / root[:, index, index]
            aim = exact[:, index] + made_up
            stored[:, index] = np.round(aim / unit[index]).clip(-largest[index], largest[index])
            missed[:, index] = exact[:, index] - unit[index] * stored[:, index]
        weights = np.zeros(self.errors.shape)
        weights[:, some] = unit * stored
        rising = np.argsort(chosen)
        whole = stored.astype(np.int64)
        found = PostFilter(whole[:, -1], tuple(sorted(chosen)), whole[:, :-1][:, rising], steps)
        return found, self.error(weights)


def _eliminate(table: Floats, place: int) -> None:
    """Eliminate row and column `place` from all others of symmetric matrices (3, n, n), in place."""
    row = table[:, place].copy()
    table -= row[:, :, None] * (row / row[:, place, None])[:, None, :]


@torch.inference_mode()
def moments_of(original: npt.NDArray[np.uint8], decoded: Decoded, view: View | None = None) -> Moments:
    """Return the moments of a `decoded` picture (H, W, 3) with its `original`, uint8 (H, W, 3).

    With `view`, `decoded` is a part of the picture, and the moments are those of the view's pixels. Products
    of shared features, with the constant among them, are computed once for all colours. Products that involve
    a colour's own features are computed for each colour.
    """
    # These are float64, because features are nearly equal on flat and on grey pictures.
    common = torch.zeros(SHARED + 1, SHARED + 1, dtype=torch.float64)
    mixed = torch.zeros(3, OWN, SHARED + 1, dtype=torch.float64)
    alone = torch.zeros(3, OWN, OWN, dtype=torch.float64)
    errors = torch.zeros(3, SHARED + 1 + OWN, dtype=torch.float64)
    squared, used = torch.zeros(3, dtype=torch.float64), 0
    for tile in tiles(decoded, view):
        here = tile.here
        target = torch.from_numpy(original[tile.place]).permute(2, 0, 1).float() / 255
        error = (target - here).flatten(1).double()
        shared, own = (part.double() for part in compute(tile))
        shared = torch.cat([shared, torch.ones_like(error[:1])])
        common += shared @ shared.T
        mixed += own @ shared.T
        alone += own @ own.mT
        errors += torch.cat([error @ shared.T, (own @ error[..., None])[..., 0]], 1)
        squared += error.square().sum(1)
        used += error.shape[1]
    upper = torch.cat([common.expand(3, -1, -1), mixed.mT], 2)
    products = torch.cat([upper, torch.cat([mixed, alone], 2)], 1)
    order = [*range(SHARED), *range(SHARED + 1, SHARED + 1 + OWN), SHARED]
    return Moments(products[:, order][:, :, order].numpy(), errors[:, order].numpy(), squared.numpy(), used)
