"""`bincodec sample`: pictures from nothing but the prior."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import click

from bincodec.cli import drawing as shared
from bincodec.cli import options, pictures, places

if TYPE_CHECKING:
    from bincodec import BinaryCode, Codec

MOST_TRACED = 8
"""States in a trace: more would be too small to look at."""


def _parse_size(context: click.Context, parameter: click.Parameter, text: str) -> tuple[int, int]:
    """WIDTHxHEIGHT in pixels."""
    found = re.fullmatch(r"(\d{1,9})x(\d{1,9})", text)
    if found is None:
        msg = f"{text!r} is not a size such as 256x256"
        raise click.BadParameter(msg)
    return int(found[1]), int(found[2])


@click.command()
@click.option("-o", "--output", "destination", metavar="OUT", required=True, help="An image, .bld or folder.")
@shared.count
@click.option("--size", metavar="WxH", callback=_parse_size, default="256x256", show_default=True)
@shared.quality
@shared.sampler
@shared.options
@click.option("--grid", is_flag=True, help="Put all pictures into one.")
@shared.save_codes
@click.option("--trace", is_flag=True, help="Show how each picture came out of the noise.")
@options.model
@options.max_pixels
@options.force
@options.device
@options.as_json
@options.quiet
def command(
    destination: str,
    count: int,
    size: tuple[int, int],
    quality: int,
    grid: bool,
    save_codes: bool,
    trace: bool,
    model: str,
    max_pixels: int | None,
    force: bool,
    device: str,
    as_json: bool,
    quiet: bool,
    **chosen: Any,
) -> None:
    """Draw pictures from the model.

    OUT is an image, or a .bld, or with -n a folder of 000.png, 001.png and so on; - is standard output. The
    same seed gives the same bits on every machine.
    """
    if trace and chosen["sampler"] != "noise":
        msg = "--trace shows the steps of the noise sampler; reveal has none to show"
        raise click.UsageError(msg)
    wanted = ((pictures.CODE, save_codes), (pictures.TRACE, trace))
    files = pictures.choose(
        places.STANDARD,
        destination,
        count,
        force=force,
        as_json=as_json,
        together=grid,
        endings=[ending for ending, asked in wanted if asked],
    )

    from bincodec import Codec, painting

    drawing, limits = shared.settled(chosen), places.limits(max_pixels)
    start = time.perf_counter()
    codec = Codec.load(model, device)
    loaded = time.perf_counter()
    steps = painting.steps_of(codec, drawing)
    traces = _Traces(steps)
    with shared.progress(count * steps, hidden=quiet or as_json) as advance:

        def watch(state: BinaryCode) -> None:
            advance(state)
            if trace:
                traces.add(state)

        codes = painting.sample(codec, count, size, quality, drawing, limits, watch)
    shown = (codec.decode(code) for code in codes)
    contents = pictures.contents(files, codec, codes, shown, save_codes=save_codes)
    if trace:
        contents |= _strips(codec, files, traces.rows)
    finished = time.perf_counter()
    files.write(contents)
    seconds = loaded - start, finished - loaded
    drawn = shared.Drawn("sample", files, [*contents], codec, codes[0], drawing, *seconds)
    drawn.tell({}, as_json=as_json, quiet=quiet)


class _Traces:
    """Some of the states that went by: a row for each picture, evenly spaced, the last one included."""

    def __init__(self, steps: int) -> None:
        shown = min(steps, MOST_TRACED)
        self._chosen = {-(-steps * (number + 1) // shown) - 1 for number in range(shown)}
        self._steps = steps
        self._seen = 0
        self.rows: list[list[BinaryCode]] = []

    def add(self, state: BinaryCode) -> None:
        step = self._seen % self._steps
        if step == 0:
            self.rows.append([])
        if step in self._chosen:
            self.rows[-1].append(state)
        self._seen += 1


def _strips(codec: Codec, files: pictures.Pictures, rows: list[list[BinaryCode]]) -> dict[str, bytes]:
    """A strip for each picture, or all of them below each other."""
    from bincodec import images, painting

    decoded = [[codec.decode(state) for state in row] for row in rows]
    if files.together:
        decoded = [[image for row in decoded for image in row]]
    return {
        files.beside(index, pictures.TRACE): images.encode(
            painting.tiled(strip, len(rows[0])), pictures.PICTURE
        )
        for index, strip in enumerate(decoded)
    }
