"""A Markdown extension: the line `::: commands` becomes the help of every command, taken from the code."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import click
from markdown import Markdown
from markdown.extensions import Extension
from markdown.preprocessors import Preprocessor

from bincodec.cli.main import main

_MARK = "::: commands"
_BEFORE_FENCES = 40
"""Before fenced blocks are taken out (25), since there are some in what is put in."""


def reference(command: click.Command, name: str, parent: click.Context | None = None) -> Iterator[str]:
    """The lines of a command's section, and of its subcommands', in Markdown."""
    context = click.Context(command, info_name=name, parent=parent, **command.context_settings)
    path = context.command_path
    yield from ("", f"{'##' if path.count(' ') < 2 else '###'} {path}", "")
    yield from _escaped(inspect.cleandoc((command.help or "").replace("\b\n", ""))).splitlines()
    yield from ("", "```text", " ".join([path, *command.collect_usage_pieces(context)]), "```", "")
    yield from ("| option | |", "| --- | --- |")
    for parameter in command.get_params(context):
        names, explanation = parameter.get_help_record(context) or ("", "")
        if explanation:
            yield f"| <code>{_escaped(names)}</code> | {_escaped(explanation)} |"
    yield ""
    if command.epilog:
        # Click's mark for text that it must not wrap, and a heading, stand before the lines that people type.
        lines = inspect.cleandoc(command.epilog.replace("\b\n", "")).splitlines()
        yield from (lines[0], "", "```console", *(f"$ {line.strip()}" for line in lines[1:]), "```", "")
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None
            yield from reference(found, child, context)


def _escaped(text: str) -> str:
    """Help is plain text: what Markdown would take for marks is not."""
    return re.sub(r"([*|\[\]<>])", lambda mark: f"&#{ord(mark[0])};", text)


class Commands(Preprocessor):
    """Puts the sections in the place of the mark."""

    def run(self, lines: list[str]) -> list[str]:
        """Look at the lines of a page."""
        result: list[str] = []
        for line in lines:
            result += reference(main, "bincodec") if line == _MARK else [line]
        return result


class CommandReference(Extension):
    """The extension `commands`."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 - Markdown's own name
        """Put the preprocessor before that of fenced blocks."""
        md.preprocessors.register(Commands(md), "commands", _BEFORE_FENCES)


def makeExtension(**options: Any) -> CommandReference:  # noqa: N802 - Markdown's own name
    """What Markdown calls with the options of the extension."""
    return CommandReference(**options)
