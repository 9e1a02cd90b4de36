"""What the commands say. Standard output is data: results that were asked for. Standard error is talk."""

import json
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from bincodec import BincodecError
from bincodec.cli import standard

SCHEMA = 2
"""Raised when a key of the JSON output is renamed, removed or given another meaning."""

FAILURE = 1
WRONG_USAGE = 2

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

_OPTIONS = {"pixels": "--max-pixels"}
"""The options that raise fields of `bincodec.Limits`."""


def error(message: str) -> None:
    """The one line that explains a failure."""
    standard.say(f"bincodec: error: {one_line(message)}")


def explained(failure: BaseException) -> str | None:
    """What went wrong, in one line; None for what only a mistake in this program can raise."""
    if isinstance(failure, click.ClickException):
        line = failure.format_message()
    elif isinstance(failure, BincodecError):
        # `option` is the field of `Limits` that stands in the way.
        option = _OPTIONS.get(getattr(failure, "option", None) or "")
        line = f"{failure} ({option} raises it)" if option else str(failure)
    elif isinstance(failure, BrokenPipeError) and not failure.filename:
        line = "standard output: Broken pipe"  # Help or version were not read to their end.
    elif isinstance(failure, EOFError):
        line = str(failure) or "the input ends too early"
    elif isinstance(failure, OSError):
        where = f"{failure.filename}: " if failure.filename else ""
        line = f"{where}{failure.strerror or failure}"
    elif isinstance(failure, MemoryError):
        line = f"out of memory: {failure}" if str(failure) else "out of memory"
    else:
        return None
    return one_line(line)


def kept(written: Sequence[str]) -> str:
    """What a failure adds to its line about outputs that it leaves behind."""
    if not written:
        return ""
    others = f" and {len(written) - 1} more are" if len(written) > 1 else " is"
    return f" ({written[0]}{others} written, and whole)"


def note(message: str, *, quiet: bool = False) -> None:
    """Something that the user did not ask for and should know."""
    if not quiet:
        standard.say(f"bincodec: note: {one_line(message)}")


def summary(line: str, facts: dict[str, Any], *, as_json: bool, quiet: bool) -> None:
    """What a command that writes files says at its end: talk, or one JSON object on standard output.

    Raises:
        click.ClickException: if the JSON cannot be printed; the output, facts["output"], stays.
    """
    if as_json:
        standard.print_text(json_line(facts), kept=kept([facts["output"]]))
    elif not quiet:
        standard.say(one_line(line))


def result(text: str, facts: dict[str, Any], *, as_json: bool) -> None:
    """What a command was asked for: text or one JSON object, on standard output.

    Raises:
        click.ClickException: if it cannot be printed.
    """
    standard.print_text(json_line(facts) if as_json else text)


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
def warnings_as_notes(say: Callable[[str], None] = note) -> Iterator[None]:
    """Show Python's warnings as one line each, without the source lines that mean nothing to a user."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: say(str(message))
        yield


def json_line(facts: dict[str, Any]) -> str:
    """One object in one line, with the version of its keys."""
    return json.dumps({"schema": SCHEMA, **facts}, ensure_ascii=True)


def one_line(message: str) -> str:
    """A message without ends of lines, and without what a terminal would obey."""
    return printable(" ".join(message.split()))


def printable(name: str) -> str:
    """A name of a file, or a line, with escapes for what would move a terminal's cursor or set its colour."""
    return _CONTROL.sub(lambda sign: sign[0].encode("unicode_escape").decode(), name)


def counted(count: int, thing: str) -> str:
    """A number of things in words: "1 layer", "3 layers"."""
    return f"1 {thing}" if count == 1 else f"{count} {thing}s"


@contextmanager
def parts_shown(*, hidden: bool) -> Iterator[None]:
    """A bar for each task of a large picture while inside, on standard error where that is a terminal."""
    from tqdm import tqdm

    from bincodec import workers

    bar: Any = None
    shown = ""

    def show(task: str, done: int, of: int) -> None:
        nonlocal bar, shown
        if of == 1:
            return
        if bar is None or shown != task:
            bar, shown = tqdm(total=of, desc=task, unit="part", leave=False, disable=hidden or None), task
        bar.update(done - bar.n)
        if done == of:
            bar.close()
            bar = None

    try:
        with workers.watched(show):
            yield
    finally:
        if bar is not None:
            bar.close()
