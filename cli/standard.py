"""Use standard input, output and error, which a caller may have closed or filled.

If a result cannot be printed, the command fails in one line, because the result was asked for. If a message
on standard error cannot be printed, this is ignored, because nobody would see an error either.
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
    """Replace closed streams by streams that fail when they are used.

    This also reserves their numbers. Otherwise, an output file could get the number of standard error, and
    the messages of a library would be written into it.
    """
    for name, flags, mode in (
        ("stdin", os.O_WRONLY, "r"),
        ("stdout", os.O_RDONLY, "w"),
        ("stderr", os.O_WRONLY, "w"),
    ):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, flags)  # This is the lowest free number, which is the stream's own.
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", errors="replace", closefd=False))


def settle(*, drop: bool = False) -> None:
    """Empty the buffers of the streams, so that Python does not fail with a message of its own at exit.

    If `drop` is set, the content of the buffers is thrown away, because their reader may not be reading.
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
    """Check that standard output can be written to, before any work is done for it.

    It may be closed, or its device may be full. A reader that has ended, or a disk that fills up later, is
    only noticed when the result is printed.

    Raises:
        click.ClickException: if standard output cannot be written to.
    """
    try:
        os.write(sys.stdout.fileno(), b"")
    except io.UnsupportedOperation:  # A calling program has replaced the stream by an object of its own.
        return
    except OSError as error:
        raise _failed(error) from error


def print_text(text: str, *, kept: str = "") -> None:
    """Print a result to standard output. `kept` says which outputs stay after a failure (`output.kept`).

    Raises:
        click.ClickException: if it cannot be printed.
    """
    try:
        try:
            click.echo(text)
        except UnicodeEncodeError as error:  # The name of a file need not be text. It is shown as in JSON.
            click.echo(text.encode(error.encoding, "backslashreplace").decode(error.encoding))
    except OSError as error:
        raise _failed(error, kept) from error


def write_data(data: bytes) -> None:
    """Write all of `data` to standard output.

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
    """Return the rest of standard input.

    Raises:
        bincodec.BincodecError: if it cannot be read, or has more than 1 GiB.
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
    """Print a line to standard error if that is possible."""
    with suppress(OSError):
        click.echo(line, err=True)


def _failed(error: OSError, kept: str = "") -> click.ClickException:
    reason = _MISSING if error.errno == errno.EBADF else error.strerror or str(error)
    return click.ClickException(f"standard output: {reason}{kept}")
