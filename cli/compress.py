"""`bincodec compress`: an image to a .bld file."""

import time
from pathlib import Path
from typing import Any

import click

from bincodec.cli import options, output, places

EXTENSION = ".bld"


@click.command(
    epilog=options.examples(
        "bincodec compress photo.jpg",
        "bincodec compress photo.png small.bld --size 20k --effort 5",
        "bincodec compress - - --strip all < photo.png > photo.bld",
    )
)
@options.source
@options.destination
@options.rate
@options.model
@options.effort
@click.option(
    "--strip",
    type=click.Choice(["all", "icc", "exif", "xmp"]),
    multiple=True,
    help="Leave metadata out: the colour profile (icc), Exif, XMP, or all of it. May be repeated.",
)
@click.option(
    "--srgb", is_flag=True, help="Convert the colours to sRGB, through their profile, instead of keeping it."
)
@click.option("--no-verify", is_flag=True, help="Skip decoding the finished file before it is written.")
@options.writing
def command(
    source: str,
    destination: str | None,
    asked: dict[str, Any],
    model: str,
    effort: int,
    strip: tuple[str, ...],
    srgb: bool,
    no_verify: bool,
    common: options.Common,
) -> None:
    """Compress an image to a .bld file.

    OUT is IN with the extension .bld unless it is given; - is standard input or output. Transparency is kept
    without loss, and so are the colour profile, Exif and XMP.
    """
    _check_extension(source, destination)
    ends = places.choose(source, destination, extension=EXTENSION, force=common.force, as_json=common.as_json)

    from bincodec.arguments import checked_strip
    from bincodec.bitstream.limits import PIXELS, WRITING_LIMITS
    from bincodec.io import images

    limits = WRITING_LIMITS if common.max_pixels is None else common.limits
    picture = images.load(
        places.read(source) if source == places.STANDARD else source,
        limits=limits,
        srgb=srgb,
        strip=checked_strip(strip),
    )
    height, width, _ = picture.pixels.shape
    notes = list(picture.notes)
    if width * height > PIXELS:
        notes.append(f"whoever decompresses it has to ask for it: --max-pixels {width * height}")
    for sentence in notes:
        output.note(sentence, quiet=common.quiet)

    from bincodec import Codec

    start = time.perf_counter()
    codec = Codec.load(model, common.device)
    loaded = time.perf_counter()
    with output.parts_shown(hidden=common.hides_progress):
        code = codec.encode(picture, limits=limits, effort=effort, **asked)
        data = codec.pack(code, verify=not no_verify)
    finished = time.perf_counter()
    ends.write(data)

    facts = {
        "command": "compress",
        "input": source,
        "output": ends.destination,
        "width": width,
        "height": height,
        "grey": picture.grey,
        "alpha": picture.alpha is not None,
        "metadata": picture.metadata,
        "quality": code.quality,
        "effort": effort,
        "model": code.model,
        "bytes": len(data),
        "bits_per_pixel": 8 * len(data) / (width * height),
        "verified": not no_verify,
        "notes": notes,
        "seconds_load": loaded - start,
        "seconds_code": finished - loaded,
    }
    line = (
        f"{places.shown(ends.destination, 'standard output')}: {len(data)} bytes, "
        f"{facts['bits_per_pixel']:.3f} bits per pixel, quality {code.quality}, model {code.model}, "
        f"{finished - loaded:.2f} s + {loaded - start:.2f} s loading"
    )
    output.summary(line, facts, as_json=common.as_json, quiet=common.quiet)


def _check_extension(source: str, destination: str | None) -> None:
    """A .bld under the name of an image would only confuse; `compress *.png` must not hit the second name."""
    if destination is None and Path(source).suffix.lower() == EXTENSION:
        msg = f"{source}: is a {EXTENSION} file already; 'bincodec decompress' makes an image of it"
        raise click.UsageError(msg)
    if destination is None or destination == places.STANDARD or places.is_device(destination):
        return
    if Path(destination).suffix.lower() != EXTENSION:
        msg = f"{destination}: compressed files end in {EXTENSION}"
        raise click.UsageError(msg)
