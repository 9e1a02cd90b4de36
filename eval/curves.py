"""Rate-distortion curves: the distance between two curves, and curves that others have published.

The JSON of a published curve holds `name`, `source`, the rates `bpp` in bits per pixel, and a list of values
of the same length for each metric: `psnr`, `ms-ssim`, or another name of `metrics.NAMES`. The texts `metric`
and `note` are for people who read the file.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bincodec.errors import BincodecError
from bincodec.eval import metrics
from bincodec.io import files

Curve = Sequence[tuple[float, float]]
"""Points of (bits per pixel, value of a metric), in any order."""

SMALLEST_RATE_FACTOR = 3.0
"""The smallest range of rates over which a mean is taken. In a narrower range, the mean depends more on where
the curves overlap than on the codecs."""

MIN_POINTS = 4
"""The fewest points of a curve, as in Bjøntegaard's method (VCEG-M33)."""


class NotComparable(BincodecError):
    """The distance of two curves would have no meaning, or the package that computes it is missing."""


class BadCurve(BincodecError, ValueError):
    """No published curve has that name, or a file does not hold a curve."""


@dataclass(frozen=True)
class BdRate:
    """The mean difference in rate at equal quality.

    Args:
        percent: the difference in percent. It is negative if the tested codec needs fewer bits.
        low: the lowest value of the metric, in its own unit, that both curves reach.
        high: the highest value that both curves reach. The mean is taken between the two.
        bits_per_pixel: the tested codec's lowest and highest rate in this range.
    """

    percent: float
    low: float
    high: float
    bits_per_pixel: tuple[float, float]


@dataclass(frozen=True)
class BdPsnr:
    """The mean difference in quality at equal rate.

    Args:
        gain: positive if the tested codec is better. It is in dB for PSNR and MS-SSIM, else in the unit of
            the metric.
        bits_per_pixel: the lowest and highest rate that both curves have. The mean is taken between the two.
    """

    gain: float
    bits_per_pixel: tuple[float, float]


def bd_rate(anchor: Curve, tested: Curve, metric: str = "psnr") -> BdRate:
    """Return Bjøntegaard's mean difference in rate of `tested` against `anchor`.

    The logarithm of the rate is interpolated over quality with PCHIP.

    Raises:
        NotComparable: if a curve has a value that is not finite, has fewer than 4 points or does not rise
            strictly, if the rates of the common range span less than a factor of 3 on either curve, or if
            the package `bjontegaard` is missing.
    """
    rates_anchor, quality_anchor = _rising(anchor, metric, "the anchor")
    rates_tested, quality_tested = _rising(tested, metric, "the tested curve")
    worst, best = max(quality_anchor[0], quality_tested[0]), min(quality_anchor[-1], quality_tested[-1])
    if worst >= best:
        ends = (quality_anchor[0], quality_anchor[-1], quality_tested[0], quality_tested[-1])
        a, b, c, d = (f"{_value(metric, end):.4g}" for end in ends)
        label = metrics.SCALES[metric].label
        msg = f"no common {label}: the anchor has {a} to {b}, the tested curve {c} to {d}"
        raise NotComparable(msg)
    percent, log_rate_anchor, log_rate_tested = _bjontegaard().bd_rate(
        rates_anchor, quality_anchor, rates_tested, quality_tested, interpolators=True, **_OPTIONS
    )
    rates = [10 ** log_rate(np.array([worst, best])) for log_rate in (log_rate_anchor, log_rate_tested)]
    low, high = sorted((_value(metric, worst), _value(metric, best)))
    factor = min(float(last / first) for first, last in rates)
    _require_span(factor, f"{metrics.SCALES[metric].label} {low:.4g} to {high:.4g}")
    first, last = rates[1]
    return BdRate(float(percent), low, high, (float(first), float(last)))


def bd_psnr(anchor: Curve, tested: Curve, metric: str = "psnr") -> BdPsnr:
    """Return Bjøntegaard's mean difference in quality at equal rate, with PCHIP over the log rate.

    Raises:
        NotComparable: as in `bd_rate`. The factor of 3 refers to the rates that both curves have.
    """
    rates_anchor, quality_anchor = _rising(anchor, metric, "the anchor")
    rates_tested, quality_tested = _rising(tested, metric, "the tested curve")
    first, last = max(rates_anchor[0], rates_tested[0]), min(rates_anchor[-1], rates_tested[-1])
    if first >= last:
        msg = (
            f"no common rate: the anchor has {rates_anchor[0]:.4g} to {rates_anchor[-1]:.4g} bits per pixel, "
            f"the tested curve {rates_tested[0]:.4g} to {rates_tested[-1]:.4g}"
        )
        raise NotComparable(msg)
    _require_span(last / first, f"{first:.4g} to {last:.4g} bits per pixel")
    gain = _bjontegaard().bd_psnr(rates_anchor, quality_anchor, rates_tested, quality_tested, **_OPTIONS)
    return BdPsnr(float(gain), (first, last))


_OPTIONS = {"method": "pchip", "require_matching_points": False, "min_overlap": 0}


def _bjontegaard() -> Any:
    try:
        # This is imported late, because the package imports Matplotlib.
        import bjontegaard
    except ImportError as error:
        msg = "BD-rates need the package bjontegaard: pip install 'bincodec[eval]'"
        raise NotComparable(msg) from error
    return bjontegaard


def _quality(metric: str, value: float) -> float:
    """Return a metric's value on a scale that rises with quality. MS-SSIM is converted to dB."""
    if metric == "ms_ssim":
        return math.inf if value >= 1 else -10 * math.log10(1 - value)
    return value if metrics.SCALES[metric].higher_is_better else -value


def _value(metric: str, quality: float) -> float:
    """Return the value of a metric that `_quality` turned into `quality`."""
    if metric == "ms_ssim":
        return 1 - 10 ** (-quality / 10)
    return quality if metrics.SCALES[metric].higher_is_better else -quality


def _rising(curve: Curve, metric: str, name: str) -> tuple[list[float], list[float]]:
    """Return rates and qualities in order. Both must be finite and rise strictly to be interpolated."""
    points = sorted(curve)
    for rate, value in points:
        _require_finite(rate, value, metric, name)
    if len(points) < MIN_POINTS:
        msg = f"{name} has {len(points)} points, fewer than {MIN_POINTS}"
        raise NotComparable(msg)
    rates, qualities = [rate for rate, _ in points], [_quality(metric, value) for _, value in points]
    if not (rates[0] > 0 and np.all(np.diff(rates) > 0) and np.all(np.diff(qualities) > 0)):
        msg = f"{name} does not rise strictly in rate and quality ({metrics.SCALES[metric].label})"
        raise NotComparable(msg)
    return rates, qualities


def _require_finite(rate: float, value: float, metric: str, name: str) -> None:
    label = metrics.SCALES[metric].label + (" in dB" if metric == "ms_ssim" else "")
    if not math.isfinite(rate):
        msg = f"{name} has a rate of {rate}"
    elif math.isnan(value):
        msg = f"{name} has no {label} at {rate:.4g} bits per pixel"
    elif not math.isfinite(_quality(metric, value)):
        msg = f"{name} has an infinite {label} at {rate:.4g} bits per pixel: files there are lossless"
    else:
        return
    raise NotComparable(msg)


def _require_span(factor: float, common: str) -> None:
    if factor < SMALLEST_RATE_FACTOR:
        msg = (
            f"the common range {common} spans a factor of {factor:.2f} in rate, "
            f"less than {SMALLEST_RATE_FACTOR:g}"
        )
        raise NotComparable(msg)


@dataclass(frozen=True)
class PublishedCurve:
    """A codec's means over a set of images, as somebody has published them.

    Args:
        name: the name in tables and plots.
        source: the file or paper that the numbers come from.
        metric_points: for each metric, points of (bits per pixel, value) in the order of the file.
    """

    name: str
    source: str
    metric_points: Mapping[str, tuple[tuple[float, float], ...]]


_FOLDER = Path(__file__).parent / "published"
_LARGEST_FILE = 2**20
# The names of metrics in published files, which spell MS-SSIM with a hyphen.
_KEYS = {{"ms_ssim": "ms-ssim"}.get(name, name): name for name in metrics.NAMES}
# Other keys of such files, which are ignored.
_IGNORED = frozenset(
    (
        "metric",
        "note",
        "settings",
        "encoding_time_s",
        "decoding_time_s",
        "dists",
        "kmac_per_pixel_decode",
        "kmac_source",
    )
)


def shipped() -> tuple[str, ...]:
    """Return the names of the curves that come with the package. All are of the 24 Kodak pictures."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.json")))


def curve(name_or_path: str) -> PublishedCurve:
    """Return the shipped curve with that name, or the curve in the file at that path.

    Raises:
        BadCurve: if there is neither.
    """
    if name_or_path in shipped():
        return read_curve(_FOLDER / f"{name_or_path}.json")
    path = Path(name_or_path)
    if not path.exists():
        msg = f"{name_or_path!r} is neither a file nor one of the published curves: {', '.join(shipped())}"
        raise BadCurve(msg)
    return read_curve(path)


def read_curve(path: Path) -> PublishedCurve:
    """Read a file in the format that this module's docstring describes.

    Raises:
        BadCurve: if the file does not hold a curve, or has an unknown key.
        Unreadable: if the system does not allow reading the file.
    """
    try:
        return _parse(files.read(path, _LARGEST_FILE + 1))
    except BadCurve as error:
        msg = f"{path} holds no curve: {error}"
        raise BadCurve(msg) from error


def _parse(data: bytes) -> PublishedCurve:
    if len(data) > _LARGEST_FILE:
        msg = f"more than {_LARGEST_FILE} bytes"
        raise BadCurve(msg)
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        msg = f"not JSON: {error}"
        raise BadCurve(msg) from error
    if not isinstance(content, dict):
        msg = "not a JSON object"
        raise BadCurve(msg)
    unknown = sorted(content.keys() - _KEYS.keys() - _IGNORED - {"name", "source", "bpp"})
    if unknown:
        msg = f"unknown key {unknown[0]!r}; metrics are {', '.join(_KEYS)}"
        raise BadCurve(msg)
    rates = _numbers(content, "bpp")
    if min(rates) <= 0:
        msg = f"'bpp' has {min(rates):g}, which is not positive"
        raise BadCurve(msg)
    points = {}
    for key in content.keys() & _KEYS.keys():
        values = _numbers(content, key)
        if len(values) != len(rates):
            msg = f"{key!r} has {len(values)} values for {len(rates)} rates"
            raise BadCurve(msg)
        points[_KEYS[key]] = tuple(zip(rates, values, strict=True))
    if not points:
        msg = f"it has none of the metrics {', '.join(_KEYS)}"
        raise BadCurve(msg)
    in_order = {name: points[name] for name in metrics.NAMES if name in points}
    return PublishedCurve(_text(content, "name"), _text(content, "source"), in_order)


def _text(content: Mapping[str, Any], key: str) -> str:
    value = content.get(key)
    if not isinstance(value, str) or not value.strip():
        msg = f"{key!r} is not a text"
        raise BadCurve(msg)
    return value


def _numbers(content: Mapping[str, Any], key: str) -> tuple[float, ...]:
    values = content.get(key)
    if not isinstance(values, list) or not values:
        msg = f"{key!r} is not a list of numbers"
        raise BadCurve(msg)
    for value in values:
        # In Python, a bool is an int, and its JSON allows NaN, Infinity and integers beyond every float.
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
            msg = f"{key!r} has {value!r:.40}, which is not a finite number"
            raise BadCurve(msg)
    return tuple(map(float, values))
