"""Distortion of one image, and the distance between two rate-distortion curves."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bincodec.bitstream.errors import BincodecError

Curve = Sequence[tuple[float, float]]
"""Points of (bits per pixel, PSNR in dB), in any order."""

SMALLEST_RATE_FACTOR = 3.0
"""Over a narrower span a BD-rate says more about where two curves happen to overlap than about the codecs."""

FEWEST_POINTS = 4
"""As in Bjøntegaard's method (VCEG-M33); fewer leave the interpolation to guess."""


class NotComparable(BincodecError):
    """Two curves between which no BD-rate should be computed, or no means to compute it."""


@dataclass(frozen=True)
class BdRate:
    """Mean difference in rate at equal PSNR.

    Args:
        percent: negative where the tested codec needs fewer bits than the anchor.
        psnr: the lowest and highest PSNR in dB that both curves reach, over which the mean is taken.
        bits_per_pixel: the tested codec's rates at these two.
    """

    percent: float
    psnr: tuple[float, float]
    bits_per_pixel: tuple[float, float]


def psnr(reference: NDArray[np.uint8], decoded: NDArray[np.uint8]) -> float:
    """10 log10(255^2 / MSE) in dB over all samples of two (H, W, 3) images; inf where they are equal.

    Raises:
        ValueError: if they are not 8-bit images of one shape.
    """
    if reference.shape != decoded.shape or reference.dtype != np.uint8 or decoded.dtype != np.uint8:
        msg = (
            "PSNR is defined here for two 8-bit images of one shape, "
            f"not for {reference.dtype} {reference.shape} and {decoded.dtype} {decoded.shape}"
        )
        raise ValueError(msg)
    mse = float(np.mean((reference.astype(np.float64) - decoded) ** 2))
    return 10 * math.log10(255**2 / mse) if mse > 0 else math.inf


def bd_rate(anchor: Curve, tested: Curve) -> BdRate:
    """Bjøntegaard's mean difference in rate of `tested` against `anchor`: PCHIP over PSNR, on log rate.

    Raises:
        NotComparable: if a curve has fewer than 4 points or does not rise strictly, if the rates of the
            common PSNR range span less than a factor of 3 on either curve, or without the package
            `bjontegaard`.
    """
    rates_anchor, psnr_anchor = _rising(anchor, "the anchor")
    rates_tested, psnr_tested = _rising(tested, "the tested curve")
    lowest, highest = max(psnr_anchor[0], psnr_tested[0]), min(psnr_anchor[-1], psnr_tested[-1])
    if lowest >= highest:
        msg = (
            f"no common PSNR: the anchor has {psnr_anchor[0]:.2f}-{psnr_anchor[-1]:.2f} dB, "
            f"the tested curve {psnr_tested[0]:.2f}-{psnr_tested[-1]:.2f} dB"
        )
        raise NotComparable(msg)
    try:
        # Late: the package imports Matplotlib.
        import bjontegaard
    except ImportError as error:
        msg = "BD-rates need the package bjontegaard: pip install 'bincodec[eval]'"
        raise NotComparable(msg) from error
    percent, log_rate_anchor, log_rate_tested = bjontegaard.bd_rate(
        rates_anchor,
        psnr_anchor,
        rates_tested,
        psnr_tested,
        method="pchip",
        require_matching_points=False,
        interpolators=True,
        min_overlap=0,
    )
    ends = [10 ** curve(np.array([lowest, highest])) for curve in (log_rate_anchor, log_rate_tested)]
    factor = min(float(last / first) for first, last in ends)
    if factor < SMALLEST_RATE_FACTOR:
        msg = (
            f"the common range {lowest:.2f}-{highest:.2f} dB spans a factor of {factor:.2f} in rate, "
            f"less than {SMALLEST_RATE_FACTOR:g}"
        )
        raise NotComparable(msg)
    first, last = ends[1]
    return BdRate(float(percent), (lowest, highest), (float(first), float(last)))


def _rising(curve: Curve, name: str) -> tuple[list[float], list[float]]:
    """Rates and PSNRs in order; interpolation is meaningless unless both rise strictly and are finite."""
    points = sorted(curve)
    if len(points) < FEWEST_POINTS:
        msg = f"{name} has {len(points)} points, fewer than {FEWEST_POINTS}"
        raise NotComparable(msg)
    rates, values = [rate for rate, _ in points], [value for _, value in points]
    rises = bool(np.all(np.diff(rates) > 0) and np.all(np.diff(values) > 0))
    if not (rises and rates[0] > 0 and math.isfinite(values[0]) and math.isfinite(values[-1])):
        msg = f"{name} does not rise strictly and finitely in rate and PSNR"
        raise NotComparable(msg)
    return rates, values
