"""The command `bincodec eval`, which measures this codec and others on the user's images.

Its subcommands are modules of their own. Each one is imported only when it is named, so that help is shown at
once.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

import click

from bincodec.cli import options, output, standard
from bincodec.io import files

# The subcommands. Each one is called `command` in the module `eval_NAME` of this package.
COMMANDS = ("rd", "prior", "speed", "generation")

NOTHING_LEFT = "nothing is left to report and nothing was written"


@contextmanager
def made(folder: Path, names: Sequence[str] = ()) -> Iterator[None]:
    """Make an output folder before anything is measured. If nothing was written, remove it again.

    A report may replace an earlier report, whose folder contains the first of `names`. If a folder contains
    another of `names` without the first one, the files are not a report and must not be replaced.

    Raises:
        click.ClickException: if the folder contains such files.
        OSError: if the folder cannot be made, or no file can be made in it.
    """
    present = [name for name in names if (folder / name).exists()]
    if present and names[0] not in present:
        msg = f"{folder / present[0]}: this file exists, but there is no earlier report ({names[0]})"
        raise click.ClickException(msg)
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        files.check_folder(folder)
        yield
    finally:
        for place in new:
            with suppress(OSError):  # The folder is not empty.
                place.rmdir()


class Measurements(click.Group):
    """A group whose subcommands are modules that are imported late."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the subcommands in the order of COMMANDS."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a subcommand and return it, or return None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"bincodec.cli.eval_{cmd_name}").command
        return command


@click.group(
    cls=Measurements,
    invoke_without_command=True,
    epilog=options.examples("bincodec eval rd photos/*.png -o report", "bincodec eval rd --help"),
)
@click.pass_context
def command(context: click.Context) -> None:
    """Measure rate, distortion and speed of codecs on your images."""
    if context.invoked_subcommand is None:
        output.end_with_help(context)
    standard.require_output()
