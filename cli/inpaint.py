"""The command `bincodec inpaint`, which fills the part of a picture that a mask marks."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import click

from bincodec.cli import options, output, pictures, places
from bincodec.cli import sampling as shared


@click.command(
    epilog=options.examples(
        "bincodec inpaint photo.png --mask hole.png -o filled.png",
        "bincodec inpaint photo.png --mask hole.png -n 4 --seed 1 -o fillings",
    )
)
@options.source
@click.option(
    "--mask",
    required=True,
    metavar="MASK",
    shell_complete=options.complete_files,
    help="The mask: an image that is white where IN is to be filled.",
)
@options.sampling
@shared.count
@options.quality(shared.QUALITY)
@shared.sampler
@shared.label
@shared.options
@shared.save_codes
@options.model_of_any
@options.writing
def command(
    source: str,
    mask: str,
    destination: str,
    count: int,
    quality: int,
    save_codes: bool,
    model: str | None,
    common: options.Common,
    **chosen: Any,
) -> None:
    """Fill the part of an image or a .bld file that a mask marks.

    OUT is an image or a .bld file. With -n, it is a folder with the files 000.png, 001.png and so on. The
    text chunks of a PNG say how it was drawn.

    In an image, all pixels stay the same that are 8 or more pixels from the mask. In a .bld file, the quality
    stays the same, and so do all bits of positions (16 x 16 pixels) that are more than 8 pixels from the
    mask.
    """
    if source == mask == places.STANDARD:
        msg = "IN and MASK cannot both be standard input"
        raise click.UsageError(msg)
    endings = [pictures.CODE] if save_codes else []
    inputs = [source, mask]
    files = pictures.choose(
        inputs, destination, count, force=common.force, as_json=common.as_json, endings=endings
    )

    from bincodec.generation import editing

    settings, limits = shared.as_settings(chosen), common.limits
    start = time.perf_counter()
    codec, given = shared.read(source, model, common.device, limits, quiet=common.quiet)
    loaded = time.perf_counter()
    shared.check_held(files, given, limits)
    marked = places.read(mask) if mask == places.STANDARD else mask
    steps = editing.steps_of(codec.model, settings)
    with shared.progress(count * steps, hidden=common.hides_progress) as advance:
        results = codec.inpaint(
            given, marked, quality, count, limits=limits, watch=advance, **dataclasses.asdict(settings)
        )
    first, codes = results[0], [one.code for one in results]
    shown = (one.image for one in results)
    texts = shared.texts(files, codec, codes, [settings], [settings] * count)
    contents = pictures.contents(files, codec, codes, shown, texts, save_codes=save_codes)
    finished = time.perf_counter()
    files.write(contents)
    if not first.known.any():
        output.note(
            "no position is more than 8 pixels from the mask, so the filling fits nothing around it",
            quiet=common.quiet,
        )
    positions = {"positions": first.known.size, "positions_sampled": int((~first.known).sum())}
    seconds = loaded - start, finished - loaded
    drawn = shared.Drawn(
        "inpaint", files, [*contents], codec, first.code, [settings], [settings] * count, *seconds
    )
    drawn.tell({"input": source, "mask": mask, **positions}, as_json=common.as_json, quiet=common.quiet)
