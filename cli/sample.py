"""The command `bincodec sample`, which draws pictures from the prior."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

import click

from bincodec.cli import options, pictures
from bincodec.cli import sampling as shared

if TYPE_CHECKING:
    from bincodec import BinaryCode, Codec
    from bincodec.generation.settings import SamplingSettings
    from bincodec.model.card import ModelCard

MAX_TRACED = 8
"""The most states in a trace. More of them would be too small to see."""

EVERY = "all"


@click.command(
    epilog=options.examples(
        "bincodec sample --model clothing --class skirt -o skirt.png",
        "bincodec sample --model clothing --class all -n 8 --grid --seed 1 -o grid.png",
    )
)
@options.sampling
@shared.count
@options.size("The size of the pictures in pixels.  [default: the model's own, or 256x256]")
@options.quality(shared.QUALITY)
@shared.sampler
@click.option(
    "--class",
    "labels",
    metavar="NAME",
    multiple=True,
    help="Draw this class, which `bincodec models` lists. May be repeated. all: draw every class.  "
    "[default: a random class for each picture, if guidance needs one]",
)
@shared.options
@click.option(
    "--grid", is_flag=True, help="Put all pictures into one image. Each of several classes gets its own row."
)
@shared.save_codes
@click.option("--trace", is_flag=True, help="Also show for each picture how it came out of the noise.")
@options.model
@options.writing
def command(
    destination: str,
    count: int,
    size: tuple[int, int] | None,
    quality: int,
    labels: tuple[str, ...],
    grid: bool,
    save_codes: bool,
    trace: bool,
    model: str,
    common: options.Common,
    **chosen: Any,
) -> None:
    """Draw pictures from a model.

    OUT is an image, a .bld file, or - for standard output. With -n, it is a folder with the files 000.png,
    001.png and so on. The same seed draws the same bits on every machine. The text chunks of a PNG say how it
    was drawn.

    If several classes are given, -n pictures of each are drawn, in the given order. `all` stands for all
    classes in the order of `bincodec models`. A class gives the same pictures alone and together with others,
    and the pictures in a column of a grid start from the same random numbers.
    """
    from bincodec.model import store

    card = store.find(model)
    by_class = _settings_by_class(card, labels, chosen, trace=trace)
    wanted = ((pictures.CODE, save_codes), (pictures.TRACE, trace))
    files = pictures.choose(
        [],
        destination,
        count * len(by_class),
        force=common.force,
        as_json=common.as_json,
        together=grid,
        columns=count if len(by_class) > 1 else None,
        endings=[ending for ending, asked in wanted if asked],
    )

    from bincodec import Codec
    from bincodec.generation import editing

    limits = common.limits
    states = min(by_class[0].plan(card).steps, MAX_TRACED) if trace else 0
    files.check_size(size or card.size, limits, states=states)
    start = time.perf_counter()
    codec = Codec.load(str(card.path), common.device)
    loaded = time.perf_counter()
    steps = editing.steps_of(codec.model, by_class[0])
    traces = _Traces(steps)
    with shared.progress(files.count * steps, hidden=common.hides_progress) as advance:

        def watch(state: BinaryCode) -> None:
            advance(state)
            if trace:
                traces.add(state)

        codes = [
            code
            for settings in by_class
            for code in codec.sample(
                count, size, quality, limits=limits, watch=watch, **dataclasses.asdict(settings)
            )
        ]
    shown = (codec.decode(code) for code in codes)
    each = [one.with_class(card, image) for one in by_class for image in range(count)]
    texts = shared.texts(files, codec, codes, by_class, each)
    contents = pictures.contents(files, codec, codes, shown, texts, save_codes=save_codes)
    if trace:
        contents |= _strips(codec, files, traces.rows)
    finished = time.perf_counter()
    files.write(contents)
    seconds = loaded - start, finished - loaded
    drawn = shared.Drawn("sample", files, [*contents], codec, codes[0], by_class, each, *seconds)
    drawn.tell({}, as_json=common.as_json, quiet=common.quiet)


def _settings_by_class(
    card: ModelCard, labels: tuple[str, ...], chosen: dict[str, Any], *, trace: bool
) -> list[SamplingSettings]:
    """Return the settings for each class that was asked for, once, or for no class.

    Raises:
        InvalidSetting: if the model cannot do what the settings say.
        click.UsageError: if a trace is asked for and the sampler has none.
    """
    known = card.classes if EVERY in labels else ()
    named = dict.fromkeys(known or labels or (None,))
    by_class = [shared.as_settings(chosen | {"label": label}) for label in named]
    samplers = {settings.plan(card).sampler for settings in by_class}
    if trace and samplers != {"diffusion"}:
        msg = "--trace shows the steps of the diffusion sampler, but this is the autoregressive sampler"
        raise click.UsageError(msg)
    return by_class


class _Traces:
    """Some of the states of each picture, evenly spaced, with the last one. Each picture has a row."""

    def __init__(self, steps: int) -> None:
        shown = min(steps, MAX_TRACED)
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
    """Return the image files of the traces by path: one for each picture, or one for all of them."""
    from bincodec.io import writing
    from bincodec.io.contact_sheet import contact_sheet

    decoded = [[codec.decode(state) for state in row] for row in rows]
    if files.together:
        decoded = [[image for row in decoded for image in row]]
    return {
        files.beside(index, pictures.TRACE): writing.encode(
            contact_sheet(strip, len(rows[0])), pictures.PICTURE
        )
        for index, strip in enumerate(decoded)
    }
