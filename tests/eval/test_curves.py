"""Distances between curves against closed forms and an independent integral, and published curves as data."""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator

from bincodec.errors import Unreadable
from bincodec.eval import curves, metrics
from bincodec.eval.curves import BadCurve, Curve, NotComparable, bd_psnr, bd_rate

CURVE = [(0.1, 26.0), (0.25, 28.5), (0.5, 31.0), (1.0, 34.5), (2.0, 38.0)]
OTHER = [(0.08, 25.0), (0.14, 26.2), (0.3, 30.1), (0.45, 31.3), (0.6, 33.9), (1.7, 38.9), (1.9, 39.0)]


def test_a_curve_against_itself_is_zero() -> None:
    result = bd_rate(CURVE, CURVE)
    assert result.percent == pytest.approx(0, abs=1e-9)
    assert (result.low, result.high) == (26.0, 38.0)
    assert result.bits_per_pixel == pytest.approx((0.1, 2.0))
    assert bd_psnr(CURVE, CURVE).gain == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("factor", "percent"), [(0.5, -50), (2.0, 100), (0.9, -10)])
def test_a_constant_share_of_the_rate(factor: float, percent: float) -> None:
    tested = [(rate * factor, value) for rate, value in CURVE]
    assert bd_rate(CURVE, tested).percent == pytest.approx(percent)


@pytest.mark.parametrize("gain", [1.5, -0.25])
def test_a_constant_gain(gain: float) -> None:
    result = bd_psnr(CURVE, [(rate, value + gain) for rate, value in CURVE])
    assert result.gain == pytest.approx(gain)
    assert result.bits_per_pixel == (0.1, 2.0)


def test_the_order_of_points_does_not_matter() -> None:
    tested = [(rate * 0.5, value) for rate, value in CURVE]
    assert bd_rate(CURVE[::-1], tested[2:] + tested[:2]).percent == pytest.approx(-50)


def test_straight_curves_of_different_slope() -> None:
    """log10 rate = psnr / 16 and psnr / 10 - 1.175: from 28 to 40 dB, the mean difference is 0.1."""
    anchor = [(10 ** (p / 16), p) for p in (24.0, 29.0, 33.0, 40.0)]
    tested = [(10 ** (p / 10 - 1.175), p) for p in (28.0, 31.0, 34.0, 44.0)]
    result = bd_rate(anchor, tested)
    assert result.percent == pytest.approx(100 * (10**0.1 - 1), abs=0.01)
    assert (result.low, result.high) == (28.0, 40.0)


def mean_difference(x: list[list[float]], y: list[list[float]]) -> tuple[float, float, float]:
    """Return the mean of the second PCHIP curve minus the first over the common range, and the range."""
    low, high = max(x[0][0], x[1][0]), min(x[0][-1], x[1][-1])
    grid = np.linspace(low, high, 20001)
    first, second = (PchipInterpolator(a, b)(grid) for a, b in zip(x, y, strict=True))
    return float(np.trapezoid(second - first, grid) / (high - low)), low, high


@pytest.mark.parametrize(("anchor", "tested"), [(CURVE, OTHER), (OTHER, CURVE)])
def test_the_library_against_our_own_integral(anchor: Curve, tested: Curve) -> None:
    log_rates = [[math.log10(rate) for rate, _ in points] for points in (anchor, tested)]
    values = [[value for _, value in points] for points in (anchor, tested)]
    exponent, low, high = mean_difference(values, log_rates)
    rate = bd_rate(anchor, tested)
    assert rate.percent == pytest.approx(100 * (10**exponent - 1), abs=1e-3)
    assert (rate.low, rate.high) == (low, high)
    gain, first, last = mean_difference(log_rates, values)
    result = bd_psnr(anchor, tested)
    assert result.gain == pytest.approx(gain, abs=1e-5)
    assert result.bits_per_pixel == pytest.approx((10**first, 10**last))


def test_only_the_common_range_counts() -> None:
    tested = [(rate * 0.5, value) for rate, value in CURVE if value > 28]
    result = bd_rate(CURVE, tested)
    assert (result.low, result.high) == (28.5, 38.0)
    assert result.bits_per_pixel == pytest.approx((0.125, 1.0))
    assert bd_psnr(CURVE, tested).bits_per_pixel == (0.125, 1.0)


def test_ms_ssim_is_compared_in_decibels() -> None:
    """On that scale, these are CURVE minus 20 dB, and the same curve one dB higher."""
    anchor = [(rate, 1 - 10 ** (-(value - 20) / 10)) for rate, value in CURVE]
    tested = [(rate, 1 - 10 ** (-(value - 19) / 10)) for rate, value in CURVE]
    assert bd_psnr(anchor, tested, "ms_ssim").gain == pytest.approx(1)
    result = bd_rate(anchor, tested, "ms_ssim")
    shifted = bd_rate(CURVE, [(rate, value + 1) for rate, value in CURVE])
    assert result.percent == pytest.approx(shifted.percent)
    # The range is in the metric's own unit.
    assert (result.low, result.high) == pytest.approx((tested[0][1], anchor[-1][1]))


@pytest.mark.parametrize(
    "metric", [name for name in metrics.NAMES if not metrics.SCALES[name].higher_is_better]
)
def test_of_distances_the_lower_curve_is_the_better(metric: str) -> None:
    anchor = [(rate, 4 - value / 10) for rate, value in CURVE]
    tested = [(rate, value - 0.1) for rate, value in anchor]
    assert bd_psnr(anchor, tested, metric).gain == pytest.approx(0.1)
    result = bd_rate(anchor, tested, metric)
    assert result.percent == pytest.approx(
        bd_rate(CURVE, [(rate, value + 1) for rate, value in CURVE]).percent
    )
    assert (result.low, result.high) == pytest.approx((anchor[-1][1], tested[0][1]))


def test_a_narrow_overlap_is_refused() -> None:
    tested = [(rate * 10, value + 9) for rate, value in CURVE]
    with pytest.raises(NotComparable, match=r"PSNR 35 to 38 spans a factor of .* less than 3"):
        bd_rate(CURVE, tested)
    with pytest.raises(NotComparable, match=r"1 to 2 bits per pixel spans a factor of 2\.00 in rate"):
        bd_psnr(CURVE, tested)


def test_an_overlap_that_is_narrow_on_one_curve_is_refused() -> None:
    flat = [(1.0 + (value - 26) / 24, value) for _, value in CURVE]
    with pytest.raises(NotComparable, match="less than 3"):
        bd_rate(CURVE, flat)


def test_no_overlap_is_refused() -> None:
    with pytest.raises(
        NotComparable, match="no common PSNR: the anchor has 26 to 38, the tested curve 46 to 58"
    ):
        bd_rate(CURVE, [(rate, value + 20) for rate, value in CURVE])
    with pytest.raises(NotComparable, match=r"no common rate: the anchor has 0\.1 to 2 bits per pixel"):
        bd_psnr(CURVE, [(rate * 30, value) for rate, value in CURVE])


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        (CURVE[:3], "3 points, fewer than 4"),
        ([*CURVE, (3.0, 37.0)], "rise strictly"),
        ([*CURVE, (2.0, 39.0)], "rise strictly"),
        ([*CURVE, (3.0, math.inf)], "infinite PSNR at 3 bits per pixel: files there are lossless"),
        # The difference of two infinite values would be a NumPy warning, which is an error here.
        ([*CURVE, (3.0, math.inf), (4.0, math.inf)], "infinite PSNR at 3 bits"),
        ([*CURVE, (3.0, math.nan)], "no PSNR at 3 bits per pixel"),
        ([*CURVE, (math.inf, 39.0)], "a rate of inf"),
        ([(0.0, 20.0), *CURVE], "rise strictly"),
    ],
)
@pytest.mark.parametrize("distance", [bd_rate, bd_psnr])
def test_points_that_make_no_curve_are_refused(
    distance: Callable[[Curve, Curve], object], points: list[tuple[float, float]], reason: str
) -> None:
    with pytest.raises(NotComparable, match=f"the tested curve .*{reason}"):
        distance(CURVE, points)
    with pytest.raises(NotComparable, match=f"the anchor .*{reason}"):
        distance(points, CURVE)


def test_a_lossless_point_has_no_ms_ssim_in_decibels() -> None:
    points = [(rate, 1 - 10 ** (-(value - 20) / 10)) for rate, value in CURVE]
    with pytest.raises(NotComparable, match="an infinite MS-SSIM in dB at 4 bits per pixel"):
        bd_rate(points, [*points, (4.0, 1.0)], "ms_ssim")


def test_without_the_library_there_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bjontegaard", None)
    with pytest.raises(NotComparable, match="need the package bjontegaard"):
        bd_rate(CURVE, CURVE)


# Kodak, BD-rate in per cent against VTM, as computed elsewhere from the same published points: PSNR, MS-SSIM.
AGAINST_VTM = {
    "bmshj2018-hyperprior": 30.5,
    "dpict": 28.7,
    "elic": -7.0,
    "johnston2018": 137.8,
    "mbt2018-mean": 21.3,
    "mlic++": -15.0,
}


def test_the_published_curves_are_these() -> None:
    assert set(curves.shipped()) == {"vtm", *AGAINST_VTM}


@pytest.mark.parametrize("name", AGAINST_VTM)
def test_published_curves_give_their_known_rates(name: str) -> None:
    vtm, tested = curves.curve("vtm"), curves.curve(name)
    result = bd_rate(vtm.metric_points["psnr"], tested.metric_points["psnr"])
    assert result.percent == pytest.approx(AGAINST_VTM[name], abs=0.1)


@pytest.mark.parametrize("name", curves.shipped())
def test_published_curves_name_their_source(name: str) -> None:
    found = curves.curve(name)
    assert found.name
    assert " " in found.source
    for metric, points in found.metric_points.items():
        assert bd_rate(points, points, metric).percent == pytest.approx(0, abs=1e-6)


CONTENT = {"name": "Ours", "source": "paper", "bpp": [0.5, 0.25], "psnr": [30, 28.5], "ms-ssim": [0.9, 0.8]}


def write(folder: Path, content: object) -> Path:
    path = folder / "curve.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_file_is_read_as_it_is(tmp_path: Path) -> None:
    extra = {"note": "n", "metric": "m", "encoding_time_s": [1, 2], "psnr_y": [31, 30]}
    path = write(tmp_path, {**CONTENT, **extra})
    found = curves.curve(str(path))
    assert found == curves.read_curve(path)
    assert (found.name, found.source) == ("Ours", "paper")
    assert found.metric_points == {
        "psnr": ((0.5, 30.0), (0.25, 28.5)),
        "psnr_y": ((0.5, 31.0), (0.25, 30.0)),
        "ms_ssim": ((0.5, 0.9), (0.25, 0.8)),
    }


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("\x00", "not JSON"),
        (" " * (2**20 + 1), "more than 1048576 bytes"),
        ([], "not a JSON object"),
        ({**CONTENT, "ms_ssim": [0.9, 0.8]}, "unknown key 'ms_ssim'; metrics are psnr, psnr_y, ms-ssim"),
        ({**CONTENT, "name": " "}, "'name' is not a text"),
        ({**CONTENT, "source": None}, "'source' is not a text"),
        ({**CONTENT, "bpp": []}, "'bpp' is not a list of numbers"),
        ({**CONTENT, "bpp": 1}, "'bpp' is not a list of numbers"),
        ({**CONTENT, "bpp": [0.5, 0]}, "'bpp' has 0, which is not positive"),
        ({**CONTENT, "bpp": [0.5, True]}, "'bpp' has True, which is not a finite number"),
        ({**CONTENT, "psnr": [30]}, "'psnr' has 1 values for 2 rates"),
        ({**CONTENT, "psnr": [30, "28"]}, "'psnr' has '28', which is not a finite number"),
        ({**CONTENT, "psnr": [30, math.nan]}, "'psnr' has nan"),
        ({**CONTENT, "psnr": [30, math.inf]}, "'psnr' has inf"),
        ({**CONTENT, "psnr": [30, 10**400]}, "'psnr' has 1000"),
        ({**CONTENT, "psnr": [30, None]}, "'psnr' has None"),
        ({key: CONTENT[key] for key in ("name", "source", "bpp")}, "none of the metrics psnr,"),
    ],
)
def test_rubbish_is_refused_with_its_reason(content: object, reason: str, tmp_path: Path) -> None:
    path = write(tmp_path, content)
    with pytest.raises(BadCurve, match=r"curve\.json holds no curve: ") as error:
        curves.read_curve(path)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_neither_name_nor_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadCurve, match=r"'bpg' is neither a file nor one of .* elic, "):
        curves.curve("bpg")
    with pytest.raises(Unreadable, match="cannot be read"):
        curves.curve(str(tmp_path))
