"""The command `bincodec eval prior`, which measures how many bits the prior and its passes save."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import click

from bincodec.cli import options, output, standard
from bincodec.cli.eval import NOTHING_LEFT, made


@click.command(epilog=options.examples("bincodec eval prior photos/*.png --quality 20,50,80 -o report"))
@options.images
@options.qualities
@click.option(
    "--float-weights",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The floating-point weights of the model, as training writes them.",
)
@options.report_folder(required=False)
@options.model
@options.device
@options.quiet
def command(
    images: tuple[str, ...],
    qualities: tuple[int, ...],
    float_weights: Path | None,
    folder: Path | None,
    model: str,
    device: str,
    quiet: bool,
) -> None:
    """Measure how many bits the prior and its passes save.

    The bits of the same levels are measured in several ways: as plain binary numbers, with the frequencies of
    each channel's levels, with the prior, and in the file. The frequencies are those in these very images at
    this quality. They are not counted as bits, so their result looks better than a file could be. The prior
    is measured in 1, 2, 4, 8 and all passes, for which passes of the model are merged. With --float-weights,
    the floating-point prior is measured too. With -o, all values are written to prior.json in that folder.
    """
    from bincodec import Codec
    from bincodec.eval import prior as pricing
    from bincodec.eval.float_prior import FloatPrior
    from bincodec.eval.plain import to_json
    from bincodec.eval.report import failure_line
    from bincodec.eval.sweep import read
    from bincodec.io import files

    codec = Codec.load(model, device)
    float_prior = None
    if float_weights is not None:
        float_prior = FloatPrior.load(float_weights, codec.model.card.architecture)
    pictures, unreadable = read(images)
    failures = [failure_line(failure) for failure in unreadable]
    if not pictures:
        output.failures(failures, NOTHING_LEFT)
    with nullcontext() if folder is None else made(folder):
        rows = pricing.measure_all(codec, pictures, qualities, float_prior, progress=not quiet)
        if folder is not None:
            files.write(folder / "prior.json", to_json(pricing.as_json(rows, codec)).encode())
    standard.print_text(pricing.text(rows), kept=output.kept([str(folder)]))
    output.failures(failures)
