"""The command `bincodec train`, which runs one stage of training, or finishes a model."""

import json
import math
from pathlib import Path
from typing import Any

import click

from bincodec.cli import options, output, standard

_path = click.Path(exists=True, path_type=Path)


@click.command(
    epilog=options.examples(
        "bincodec train configs/photo.toml runs/first --minutes 60 --photos photos --valid held-out",
        "bincodec train configs/photo.toml runs/second --steps 20000 --start runs/first/weights.safetensors",
    )
)
@click.argument("config", type=options.existing_file)
@click.argument("run", type=click.Path(file_okay=False, path_type=Path))
@click.option("--steps", type=click.IntRange(min=1), help="The length of the stage in steps.")
@click.option(
    "--minutes", type=click.FloatRange(min=0, min_open=True), help="The length of the stage in minutes."
)
@click.option(
    "--start",
    type=options.existing_file,
    help="Start from these weights: the weights.safetensors of an earlier run, or a model file.",
)
@click.option(
    "--finish",
    metavar="NAME",
    help="Finish the weights of --start, and write the model to RUN/NAME.safetensors.",
)
@click.option(
    "--add-decoder",
    metavar="NAME",
    help="Add the decoder of --start under this name to the model of --to, and write the model into RUN.",
)
@click.option(
    "--to", type=options.existing_file, help="The model file to which --add-decoder adds a decoder."
)
@click.option(
    "--stretch",
    type=click.FloatRange(min=0, min_open=True),
    help="Move the weights that --add-decoder adds this many times as far from those of the main decoder.",
)
@click.option(
    "--since",
    type=options.existing_file,
    help="The weights that the decoder of --start began with, if they are not those of --to. What it has "
    "learned since then is added to the main decoder of --to.",
)
@click.option(
    "--card",
    type=options.existing_file,
    help="A JSON file for the card of the finished model: data, licences, credits, and how the model draws.",
)
@click.option(
    "--prior-only", is_flag=True, help="Train only the prior, and leave the autoencoder of --start as it is."
)
@click.option(
    "--decoder-only",
    is_flag=True,
    help="Train only the decoder of --start, so that bits and files stay the same.",
)
@click.option("--revive", is_flag=True, help="Give new weights to the units of --start that are silent.")
@options.device_of("The device: cpu or cuda. torchrun starts one process for each of several devices.")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="The number of CPU threads. More threads than free cores are far slower.",
)
@click.option("--compile", "compiled", is_flag=True, help="Compile the networks, which needs CUDA.")
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    default=0,
    help="The number of threads that prepare crops. With a GPU, 12 are good.  [default: 0]",
)
@click.option(
    "--crop",
    type=click.IntRange(min=32),
    help="The side of the crops in pixels, instead of the one in CONFIG.",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    help="The number of crops in a batch, instead of the one in CONFIG.",
)
@click.option(
    "--rates",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    help="Multiply the learning rates by this. 0.25 suits a start from a good model.  [default: 1]",
)
@click.option(
    "--photos", type=_path, help="The folder or tar archive of training photos, instead of the one in CONFIG."
)
@click.option(
    "--valid",
    type=_path,
    help="The folder or tar archive of validation photos, instead of the one in CONFIG.",
)
@click.option(
    "--valid-photos",
    type=click.IntRange(min=1),
    help="The number of validation photos, evenly spread, if not all are used.",
)
@options.lpips_weights("The weights of SqueezeNet for [perceptual], instead of the file in CONFIG.")
def command(
    config: Path,
    run: Path,
    steps: int | None,
    minutes: float | None,
    start: Path | None,
    finish: str | None,
    add_decoder: str | None,
    to: Path | None,
    stretch: float | None,
    since: Path | None,
    card: Path | None,
    prior_only: bool,
    decoder_only: bool,
    revive: bool,
    device: str,
    threads: int | None,
    compiled: bool,
    workers: int,
    crop: int | None,
    batch: int | None,
    rates: float,
    photos: Path | None,
    valid: Path | None,
    valid_photos: int | None,
    lpips_weights: Path | None,
) -> None:
    """Train a model, one stage at a time.

    CONFIG is a TOML file with the architecture, the objective and the data. A stage starts from scratch
    or from --start. Its learning rate rises, stays and falls again. At the end, the result is
    measured on the validation photos. The stage writes weights.safetensors and log.jsonl into the folder RUN.
    After an interruption, the same command continues where it stopped.
    """
    alone = [
        name for name, given in (("--prior-only", prior_only), ("--decoder-only", decoder_only)) if given
    ]
    results = [
        name for name, given in (("--finish", finish), ("--add-decoder", add_decoder)) if given is not None
    ]
    if (add_decoder is None) != (to is None):
        msg = "--add-decoder NAME and --to MODEL belong together"
        raise click.UsageError(msg)
    for name, value, needed_by in (
        ("--stretch", stretch, "--add-decoder"),
        ("--since", since, "--add-decoder"),
        ("--card", card, "--finish"),
    ):
        if value is not None and {"--add-decoder": add_decoder, "--finish": finish}[needed_by] is None:
            msg = f"{name} needs {needed_by}"
            raise click.UsageError(msg)
    if compiled and results:
        msg = f"--compile does not go with {results[0]}"
        raise click.UsageError(msg)
    for name, value in (("--minutes", minutes), ("--rates", rates), ("--stretch", stretch)):
        if value is not None and not math.isfinite(value):
            msg = f"{name} {value} is not a finite number"
            raise click.UsageError(msg)
    if add_decoder is None and (steps is None) == (minutes is None):
        msg = "either --steps or --minutes is needed, and not both"
        raise click.UsageError(msg)
    if start is None and (needing := [*alone, *results, *(["--revive"] if revive else [])]):
        msg = f"{needing[0]} needs weights to start from: --start"
        raise click.UsageError(msg)
    exclusive = [*alone, *results]
    if len(exclusive) > 1 and exclusive != ["--prior-only", "--finish"]:
        msg = f"{' and '.join(exclusive)} exclude each other"
        raise click.UsageError(msg)
    if revive and (prior_only or results):
        msg = "--revive needs an autoencoder that learns"
        raise click.UsageError(msg)

    standard.require_output()

    import torch

    from bincodec.arguments import checked_device
    from bincodec.eval.errors import needed

    with needed("training needs", "pytorch-optimizer", "train"):
        from bincodec.train import loop
        from bincodec.train.finish import finish as finish_model
        from bincodec.train.finish import finish_decoder
        from bincodec.train.settings import (
            read_settings,
            with_data,
            with_lpips_weights,
            with_rates,
        )

    if threads is not None:
        torch.set_num_threads(threads)
    checked_device(device)
    try:
        if add_decoder is not None and to is not None and start is not None:
            made = finish_decoder(start, to, run, add_decoder, stretch or 1.0, since)
            output.note(f"{made.path}: model {made.name}, decoders {', '.join(made.decoders)}")
            return
        settings = with_rates(read_settings(config), rates)
        settings = with_data(settings, crop=crop, batch=batch, photos=photos, valid=valid)
        settings = with_lpips_weights(settings, lpips_weights)
        stage = loop.Stage(steps, minutes)
        if finish is None:
            loop.run(
                settings,
                run,
                stage,
                start=start,
                device=device,
                compiled=compiled,
                workers=workers,
                prior_only=prior_only,
                decoder_only=decoder_only,
                validation_photos=valid_photos,
                revived=revive,
            )
            return
        assert start is not None
        facts = _facts(card) if card else None
        model = finish_model(
            settings,
            start,
            run,
            finish,
            stage,
            device=device,
            workers=workers,
            card=facts,
            validation_photos=valid_photos,
            prior_only=prior_only,
        )
    except (ValueError, TypeError, ArithmeticError) as error:
        raise click.ClickException(str(error)) from error
    output.note(f"{model.path}: model {model.name}, fingerprint {model.fingerprint.hex()}")


def _facts(card: Path) -> dict[str, Any]:
    """Return what a JSON file says for the card of a model.

    Raises:
        ValueError: if it does not contain one JSON object.
    """
    try:
        facts = json.loads(card.read_text(encoding="utf-8"))
    except ValueError as error:
        msg = f"{card} is not a JSON file: {error}"
        raise ValueError(msg) from error
    if not isinstance(facts, dict):
        msg = f"{card} is not a JSON object of names and values"
        raise ValueError(msg)
    return facts
