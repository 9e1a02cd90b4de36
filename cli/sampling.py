"""The shared parts of sample, inpaint and vary: options for drawing, reading of inputs, and summaries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from bincodec.cli import coded, output, places
from bincodec.cli.options import Option, together
from bincodec.generation.schedule import SCHEDULES

if TYPE_CHECKING:
    from bincodec import BinaryCode, Codec
    from bincodec.bitstream.limits import Limits
    from bincodec.cli.pictures import Pictures
    from bincodec.generation.settings import SamplingSettings
    from bincodec.io.images import Picture

NAMED_LEFT = 4
"""The most files of an earlier run that are named. Of the others, only the number is given."""

QUALITY = "The quality of the pictures: 0 is coarsest, 100 is finest."

count = click.option(
    "-n",
    "count",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="The number of pictures to draw.",
)
save_codes = click.option("--save-codes", is_flag=True, help="Also write a .bld file beside each picture.")
seed = click.option(
    "--seed",
    type=click.IntRange(0, 2**64 - 1),
    help="The seed of the random numbers. The same seed draws the same bits.  [default: 0]",
)
sampler = click.option(
    "--sampler",
    type=click.Choice(["autoregressive", "diffusion"]),
    help="autoregressive draws pass by pass, in the order of files. diffusion starts from noise and draws "
    "all bits at once.  [default: diffusion for models of single bits, or else autoregressive]",
)
label = click.option(
    "--class",
    "label",
    metavar="NAME",
    help="Draw this class, if the model has classes (see `bincodec models`).",
)


def temperature(default: str) -> Option[Any]:
    """Return the option `--temperature`, with what its help says of the default."""
    return click.option(
        "--temperature",
        type=click.FloatRange(0, 10),
        help="Values below 1 draw what is more likely. The photo model rounds it to steps of 13 %: "
        "1, 0.88, 0.78 and so on.  "
        f"[default: {default}]",
    )


options = together(
    click.option(
        "--steps",
        type=click.IntRange(min=1),
        help="The number of steps of the sampler.  [default: 16 for diffusion, or else every pass]",
    ),
    temperature("the model's own with guidance, else 0.8"),
    seed,
    click.option(
        "--schedule",
        type=click.Choice(list(SCHEDULES)),
        default="linear",
        show_default=True,
        help="How the noise of the diffusion sampler decreases from step to step.",
    ),
    click.option(
        "--guidance",
        type=click.FloatRange(0, 16),
        help="Larger values make pictures clearer, and more alike. The model photo has none.  "
        "[default: the model's own, or none where it needs a class and there is none]",
    ),
    click.option(
        "--guided-by",
        type=click.Choice(["class", "block", "both"]),
        help="What the weaker form of the model lacks, from which guidance moves away: the class, a block of "
        "the network, or both. Guidance by the class needs a class.  [default: the model's own]",
    ),
    click.option(
        "--guidance-delay",
        type=click.FloatRange(0, 1),
        help="The part of the way from noise to a picture before guidance begins. Guidance in the first "
        "steps makes pictures alike.  [default: the model's own]",
    ),
    click.option(
        "--renewal",
        type=click.FloatRange(0, 1),
        help="The share of the bits that each of 16 steps of the diffusion sampler draws anew. Of more "
        "steps, each draws fewer anew.  [default: the model's own]",
    ),
    click.option(
        "--final-temperature",
        type=click.FloatRange(0, 10),
        help="The temperature of the last step of the diffusion sampler. It changes evenly from step to "
        "step.  [default: --temperature]",
    ),
)
"""With `sampler` and `label`, the fields of `bincodec.generation.settings.SamplingSettings`."""


def as_settings(chosen: dict[str, Any]) -> SamplingSettings:
    """Return the settings for drawing. Options that were not given get their defaults."""
    from bincodec.generation.settings import SamplingSettings

    return SamplingSettings(**{name: value for name, value in chosen.items() if value is not None})


def read(
    source: str, model: str | None, device: str, limits: Limits, *, quiet: bool
) -> tuple[Codec, BinaryCode | Picture]:
    """Return the codec, and the code of a .bld file or the pixels of an image file."""
    from bincodec import Codec
    from bincodec.bitstream.header import MAGIC
    from bincodec.io import images

    data = places.read(source)
    if data.startswith(MAGIC):
        return coded.unpack(source, data, model=model, device=device, limits=limits)
    picture = images.load(data, limits=limits, name=None if source == places.STANDARD else source)
    for sentence in picture.notes:
        output.note(sentence, quiet=quiet)
    return Codec.load(model or "photo", device), picture


def check_held(files: Pictures, given: BinaryCode | Picture, limits: Limits) -> None:
    """Check that the image files can hold pictures like the one that was read, before any is drawn.

    Raises:
        click.UsageError: if the format cannot hold so many pixels on a side, or transparency.
        InvalidSetting: if there are more pixels than the limit.
    """
    from bincodec import BinaryCode
    from bincodec.io.extras import has_alpha

    if isinstance(given, BinaryCode):
        files.check_size((given.width, given.height), limits)
        transparent = has_alpha(extra.kind for extra in given.extras)
    else:
        height, width, _ = given.pixels.shape
        files.check_size((width, height), limits)
        transparent = given.alpha is not None
    if transparent:
        files.check_alpha()


def how(codec: Codec, code: BinaryCode, settings: SamplingSettings) -> dict[str, Any]:
    """Return how a picture was drawn, mostly by the names of the options. None means not given."""
    plan, single_bits = settings.plan(codec.model.card), codec.model.card.architecture.single_bits
    return {
        "model": code.model,
        "quality": code.quality,
        "sampler": plan.sampler,
        "steps": plan.steps,
        "temperature": plan.temperature,
        "seed": settings.seed,
        "schedule": settings.schedule,
        "class": settings.label,
        "guidance": plan.guidance if plan.label or single_bits else None,
        "guided_by": plan.guided_by if plan.guidance else None,
        "guidance_delay": plan.guidance_delay if plan.guidance and plan.sampler == "diffusion" else None,
        "renewal": plan.renewal,
        "final_temperature": settings.final_temperature,
    }


def as_texts(facts: Mapping[str, object]) -> dict[str, str]:
    """Return the texts for a picture's file that say how it was drawn, so that it can be drawn again."""
    from bincodec import __version__

    shown = {name: str(value) for name, value in facts.items() if value is not None}
    return {"Software": f"bincodec {__version__}"} | shown


def texts(
    files: Pictures,
    codec: Codec,
    codes: Sequence[BinaryCode],
    by_class: Sequence[SamplingSettings],
    settings: Sequence[SamplingSettings],
    **more: object,
) -> list[dict[str, str]]:
    """Return `as_texts` for each image file. `settings` are those of each picture, with its class.

    "picture" is the number of a picture under its seed, from 0.
    """
    if files.together:
        # Classes that were not given but drawn are left out, as the same command draws the same ones again.
        classes = ", ".join(one.label for one in by_class if one.label is not None)
        return [as_texts(how(codec, codes[0], settings[0]) | {"class": classes or None} | more)]
    each = len(codes) // len(by_class)
    return [
        as_texts(how(codec, code, one) | {"picture": index % each} | more)
        for index, (code, one) in enumerate(zip(codes, settings, strict=True))
    ]


@contextmanager
def progress(steps: int, *, hidden: bool) -> Iterator[Callable[[object], None]]:
    """Show a progress bar on standard error if it is a terminal. Yield a function to call after each step."""
    from tqdm import tqdm

    with tqdm(total=steps, unit="step", disable=True if hidden else None) as bar:
        yield lambda _: bar.update()


@dataclass(frozen=True)
class Drawn:
    """What a command has drawn, for its summary.

    Args:
        command: the name of the command.
        files: where the pictures are.
        paths: the files that were written.
        codec: the codec that has drawn them.
        code: the code of one of the pictures.
        by_class: the settings for each class. They differ only in the class.
        settings: the settings of each picture, with its class.
        seconds_load: the time for loading the model and the input.
        seconds_draw: the time from then until the bytes were finished.
    """

    command: str
    files: Pictures
    paths: Sequence[str]
    codec: Codec
    code: BinaryCode
    by_class: Sequence[SamplingSettings]
    settings: Sequence[SamplingSettings]
    seconds_load: float
    seconds_draw: float

    def tell(self, more: dict[str, Any], *, as_json: bool, quiet: bool) -> None:
        """Print the summary. The JSON object has the keys of `more` behind the name of the command."""
        settings, code, files = self.settings[0], self.code, self.files
        labels = [one.label for one in self.settings]
        facts = {
            "command": self.command,
            **more,
            "output": files.destination,
            "files": list(self.paths),
            "count": files.count,
            "width": code.width,
            "height": code.height,
            **how(self.codec, code, settings),
            "class": labels[0] if len({*labels}) == 1 else None,
            "classes": labels if any(labels) else [],
            "seconds_load": self.seconds_load,
            "seconds_draw": self.seconds_draw,
        }
        line = (
            f"{places.shown(files.destination, 'standard output')}: {output.counted(files.count, 'picture')} "
            f"of {code.width} x {code.height} pixels, {facts['sampler']} in {facts['steps']} steps, "
            f"seed {settings.seed}, model {code.model}, "
            f"{self.seconds_draw:.2f} s + {self.seconds_load:.2f} s loading"
        )
        output.summary(line, facts, as_json=as_json, quiet=quiet)
        if len(self.by_class) > 1 and not as_json:
            names = ", ".join(str(one.label) for one in self.by_class)
            output.note(f"{files.count // len(self.by_class)} of each class: {names}", quiet=quiet)
        if left := files.left_over(self.paths):
            more_of_them = f" and {len(left) - NAMED_LEFT} more" if len(left) > NAMED_LEFT else ""
            names = ", ".join(left[:NAMED_LEFT]) + more_of_them
            output.note(f"{files.destination}: files of an earlier run are still there: {names}", quiet=quiet)
