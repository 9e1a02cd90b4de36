"""`bincodec eval`: measure the codec, and others beside it, on your images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bincodec.cli import options, output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bincodec.eval.sweep import Failure

DEFAULT_CODECS = ("bincodec", "jpeg", "webp")


def _parse_qualities(context: click.Context, parameter: click.Parameter, text: str) -> tuple[int, ...]:
    """Integers in 0..100, separated by commas, to a rising tuple without repetitions."""
    try:
        found = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError as error:
        msg = f"{text!r} is not a list of integers such as 0,50,100"
        raise click.BadParameter(msg) from error
    if found[0] < 0 or found[-1] > 100:
        msg = f"{text!r}: qualities lie in 0..100"
        raise click.BadParameter(msg)
    return found


_images = click.argument("images", metavar="IMAGES...", nargs=-1, required=True)
_qualities = click.option(
    "--quality",
    "qualities",
    metavar="Q,Q,...",
    callback=_parse_qualities,
    default="0,17,33,50,67,83,100",
    show_default=True,
    help="Qualities of bincodec, separated by commas.",
)
_model = click.option("--model", default="photo", show_default=True, help="A name, or a .safetensors file.")


@click.group()
def command() -> None:
    """Measure rate and distortion on your own images, from real files."""


@command.command()
@_images
@click.option(
    "--codec",
    "codecs",
    multiple=True,
    default=DEFAULT_CODECS,
    help="bincodec, jpeg, webp, avif or jp2; once for each.  [default: bincodec, jpeg, webp]",
)
@_qualities
@click.option("-o", "--output", "folder", required=True, type=click.Path(file_okay=False, path_type=Path))
@_model
@options.device
@options.quiet
def rd(
    images: tuple[str, ...],
    codecs: tuple[str, ...],
    qualities: tuple[int, ...],
    folder: Path,
    model: str,
    device: str,
    quiet: bool,
) -> None:
    """Rate and PSNR of codecs over IMAGES, and BD-rates against JPEG.

    Every file is written in full and decoded again. Prints means over the images; rows.json in the
    output folder holds all values.
    """
    from bincodec import files
    from bincodec.eval import peers, report
    from bincodec.eval.sweep import Sweep, read, sweep

    chosen = []
    for name in dict.fromkeys(codecs):
        try:
            chosen.append(peers.find(name, model=model, device=device))
        except peers.NotInstalled as missing:
            output.note(f"skipped: {missing}", quiet=quiet)
    pictures, unreadable = read(images)
    run = sweep(pictures, chosen, {"bincodec": qualities}, progress=not quiet)
    result = Sweep(run.rows, (*unreadable, *run.failures))
    folder.mkdir(parents=True, exist_ok=True)
    files.write(folder / "rows.json", report.as_json(result, chosen).encode())
    click.echo(report.text(result))
    _complain(result.failures)


@command.command()
@_images
@_qualities
@click.option(
    "--float-weights",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The float weights behind the model, as training writes them.",
)
@click.option("-o", "--output", "folder", type=click.Path(file_okay=False, path_type=Path))
@_model
@options.device
@options.quiet
def prior(
    images: tuple[str, ...],
    qualities: tuple[int, ...],
    float_weights: Path | None,
    folder: Path | None,
    model: str,
    device: str,
    quiet: bool,
) -> None:
    """What the prior's bits cost: raw, float, integer, and in the file.

    The same levels are priced each time. The overhead is what a file takes beyond the sum of -log2 of its
    probabilities. With -o, prior.json in that folder holds all values.
    """
    from bincodec import Codec, files
    from bincodec.eval import prior as pricing
    from bincodec.eval import report
    from bincodec.eval.sweep import read

    codec = Codec.load(model, device)
    float_prior = None
    if float_weights is not None:
        float_prior = pricing.FloatPrior.load(float_weights, codec.model.card.architecture)
    pictures, unreadable = read(images)
    rows = pricing.measure_all(codec, pictures, qualities, float_prior, progress=not quiet)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        content = {"schema": report.SCHEMA, "model": codec.model.card.name, "rows": rows}
        files.write(folder / "prior.json", report.to_json(content).encode())
    if rows:
        click.echo(pricing.text(rows))
    _complain(unreadable)


def _complain(failures: Sequence[Failure]) -> None:
    """Name what failed, after everything that did not."""
    from bincodec.eval.report import failure_line

    for failure in failures:
        output.note(f"failed: {failure_line(failure)}")
    if failures:
        msg = f"{len(failures)} failed; the other results are complete"
        raise click.ClickException(msg)
