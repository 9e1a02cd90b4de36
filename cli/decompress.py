"""The command `bincodec decompress`, which turns .bld files into images."""

from __future__ import annotations

import dataclasses
import os
import re
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bincodec.cli import coded, options, output, places, sampling
from bincodec.cli.batch.asked import Asked, alone, several
from bincodec.cli.batch.job import Made

if TYPE_CHECKING:
    from bincodec import DecodedInfo, Limits
    from bincodec.bitstream.container import ByteSource
    from bincodec.codec import Missing

EXTENSION = ".png"
REGION_NUMBERS = 4


def _region(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> tuple[int, int, int, int] | None:
    """Parse the text of --region to left, top, width and height in pixels."""
    if text is None:
        return None
    numbers = text.split(",")
    if len(numbers) != REGION_NUMBERS or not all(
        re.fullmatch(r"\s*\d{1,9}\s*", number) for number in numbers
    ):
        msg = f"{text!r} is not four integers X,Y,W,H such as 0,0,256,256"
        raise click.BadParameter(msg)
    left, top, width, height = map(int, numbers)
    return left, top, width, height


def _extension(context: click.Context, parameter: click.Parameter, text: str) -> str:
    """Parse the extension of a format that can be written, with or without a dot, and add the dot."""
    from bincodec.errors import ImageError
    from bincodec.io import writing

    extension = "." + text.lstrip(".")
    try:
        writing.check_writable(extension)
    except ImageError as error:
        raise click.BadParameter(str(error)) from error
    return extension


_METADATA = {"icc": "icc_profile", "exif": "exif", "xmp": "xmp"}
"""The keys under which Pillow has the metadata, by the names of `compress --strip`."""


@click.command(
    epilog=options.examples(
        "bincodec decompress photo.bld",
        "bincodec decompress photo.bld preview.webp --layers 2",
        "bincodec decompress large.bld part.png --region 512,0,256,256",
        "bincodec decompress -r coded/ -o pictures/ --format jpg",
    )
)
@several(writing=True)
@click.option(
    "--format",
    "extension",
    metavar="EXT",
    default=EXTENSION,
    callback=_extension,
    help="The format of outputs for which OUT is not given: png, jpg, webp, tif, bmp or ppm.  [default: png]",
)
@click.option(
    "--layers",
    metavar="N",
    type=click.IntRange(min=1),
    help="Decode only the first N layers, which gives a coarser picture.",
)
@click.option(
    "--missing",
    type=click.Choice(["error", "expect", "sample"]),
    default="error",
    show_default=True,
    help="What to do with a damaged file: fail with an error, or show its intact layers and let the model "
    "supply the others as it expects them (smooth) or as it samples them (invented). With sample, layers "
    "that --layers leaves out are drawn too.",
)
@click.option(
    "--region",
    metavar="X,Y,W,H",
    callback=_region,
    help="Decode only W x H pixels whose upper left corner is at X,Y.",
)
@click.option(
    "--fit",
    metavar="N",
    type=click.IntRange(min=1),
    help="Make the picture smaller if a side is longer than N pixels. Its proportions stay the same.",
)
@sampling.seed
@sampling.temperature
@options.model_of_file
@options.writing
def command(
    names: tuple[str, ...],
    many: Asked,
    extension: str,
    layers: int | None,
    missing: Missing,
    region: tuple[int, int, int, int] | None,
    fit: int | None,
    seed: int | None,
    temperature: float | None,
    model: str | None,
    common: options.Common,
) -> None:
    """Decompress .bld files to images.

    If OUT is not given, it is IN with the extension .png. The extension of OUT selects the format: png, jpg,
    webp, tif, bmp or ppm. - is standard input, or standard output in the format PNG. Pictures with
    transparency need png, webp or tif.

    Several files, a folder, a pattern or a URL are a batch. If one input fails, the others are still done.
    Outputs that exist are skipped.
    """
    drawn = missing == "sample"
    if not drawn and (seed, temperature) != (None, None):
        msg = "--seed and --temperature need --missing sample: nothing else is drawn"
        raise click.UsageError(msg)
    if drawn and region is not None:
        msg = "--region does not go with --missing sample: what is drawn depends on the whole picture"
        raise click.UsageError(msg)
    work = partial(
        _decompressed,
        layers=layers,
        missing=missing,
        region=region,
        fit=fit,
        seed=seed or 0,
        temperature=1.0 if temperature is None else temperature,
        model=model,
    )
    found = alone(names, many, lambda name: not coded.is_coded(name) and not os.path.isdir(name))
    if found is None:
        quietly = partial(work, common=dataclasses.replace(common, quiet=True))
        coded.batch("decompress", quietly, extension, model, common).run(names, many)
        return
    source, destination = found
    ends = places.choose(source, destination, extension=extension, force=common.force, as_json=common.as_json)
    _check_format(ends.destination)
    made = work(source, places.given(source), ends.destination, common=common)
    ends.write(made.data or b"")
    output.summary(made.text, made.facts, as_json=common.as_json, quiet=common.quiet)


def _format(destination: str) -> str:
    """Return the extension that selects the format of an output."""
    plain = destination != places.STANDARD and not places.is_device(destination)
    return Path(destination).suffix if plain else EXTENSION


def _check_format(destination: str) -> None:
    from bincodec.errors import ImageError
    from bincodec.io import writing

    try:
        writing.check_writable(_format(destination))
    except ImageError as error:
        raise click.UsageError(str(error)) from error


def _decompressed(
    source: str,
    given: str | bytes,
    destination: str,
    *,
    layers: int | None,
    missing: Missing,
    region: tuple[int, int, int, int] | None,
    fit: int | None,
    seed: int,
    temperature: float,
    model: str | None,
    common: options.Common,
) -> Made:
    """Decompress one file and return the bytes of its picture."""
    from bincodec.io import files, writing

    drawn, extension = missing == "sample", _format(destination)
    with files.opened(given, parts=region is not None) as opened:
        with places.named(source):
            _check_destination(opened, extension, region, common.limits, partial=missing != "error")

        import bincodec

        start = time.perf_counter()
        with places.named(source), output.parts_shown(hidden=common.hides_progress):
            image = bincodec.decompress(
                opened,
                layers=layers,
                missing=missing,
                region=region,
                seed=seed,
                temperature=temperature,
                model=model,
                device=common.device,
                limits=common.limits,
            )
        seconds, size = time.perf_counter() - start, opened.size()
    if fit is not None:
        image.thumbnail((fit, fit))
    decoded = image.info["bld"]
    notes: list[str] = []
    data = writing.encode(image, extension, _texts(decoded, seed, temperature), notes)

    for sentence in notes:
        output.note(sentence, quiet=common.quiet)
    if not decoded["intact"] and not drawn:
        output.note(_what_is_damaged(decoded), quiet=common.quiet)
    elif drawn:
        output.note(_what_is_real(decoded), quiet=common.quiet)
    facts = {
        "command": "decompress",
        "input": source,
        "output": destination,
        "width": image.width,
        "height": image.height,
        "grey": image.mode in ("L", "LA"),
        "alpha": image.mode in ("LA", "RGBA"),
        "metadata": [name for name, key in _METADATA.items() if key in image.info],
        "quality": decoded["quality"],
        "model": decoded["model"],
        "layers": decoded["layers"],
        "intact": decoded["intact"],
        "damage": list(decoded["damage"]),
        "notes": notes,
        "bytes": size,
        "seconds": seconds,
    }
    if drawn:
        facts |= {"seed": seed} | {name: decoded[name] for name in ("real_layers", "real_share")}
    line = (
        f"{places.shown(destination, 'standard output')}: {image.width} x {image.height} pixels, "
        f"{_layers(decoded['layers'])}, model {decoded['model']}, {seconds:.2f} s"
    )
    return Made(facts, line, data)


def _check_destination(
    source: ByteSource,
    extension: str,
    region: tuple[int, int, int, int] | None,
    limits: Limits,
    *,
    partial: bool,
) -> None:
    """Raise ImageError if the format cannot hold the picture. This is checked before anything is decoded."""
    from bincodec.bitstream import container
    from bincodec.io import writing
    from bincodec.io.extras import has_alpha

    found = container.read(source, limits, partial=partial, tiles=())
    _, _, width, height = region or (0, 0, found.header.width, found.header.height)
    writing.check_size(extension, width, height)
    if has_alpha(extra.kind for extra in found.extras):
        writing.check_alpha(extension)


def _layers(count: int) -> str:
    return output.counted(count, "layer")


def _what_is_damaged(decoded: DecodedInfo) -> str:
    """Return the first sentence about damage, and the number of further ones."""
    damage = decoded["damage"]
    more = f" (and {len(damage) - 1} more)" if len(damage) > 1 else ""
    return f"the file is damaged, and what is missing is shown as the model expects it: {damage[0]}{more}"


def _texts(decoded: DecodedInfo, seed: int, temperature: float) -> dict[str, str]:
    """Return the texts for the picture's file about layers that were drawn; empty if none was."""
    if decoded.get("real_layers", decoded["layers"]) == decoded["layers"]:
        return {}
    facts = {"model": decoded["model"], "quality": decoded["quality"], "real_layers": decoded["real_layers"]}
    return sampling.as_texts(facts | {"seed": seed, "temperature": temperature})


def _what_is_real(decoded: DecodedInfo) -> str:
    """Return in words which layers came from the file."""
    real, layers = decoded["real_layers"], decoded["layers"]
    damaged = "" if decoded["intact"] else f"the file is damaged ({decoded['damage'][0]}): "
    if real == layers:
        return f"{damaged}all {layers} layers came from the file, nothing is drawn"
    which = "layer 1" if real == 1 else f"layers 1 to {real}"
    share = f"{decoded['real_share']:.1%} of the bits"
    if real == 0:
        return f"{damaged}{share} came from the file; the rest is drawn"
    return f"{damaged}{which} of {layers} came from the file, {share}; the rest is drawn"
