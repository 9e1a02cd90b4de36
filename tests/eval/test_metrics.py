"""PSNR and BD-rate against values that follow from their definitions."""

import math

import numpy as np
import pytest

from bincodec.eval.metrics import NotComparable, bd_rate, psnr

CURVE = [(0.1, 26.0), (0.25, 28.5), (0.5, 31.0), (1.0, 34.5), (2.0, 38.0)]


def test_psnr_of_a_constant_error() -> None:
    black = np.zeros((5, 7, 3), np.uint8)
    assert psnr(black, black + np.uint8(255)) == pytest.approx(0)
    assert psnr(black, black + np.uint8(1)) == pytest.approx(20 * math.log10(255))
    # The order must not matter, and unsigned differences must not wrap.
    assert psnr(black + np.uint8(1), black) == psnr(black, black + np.uint8(1))


def test_psnr_takes_the_mean_over_channels() -> None:
    black = np.zeros((4, 4, 3), np.uint8)
    red = black.copy()
    red[..., 0] = 9
    assert psnr(black, red) == pytest.approx(10 * math.log10(255**2 / (81 / 3)))


def test_psnr_of_equal_images_is_infinite() -> None:
    grey = np.full((2, 2, 3), 128, np.uint8)
    assert psnr(grey, grey) == math.inf


@pytest.mark.parametrize(
    "other", [np.zeros((4, 5, 3), np.uint8), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)]
)
def test_psnr_refuses_what_it_would_broadcast_or_misscale(other: np.ndarray) -> None:
    with pytest.raises(ValueError, match="8-bit images of one shape"):
        psnr(np.zeros((4, 4, 3), np.uint8), other)


def test_a_curve_against_itself_is_zero() -> None:
    result = bd_rate(CURVE, CURVE)
    assert result.percent == pytest.approx(0, abs=1e-9)
    assert result.psnr == (26.0, 38.0)
    assert result.bits_per_pixel == pytest.approx((0.1, 2.0))


@pytest.mark.parametrize(("factor", "percent"), [(0.5, -50), (2.0, 100), (0.9, -10)])
def test_a_constant_share_of_the_rate(factor: float, percent: float) -> None:
    tested = [(rate * factor, value) for rate, value in CURVE]
    assert bd_rate(CURVE, tested).percent == pytest.approx(percent)


def test_the_order_of_points_does_not_matter() -> None:
    tested = [(rate * 0.5, value) for rate, value in CURVE]
    assert bd_rate(CURVE[::-1], tested[2:] + tested[:2]).percent == pytest.approx(-50)


def test_straight_curves_of_different_slope() -> None:
    """log10 rate = psnr / 16 and psnr / 10 - 1.175: over 28..40 dB the mean difference is 0.1."""
    anchor = [(10 ** (p / 16), p) for p in (24.0, 29.0, 33.0, 40.0)]
    tested = [(10 ** (p / 10 - 1.175), p) for p in (28.0, 31.0, 34.0, 44.0)]
    result = bd_rate(anchor, tested)
    assert result.percent == pytest.approx(100 * (10**0.1 - 1), abs=0.01)
    assert result.psnr == (28.0, 40.0)


def test_only_the_common_range_counts() -> None:
    tested = [(rate * 0.5, value) for rate, value in CURVE if value > 28]
    result = bd_rate(CURVE, tested)
    assert result.psnr == (28.5, 38.0)
    assert result.bits_per_pixel == pytest.approx((0.125, 1.0))


def test_a_narrow_overlap_is_refused() -> None:
    tested = [(rate * 10, value + 9) for rate, value in CURVE]
    with pytest.raises(NotComparable, match=r"35\.00-38\.00 dB spans a factor of .* less than 3"):
        bd_rate(CURVE, tested)


def test_an_overlap_that_is_narrow_on_one_curve_is_refused() -> None:
    flat = [(1.0 + (value - 26) / 24, value) for _, value in CURVE]
    with pytest.raises(NotComparable, match="less than 3"):
        bd_rate(CURVE, flat)


def test_no_overlap_is_refused() -> None:
    with pytest.raises(NotComparable, match="no common PSNR"):
        bd_rate(CURVE, [(rate, value + 20) for rate, value in CURVE])


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        (CURVE[:3], "3 points, fewer than 4"),
        ([*CURVE, (3.0, 37.0)], "rise strictly"),
        ([*CURVE, (2.0, 39.0)], "rise strictly"),
        ([*CURVE, (3.0, math.inf)], "finitely"),
        ([*CURVE, (3.0, math.nan)], "rise strictly"),
        ([(0.0, 20.0), *CURVE], "rise strictly"),
    ],
)
def test_points_that_make_no_curve_are_refused(points: list[tuple[float, float]], reason: str) -> None:
    with pytest.raises(NotComparable, match=reason):
        bd_rate(CURVE, points)
    with pytest.raises(NotComparable, match=reason):
        bd_rate(points, CURVE)
