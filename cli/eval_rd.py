"""The command `bincodec eval rd`, which measures rate and distortion of codecs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bincodec.cli import interruption, options, output, standard
from bincodec.cli.eval import NOTHING_LEFT, made

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bincodec.eval.cache import Cache
    from bincodec.eval.curves import PublishedCurve
    from bincodec.eval.errors import NotInstalled
    from bincodec.eval.spec import Spec
    from bincodec.eval.study import Outcome, StudyPlan

DEFAULT_CODECS = ("bincodec", "jpeg", "webp")


def _parse_targets(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[float, ...]:
    """Parse positive numbers separated by commas, in their order. The result is empty without the option."""
    if text is None:
        return ()
    try:
        targets = tuple(dict.fromkeys(float(part) for part in text.split(",")))
    except ValueError as error:
        msg = f"{text!r} is not a list of numbers such as 0.1,0.2,0.4"
        raise click.BadParameter(msg) from error
    if not all(0 < target <= 24 for target in targets):
        msg = f"{text!r}: bits per pixel must be above 0 and at most 24"
        raise click.BadParameter(msg)
    return targets


@click.command(
    epilog=options.examples(
        "bincodec eval rd photos/*.png -o report",
        "bincodec eval rd photos/*.png --codec bincodec --codec avif:speed=4 --metric psnr -o report",
    )
)
@options.images
@click.option(
    "--codec",
    "codecs",
    metavar="SPEC",
    multiple=True,
    default=DEFAULT_CODECS,
    help="A codec: bincodec, jpeg, webp, avif, jp2, jxl or heic. Options may follow, as in "
    "avif:tune=psnr:speed=4, jpeg:subsampling=444 or webp:settings=10,50,90. May be repeated.  "
    "[default: bincodec, jpeg, webp]",
)
@options.qualities
@click.option(
    "--metric",
    "names",
    metavar="NAME",
    multiple=True,
    help="A metric: psnr, psnr_y, ms_ssim, lpips, ssimulacra2 or butteraugli. May be repeated.  "
    "[default: the first three]",
)
@options.lpips_weights("The file of weights for LPIPS, if its package has none.")
@click.option(
    "--curve",
    "curves",
    metavar="NAME|FILE",
    multiple=True,
    help="Also show this published curve. May be repeated.",
)
@click.option(
    "--anchor",
    metavar="SPEC",
    help="The anchor of BD-rates: a codec or a curve of this run.  [default: jpeg]",
)
@click.option(
    "--compare",
    "targets",
    metavar="BPP,...",
    callback=_parse_targets,
    help="The bits per pixel at which the page shows pictures side by side.  [default: 0.2,0.5]",
)
@click.option("--no-page", is_flag=True, help="Do not write the HTML page.")
@click.option(
    "--jobs",
    type=click.IntRange(min=0),
    help="The number of processes that share the work. 0 uses no other process.  "
    "[default: one for each core]",
)
@options.cache("results")
@options.report_folder()
@options.model
@options.device
@options.quiet
def command(
    images: tuple[str, ...],
    codecs: tuple[str, ...],
    qualities: tuple[int, ...],
    names: tuple[str, ...],
    lpips_weights: Path | None,
    curves: tuple[str, ...],
    anchor: str | None,
    targets: tuple[float, ...],
    no_page: bool,
    jobs: int | None,
    cache_folder: Path | None,
    folder: Path,
    model: str,
    device: str,
    quiet: bool,
) -> None:
    """Measure rate and distortion of codecs over IMAGES.

    Every file is written in full and decoded again. The command prints means over the images, and BD-rates
    against JPEG or another anchor. It writes report.json, rows.csv and the page report.html into the output
    folder. Results are kept in a cache, so the same command continues after an interruption.
    """
    from bincodec.eval import cache as caching
    from bincodec.eval import report, study

    specs, missing_codecs = _specs(codecs, qualities, model, device)
    metrics, missing_metrics = _metrics(names, lpips_weights)
    published = _published(curves)
    plan = study.StudyPlan(
        specs,
        metrics,
        lpips_weights,
        tuple(published.values()),
        _anchor(anchor, specs, published, model, device),
        () if no_page else targets or study.USUAL_TARGETS,
        None if targets else study.MAX_PICTURE_BYTES,
        (*missing_codecs, *missing_metrics),
    )
    cache = caching.Cache(cache_folder or caching.default_folder())
    with made(folder, study.NAMES):
        outcome = _measure(plan, images, jobs, cache, quiet)
        failures = [report.failure_line(failure) for failure in outcome.report.sweep.failures]
        if not outcome.report.sweep.rows:
            output.failures(failures, NOTHING_LEFT)
        _write(outcome, folder, page=not no_page)
    standard.print_text(report.text(outcome.report), kept=output.kept([str(folder)]))
    output.failures(failures)


def _measure(plan: StudyPlan, images: Sequence[str], jobs: int | None, cache: Cache, quiet: bool) -> Outcome:
    from bincodec.eval import study
    from bincodec.eval.process import usable_cores
    from bincodec.eval.resume import Interrupted

    jobs = usable_cores() if jobs is None else jobs
    try:
        return study.run(plan, images, jobs=jobs, cache=cache, progress=not quiet)
    except Interrupted as stop:
        output.error(
            f"interrupted: {stop.done} of {stop.total} are done and kept in {cache.folder}; "
            "the same command goes on from there"
        )
        raise click.exceptions.Exit(interruption.EXIT_CODE) from stop


def _specs(
    codecs: Sequence[str], qualities: tuple[int, ...], model: str, device: str
) -> tuple[tuple[Spec, ...], list[str]]:
    """Return the codecs that can be measured here, and the reasons why others cannot."""
    from dataclasses import replace

    from bincodec.eval import peers
    from bincodec.eval.errors import NotInstalled

    specs: dict[str, Spec] = {}
    skipped = []
    for text in dict.fromkeys(codecs):
        spec = peers.read_spec(text, model=model, device=device)
        if spec.codec == "bincodec" and not spec.settings:
            spec = replace(spec, settings=qualities)
        if spec.label in specs:
            msg = f"--codec {text}: {spec.label} is given twice"
            raise click.UsageError(msg)
        try:
            peers.build(spec)
        except NotInstalled as missing:
            skipped.append(_skipped(missing))
        else:
            specs[spec.label] = spec
    if not specs:
        msg = "none of the codecs that were asked for is installed"
        raise click.ClickException(msg)
    return tuple(specs.values()), skipped


def _skipped(missing: NotInstalled) -> str:
    """Print what is left out, even under --quiet, because it was asked for."""
    output.note(f"skipped: {missing}")
    return str(missing)


def _metrics(names: Sequence[str], lpips_weights: Path | None) -> tuple[tuple[str, ...], list[str]]:
    """Return the metrics that can be measured here, and the reasons why others cannot."""
    from bincodec.eval import metrics
    from bincodec.eval.errors import NotInstalled

    found, skipped = [], []
    for name in dict.fromkeys(names or metrics.DEFAULT):
        try:
            found.append(metrics.find(name, lpips_weights=lpips_weights).name)
        except NotInstalled as missing:
            skipped.append(_skipped(missing))
    if not found:
        msg = "none of the metrics that were asked for is installed"
        raise click.ClickException(msg)
    return tuple(found), skipped


def _published(names: Sequence[str]) -> dict[str, PublishedCurve]:
    """Return the published curves by the names under which they were asked for."""
    from bincodec.eval.curves import curve

    return {name: curve(name) for name in names}


def _anchor(
    text: str | None, specs: Sequence[Spec], published: Mapping[str, PublishedCurve], model: str, device: str
) -> str:
    """Return the label of the anchor, which is given in the same form as a codec or a curve."""
    from bincodec.eval import peers
    from bincodec.eval.errors import UnknownCodec
    from bincodec.eval.report import ANCHOR

    if text is None:
        return ANCHOR
    if text in published:
        return published[text].name
    titles = [curve.name for curve in published.values()]
    if text in titles:
        return text
    labels = [spec.label for spec in specs]
    try:
        label = peers.read_spec(text, model=model, device=device).label
    except UnknownCodec:
        label = ""
    if label not in labels:
        msg = f"--anchor {text}: this run only has {', '.join([*labels, *titles])}"
        raise click.UsageError(msg)
    return label


def _write(outcome: Outcome, folder: Path, *, page: bool) -> None:
    from bincodec.eval import study
    from bincodec.eval.errors import NotInstalled

    study.write(outcome, folder)
    if page:
        try:
            study.write_page(outcome, folder)
        except NotInstalled as missing:
            output.note(f"no report.html: {missing}")
