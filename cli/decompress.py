"""The command `bincodec decompress`, which turns .bld files into images."""

from __future__ import annotations

import dataclasses
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bincodec.cli import coded, options, output, places, sampling
from bincodec.cli.batch.asked import Asked, alone, several
from bincodec.cli.batch.job import Made

if TYPE_CHECKING:
    from PIL import Image

    from bincodec import Codec, DecodedInfo, Limits
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
        "bincodec decompress large.bld part.png --region 512,0,256,256",
        "bincodec decompress small.bld --realism 0.5",
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
    help="The format of an output that is not named, or that goes to standard output: png, jpg, webp, tif, "
    "bmp or ppm.  [default: png]",
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
@click.option(
    "--decoder",
    type=click.Choice(["fidelity", "realism"]),
    help="fidelity shows what the file says. realism looks more like a photograph, but its fine detail is "
    "invented; the model photo has it.  [default: fidelity]",
)
@click.option(
    "--realism",
    type=click.FloatRange(0, 1),
    help="Between the two decoders: 0 is fidelity, 1 is realism. The detail that realism adds is invented: "
    "it is not for evidence, nor for medical or legal use.",
)
@sampling.seed
@sampling.temperature("1")
@options.model_of_file
@options.writing
def command(names: tuple[str, ...], many: Asked, common: options.Common, **settings: Any) -> None:
    """Decompress .bld files to images.

    If OUT is not given, it is IN with the extension .png. The extension of OUT selects the format: png, jpg,
    webp, tif, bmp or ppm. - is standard input or output. Pictures with transparency need png, webp or tif.

    Several files, a folder, a pattern or a URL are a batch. If one input fails, the others are still done.
    Outputs that exist are skipped.
    """
    work = Decompression(common=common, **settings)
    found = alone(names, many, lambda name: not coded.is_coded(name) and not os.path.isdir(name))
    if found is None:
        work.check_decoder()
        quietly = dataclasses.replace(work, common=dataclasses.replace(common, quiet=True))
        coded.batch("decompress", quietly, work.extension, work.model, common).run(names, many)
        return
    source, destination = found
    many.set_threads()
    ends = places.choose(
        source, destination, extension=work.extension, force=common.force, as_json=common.as_json
    )
    work.check_format(ends.destination)
    made = work(source, places.given(source), ends.destination)
    ends.write(made.data or b"")
    output.summary(made.text, made.facts, as_json=common.as_json, quiet=common.quiet)


@dataclass(frozen=True)
class Decompression:
    """The settings of `decompress`. Calling this decompresses one file, so it is the work of a batch.

    Args:
        extension: the extension of an output that has no name, with a dot.
        layers, missing, region, decoder, realism, model: as for `bincodec.decompress`.
        fit: the longest side that the picture may have, in pixels, or None for any.
        seed, temperature: as for `bincodec.decompress`, or None if they are not given.
        common: the limits, the device, and what is printed.
    """

    extension: str
    layers: int | None
    missing: Missing
    region: tuple[int, int, int, int] | None
    fit: int | None
    decoder: str | None
    realism: float | None
    seed: int | None
    temperature: float | None
    model: str | None
    common: options.Common

    def __post_init__(self) -> None:
        """Raise click.UsageError if settings exclude each other."""
        if not self._drawn and (self.seed, self.temperature) != (None, None):
            msg = "--seed and --temperature need --missing sample: nothing else is drawn"
            raise click.UsageError(msg)
        if self._drawn and self.region is not None:
            msg = "--region does not go with --missing sample: what is drawn depends on the whole picture"
            raise click.UsageError(msg)
        if self.realism is not None and self.decoder == "fidelity":
            msg = "--realism does not go with --decoder fidelity, which is --realism 0"
            raise click.UsageError(msg)

    @property
    def _drawn(self) -> bool:
        return self.missing == "sample"

    def check_decoder(self) -> None:
        """Raise InvalidSetting if the model that all inputs are decoded with does not have the decoder."""
        from bincodec.model import store
        from bincodec.model.decoders import choose

        if self.model is not None:
            choose(store.find(self.model), self.decoder, self.realism)

    def check_format(self, destination: str) -> None:
        """Raise click.UsageError if the format of an output cannot be written."""
        from bincodec.errors import ImageError
        from bincodec.io import writing

        try:
            writing.check_writable(self._format(destination))
        except ImageError as error:
            raise click.UsageError(str(error)) from error

    def _format(self, destination: str) -> str:
        """Return the extension that selects the format of an output."""
        named = destination != places.STANDARD and not places.is_device(destination)
        return Path(destination).suffix if named else self.extension

    def __call__(self, source: str, given: str | bytes, destination: str) -> Made:
        """Decompress one file and return the bytes of its picture."""
        from bincodec.api import shared_codec
        from bincodec.bitstream import container
        from bincodec.io import files, writing
        from bincodec.model import store

        extension = self._format(destination)
        with files.opened(given, parts=self.region is not None) as opened:
            with places.named(source):
                _check_destination(opened, extension, self.region, self.fit, self.common.limits)
            with places.named(source), _pointing_to_missing(self.missing):
                header = container.read_header(opened, self.common.limits, partial=self.missing != "error")
                start = time.perf_counter()
                codec = shared_codec(store.find_for(header.fingerprint, self.model).path, self.common.device)
                loaded = time.perf_counter()
                image = self._image(codec, opened)
                finished, size = time.perf_counter(), opened.size()
        if self.fit is not None:
            image.thumbnail((self.fit, self.fit))
        decoded = image.info["bld"]
        notes: list[str] = []
        seed, temperature = self._draw
        data = writing.encode(image, extension, _texts(decoded, seed, temperature), notes)
        notes += self._surprises(decoded)
        for sentence in notes:
            output.note(sentence, quiet=self.common.quiet)
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
            "decoder": decoded["decoder"],
            "realism": decoded["realism"],
            "intact": decoded["intact"],
            "damage": list(decoded["damage"]),
            "notes": notes,
            "bytes": size,
            "seconds": finished - start,
            "seconds_load": loaded - start,
        }
        if self._drawn:
            facts |= {"seed": seed} | {name: decoded[name] for name in ("real_layers", "real_share")}
        line = (
            f"{places.shown(destination, 'standard output')}: {image.width} x {image.height} pixels, "
            f"{coded.what_is_shown(decoded)}, {finished - loaded:.2f} s + {loaded - start:.2f} s loading"
        )
        return Made(facts, line, data)

    @property
    def _draw(self) -> tuple[int, float]:
        """The seed and the temperature, with their defaults."""
        return self.seed or 0, 1.0 if self.temperature is None else self.temperature

    def _image(self, codec: Codec, opened: ByteSource) -> Image.Image:
        seed, temperature = self._draw
        with output.parts_shown(hidden=self.common.hides_progress):
            return codec.decompress(
                opened,
                layers=self.layers,
                missing=self.missing,
                region=self.region,
                decoder=self.decoder,
                realism=self.realism,
                seed=seed,
                temperature=temperature,
                limits=self.common.limits,
            )

    def _surprises(self, decoded: DecodedInfo) -> list[str]:
        """Return notes about what is damaged or drawn."""
        if self._drawn:
            return [coded.what_is_real(decoded)]
        return [] if decoded["intact"] else [coded.what_is_damaged(decoded)]


@contextmanager
def _pointing_to_missing(missing: Missing) -> Iterator[None]:
    """Add to errors about a damaged file which option shows it."""
    from bincodec import Corrupt, Truncated

    try:
        yield
    except (Corrupt, Truncated) as error:
        if missing == "error":
            error.args = (f"{error} (--missing expect shows what is there)",)
        raise


def _check_destination(
    source: ByteSource,
    extension: str,
    region: tuple[int, int, int, int] | None,
    fit: int | None,
    limits: Limits,
) -> None:
    """Raise ImageError if the format cannot hold the picture. This is checked before anything is decoded.

    Damage is ignored here, because decoding the file reports it.
    """
    from bincodec.bitstream import container
    from bincodec.io import writing
    from bincodec.io.extras import has_alpha

    found = container.read(source, limits, partial=True, tiles=())
    _, _, width, height = region or (0, 0, found.header.width, found.header.height)
    most = fit or max(width, height)
    writing.check_size(extension, min(width, most), min(height, most))
    writing.check_colour(extension, grey=found.header.grey)
    if has_alpha(extra.kind for extra in found.extras):
        writing.check_alpha(extension)


def _texts(decoded: DecodedInfo, seed: int, temperature: float) -> dict[str, str]:
    """Return the texts for the picture's file about invented detail and drawn layers; empty without them."""
    invented: dict[str, object] = {}
    if decoded["realism"]:
        invented |= {"decoder": decoded["decoder"], "realism": decoded["realism"]}
    if decoded["real_layers"] < decoded["layers"]:
        invented |= {"real_layers": decoded["real_layers"], "seed": seed, "temperature": temperature}
    facts = {"model": decoded["model"], "quality": decoded["quality"]}
    return sampling.as_texts(facts | invented) if invented else {}
