"""Write the manual pages of all commands, from the help that click shows.

    python packaging/make_man_pages.py [FOLDER]

FOLDER is packaging/man unless it is given. Pages are complete each time: one of a command that is gone
disappears.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from bincodec import __version__
from bincodec.cli.main import main as program

FOLDER = Path(__file__).resolve().parent / "man"

EXIT_STATUS = (
    ("0", "All that was asked for is done."),
    ("1", "The input, the model, the memory or the system stands in the way, or the file is damaged."),
    ("2", "The usage is wrong: an option, a name or a value does not exist."),
    ("130", "The command was interrupted."),
)


def pages(command: click.Command, parent: click.Context | None = None) -> Iterator[tuple[str, str]]:
    """The name of the file and the text of each page: a command's own, and those of all below it."""
    name = command.name if parent else "bincodec"
    context = click.Context(command, parent=parent, info_name=name, **command.context_settings)
    below = _commands(context)
    yield f"{_page_name(context)}.1", _page(context, below)
    for one in below:
        yield from pages(one, context)


def write(folder: Path) -> None:
    """Write all pages into `folder`, which keeps no other page."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.1"):
        old.unlink()
    for name, text in pages(program):
        (folder / name).write_text(text, encoding="utf-8")


def _page(context: click.Context, below: list[click.Command]) -> str:
    command, name = context.command, _page_name(context)
    summary, *paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [
        f'.TH "{_escaped(name.upper())}" "1" "" "bincodec {__version__}" "bincodec"',
        *(".SH NAME", f"{_escaped(name)} \\- {_text(summary.rstrip('.'))}"),
        *(".SH SYNOPSIS", f".B {_escaped(context.command_path)}", _text(usage)),
    ]
    if paragraphs:
        lines += [".SH DESCRIPTION", "\n.PP\n".join(map(_text, paragraphs))]
    lines += [".SH OPTIONS", *_terms(_options(context))]
    if below:
        lines += [".SH COMMANDS", *_terms((_page_name(context, one), one.help or "") for one in below)]
    if command.epilog:
        _, _, *examples = inspect.cleandoc(command.epilog).splitlines()
        lines += [".SH EXAMPLES", ".nf", *(_text(line.strip()) for line in examples), ".fi"]
    lines += [".SH EXIT STATUS", *_terms(EXIT_STATUS)]
    return "\n".join(lines) + "\n"


def _commands(context: click.Context) -> list[click.Command]:
    group = context.command
    if not isinstance(group, click.Group):
        return []
    found = [(name, group.get_command(context, name)) for name in group.list_commands(context)]
    for name, command in found:
        assert command is not None, name
        command.name = name
    return [command for _, command in found if command is not None]


def _options(context: click.Context) -> Iterator[tuple[str, str]]:
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and isinstance(parameter, click.Option):
            yield record


def _terms(entries: Iterator[tuple[str, str]] | tuple[tuple[str, str], ...]) -> Iterator[str]:
    """What is explained in bold, and the first paragraph of the explanation below it."""
    for what, explanation in entries:
        yield f".TP\n\\fB{_escaped(what)}\\fP\n{_text(explanation.strip().split(chr(10) * 2)[0])}"


def _page_name(context: click.Context, below: click.Command | None = None) -> str:
    return "-".join([*context.command_path.split(), *([below.name or ""] if below else [])])


def _text(text: str) -> str:
    """A paragraph in one line, in which roff finds no request of its own."""
    line = _escaped(" ".join(text.split()))
    return f"\\&{line}" if line.startswith((".", "'")) else line


def _escaped(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
