"""The options that several commands share."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from bincodec.bitstream.limits import SIDE

Command = TypeVar("Command", bound=Callable[..., Any])
Option = Callable[[Command], Command]


def together(*several: Option[Any]) -> Option[Any]:
    """Several options as one; the help shows them in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(several):
            command = option(command)
        return command

    return decorate


force = click.option("-f", "--force", is_flag=True, help="Overwrite OUT if it exists.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
quiet = click.option("--quiet", is_flag=True, help="Say nothing but errors.")
max_pixels = click.option(
    "--max-pixels",
    type=click.IntRange(min=1),
    help="Accept images of up to this many pixels.  [default: 67108864]",
)
device = click.option(
    "--device", default="cpu", show_default=True, help="Where to compute: cpu, cuda, cuda:1."
)
writing = together(max_pixels, force, device, as_json, quiet)
"""What every command takes that makes one picture or file from another, or from nothing."""

report_folder = click.option(
    "-o",
    "--output",
    "folder",
    required=True,
    type=click.Path(file_okay=False, writable=True, path_type=Path),
)
model = click.option("--model", default="photo", show_default=True, help="A name, or a .safetensors file.")
images = click.argument("images", metavar="IMAGES...", nargs=-1, required=True)


def _parse_size(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> tuple[int, int] | None:
    """WIDTHxHEIGHT in pixels, each 1..65535."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,9})x(\d{1,9})", text)
    if found is None:
        msg = f"{text!r} is not a size such as 256x256"
        raise click.BadParameter(msg)
    width, height = int(found[1]), int(found[2])
    for name, value in (("width", width), ("height", height)):
        if not 1 <= value <= SIDE:
            msg = f"{name} {value} is not an integer in 1..{SIDE}"
            raise click.BadParameter(msg)
    return width, height


def size(explanation: str) -> Option[Any]:
    """--size, which is None or (width, height); its help is `explanation`."""
    return click.option("--size", metavar="WxH", callback=_parse_size, help=explanation)


def _parse_qualities(context: click.Context, parameter: click.Parameter, text: str) -> tuple[int, ...]:
    """Integers in 0..100, separated by commas, to a rising tuple without repetitions."""
    try:
        found = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError as error:
        msg = f"{text!r} is not a list of integers such as 0,50,100"
        raise click.BadParameter(msg) from error
    if found[0] < 0 or found[-1] > 100:
        msg = f"{text!r}: qualities lie in 0..100"
        raise click.BadParameter(msg)
    return found


qualities = click.option(
    "--quality",
    "qualities",
    metavar="Q,Q,...",
    callback=_parse_qualities,
    default="0,17,33,50,67,83,100",
    show_default=True,
    help="Qualities of bincodec, separated by commas.",
)
