"""Print what the commands say.

Standard output carries results that the user asked for. Standard error carries summaries, notes, progress and
errors.
"""

import json
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from bincodec import BincodecError
from bincodec.cli import standard

SCHEMA = 2
"""The version of the JSON output. It is raised when a key is renamed, is removed or gets another meaning."""

FAILURE = 1
WRONG_USAGE = 2

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

_OPTIONS = {"pixels": "--max-pixels"}
"""The options that raise a limit, by the field of `bincodec.Limits`."""


def end_with_help(context: click.Context) -> NoReturn:
    """Print the help of a group whose command is missing on standard error, and end as wrong usage does."""
    click.echo(context.get_help(), err=True)
    context.exit(WRONG_USAGE)


def error(message: str) -> None:
    """Print the one line that explains a failure."""
    standard.say(f"bincodec: error: {one_line(message)}")


def explained(failure: BaseException) -> str | None:
    """Return what went wrong, in one line, or None if only a mistake in this program can raise it."""
    if isinstance(failure, click.ClickException):
        line = failure.format_message()
    elif isinstance(failure, BincodecError):
        # `option` is the field of `Limits` with the limit that was exceeded.
        option = _OPTIONS.get(getattr(failure, "option", None) or "")
        line = f"{failure} ({option} raises it)" if option else str(failure)
    elif isinstance(failure, BrokenPipeError) and not failure.filename:
        line = "standard output: Broken pipe"  # The reader of help or version ended too early.
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
    """Return what the line of a failure says about outputs that are written and stay, or ""."""
    if not written:
        return ""
    others = f" and {len(written) - 1} more are" if len(written) > 1 else " is"
    return f" ({written[0]}{others} written, and whole)"


def note(message: str, *, quiet: bool = False) -> None:
    """Print something that the user should know but did not ask for."""
    if not quiet:
        standard.say(f"bincodec: note: {one_line(message)}")


def summary(line: str, facts: dict[str, Any], *, as_json: bool, quiet: bool) -> None:
    """Print the summary of a command that writes files: a line of text, or one JSON object on standard
    output.

    Raises:
        click.ClickException: if the JSON cannot be printed. The output, facts["output"], stays.
    """
    if as_json:
        standard.print_text(json_line(facts), kept=kept([facts["output"]]))
    elif not quiet:
        standard.say(one_line(line))


def result(text: str, facts: dict[str, Any], *, as_json: bool) -> None:
    """Print the result that a command was asked for, as text or as one JSON object, on standard output.

    Raises:
        click.ClickException: if it cannot be printed.
    """
    standard.print_text(json_line(facts) if as_json else text)


def failures(lines: Sequence[str], others: str = "the other results are complete") -> None:
    """Print a note for each failure, and then fail. `others` says what became of the rest.

    Raises:
        click.ClickException: if `lines` is not empty.
    """
    for line in lines:
        note(f"failed: {line}")
    if lines:
        msg = f"{len(lines)} failed; {others}"
        raise click.ClickException(msg)


@contextmanager
def warnings_as_notes(say: Callable[[str], None] = note) -> Iterator[None]:
    """Show each of Python's warnings as one line, without source lines that mean nothing to a user."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: say(str(message))
        yield


def json_line(facts: dict[str, Any]) -> str:
    """Return one JSON object in one line, with the version of its keys."""
    return json.dumps({"schema": SCHEMA, **facts}, ensure_ascii=True)


def one_line(message: str) -> str:
    """Return a message in one line, without control characters."""
    return printable(" ".join(message.split()))


def printable(name: str) -> str:
    """Return the name of a file with its control characters escaped, since a terminal would obey them."""
    return _CONTROL.sub(lambda sign: sign[0].encode("unicode_escape").decode(), name)


def counted(count: int, thing: str) -> str:
    """Return a number of things in words, such as "1 layer" or "3 layers"."""
    return f"1 {thing}" if count == 1 else f"{count} {thing}s"


@contextmanager
def parts_shown(*, hidden: bool) -> Iterator[None]:
    """Show a progress bar for each task of a large picture, on standard error if it is a terminal."""
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
