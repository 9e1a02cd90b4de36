"""Run a whole study: measure codecs on images, compare them, and write the files of the report."""

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
"""The number of images that are shown side by side."""

MAX_PICTURE_BYTES = 5_500_000
"""The most bytes of pictures if the user did not ask for them. The whole page then stays below 10 MB."""

PAGE = "report.html"
NAMES = ("report.json", "rows.csv", PAGE)
"""The files of a report beside its pictures. The first is there whenever one of the others is."""
PICTURES = "pictures"
_OWN_PICTURE = re.compile(r"\d+-(\d+|original)\.webp")


@dataclass(frozen=True)
class StudyPlan:
    """What to measure.

    Args:
        specs: the codecs.
        names: the metrics.
        lpips_weights: the file with the weights of LPIPS, if any.
        published: curves of others.
        anchor: the label of a codec or the name of a curve. BD-rates are computed against it.
        targets: the rates in bits per pixel at which pictures are compared side by side.
        most_picture_bytes: the most bytes of pictures. Later comparisons are left out, but never the first
            one. None means that all are kept.
        skipped: what cannot be measured here although it was asked for, each with its reason.

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
    """The results of a study."""

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
    """Measure the images at `paths`. The errors are as in `sweep.sweep`."""
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

    Such files of an earlier run, and its report.html, are deleted.

    Raises:
        OSError: if the system cannot write a file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    contents: dict[Path, bytes] = {}
    shown = [
        _add_pictures(number, shown, folder, contents) for number, shown in enumerate(outcome.comparisons, 1)
    ]
    if contents:
        (folder / PICTURES).mkdir(exist_ok=True)
    content = reports.content(outcome.report, shown)
    contents[folder / "report.json"] = to_json(content).encode()
    contents[folder / "rows.csv"] = printable(reports.as_csv(outcome.report.sweep.rows)).encode()
    (folder / PAGE).unlink(missing_ok=True)
    files.write_all(contents)
    _remove_pictures(folder, shown)


def _remove_pictures(folder: Path, shown: Sequence[Mapping[str, Any]]) -> None:
    """Delete the pictures of comparisons that are not `shown`. Other files are kept."""
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
        NotInstalled: as in `page.page`.
        OSError: if the system cannot write the file.
    """
    files.write(folder / PAGE, page(reports.content(outcome.report), outcome.comparisons).encode())


def _add_pictures(number: int, shown: Comparison, folder: Path, to: dict[Path, bytes]) -> dict[str, Any]:
    """Add the pictures of one comparison to the files to write, and return its entry in report.json."""
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
        to[folder / file] = picture.image
        pictures.append(facts)
    original = f"{PICTURES}/{number}-original.webp"
    to[folder / original] = shown.original
    return {
        "image": shown.image,
        "bits_per_pixel": shown.target_bits_per_pixel,
        "width": shown.width,
        "height": shown.height,
        "original": original,
        "pictures": pictures,
    }
