"""Run the `bincodec` command, and turn errors into one line and an exit code (docs/cli.md).

Each subcommand is imported only when it is named, and imports torch only when it needs it. Help is therefore
shown at once.
"""

import difflib
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

from bincodec import BincodecError, __version__
from bincodec.cli import interruption, options, output, places, standard

# The commands. Each one is called `command` in the module of this package that has its name.
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
    "demo",
)


class Commands(click.Group):
    """A group whose subcommands are modules that are imported late."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of COMMANDS."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command and return it, or return None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"bincodec.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is named; who names a file, or mistypes, is told what was probably meant."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            msg = f"No such command {name!r}.{_meant(name)}"
            raise click.UsageError(msg, ctx)
        return super().resolve_command(ctx, args)

    def main(self, args: Sequence[str] | None = None, *_: Any, **__: Any) -> NoReturn:
        """Run a command and exit with its code."""
        if "_BINCODEC_COMPLETE" in os.environ:  # A shell asks for completions.
            super().main(args, prog_name="bincodec")
        standard.open_closed()
        with output.warnings_as_notes():
            written: list[str] = []
            try:
                code = self._run(sys.argv[1:] if args is None else list(args), written)
                interruption.settle_on(code)
            except BaseException as failure:
                code = _ended_by(failure, written)
            standard.settle(drop=code == interruption.EXIT_CODE)
        sys.exit(code)

    def _run(self, args: list[str], written: list[str]) -> int:
        """Run the command that `args` name, and return its exit code.

        This replaces click's own `main`, which would handle interruptions itself.
        """
        try:
            with self.make_context("bincodec", args) as context:
                context.meta[places.WRITTEN] = written
                self.invoke(context)
        except click.exceptions.Exit as end:
            return end.exit_code
        return 0


def _meant(name: str) -> str:
    if os.path.exists(name):
        return f" Name one before the file, as in 'bincodec compress {name}'."
    near = difflib.get_close_matches(name, COMMANDS, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _ended_by(failure: BaseException, written: Sequence[str]) -> int:
    """Print in one line what ended a command, and return its exit code."""
    # A library that swallows an interruption fails with an error of its own. In Rust, this is no Exception.
    if isinstance(failure, KeyboardInterrupt) or interruption.was_interrupted():
        return _interrupted(written)
    return _explained(failure)


def _interrupted(written: Sequence[str]) -> int:
    interruption.settle_on(interruption.EXIT_CODE)
    if sys.stderr.isatty():
        standard.say("")  # The terminal shows ^C at the start of the line.
    output.error("interrupted" + output.kept(written))
    return interruption.EXIT_CODE


def _explained(failure: BaseException) -> int:
    """Print in one line what went wrong. An error that only a mistake in this program can raise is raised."""
    interruption.settle_on(output.FAILURE)
    line = output.explained(failure)
    if line is None:
        raise failure
    if isinstance(failure, click.UsageError):
        path = failure.ctx.command_path if failure.ctx else "bincodec"
        line += f" (see '{path} --help')"
    output.error(line)
    # An error about a value that the user chose is also a ValueError.
    chosen = isinstance(failure, BincodecError) and isinstance(failure, ValueError)
    return output.WRONG_USAGE if chosen or isinstance(failure, click.UsageError) else output.FAILURE


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    from bincodec import FORMAT_VERSION
    from bincodec.model import store

    names = ", ".join(f"{card.name} ({card.fingerprint.hex()})" for card in store.available()) or "none"
    standard.print_text(
        f"bincodec {__version__}, format {'.'.join(map(str, FORMAT_VERSION))}, models: {names}"
    )
    context.exit()


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=options.examples("bincodec compress photo.jpg", "bincodec decompress photo.bld"),
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Show the version, the format version and the installed models.",
)
@click.pass_context
def main(context: click.Context) -> None:
    """Compress photographs to small .bld files, and decompress them again."""
    if context.invoked_subcommand is None:
        output.end_with_help(context)
