"""What the commands say. Standard output is data: results that were asked for. Standard error is talk."""

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

SCHEMA = 1
"""Raised when a key of the JSON output is renamed, removed or given another meaning."""


def error(message: str) -> None:
    """The one line that explains a failure, with the option that helps where the library names a field."""
    hint = " (--max-pixels raises it)" if "limit pixels=" in message else ""
    click.echo(f"bincodec: error: {_one_line(message)}{hint}", err=True)


def note(message: str, *, quiet: bool = False) -> None:
    """Something that the user did not ask for and should know."""
    if not quiet:
        click.echo(f"bincodec: note: {_one_line(message)}", err=True)


def summary(line: str, facts: dict[str, Any], *, as_json: bool, quiet: bool) -> None:
    """What a command that writes a file says at its end: talk, or one JSON object on standard output."""
    if as_json:
        _print_json(facts)
    elif not quiet:
        click.echo(_one_line(line), err=True)


def result(text: str, facts: dict[str, Any], *, as_json: bool) -> None:
    """What a command was asked for: text or one JSON object, on standard output."""
    if as_json:
        _print_json(facts)
    else:
        click.echo(text)


def failures(lines: Sequence[str], others: str = "the other results are complete") -> None:
    """Name what failed, after everything that did not; `others` says what became of the rest.

    Raises:
        click.ClickException: if there is any.
    """
    for line in lines:
        note(f"failed: {line}")
    if lines:
        msg = f"{len(lines)} failed; {others}"
        raise click.ClickException(msg)


@contextmanager
def warnings_as_notes() -> Iterator[None]:
    """Show Python's warnings as one line each, without the source lines that mean nothing to a user."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: note(str(message))
        yield


def _print_json(facts: dict[str, Any]) -> None:
    click.echo(json.dumps({"schema": SCHEMA, **facts}, ensure_ascii=True))


def _one_line(message: str) -> str:
    return " ".join(message.split())
