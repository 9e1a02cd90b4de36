"""The command `bincodec compress`, which turns images into .bld files."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bincodec.cli import options, output, places
from bincodec.cli.batch.asked import Asked, alone, several
from bincodec.cli.batch.job import Made
from bincodec.cli.batch.run import Batch
from bincodec.cli.coded import EXTENSION, is_coded

if TYPE_CHECKING:
    from bincodec import BinaryCode, Codec, Limits
    from bincodec.io.images import Picture


@click.command(
    epilog=options.examples(
        "bincodec compress photo.jpg",
        "bincodec compress photo.png small.bld --size 20k --effort 5",
        "bincodec compress - - --strip all < photo.png > photo.bld",
        "bincodec compress -r photos/ -o coded/",
    )
)
@several(writing=True)
@options.rate
@options.model
@options.effort
@click.option(
    "--strip",
    type=click.Choice(["all", "icc", "exif", "xmp"]),
    multiple=True,
    help="Leave out metadata: the colour profile (icc), Exif, XMP, or all of it. May be repeated.",
)
@click.option(
    "--srgb", is_flag=True, help="Convert the colours to sRGB instead of keeping the colour profile."
)
@click.option(
    "--no-verify", is_flag=True, help="Do not decode the finished file for a check before it is written."
)
@click.option("--measure", is_flag=True, help="Also decode the picture and print its PSNR.")
@options.writing
def command(names: tuple[str, ...], many: Asked, common: options.Common, **settings: Any) -> None:
    """Compress images to .bld files.

    If OUT is not given, it is IN with the extension .bld. - is standard input or output. Transparency, the
    colour profile, Exif and XMP are kept without loss.

    Several files, a folder, a pattern or a URL are a batch. If one input fails, the others are still done.
    Outputs that exist are skipped.
    """
    work = Compression(common=common, **settings)
    found = alone(names, many, is_coded)
    if found is None:
        _batch(work, names, many)
        return
    source, destination = found
    many.set_threads()
    _check_extension(source, destination)
    ends = places.choose(source, destination, extension=EXTENSION, force=common.force, as_json=common.as_json)
    made = work(source, places.given(source), ends.destination)
    ends.write(made.data or b"")
    output.summary(made.text, made.facts, as_json=common.as_json, quiet=common.quiet)


def _batch(work: Compression, names: tuple[str, ...], many: Asked) -> None:
    for name in filter(is_coded, names):
        msg = f"{name}: this is a .bld file already; the outputs of a batch go into a folder: --output FOLDER"
        raise click.UsageError(msg)
    quietly = dataclasses.replace(work, common=dataclasses.replace(work.common, quiet=True))
    Batch("compress", quietly, _is_picture, EXTENSION, work.model, work.common).run(names, many)


def _is_picture(name: str) -> bool:
    """Return whether a file has the extension of a format that can be read."""
    from PIL import Image

    from bincodec.io.opening import is_readable

    return is_readable(Image.registered_extensions().get(os.path.splitext(name)[1].lower()))


@dataclass(frozen=True)
class Compression:
    """The settings of `compress`. Calling this compresses one picture, so it is the work of a batch.

    Args:
        asked: a quality or a target, by its name in the API, or empty for the default.
        model, effort, strip, srgb: as for `bincodec.compress`.
        no_verify: whether the finished bytes are not decoded for a check.
        measure: whether the PSNR is measured too.
        common: the limits, the device, and what is printed.
    """

    asked: dict[str, Any]
    model: str
    effort: int
    strip: tuple[str, ...]
    srgb: bool
    no_verify: bool
    measure: bool
    common: options.Common

    def __call__(self, source: str, given: str | bytes, destination: str) -> Made:
        """Compress one picture and return the bytes of its file."""
        from bincodec.bitstream.limits import Limits

        limits = Limits(options.WRITTEN_PIXELS) if self.common.max_pixels is None else self.common.limits
        picture, notes = self._read(given, limits)

        from bincodec.api import shared_codec
        from bincodec.model import store

        start = time.perf_counter()
        codec = shared_codec(store.find(self.model).path, self.common.device)
        loaded = time.perf_counter()
        with output.parts_shown(hidden=self.common.hides_progress):
            code = codec.encode(picture, limits=limits, effort=self.effort, **self.asked)
            data = codec.pack(code, verify=not self.no_verify)
        finished = time.perf_counter()

        facts = {
            "command": "compress",
            "input": source,
            "output": destination,
            "width": code.width,
            "height": code.height,
            "grey": picture.grey,
            "alpha": picture.alpha is not None,
            "metadata": picture.metadata,
            "quality": code.quality,
            "effort": self.effort,
            "model": code.model,
            "bytes": len(data),
            "bits_per_pixel": 8 * len(data) / (code.width * code.height),
            "verified": not self.no_verify,
            "notes": notes,
            "seconds_load": loaded - start,
            "seconds_code": finished - loaded,
        }
        line = (
            f"{places.shown(destination, 'standard output')}: {len(data)} bytes, "
            f"{facts['bits_per_pixel']:.3f} bits per pixel, quality {code.quality}, model {code.model}, "
            f"{finished - loaded:.2f} s + {loaded - start:.2f} s loading"
        )
        if self.measure:
            facts["psnr"] = _psnr(codec, code, picture)
            line += f", {facts['psnr'] or math.inf:.2f} dB"
        return Made(facts, line, data)

    def _read(self, given: str | bytes, limits: Limits) -> tuple[Picture, list[str]]:
        """Return the picture, and the notes for the user, which are also printed."""
        from bincodec.arguments import checked_strip
        from bincodec.bitstream.limits import PIXELS
        from bincodec.io import images

        with _pillow_without_limit():
            picture = images.load(given, limits=limits, srgb=self.srgb, strip=checked_strip(self.strip))
        height, width, _ = picture.pixels.shape
        notes = list(picture.notes)
        if width * height > PIXELS:
            notes.append(f"to decompress it, the option --max-pixels {width * height} is needed")
        for sentence in notes:
            output.note(sentence, quiet=self.common.quiet)
        return picture, notes


@contextmanager
def _pillow_without_limit() -> Iterator[None]:
    """Let `limits` alone decide how large an image may be. Pillow's own limit is below the largest photos."""
    from PIL import Image

    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _check_extension(source: str, destination: str | None) -> None:
    """Refuse an output that does not end in .bld.

    A .bld file under the name of an image would confuse, and `compress a.png b.png` must not overwrite b.png.
    """
    if destination is None and Path(source).suffix.lower() == EXTENSION:
        msg = f"{source}: this is a {EXTENSION} file already; 'bincodec decompress' makes an image of it"
        raise click.UsageError(msg)
    if destination is None or destination == places.STANDARD or places.is_device(destination):
        return
    places.require_name(destination)
    if Path(destination).suffix.lower() != EXTENSION:
        msg = f"{destination}: the name of a compressed file has to end in {EXTENSION}"
        raise click.UsageError(msg)


def _psnr(codec: Codec, code: BinaryCode, picture: Picture) -> float | None:
    """Return the PSNR of all pixels that are not clear, in dB, or None if all of them are equal."""
    from bincodec.encoder.targets import psnr
    from bincodec.isolation import isolated

    with isolated():
        decibels = psnr(codec.model, code, picture)
    return decibels if math.isfinite(decibels) else None
