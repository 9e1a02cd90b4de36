"""The command `bincodec eval generation`, which compares pictures drawn by a model with real ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bincodec.cli import interruption, options, output, standard
from bincodec.cli.eval import made

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bincodec import Codec
    from bincodec.eval.generation_spec import Setting
    from bincodec.eval.picture_sets import PictureSet


def _parse_folders(
    context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> dict[str, str]:
    """Parse NAME=PATH, given once or more, to paths by name."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            msg = f"{text!r} is not of the form NAME=PATH"
            raise click.BadParameter(msg)
        if name in found:
            msg = f"the name {name!r} is given twice"
            raise click.BadParameter(msg)
        found[name] = path
    return found


@click.command(
    epilog=options.examples(
        "bincodec eval generation held-out --model clothing --setting classes=real -n 1000 -o report",
        "bincodec eval generation held-out.tar --samples others=pictures -o report",
    )
)
@click.argument("real", metavar="REAL...", nargs=-1, required=True)
@click.option(
    "--under",
    default="",
    metavar="PREFIX",
    help="Use only the pictures below this path in archives and folders.",
)
@click.option(
    "--train",
    "train",
    metavar="PATH",
    multiple=True,
    help="Training pictures, to compare with and to find copies of.",
)
@click.option("--train-under", default="", metavar="PREFIX", help="The same as --under, for --train.")
@click.option(
    "--setting",
    "specs",
    metavar="SPEC",
    multiple=True,
    help="How to draw, as in sampler=diffusion:steps=8,16:classes=real. All values of lists are combined. "
    "May be repeated.  [default: the model's defaults]",
)
@click.option(
    "--samples",
    "folders",
    metavar="NAME=PATH",
    multiple=True,
    callback=_parse_folders,
    help="Measure pictures that were made elsewhere. Without --setting, none is drawn.",
)
@click.option(
    "-n",
    "count",
    type=click.IntRange(min=1),
    default=500,
    show_default=True,
    help="The number of pictures for each setting.",
)
@options.size("Cut and resize all pictures to this size.  [default: the size of REAL]")
@options.quality("The quality of drawn pictures if SPEC does not say it.")
@click.option(
    "--features",
    "network",
    type=click.Choice(["efficientnet", "alexnet"]),
    default="efficientnet",
    show_default=True,
    help="The network in whose features distances are measured.",
)
@options.lpips_weights("The file of AlexNet's weights, as for the metric LPIPS.")
@options.cache("the features of REAL and --train")
@options.report_folder()
@options.model
@options.device
@options.as_json
@options.quiet
def command(
    real: tuple[str, ...],
    under: str,
    train: tuple[str, ...],
    train_under: str,
    specs: tuple[str, ...],
    folders: dict[str, str],
    count: int,
    size: tuple[int, int] | None,
    quality: int,
    network: str,
    lpips_weights: Path | None,
    cache_folder: Path | None,
    folder: Path,
    model: str,
    device: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Measure how far drawn pictures are from real ones.

    REAL are pictures that the model was not trained on, as images, folders or tar archives. The command
    measures kernel distance, Frechet distance, precision and recall in the features of a network. For
    comparison, it measures them for two halves of the real pictures, and for REAL after coding and decoding.
    With --train, it also measures whether drawn pictures are copies of training pictures.

    A SPEC consists of sampler, steps, temperature, final_temperature, guidance, guided_by, guidance_delay,
    renewal, schedule, seed, quality, model and classes. The classes are a class, none, or real, which means
    in the same shares as in REAL, where the folder of each picture names its class.

    The output folder gets generation.json, generation.md, rows.csv, samples.png, and closest.png with the
    closest pairs of a drawn and a training picture. After Ctrl-C, they cover the sets that were complete.
    """
    from bincodec.eval import cache, features, generation, generation_report, picture_sets
    from bincodec.eval.plain import to_json

    settings = _settings(specs or ([] if folders else [""]), model, quality)
    found = features.find(network, device=device, lpips_weights=lpips_weights)
    codecs = _codecs(settings, device)
    held_out = picture_sets.read(real, under=under, size=size, fit=size is not None)

    def alike(paths: Sequence[str], prefix: str = "") -> PictureSet:
        return picture_sets.read(paths, under=prefix, size=held_out.size, fit=size is not None)

    plan = generation.GenerationPlan(
        held_out,
        found,
        count,
        settings,
        codecs,
        alike(train, train_under) if train else None,
        {name: alike([path]) for name, path in folders.items()},
        cache_folder or cache.default_folder(),
    )
    generation.check(plan)
    with made(folder, generation_report.NAMES):
        outcome = generation.run(plan, progress=not quiet)
        generation_report.write(outcome, folder)
    content = generation_report.content(outcome)
    text = to_json(content).rstrip() if as_json else generation_report.text(outcome)
    standard.print_text(text, kept=output.kept([str(folder)]))
    if outcome.interrupted:
        output.error(f"interrupted: {folder} holds the sets that were complete")
        raise click.exceptions.Exit(interruption.EXIT_CODE)


def _settings(specs: Sequence[str], model: str, quality: int) -> tuple[Setting, ...]:
    from bincodec.eval.generation_spec import parse

    every = [setting for spec in specs for setting in parse(spec, model=model, quality=quality)]
    return tuple(dict.fromkeys(every))


def _codecs(settings: Sequence[Setting], device: str) -> Mapping[str, Codec]:
    from bincodec import Codec

    return {name: Codec.load(name, device) for name in dict.fromkeys(s.model for s in settings)}
