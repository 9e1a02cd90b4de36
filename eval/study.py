"""A whole measurement: codecs over images, what they are compared to, and the files that tell of it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bincodec.eval import comparison, metrics, peers
from bincodec.eval import report as reports
from bincodec.eval.cache import Cache
from bincodec.eval.curves import PublishedCurve
from bincodec.eval.measure import Build, Picture
from bincodec.eval.page import Comparison, page
from bincodec.eval.plain import printable, to_json
from bincodec.eval.report import Report
from bincodec.eval.spec import Spec
from bincodec.eval.sweep import Failure, look, sweep
from bincodec.io import files

USUAL_TARGETS = (0.2, 0.5)
COMPARED_IMAGES = 3
"""So many images are shown side by side."""

MAX_PICTURE_BYTES = 5_500_000
"""Of pictures that nobody asked for: a page with these and all else stays under 10 MB."""

PAGE = "report.html"
NAMES = ("report.json", "rows.csv", PAGE)
"""The files of a report beside its pictures; the first is there as soon as any of the others is."""
PICTURES = "pictures"
_OWN_PICTURE = re.compile(r"\d+-(\d+|original)\.webp")


@dataclass(frozen=True)
class StudyPlan:
    """What to measure.

    Args:
        names: metrics.
        anchor: what BD-rates are against, by its label or name.
        targets: bits per pixel at which pictures are laid side by side.
        most_picture_bytes: the comparisons after the first that take more are left out; None: all stay.
        skipped: what was asked for and cannot be measured here, each with its reason.

    Raises:
        NameTaken: if a published curve has the name of a codec or of another curve.
    """

    specs: tuple[Spec, ...]
    names: tuple[str, ...] = metrics.DEFAULT
    lpips_weights: Path | None = None
    published: tuple[PublishedCurve, ...] = ()
    anchor: str = reports.ANCHOR
    targets: tuple[float, ...] = ()
    most_picture_bytes: int | None = None
    skipped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        reports.require_distinct((spec.label for spec in self.specs), self.published)


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    report: Report
    comparisons: tuple[Comparison, ...]


def run(
    plan: StudyPlan,
    paths: Sequence[str],
    *,
    jobs: int = 0,
    cache: Cache | None = None,
    progress: bool = False,
    build: Build = peers.build,
) -> Outcome:
    """Measure the images at `paths`; raises as `sweep.sweep`."""
    pictures, failures = look(paths)
    shared: dict[str, Any] = {"jobs": jobs, "cache": cache, "progress": progress, "build": build}
    result = sweep(pictures, plan.specs, plan.names, lpips_weights=plan.lpips_weights, **shared)
    comparisons, failed = _compare(plan, pictures, shared)
    result = replace(result, failures=(*failures, *result.failures, *failed))
    report = Report(
        result,
        tuple(map(build, plan.specs)),
        tuple(metrics.find(name, lpips_weights=plan.lpips_weights) for name in plan.names),
        plan.published,
        plan.anchor,
        plan.skipped,
    )
    return Outcome(report, tuple(comparisons))


def _compare(
    plan: StudyPlan, pictures: Sequence[Picture], shared: dict[str, Any]
) -> tuple[list[Comparison], list[Failure]]:
    found, failures = comparison.compare(pictures[:COMPARED_IMAGES], plan.specs, plan.targets, **shared)
    if plan.most_picture_bytes is not None:
        found = comparison.within(found, plan.most_picture_bytes)
    return found, failures


def write(outcome: Outcome, folder: Path) -> None:
    """Write report.json, rows.csv and the pictures of the comparisons.

    What an earlier run has left of these, and its report.html, goes.

    Raises:
        OSError: as the system reports it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PAGE).unlink(missing_ok=True)
    shown = [_write_pictures(number, shown, folder) for number, shown in enumerate(outcome.comparisons, 1)]
    content = reports.content(outcome.report, shown)
    files.write(folder / "report.json", to_json(content).encode())
    files.write(folder / "rows.csv", printable(reports.as_csv(outcome.report.sweep.rows)).encode())
    _remove_pictures(folder, shown)


def _remove_pictures(folder: Path, shown: Sequence[Mapping[str, Any]]) -> None:
    """Remove the pictures of comparisons that are not `shown`; whatever else is there stays."""
    written = {file for comparison in shown for file in _picture_files(comparison)}
    found = [path for path in (folder / PICTURES).glob("*.webp") if _OWN_PICTURE.fullmatch(path.name)]
    stale = [path for path in found if f"{PICTURES}/{path.name}" not in written]
    for path in stale:
        path.unlink()
    if stale and not any((folder / PICTURES).iterdir()):
        (folder / PICTURES).rmdir()


def _picture_files(comparison: Mapping[str, Any]) -> list[str]:
    return [comparison["original"], *(picture["file"] for picture in comparison["pictures"])]


def write_page(outcome: Outcome, folder: Path) -> None:
    """Write report.html.

    Raises:
        NotInstalled: as `page.page`.
        OSError: as the system reports it.
    """
    files.write(folder / PAGE, page(reports.content(outcome.report), outcome.comparisons).encode())


def _write_pictures(number: int, shown: Comparison, folder: Path) -> dict[str, Any]:
    """Write the pictures of one comparison; what report.json says of it."""
    (folder / PICTURES).mkdir(exist_ok=True)
    pictures = []
    for position, picture in enumerate(shown.pictures, 1):
        file = f"{PICTURES}/{number}-{position}.webp"
        facts = {
            "codec": picture.codec,
            "setting": picture.setting,
            "bytes": picture.bytes,
            "bits_per_pixel": picture.bits_per_pixel,
            "psnr": picture.psnr,
            "file": file,
        }
        files.write(folder / file, picture.image)
        pictures.append(facts)
    original = f"{PICTURES}/{number}-original.webp"
    files.write(folder / original, shown.original)
    return {
        "image": shown.image,
        "bits_per_pixel": shown.target_bits_per_pixel,
        "width": shown.width,
        "height": shown.height,
        "original": original,
        "pictures": pictures,
    }
