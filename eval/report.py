"""Report a run: tables for people, JSON and CSV for programs."""

import csv
import dataclasses
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bincodec.eval.curves import Curve, NotComparable, PublishedCurve, bd_psnr, bd_rate
from bincodec.eval.errors import NameTaken
from bincodec.eval.metrics import Metric
from bincodec.eval.peers import Peer
from bincodec.eval.plain import plain, printable
from bincodec.eval.sweep import Dropped, Failure, Point, Sweep, SweepRow, dropped, means

SCHEMA = 2
"""The version of the JSON. It rises when a key is renamed, removed or given another meaning."""

ANCHOR = "jpeg"

IN_DECIBELS = ("psnr", "psnr_y", "ms_ssim")
"""The metrics whose mean difference at equal rate is a gain in dB."""

_DIGITS = {"ms_ssim": 5, "lpips": 4}
"""The number of decimals in tables for metrics that do not have 3."""


@dataclass(frozen=True)
class Bd:
    """One codec or published curve compared with the anchor, by one metric.

    Args:
        rate_percent: the mean difference in rate at equal quality, or None if there is a `reason`.
        gain_db: the mean difference in quality at equal rate. It is None if there is a `reason`, if the
            metric is not in dB, or if the curves are not comparable in this way.
        low: the lowest quality of the range over which the mean of the rate is taken.
        high: the highest quality of this range.
        bits_per_pixel: the rates of the codec at `low` and `high`.
        reason: why there is no number.
    """

    codec: str
    metric: str
    anchor: str
    rate_percent: float | None = None
    gain_db: float | None = None
    low: float | None = None
    high: float | None = None
    bits_per_pixel: tuple[float, float] | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Report:
    """A run, and what it is compared with.

    Args:
        anchor: the label of a codec, or the name of a published curve. BD-rates are computed against it.
        skipped: what could not be measured although it was asked for, each with its reason.

    Raises:
        NameTaken: if a published curve has the name of a codec or of another curve.
    """

    sweep: Sweep
    codecs: tuple[Peer, ...]
    metrics: tuple[Metric, ...]
    published: tuple[PublishedCurve, ...] = ()
    anchor: str = ANCHOR
    skipped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        measured = (*(peer.name for peer in self.codecs), *(row.codec for row in self.sweep.rows))
        require_distinct(measured, self.published)

    def points(self) -> list[Point]:
        """Return the means over the images."""
        return means(self.sweep.rows)

    @property
    def has_anchor(self) -> bool:
        """Whether the anchor is among the measured codecs or the published curves."""
        return self.anchor in (*self._measured(), *(curve.name for curve in self.published))

    def _measured(self) -> list[str]:
        """Return the codecs that have a row or a failure."""
        failed = (failure.codec for failure in self.sweep.failures if failure.codec is not None)
        return list(dict.fromkeys((*(row.codec for row in self.sweep.rows), *failed)))

    def dropped(self) -> list[Dropped]:
        """Return the settings without means, because at least one image failed there."""
        return dropped(self.sweep)

    def bd(self) -> list[Bd]:
        """Compare every codec and published curve with the anchor, by every metric that both have."""
        curves = self._curves()
        return [
            self._distance(codec, metric, curves)
            for metric in self.metrics
            if metric.name in curves.get(self.anchor, {})
            for codec in curves
            if codec != self.anchor and metric.name in curves[codec]
        ]

    def _distance(self, codec: str, metric: Metric, curves: Mapping[str, Mapping[str, Curve]]) -> Bd:
        if reason := self._undefined(metric, (codec, self.anchor)):
            return Bd(codec, metric.name, self.anchor, reason=reason)
        found = _distance(codec, metric.name, self.anchor, curves)
        if found.reason is None:
            return found
        missing = [_of_images(d) for d in self.dropped() if d.codec in (codec, self.anchor)]
        also = f"; settings that lack images: {', '.join(missing)}" if missing else ""
        return dataclasses.replace(found, reason=f"{found.reason}{also}")

    def _undefined(self, metric: Metric, codecs: Sequence[str]) -> str:
        """Return why a metric has no means, or an empty text. An image may be too small for it."""
        rows = [row for row in self.sweep.rows if row.codec in codecs]
        images = dict.fromkeys(row.image for row in rows if math.isnan(row.metrics[metric.name]))
        if not images:
            return ""
        others = f" and {len(images) - 1} more" if len(images) > 1 else ""
        return f"{metric.label} is not defined for {next(iter(images))}{others}, too small for it"

    def _curves(self) -> dict[str, dict[str, Curve]]:
        # Every codec has an entry, even if all of its settings were dropped.
        curves: dict[str, dict[str, Curve]] = {
            codec: {metric.name: () for metric in self.metrics} for codec in self._measured()
        }
        for point in self.points():
            for name, value in point.metrics.items():
                so_far = curves[point.codec][name]
                curves[point.codec][name] = (*so_far, (point.bits_per_pixel, value))
        return curves | {curve.name: dict(curve.metric_points) for curve in self.published}


def require_distinct(labels: Iterable[str], published: Sequence[PublishedCurve]) -> None:
    """Refuse a curve that has the name of another curve or of a codec.

    Raises:
        NameTaken: if there is such a curve. The message names it.
    """
    taken = set(labels)
    for curve in published:
        if curve.name in taken:
            msg = f"a codec or another curve of this run is called {curve.name!r} like the published curve"
            raise NameTaken(msg)
        taken.add(curve.name)


def _of_images(setting: Dropped) -> str:
    return f"{setting.codec} {setting.setting} ({setting.images} of {setting.total})"


def _distance(codec: str, metric: str, anchor: str, curves: Mapping[str, Mapping[str, Curve]]) -> Bd:
    reference, tested = curves[anchor][metric], curves[codec][metric]
    try:
        rate = bd_rate(reference, tested, metric)
    except NotComparable as reason:
        return Bd(codec, metric, anchor, reason=str(reason))
    gain = None
    if metric in IN_DECIBELS:
        try:
            gain = bd_psnr(reference, tested, metric).gain
        except NotComparable:
            # Two curves may overlap in quality although they do not overlap in rate.
            gain = None
    return Bd(codec, metric, anchor, rate.percent, gain, rate.low, rate.high, rate.bits_per_pixel)


def text(report: Report) -> str:
    """Return the means at each setting, then the differences from the anchor and the range of each."""
    points = report.points()
    count = len({row.image for row in report.sweep.rows})
    width = max([len("codec"), *(len(point.codec) for point in points)])
    titles = [f"{metric.label} {metric.unit}".strip() for metric in report.metrics]
    head = f"{'codec':<{width}}{'setting':>9}{'bits/pixel':>12}"
    lines = [
        f"Means over {count} {'image' if count == 1 else 'images'}",
        head + "".join(f"  {t:>9}" for t in titles),
    ]
    for point in points:
        cells = [
            f"  {number(metric.name, point.metrics[metric.name]):>{max(9, len(title))}}"
            for metric, title in zip(report.metrics, titles, strict=True)
        ]
        lines.append(
            f"{point.codec:<{width}}{point.setting:>9}{point.bits_per_pixel:>12.4f}" + "".join(cells)
        )
    lines += [*_dropped_lines(report), *_bd_lines(report), *_sources(report)]
    return printable("\n".join(lines))


def number(metric: str, value: float) -> str:
    """Return a metric's value as tables show it."""
    return "-" if math.isnan(value) else f"{value:.{_DIGITS.get(metric, 3)}f}"


def _dropped_lines(report: Report) -> Iterator[str]:
    if missing := report.dropped():
        yield f"Without means, as images failed there: {', '.join(map(_of_images, missing))}"


def _bd_lines(report: Report) -> Iterator[str]:
    table = report.bd()
    if not report.has_anchor:
        yield f"\nNo BD-rates: {report.anchor}, which they are against, is not in this run"
    width = max((len(row.codec) for row in table), default=0)
    for metric in report.metrics:
        found = [row for row in table if row.metric == metric.name]
        if found:
            yield f"\nBD-rate against {report.anchor} ({metric.label}, PCHIP)"
        for row in found:
            yield f"{row.codec:<{width}}  {_bd_cells(row, metric)}"


def _bd_cells(row: Bd, metric: Metric) -> str:
    if row.low is None or row.high is None or row.bits_per_pixel is None:
        return f"none: {row.reason}"
    first, last = row.bits_per_pixel
    gain = "" if row.gain_db is None else f"; {row.gain_db:+.2f} dB at equal rate"
    low, high = (f"{end:.4g}" if metric.unit != "dB" else f"{end:.1f}" for end in (row.low, row.high))
    span = f"{low}-{high} {metric.unit}".rstrip()
    return f"{row.rate_percent:+.1f} %  over {span}, {first:.2f}-{last:.2f} bits per pixel{gain}"


def _sources(report: Report) -> Iterator[str]:
    if report.published:
        yield "\nPublished, each on the images of its source"
    for curve in report.published:
        yield f"{curve.name}: {curve.source}"


def failure_line(failure: Failure) -> str:
    """Describe a failed cell in one line."""
    # A reason that concerns an image already names the image.
    if not failure.codec:
        return failure.reason
    setting = "" if failure.setting is None else f" {failure.setting}"
    return f"{failure.image}: {failure.codec}{setting}: {failure.reason}"


def content(report: Report, comparisons: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Return all results of a run as report.json stores them. Infinity and nan become None."""
    about = {
        metric.name: {
            "label": metric.label,
            "unit": metric.unit,
            "higher_is_better": metric.higher_is_better,
            "about": metric.about,
        }
        for metric in report.metrics
    }
    curves = [
        {"name": curve.name, "source": curve.source, "points": curve.metric_points}
        for curve in report.published
    ]
    everything = {
        "schema": SCHEMA,
        "anchor": report.anchor,
        "codecs": {peer.name: peer.about for peer in report.codecs},
        "metrics": about,
        "rows": [_flat(row) for row in report.sweep.rows],
        "failures": report.sweep.failures,
        "skipped": report.skipped,
        "means": [_flat(point) for point in report.points()],
        "dropped": report.dropped(),
        "bd": report.bd(),
        "curves": curves,
        "comparisons": comparisons,
    }
    found: dict[str, Any] = plain(everything)
    return found


def as_csv(rows: Sequence[SweepRow]) -> str:
    """Return one line for each row. A field is empty if a metric is undefined, inf if nothing was lost."""
    lines = [_flat(row) for row in rows]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(lines[0]) if lines else [], lineterminator="\n")
    writer.writeheader()
    for line in lines:
        writer.writerow({key: "" if value != value else value for key, value in line.items()})
    return buffer.getvalue()


def _flat(item: SweepRow | Point) -> dict[str, Any]:
    """Return the fields of an item, with the metrics among them."""
    fields = {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}
    values = fields.pop("metrics")
    return {**fields, **values}
