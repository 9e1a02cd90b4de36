"""Where a command reads from and writes to: `-`, default names, and what is never overwritten."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from bincodec.cli import interruption, output, standard

STANDARD = "-"
WRITTEN = "bincodec.written"
"""Under this name a command's context keeps the outputs that are written, whole."""

_EXISTS = "exists; --force overwrites it"


class Occupied(click.ClickException):
    """The output cannot be placed: it exists and `--force` was not given, or it has no folder."""


@dataclass(frozen=True)
class Places:
    """Checked input and output; either may be `-`, standard input and standard output."""

    source: str
    destination: str
    force: bool

    @property
    def to_standard_output(self) -> bool:
        """Whether standard output carries the data."""
        return self.destination == STANDARD

    def write(self, data: bytes) -> None:
        """Write the finished output, whole or not at all.

        Raises:
            Occupied: if a file of that name has appeared since `choose` looked.
            OSError: as the system reports it.
        """
        write({self.destination: data}, force=self.force)


def write(contents: Mapping[str, bytes], *, force: bool) -> None:
    """Write finished outputs by path, or `-`; none is seen before all are on the disk.

    Raises:
        Occupied: if a file of one of the names has appeared since `check` looked.
        OSError, click.ClickException: as the system reports it.
    """
    from bincodec.io import files

    named = {path: data for path, data in contents.items() if path != STANDARD}
    for path in named:
        _refuse_occupied(path, force)
    try:
        deliver(named, lambda: files.write_all(named, replace=force))
    except FileExistsError as error:
        msg = f"{error.filename}: {_EXISTS}"
        raise Occupied(msg) from error
    if STANDARD in contents:
        standard.write_data(contents[STANDARD])


def deliver(contents: Mapping[str, bytes], write: Callable[[], object]) -> None:
    """Call `write`, which writes `contents`; whatever interrupts the command then can say what there is.

    Raises:
        KeyboardInterrupt: on Ctrl-C, also if it came before and was lost.
    """
    interruption.raise_lost()
    context = click.get_current_context(silent=True)
    written: list[str] = [] if context is None else context.meta.setdefault(WRITTEN, [])
    try:
        write()
        written.extend(contents)
    except KeyboardInterrupt:
        if not written:
            written.extend(path for path, data in contents.items() if _holds(path, data))
        raise


def _holds(path: str, data: bytes) -> bool:
    try:
        return os.path.isfile(path) and Path(path).read_bytes() == data
    except OSError:
        return False


def choose(source: str, destination: str | None, *, extension: str, force: bool, as_json: bool) -> Places:
    """Settle both ends before any work is done.

    Without OUT the output stands beside the input, with its extension exchanged; standard input goes to
    standard output.

    Raises:
        click.UsageError, Occupied, OSError: as `check`.
    """
    if destination is None:
        destination = STANDARD if source == STANDARD else _beside(source, extension)
    check([source], destination, force=force, as_json=as_json)
    return Places(source, destination, force)


def check(inputs: Sequence[str], destination: str, *, force: bool, as_json: bool) -> None:
    """Refuse an output that cannot be written, or must not be, before any work is done for it.

    Raises:
        click.UsageError: if it is one of the inputs, without a name, or standard output that is needed twice.
        Occupied: if it exists and `force` is not set, or has no folder to stand in.
        OSError: if no file can be made in its folder.
    """
    require_name(destination)
    if destination == STANDARD:
        _check_standard_output(as_json)
        return
    for source in inputs:
        if source != STANDARD and is_same(source, destination):
            msg = f"{source} and {destination} are the same file"
            raise click.UsageError(msg)
    _refuse_occupied(destination, force)
    if not is_device(destination):
        from bincodec.io import files

        files.check_folder(os.path.dirname(os.path.realpath(destination)), blamed=destination)


def require_name(destination: str) -> None:
    """Raise click.UsageError for an output without a name: a variable of the shell that was not set."""
    if not destination:
        msg = "the name of the output is empty"
        raise click.UsageError(msg)


def _check_standard_output(as_json: bool) -> None:
    if as_json:
        msg = "--json needs standard output for itself: name an output file"
        raise click.UsageError(msg)
    standard.require_output()
    if sys.stdout.isatty():
        msg = "refusing to write binary data to a terminal: name an output file"
        raise click.UsageError(msg)


def given(source: str) -> str | bytes:
    """What a command reads: a path, or all of standard input.

    Raises:
        bincodec.BincodecError: if standard input cannot be read, or is too large.
    """
    return standard.read_data() if source == STANDARD else source


def read(source: str) -> bytes:
    """All of a file, or of standard input.

    Raises:
        bincodec.BincodecError: if it cannot be read, or is too large.
    """
    from bincodec.io import files

    return files.read(given(source))


@contextmanager
def named(source: str) -> Iterator[None]:
    """Put the file's name before the message of an error that is about its content."""
    from bincodec import BincodecError

    try:
        yield
    except BincodecError as error:
        error.args = (f"{shown(source, 'standard input')}: {error}",)
        raise


def shown(place: str, standard: str) -> str:
    """How a message calls an end, in one line: `standard` where it is `-`."""
    return standard if place == STANDARD else output.printable(place)


def is_device(path: str) -> bool:
    """Whether a path exists and is neither a file nor a folder: /dev/null, a named pipe."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def _beside(source: str, extension: str) -> str:
    try:
        return str(Path(source).with_suffix(extension))
    except ValueError as error:
        msg = f"{source!r} is not the name of a file"
        raise click.UsageError(msg) from error


def is_same(first: str, second: str) -> bool:
    """Also through hard links, symbolic links and different spellings of a path."""
    try:
        return os.path.samefile(first, second)
    except (OSError, ValueError):
        return os.path.abspath(first) == os.path.abspath(second)


def _refuse_occupied(destination: str, force: bool) -> None:
    if destination == STANDARD or is_device(destination):
        return
    if os.path.isdir(destination):
        msg = f"{destination}: is a directory"
        raise Occupied(msg)
    if not os.path.isdir(os.path.dirname(destination) or "."):
        msg = f"{destination}: there is no such folder"
        raise Occupied(msg)
    if os.path.lexists(destination) and not force:
        msg = f"{destination}: {_EXISTS}"
        raise Occupied(msg)
