"""Standard input, output and error, which a caller may have closed, filled or left: they fail in one line.

What goes wrong while a result is printed is an error: it was asked for. What goes wrong while something is
said on standard error is none: nobody is there to hear of it.
"""

import errno
import io
import os
import sys
from contextlib import suppress
from typing import TextIO

import click

_MISSING = "it is closed"


def open_closed() -> None:
    """Give closed streams a place that fails as a stream does, and their numbers to no file opened later.

    Otherwise an output file could get the number of standard error, and whatever a library says lands in it.
    Only the talk of a closed standard error vanishes.
    """
    for name, flags, mode in (
        ("stdin", os.O_WRONLY, "r"),
        ("stdout", os.O_RDONLY, "w"),
        ("stderr", os.O_WRONLY, "w"),
    ):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, flags)  # the lowest one that is free: the stream's own
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", errors="replace", closefd=False))


def settle(*, drop: bool = False) -> None:
    """Let nothing be tried once more at exit that failed before: Python would end in a message of its own.

    With `drop`, what is still on its way never arrives: whoever should take it may not be reading.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            if drop:
                _to_nowhere(stream)
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                _to_nowhere(stream)


def _to_nowhere(stream: TextIO) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def require_output() -> None:
    """Refuse to work for a standard output that takes nothing: it is closed, or the device is full.

    A reader that has gone, or a disk that fills meanwhile, shows only later.

    Raises:
        click.ClickException: if it takes nothing.
    """
    try:
        os.write(sys.stdout.fileno(), b"")
    except io.UnsupportedOperation:  # A program that calls this one has put something of its own there.
        return
    except OSError as error:
        raise _failed(error) from error


def print_text(text: str, *, kept: str = "") -> None:
    """A result, to standard output; `kept` says what a failure leaves behind (`output.kept`).

    Raises:
        click.ClickException: if it cannot be printed.
    """
    try:
        try:
            click.echo(text)
        except UnicodeEncodeError as error:  # A name of a file need not be text; it is shown as in JSON.
            click.echo(text.encode(error.encoding, "backslashreplace").decode(error.encoding))
    except OSError as error:
        raise _failed(error, kept) from error


def write_data(data: bytes) -> None:
    """All of `data`, to standard output.

    Raises:
        click.ClickException: if it cannot be written.
    """
    left = memoryview(data)
    try:
        while left:
            left = left[sys.stdout.buffer.write(left) :]
        sys.stdout.buffer.flush()
    except OSError as error:
        raise _failed(error) from error


def read_data() -> bytes:
    """All that standard input has left, from where it stands.

    Raises:
        bincodec.BincodecError: if it cannot be read, or has no end.
    """
    from bincodec.errors import Unreadable
    from bincodec.io import streams

    try:
        return streams.read_on(sys.stdin.buffer, name="standard input")
    except Unreadable as error:
        if error.errno == errno.EBADF:
            raise Unreadable(errno.EBADF, _MISSING, "standard input") from error
        raise


def say(line: str) -> None:
    """Something for standard error, if that takes it."""
    with suppress(OSError):
        click.echo(line, err=True)


def _failed(error: OSError, kept: str = "") -> click.ClickException:
    reason = _MISSING if error.errno == errno.EBADF else error.strerror or str(error)
    return click.ClickException(f"standard output: {reason}{kept}")
