"""Define the options that several commands share."""

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
    """Return the examples at the end of a command's help. The manual pages show them too."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def complete_files(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Let the shell complete names of files, as it does for other programs."""
    return [CompletionItem(begun, type="file")]


def complete_models(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Return the names of installed models that begin with `begun`. This does not load PyTorch."""
    from bincodec.model import store

    return [CompletionItem(card.name) for card in store.available() if card.name.startswith(begun)]


def together(*several: Option[Any]) -> Option[Any]:
    """Join several options into one. The help shows them in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(several):
            command = option(command)
        return command

    return decorate


def _check_output(context: click.Context, parameter: click.Parameter, as_json: bool) -> bool:
    """Check that standard output works before a report is computed for it."""
    if as_json and not context.resilient_parsing:
        standard.require_output()
    return as_json


def device_of(explanation: str) -> Option[Any]:
    """Return the option --device with the help text `explanation`."""
    return click.option("--device", default="cpu", show_default=True, help=explanation)


as_json = click.option(
    "--json",
    "as_json",
    is_flag=True,
    callback=_check_output,
    help="Print the result as JSON.",
)
quiet = click.option("--quiet", is_flag=True, help="Print only errors.")
WRITTEN_PIXELS = 2**28
"""268 megapixels, the default limit of `compress`. The largest sensors of cameras have 200."""

max_pixels = click.option(
    "--max-pixels",
    type=click.IntRange(min=1),
    help=f"Accept images of up to this many pixels.  [default: {PIXELS}; compress: {WRITTEN_PIXELS}]",
)
device = device_of("The device to compute on, such as cpu, cuda or cuda:1.")


@dataclasses.dataclass(frozen=True)
class Common:
    """The values of the options of `writing`."""

    max_pixels: int | None
    force: bool
    device: str
    as_json: bool
    quiet: bool

    @property
    def limits(self) -> "Limits":
        """The limits for images that are read."""
        return limits(self.max_pixels)

    @property
    def hides_progress(self) -> bool:
        """Whether progress bars stay hidden even on a terminal."""
        return self.quiet or self.as_json


def reading(*, device: str = "cpu", as_json: bool, quiet: bool = False) -> Common:
    """Return the values for a command that writes no files."""
    return Common(None, False, device, as_json, quiet)


def limits(max_pixels: int | None) -> "Limits":
    """Return the default limits, or those with another number of pixels if `max_pixels` is given."""
    from bincodec.bitstream.limits import DEFAULT_LIMITS, Limits

    return DEFAULT_LIMITS if max_pixels is None else Limits(pixels=max_pixels)


def writing(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of all commands that write files. Their values are passed as one, `common`."""
    force = click.option("-f", "--force", is_flag=True, help="Overwrite the output if it exists.")

    @functools.wraps(command)
    def gathered(**values: Any) -> Any:
        common = Common(**{field.name: values.pop(field.name) for field in dataclasses.fields(Common)})
        return command(common=common, **values)

    for option in (quiet, as_json, device, force, max_pixels):  # The help shows the last one first.
        gathered = option(gathered)
    return gathered


source = click.argument("source", metavar="IN", shell_complete=complete_files)
images = click.argument("images", metavar="IMAGES...", nargs=-1, required=True, shell_complete=complete_files)
sampling = click.option(
    "-o",
    "--output",
    "destination",
    metavar="OUT",
    required=True,
    shell_complete=complete_files,
    help="The output: an image, a .bld file or a folder.",
)
existing_file = click.Path(exists=True, dir_okay=False, path_type=Path)


def report_folder(*, required: bool = True) -> Option[Any]:
    """Return the option -o for the folder of a report."""
    kind = click.Path(file_okay=False, writable=True, path_type=Path)
    return click.option(
        "-o", "--output", "folder", type=kind, required=required, help="The folder for the report."
    )


def cache(content: str) -> Option[Any]:
    """Return the option --cache for a folder in which `content` is kept."""
    return click.option(
        "--cache",
        "cache_folder",
        type=click.Path(file_okay=False, path_type=Path),
        help=f"The folder in which {content} are kept for later runs.  [default: the user's cache]",
    )


def lpips_weights(explanation: str) -> Option[Any]:
    """Return the option --lpips-weights with the help text `explanation`."""
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
    """Parse WIDTHxHEIGHT in pixels, each in 1..65535."""
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
    """Return the option --size with the help text `explanation`. Its value is (width, height) or None."""
    return click.option("--size", metavar="WxH", callback=_parse_size, help=explanation)


_quality_kind = click.IntRange(0, BEST_QUALITY)


def quality(explanation: str) -> Option[Any]:
    """Return the option --quality for pictures that are drawn, with the help text `explanation`."""
    return click.option(
        "-q", "--quality", type=_quality_kind, default=DRAWN_QUALITY, show_default=True, help=explanation
    )


_UNITS = {"": 1, "k": 1000, "ki": 1024, "m": 10**6, "mi": 2**20}
_NAMES = {"quality": "--quality", "size": "--size", "bits_per_pixel": "--bpp", "psnr": "--psnr"}


def _parse_bytes(context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    """Parse a number of bytes, with or without a unit."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,9})?)\s*(|k|ki|m|mi)b?", text.strip().lower())
    value = int(float(found[1]) * _UNITS[found[2]]) if found else 0
    if value < 1:
        msg = f"{text!r} is not a size such as 20000, 20k (20,000 bytes) or 20Ki (20,480)"
        raise click.BadParameter(msg)
    return value


def rate(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options --quality, --size, --bpp and --psnr, of which only one may be given.

    They are passed as one value, `asked`: a dictionary with the given one by its name in the API, or empty.
    """

    @functools.wraps(command)
    def gathered(**values: Any) -> Any:
        asked = {name: value for name in _NAMES if (value := values.pop(name)) is not None}
        if len(asked) > 1:
            msg = f"{' and '.join(_NAMES[name] for name in asked)} cannot go together: give only one of them"
            raise click.UsageError(msg)
        return command(asked=asked, **values)

    given = (
        click.option(
            "-q",
            "--quality",
            type=_quality_kind,
            help="The quality: 0 gives the smallest file, 100 the best picture.  "
            f"[default: {DEFAULT_QUALITY}, which looks good at first sight]",
        ),
        click.option(
            "--size",
            metavar="BYTES",
            callback=_parse_bytes,
            help="Instead of a quality: make a file of at most this many bytes. 20k is 20,000.",
        ),
        click.option(
            "--bpp",
            "bits_per_pixel",
            type=click.FloatRange(0, 1000, min_open=True),
            help="Instead of a quality: make a file of at most this many bits for each pixel.",
        ),
        click.option(
            "--psnr",
            type=click.FloatRange(0, 100),
            help="Instead of a quality: make a picture with at least this PSNR in dB.",
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
    help="How long to search for a better trade of bits against error. 1 saves about 5 % of the bits and "
    "takes about 4 times as long as 0; 5 saves about 10 % and takes about 18 times as long; 9 takes minutes "
    "for a photo. Decoding takes no longer.",
)


def _parse_qualities(context: click.Context, parameter: click.Parameter, text: str) -> tuple[int, ...]:
    """Parse integers in 0..100, separated by commas, to a rising tuple without repetitions."""
    try:
        found = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError as error:
        msg = f"{text!r} is not a list of integers such as 0,50,100"
        raise click.BadParameter(msg) from error
    if found[0] < 0 or found[-1] > BEST_QUALITY:
        msg = f"{text!r} contains a quality that is not in 0..{BEST_QUALITY}"
        raise click.BadParameter(msg)
    return found


qualities = click.option(
    "--quality",
    "qualities",
    metavar="Q,Q,...",
    callback=_parse_qualities,
    default="0,17,33,50,67,83,100",
    show_default=True,
    help="The qualities of bincodec: numbers in 0..100, separated by commas.",
)
