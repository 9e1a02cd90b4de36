"""How the encoder fits a picture's post-filter: least squares, the features worth their bytes, rounding."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch

from bincodec.bitstream import rice
from bincodec.bitstream.container import Extra
from bincodec.postfilter.features import OWN, SHARED, View, compute, tiles
from bincodec.postfilter.filter import KIND, OFFSET_STEPS, PostFilter

Floats = npt.NDArray[np.float64]

WORTHWHILE_SHARE = 0.25
"""Share of the squared error that offsets alone must remove to be sent whatever their bytes cost."""

_USUAL = 0.1
"""How large weights usually are: the ridge that keeps them from following noise."""
_ASSUMED_BITS = 19
"""What the three weights of a feature take, while features are chosen."""
_STEPS = range(2, 13)
_LARGEST_OFFSET = 2**15 - 1


Decoded = npt.NDArray[np.float32]


def fit_filter(
    original: npt.NDArray[np.uint8], decoded: Decoded | Iterable[tuple[Decoded, View]], error_weight: float
) -> tuple[Extra, ...]:
    """The filter that takes a `decoded` picture (H, W, 3) towards `original`, if it is worth sending.

    `decoded` may also be parts of the picture, with what lies around them: the filter is then fitted to the
    pixels that their views mean. `error_weight` is what a squared error of 1, summed over pixels and colours,
    is worth in bits. Bits and error together do not rise, but for a plain cast; of parts that is an estimate.
    """
    parts = [(decoded, View.whole(decoded))] if isinstance(decoded, np.ndarray) else decoded
    moments = _moments(original, parts)
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
        chunk = Extra(KIND, tried.payload())
        cost = 8 * chunk.size + error_weight * error
        if cost < lowest or (cast and not best):
            best, lowest = (chunk,), min(cost, lowest)
    return best


@dataclasses.dataclass(frozen=True)
class _Moments:
    """Of each channel, over pixels: x x^T (3, n, n), x e (3, n), e^2 (3,), for the error e and what it is
    fitted with, x: the features, and 1 as the last."""

    products: Floats
    errors: Floats
    squared: Floats
    pixels: int

    def error(self, weights: Floats) -> float:
        """The squared error that `weights` (3, n) leave."""
        left = self.squared - 2 * (weights * self.errors).sum(1)
        left += np.einsum("ci,cij,cj->c", weights, self.products, weights)
        return float(left.clip(0).sum())

    def ridged(self) -> Floats:
        """The products with what keeps weights small, and columns that say the same apart."""
        largest = self.products.diagonal(axis1=1, axis2=2).max(1)
        ridge = (self.squared / self.pixels + 1e-9) / _USUAL**2 + 1e-10 * largest
        ridged: Floats = self.products + ridge[:, None, None] * np.eye(self.errors.shape[1])
        return ridged

    def choose(self, error_weight: float) -> tuple[int, ...]:
        """Features in the order in which they take away most of the error, as many as are worth their bits.

        Each step takes the features chosen so far out of all others (Gaussian elimination).
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
        """The post-filter with the features `chosen`, in 1/2^`steps`, and the error that it leaves.

        Weights are rounded one after the other, as chosen and the offset last: what rounding did to one is
        made up for by those that come later.
        """
        some = [*chosen, self.errors.shape[1] - 1]
        unit = np.array([2.0**-steps] * len(chosen) + [1 / (255 * OFFSET_STEPS)])
        largest = np.array([rice.LARGEST] * len(chosen) + [_LARGEST_OFFSET])
        products = self.ridged()[:, some][:, :, some]
        exact = np.linalg.solve(products, self.errors[:, some, None])[..., 0]
        # Backwards, the last column of a triangular root is the first weight to be rounded.
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
    """Take row and column `place` out of all others of symmetric matrices (3, n, n), in place."""
    row = table[:, place].copy()
    table -= row[:, :, None] * (row / row[:, place, None])[:, None, :]


@torch.inference_mode()
def _moments(original: npt.NDArray[np.uint8], parts: Iterable[tuple[Decoded, View]]) -> _Moments:
    """Moments over a picture, as they are in all of the parts of it that are given.

    Of what all channels share, the constant among it, products are taken once; of their own with these, and
    with themselves.
    """
    height, width = original.shape[:2]
    # In float64: on flat and grey pictures the columns say nearly the same.
    common = torch.zeros(SHARED + 1, SHARED + 1, dtype=torch.float64)
    mixed = torch.zeros(3, OWN, SHARED + 1, dtype=torch.float64)
    alone = torch.zeros(3, OWN, OWN, dtype=torch.float64)
    errors = torch.zeros(3, SHARED + 1 + OWN, dtype=torch.float64)
    squared, used = torch.zeros(3, dtype=torch.float64), 0
    for tile in itertools.chain.from_iterable(tiles(*part) for part in parts):
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
    share = height * width / used
    return _Moments(
        share * products[:, order][:, :, order].numpy(),
        share * errors[:, order].numpy(),
        share * squared.numpy(),
        height * width,
    )
