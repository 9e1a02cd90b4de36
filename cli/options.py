"""The options that several commands share."""

import dataclasses
import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from bincodec.bitstream.header import BEST_QUALITY
from bincodec.bitstream.limits import PIXELS, SIDE
from bincodec.cli import standard
from bincodec.defaults import DEFAULT_EFFORT, DEFAULT_QUALITY, DRAWN_QUALITY

if TYPE_CHECKING:
    from bincodec.bitstream.limits import Limits

Command = TypeVar("Command", bound=Callable[..., Any])
Option = Callable[[Command], Command]


def examples(*lines: str) -> str:
    """The epilog of a command's help: what people type. The man pages show it as well."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def complete_files(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Let the shell complete the name of a file, as it does for other programs."""
    return [CompletionItem(begun, type="file")]


def complete_models(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """The names of the models at hand that begin with `begun`; their cards are read without PyTorch."""
    from bincodec.model import store

    return [CompletionItem(card.name) for card in store.available() if card.name.startswith(begun)]


def together(*several: Option[Any]) -> Option[Any]:
    """Several options as one; the help shows them in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(several):
            command = option(command)
        return command

    return decorate


def _check_output(context: click.Context, parameter: click.Parameter, as_json: bool) -> bool:
    """Nobody works for a report that cannot be printed."""
    if as_json and not context.resilient_parsing:
        standard.require_output()
    return as_json


def device_of(explanation: str) -> Option[Any]:
    """--device; its help is `explanation`."""
    return click.option("--device", default="cpu", show_default=True, help=explanation)


as_json = click.option(
    "--json", "as_json", is_flag=True, callback=_check_output, help="Print one JSON object."
)
quiet = click.option("--quiet", is_flag=True, help="Say nothing but errors.")
max_pixels = click.option(
    "--max-pixels",
    type=click.IntRange(min=1),
    help=f"Accept images of up to this many pixels.  [default: {PIXELS}; to compress, any number]",
)
device = device_of("Where to compute: cpu, cuda, cuda:1.")


@dataclasses.dataclass(frozen=True)
class Common:
    """The values of `writing`."""

    max_pixels: int | None
    force: bool
    device: str
    as_json: bool
    quiet: bool

    @property
    def limits(self) -> "Limits":
        """What is accepted."""
        return limits(self.max_pixels)

    @property
    def hides_progress(self) -> bool:
        """Whether no bar is to be shown, even on a terminal."""
        return self.quiet or self.as_json


def limits(max_pixels: int | None) -> "Limits":
    """The default limits, or with another number of pixels."""
    from bincodec.bitstream.limits import DEFAULT_LIMITS, Limits

    return DEFAULT_LIMITS if max_pixels is None else Limits(pixels=max_pixels)


def writing(command: Callable[..., Any]) -> Callable[..., Any]:
    """What every command takes that makes pictures or files; their values reach it as one, `common`."""
    force = click.option("-f", "--force", is_flag=True, help="Overwrite OUT if it exists.")

    @functools.wraps(command)
    def gathered(**values: Any) -> Any:
        common = Common(**{field.name: values.pop(field.name) for field in dataclasses.fields(Common)})
        return command(common=common, **values)

    for option in (quiet, as_json, device, force, max_pixels):  # The help shows the last one first.
        gathered = option(gathered)
    return gathered


source = click.argument("source", metavar="IN", shell_complete=complete_files)
destination = click.argument("destination", metavar="[OUT]", required=False, shell_complete=complete_files)
coded = click.argument("source", metavar="FILE", shell_complete=complete_files)
images = click.argument("images", metavar="IMAGES...", nargs=-1, required=True, shell_complete=complete_files)
sampling = click.option(
    "-o",
    "--output",
    "destination",
    metavar="OUT",
    required=True,
    shell_complete=complete_files,
    help="An image, .bld or folder.",
)
existing_file = click.Path(exists=True, dir_okay=False, path_type=Path)


def report_folder(*, required: bool = True) -> Option[Any]:
    """-o, the folder of a report."""
    kind = click.Path(file_okay=False, writable=True, path_type=Path)
    return click.option(
        "-o", "--output", "folder", type=kind, required=required, help="The folder of the report."
    )


def cache(content: str) -> Option[Any]:
    """--cache, a folder for `content`."""
    return click.option(
        "--cache",
        "cache_folder",
        type=click.Path(file_okay=False, path_type=Path),
        help=f"Where {content} are kept from run to run.  [default: the user's cache]",
    )


def lpips_weights(explanation: str) -> Option[Any]:
    """--lpips-weights; its help is `explanation`."""
    return click.option("--lpips-weights", type=existing_file, help=explanation)


def _model(default: str | None, otherwise: str) -> Option[Any]:
    return click.option(
        "--model",
        default=default,
        shell_complete=complete_models,
        help=f"A name that `bincodec models` lists, or a .safetensors file.  [default: {otherwise}]",
    )


model = _model("photo", "photo")
model_of_file = _model(None, "the one that wrote the file")
model_of_any = _model(None, "photo, or the one that wrote the .bld")


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


_quality_kind = click.IntRange(0, BEST_QUALITY)


def quality(explanation: str) -> Option[Any]:
    """--quality of what is drawn; its help is `explanation`."""
    return click.option(
        "-q", "--quality", type=_quality_kind, default=DRAWN_QUALITY, show_default=True, help=explanation
    )


_UNITS = {"": 1, "k": 1000, "ki": 1024, "m": 10**6, "mi": 2**20}
_NAMES = {"quality": "--quality", "size": "--size", "bits_per_pixel": "--bpp", "psnr": "--psnr"}


def _parse_bytes(context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    """A number of bytes, with a unit if it has one."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,9})?)\s*(|k|ki|m|mi)b?", text.strip().lower())
    value = int(float(found[1]) * _UNITS[found[2]]) if found else 0
    if value < 1:
        msg = f"{text!r} is not a size such as 20000, 20k (20,000 bytes) or 20Ki (20,480)"
        raise click.BadParameter(msg)
    return value


def rate(command: Callable[..., Any]) -> Callable[..., Any]:
    """--quality, or instead of it --size, --bpp or --psnr.

    They reach the command as one, `asked`: what was given, by its name in the API, or nothing.
    """

    @functools.wraps(command)
    def gathered(**values: Any) -> Any:
        asked = {name: value for name in _NAMES if (value := values.pop(name)) is not None}
        if len(asked) > 1:
            msg = f"{' and '.join(_NAMES[name] for name in asked)} cannot go together: name one of them"
            raise click.UsageError(msg)
        return command(asked=asked, **values)

    given = (
        click.option(
            "-q",
            "--quality",
            type=_quality_kind,
            help="0 is smallest, 100 is best.  "
            f"[default: {DEFAULT_QUALITY}, which looks good at first sight]",
        ),
        click.option(
            "--size",
            metavar="BYTES",
            callback=_parse_bytes,
            help="Instead of a quality: the file has at most this many bytes. 20k is 20,000.",
        ),
        click.option(
            "--bpp",
            "bits_per_pixel",
            type=click.FloatRange(0, 1000, min_open=True),
            help="Instead of a quality: the file has at most this many bits for each pixel.",
        ),
        click.option(
            "--psnr",
            type=click.FloatRange(0, 100),
            help="Instead of a quality: the picture has at least this PSNR in dB.",
        ),
    )
    for option in reversed(given):  # The help shows the last one first.
        gathered = option(gathered)
    return gathered


effort = click.option(
    "--effort",
    type=click.IntRange(0, 9),
    default=DEFAULT_EFFORT,
    show_default=True,
    help="How long to search for a better trade of bits against error; decoding is as fast either way.",
)


def _parse_qualities(context: click.Context, parameter: click.Parameter, text: str) -> tuple[int, ...]:
    """Integers in 0..100, separated by commas, to a rising tuple without repetitions."""
    try:
        found = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError as error:
        msg = f"{text!r} is not a list of integers such as 0,50,100"
        raise click.BadParameter(msg) from error
    if found[0] < 0 or found[-1] > BEST_QUALITY:
        msg = f"{text!r}: qualities lie in 0..{BEST_QUALITY}"
        raise click.BadParameter(msg)
    return found


qualities = click.option(
    "--quality",
    "qualities",
    metavar="Q,Q,...",
    callback=_parse_qualities,
    default="0,17,33,50,67,83,100",
    show_default=True,
    help="Qualities of bincodec, each 0..100, separated by commas.",
)
