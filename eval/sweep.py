"""Measure rate and distortion of codecs over images and settings. Each row is a real, decoded file."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from bincodec.errors import BincodecError
from bincodec.eval import cache as caching
from bincodec.eval import metrics, peers
from bincodec.eval.cache import Cache
from bincodec.eval.measure import Build, Measured, Picture, Task, identity, measure
from bincodec.eval.metrics import Metric
from bincodec.eval.peers import Peer, Pixels
from bincodec.eval.resume import Piece, work
from bincodec.eval.spec import Spec
from bincodec.eval.workers import Broken
from bincodec.io import images


@dataclass(frozen=True)
class SweepRow:
    """One image, one codec, one setting.

    Args:
        metrics: the values by name. inf means that nothing was lost, and nan that a metric is not defined
            for the image.
        encode_seconds: the wall time on one thread, while other work may run. `bincodec eval speed` measures
            speed properly.
        decode_seconds: likewise.
    """

    image: str
    codec: str
    setting: int
    width: int
    height: int
    bytes: int
    bits_per_pixel: float
    metrics: Mapping[str, float]
    encode_seconds: float
    decode_seconds: float


@dataclass(frozen=True)
class Failure:
    """A cell without a result. `codec` and `setting` are None if the image itself could not be read."""

    image: str
    reason: str
    codec: str | None = None
    setting: int | None = None


@dataclass(frozen=True)
class Point:
    """The means over images of one codec's values at one setting."""

    codec: str
    setting: int
    images: int
    bits_per_pixel: float
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Dropped:
    """A setting without means: only `images` of the `total` images have a file."""

    codec: str
    setting: int
    images: int
    total: int


@dataclass(frozen=True)
class Sweep:
    """All cells of a run, and its failures."""

    rows: tuple[SweepRow, ...]
    failures: tuple[Failure, ...]


def read(paths: Sequence[str]) -> tuple[dict[str, Pixels], list[Failure]]:
    """Return pixels by path, in order, each file once, and a `Failure` for each that cannot be read."""
    pictures: dict[str, Pixels] = {}
    failures = []
    for path in _distinct(paths):
        try:
            pictures[path] = images.load_opaque(path)
        except BincodecError as error:
            failures.append(Failure(path, str(error)))
    return pictures, failures


def look(paths: Sequence[str]) -> tuple[list[Picture], list[Failure]]:
    """Do the same as `read` without keeping the pixels, which may not fit into memory for a large set."""
    pictures, failures = [], []
    for path in _distinct(paths):
        found, failed = read([path])
        pictures += [Picture.of(path, pixels) for pixels in found.values()]
        failures += failed
    return pictures, failures


def _distinct(paths: Sequence[str]) -> list[str]:
    """Return the first spelling of each file, and warn of others."""
    spellings: dict[str, str] = {}
    for path in dict.fromkeys(paths):
        try:
            place = os.path.realpath(path)
        except ValueError:  # The path contains a NUL.
            place = path
        first = spellings.setdefault(place, path)
        if first != path:
            warnings.warn(f"{path} is {first} again, which counts once", stacklevel=3)
    return list(spellings.values())


def sweep(
    pictures: Sequence[Picture],
    specs: Sequence[Spec],
    names: Sequence[str] = metrics.DEFAULT,
    *,
    lpips_weights: Path | None = None,
    jobs: int = 0,
    cache: Cache | None = None,
    progress: bool = False,
    build: Build = peers.build,
) -> Sweep:
    """Encode and decode every picture with every codec at every setting of its grid, and measure `names`.

    If a codec raises an exception, only that cell is lost. Rows and failures are ordered by picture, codec
    and setting, in whatever order `jobs` processes finish them. With 0 jobs, this process does everything
    (see `workers.run`). `build` makes the adapter of a spec, here and in each of the processes.

    Raises:
        Interrupted: on Ctrl-C. What was measured is in the cache.
        NotInstalled, UnknownCodec, UnknownMetric: as in `peers.build` and `metrics.find`.
    """
    measures = [metrics.find(name, lpips_weights=lpips_weights) for name in names]
    chosen = [(spec, build(spec)) for spec in specs]
    pieces = [
        _piece(Task(picture, spec, setting, tuple(names), lpips_weights, None, build), peer, measures, cache)
        for picture in pictures
        for spec, peer in chosen
        for setting in peer.settings
    ]
    outcomes = work(measure, pieces, jobs=jobs, cache=cache, label="files" if progress else "")
    rows: list[SweepRow] = []
    failures: list[Failure] = []
    for piece, outcome in zip(pieces, outcomes, strict=True):
        task = piece.task
        if isinstance(outcome, Broken):
            failures.append(Failure(task.picture.path, outcome.reason, task.spec.label, task.setting))
        else:
            rows.append(_row(task, outcome, measures))
    return Sweep(tuple(rows), tuple(failures))


def _piece(task: Task, peer: Peer, measures: Sequence[Metric], cache: Cache | None) -> Piece[Task, Measured]:
    """Return a cell with its cached results. They do not depend on the label of the codec."""
    key = caching.key("file", task.picture.digest, task.spec.codec, peer.about, task.setting)
    known = Measured.from_json(cache.get(key)) if cache is not None else None
    complete = known is not None and all(identity(metric) in known.metrics for metric in measures)
    return Piece(key, replace(task, known=known), known if complete else None)


def _row(task: Task, measured: Measured, measures: Sequence[Metric]) -> SweepRow:
    picture = task.picture
    return SweepRow(
        picture.path,
        task.spec.label,
        task.setting,
        picture.width,
        picture.height,
        measured.size,
        8 * measured.size / (picture.width * picture.height),
        {metric.name: measured.metrics[identity(metric)] for metric in measures},
        measured.encode_seconds,
        measured.decode_seconds,
    )


def means(rows: Sequence[SweepRow]) -> list[Point]:
    """Return the means over images, in the order of the rows.

    A setting that lacks one of the images is left out (`dropped`), because its mean would be over other
    images than that of the other settings.
    """
    cells: dict[tuple[str, int], list[SweepRow]] = {}
    for row in rows:
        cells.setdefault((row.codec, row.setting), []).append(row)
    everything = {row.image for row in rows}
    return [
        Point(
            codec,
            setting,
            len(found),
            fmean(row.bits_per_pixel for row in found),
            {name: fmean(row.metrics[name] for row in found) for name in found[0].metrics},
        )
        for (codec, setting), found in cells.items()
        if {row.image for row in found} == everything
    ]


def dropped(result: Sweep) -> list[Dropped]:
    """Return the settings that `means` leaves out, including those without any file."""
    found: dict[tuple[str, int], set[str]] = {}
    for row in result.rows:
        found.setdefault((row.codec, row.setting), set()).add(row.image)
    for failure in result.failures:
        if failure.codec is not None and failure.setting is not None:
            found.setdefault((failure.codec, failure.setting), set())
    total = len({row.image for row in result.rows})
    return [
        Dropped(codec, setting, len(images), total)
        for (codec, setting), images in sorted(found.items())
        if len(images) < total
    ]
