"""`bincodec eval`: measure the codec, and others beside it, on your images.

A group: each subcommand is a module of its own, imported when it is named, so that help is instant.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

import click

from bincodec.cli import options, standard
from bincodec.io import files

# Subcommand -> module `eval_NAME` of this package, which calls its command `command`.
COMMANDS = ("rd", "prior", "speed", "generation")

NOTHING_LEFT = "nothing is left to report and nothing was written"


@contextmanager
def made(folder: Path, names: Sequence[str] = ()) -> Iterator[None]:
    """Make an output folder before anything is measured for it; if nothing was written, it goes again.

    A report replaces an earlier one, whose folder has the first of `names`. Where others of them stand
    without it, they are somebody else's.

    Raises:
        click.ClickException: for such a folder.
        OSError: if it cannot be made, or takes no file.
    """
    present = [name for name in names if (folder / name).exists()]
    if present and names[0] not in present:
        msg = f"{folder / present[0]}: exists, and no {names[0]} beside it says that an earlier run wrote it"
        raise click.ClickException(msg)
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        files.check_folder(folder)
        yield
    finally:
        for place in new:
            with suppress(OSError):  # It is not empty.
                place.rmdir()


class Measurements(click.Group):
    """A group whose subcommands are modules, imported late."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of COMMANDS."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command; None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"bincodec.cli.eval_{cmd_name}").command
        return command


@click.group(
    cls=Measurements,
    epilog=options.examples("bincodec eval rd photos/*.png -o report", "bincodec eval rd --help"),
)
def command() -> None:
    """Measure rate, distortion and speed on your images."""
    standard.require_output()
