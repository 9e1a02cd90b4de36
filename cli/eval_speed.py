"""The command `bincodec eval speed`, which measures time, memory and network sizes of codecs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bincodec.cli import options, output, standard
from bincodec.cli.eval import NOTHING_LEFT, made

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bincodec.eval.speed import Subject

DEFAULT_CODECS = (
    "bincodec",
    "jpeg",
    "webp",
    "avif",
    "jp2",
    "jxl",
    "heic",
    "mbt2018_mean",
    "cheng2020_anchor",
)


@click.command(
    epilog=options.examples(
        "bincodec eval speed photo.png --codec bincodec --codec jpeg --threads 2 -o report"
    )
)
@options.images
@click.option(
    "--codec",
    "codecs",
    metavar="NAME[:OPTION=VALUE]...",
    multiple=True,
    default=DEFAULT_CODECS,
    help="A codec as in `bincodec eval rd`, or mbt2018_mean or cheng2020_anchor. May be repeated.  "
    "[default: all of them]",
)
@click.option(
    "--repeat",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="The number of calls of which the median is taken.",
)
@click.option(
    "--threads", type=click.IntRange(min=1), help="The number of cores for each process.  [default: all]"
)
@options.report_folder()
@options.model
@options.device
@options.quiet
def command(
    images: tuple[str, ...],
    codecs: tuple[str, ...],
    repeat: int,
    threads: int | None,
    folder: Path,
    model: str,
    device: str,
    quiet: bool,
) -> None:
    """Measure time, memory and network sizes of codecs.

    Run this when nothing else runs on the machine. Each codec runs in processes of its own, and is timed on
    each of IMAGES at the middle one of its settings. jpeg:settings=80 selects another setting. Encoders with
    an option for it run on one thread, whatever --threads says. Multiply-adds and whole `bincodec` commands
    are measured on the first image. All values are written to speed.json in the output folder.

    mbt2018_mean and cheng2020_anchor are networks of the package CompressAI with random weights. Only their
    speed is meaningful.
    """
    from bincodec.eval import speed, speed_report
    from bincodec.eval.plain import to_json
    from bincodec.eval.process import usable_cores
    from bincodec.eval.report import failure_line
    from bincodec.eval.sweep import look
    from bincodec.io import files

    subjects, skipped = _subjects(codecs, model, device)
    pictures, unreadable = look(images)
    if not pictures:
        output.failures([failure_line(failure) for failure in unreadable], NOTHING_LEFT)
    plan = speed.SpeedPlan(pictures, subjects, repeat, threads or usable_cores(), model, device)
    with made(folder):
        run = speed.measure(plan, progress=not quiet)
        result = replace(run, failures=(*unreadable, *run.failures))
        failures = [failure_line(failure) for failure in result.failures]
        if not (result.rows or result.networks or result.commands):
            output.failures(failures, NOTHING_LEFT)
        files.write(folder / "speed.json", to_json(speed_report.as_json(result, skipped)).encode())
    if result.rows:
        standard.print_text(speed_report.text(result), kept=output.kept([str(folder)]))
    output.failures(failures)


def _subjects(codecs: Sequence[str], model: str, device: str) -> tuple[list[Subject], list[str]]:
    """Return the codecs that can be measured here, and the reasons why others cannot."""
    from bincodec.eval import timing
    from bincodec.eval.errors import NotInstalled
    from bincodec.eval.speed import Subject

    subjects, skipped = {}, []
    for spec in codecs:
        try:
            peer = timing.find(spec, model=model, device=device)
        except NotInstalled as missing:
            skipped.append(str(missing))
        else:
            subjects[peer.name, peer.settings] = Subject(spec, peer)
    skipped = list(dict.fromkeys(skipped))
    for reason in skipped:
        output.note(f"skipped: {reason}")
    if not subjects:
        msg = "none of the codecs that were asked for is installed"
        raise click.ClickException(msg)
    return list(subjects.values()), skipped
