"""The command `bincodec vary`, which draws pictures that resemble a given one."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import click

from bincodec.cli import options, output, pictures
from bincodec.cli import sampling as shared


@click.command(
    epilog=options.examples(
        "bincodec vary shirt.png --model clothing --strength 0.4 -n 4 -o shirts",
        "bincodec vary shirt.bld --strength 0.7 --seed 1 -o other.png",
    )
)
@options.source
@click.option(
    "--strength",
    type=click.FloatRange(0, 1),
    required=True,
    help="How much to change: 0 changes nothing, 1 keeps nothing. It has steps of 1/64.",
)
@options.sampling
@shared.count
@options.quality(shared.QUALITY)
@shared.label
@shared.options
@shared.save_codes
@options.model_of_any
@options.writing
def command(
    source: str,
    strength: float,
    destination: str,
    count: int,
    quality: int,
    save_codes: bool,
    model: str | None,
    common: options.Common,
    **chosen: Any,
) -> None:
    """Draw pictures that resemble an image or a .bld file.

    Noise is added to the bits of the picture and then removed. OUT is an image or a .bld file. With -n, it is
    a folder with the files 000.png, 001.png and so on. A .bld file keeps its quality. The text chunks of a
    PNG say how it was drawn.
    """
    endings = [pictures.CODE] if save_codes else []
    files = pictures.choose(
        [source], destination, count, force=common.force, as_json=common.as_json, endings=endings
    )

    from bincodec.generation import editing

    settings, limits = shared.as_settings({"sampler": "diffusion", **chosen}), common.limits
    start = time.perf_counter()
    codec, given = shared.read(source, model, common.device, limits, quiet=common.quiet)
    loaded = time.perf_counter()
    shared.check_held(files, given, limits)
    steps = editing.steps_of(codec.model, settings)
    with shared.progress(count * steps, hidden=common.hides_progress) as advance:
        codes = codec.vary(
            given, strength, quality, count, limits=limits, watch=advance, **dataclasses.asdict(settings)
        )
    shown = (codec.decode(code) for code in codes)
    texts = shared.texts(files, codec, codes, [settings], [settings] * count, strength=strength)
    contents = pictures.contents(files, codec, codes, shown, texts, save_codes=save_codes)
    finished = time.perf_counter()
    files.write(contents)
    seconds = loaded - start, finished - loaded
    drawn = shared.Drawn(
        "vary", files, [*contents], codec, codes[0], [settings], [settings] * count, *seconds
    )
    if not codec.model.card.architecture.single_bits:
        output.note(
            f"model {codec.model.card.name} was not made to vary pictures, so much of the picture is lost",
            quiet=common.quiet,
        )
    drawn.tell({"input": source, "strength": strength}, as_json=common.as_json, quiet=common.quiet)
