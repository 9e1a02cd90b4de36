"""The `bincodec` command: finds the subcommand, turns errors into one line and an exit code.

0: done. 1: the input, the model or the system will not do; nothing was written. 2: wrong usage.
130: interrupted.
Subcommands are imported when they are named and import torch when they need it, so that help is instant.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

from bincodec import BincodecError, __version__
from bincodec.cli import output

# Command -> module; a module of this package has the same name and calls its command `command`.
COMMANDS = (
    "compress",
    "decompress",
    "info",
    "verify",
    "models",
    "sample",
    "inpaint",
    "vary",
    "eval",
    "train",
)

FAILURE = 1
WRONG_USAGE = 2
INTERRUPTED = 130


class Commands(click.Group):
    """A group whose subcommands are modules, imported late."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of COMMANDS."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command; None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"bincodec.cli.{cmd_name}").command
        return command

    def main(self, args: Sequence[str] | None = None, *_: Any, **settings: Any) -> NoReturn:
        """Run a command and exit with its code."""
        settings |= {"prog_name": "bincodec", "standalone_mode": False}
        with output.warnings_as_notes():
            try:
                code = super().main(args, **settings)
            except click.UsageError as wrong:
                path = wrong.ctx.command_path if wrong.ctx else "bincodec"
                output.error(f"{wrong.format_message()} (see '{path} --help')")
                code = WRONG_USAGE
            except click.ClickException as failure:
                output.error(failure.format_message())
                code = FAILURE
            except click.Abort:
                output.error("interrupted")
                code = INTERRUPTED
            except BincodecError as failure:
                output.error(str(failure))
                # Errors about a value that the caller chose are ValueErrors as well.
                code = WRONG_USAGE if isinstance(failure, ValueError) else FAILURE
            except OSError as failure:
                where = f"{failure.filename}: " if failure.filename else ""
                output.error(f"{where}{failure.strerror or failure}")
                code = FAILURE
            except MemoryError:
                output.error("out of memory")
                code = FAILURE
        sys.exit(code if isinstance(code, int) else 0)


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    from bincodec import FORMAT_VERSION
    from bincodec.model import store

    names = ", ".join(f"{card.name} ({card.fingerprint.hex()})" for card in store.available()) or "none"
    click.echo(f"bincodec {__version__}, format {'.'.join(map(str, FORMAT_VERSION))}, models: {names}")
    context.exit()


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Show the versions of program and format, and the models found.",
)
@click.pass_context
def main(context: click.Context) -> None:
    """Compress photographs to small .bld files, and back."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(WRONG_USAGE)
