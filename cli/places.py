"""Choose where a command reads and writes: `-`, default names, and files that are never overwritten."""

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
"""The key under which a command's context keeps the names of the outputs that are written."""

_EXISTS = "this file exists; --force overwrites it"


class Occupied(click.ClickException):
    """The output cannot be written: it exists and `--force` was not given, or its folder does not exist."""


@dataclass(frozen=True)
class Places:
    """A checked input and output. Either may be `-`, which is standard input or standard output."""

    source: str
    destination: str
    force: bool

    @property
    def to_standard_output(self) -> bool:
        """Whether the output is written to standard output."""
        return self.destination == STANDARD

    def write(self, data: bytes) -> None:
        """Write the finished output, as a whole or not at all.

        Raises:
            Occupied: if a file of that name has appeared since `choose` was called.
            OSError: if the system cannot write it.
        """
        write({self.destination: data}, force=self.force)


def write(contents: Mapping[str, bytes], *, force: bool) -> None:
    """Write finished outputs. None of them appears before all of them are on the disk.

    `contents` has the bytes of each output by its path, or by `-` for standard output.

    Raises:
        Occupied: if a file of one of the names has appeared since `check` was called.
        OSError, click.ClickException: if the system cannot write an output.
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
    """Call `write`, which writes `contents`, and note what is written.

    If the command is interrupted afterwards, its message can name these outputs.

    Raises:
        KeyboardInterrupt: on Ctrl-C, even if it came earlier and a library has lost it.
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
    """Choose and check the input and the output before any work is done.

    If `destination` is None, the output is beside the input, with another extension. For standard input, it
    is standard output.

    Raises:
        click.UsageError, Occupied, OSError: as `check`.
    """
    if destination is None:
        destination = STANDARD if source == STANDARD else _beside(source, extension)
        if source != STANDARD and is_same(source, destination):
            msg = f"{source}: an output beside this input would have the same name, so name the output too"
            raise click.UsageError(msg)
    check([source], destination, force=force, as_json=as_json)
    return Places(source, destination, force)


def check(inputs: Sequence[str], destination: str, *, force: bool, as_json: bool) -> None:
    """Check that an output can and may be written, before any work is done for it.

    Raises:
        click.UsageError: if it is one of the inputs, if its name is empty, or if standard output is needed
            for the output and for JSON.
        Occupied: if it exists and `force` is not set, or if its folder does not exist.
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
    """Raise click.UsageError if the name of an output is empty, as from a shell variable that is not set."""
    if not destination:
        msg = "the name of the output is empty"
        raise click.UsageError(msg)


def _check_standard_output(as_json: bool) -> None:
    if as_json:
        msg = "--json prints to standard output, so the output cannot go there: name an output file"
        raise click.UsageError(msg)
    standard.require_output()
    if sys.stdout.isatty():
        msg = "refusing to write binary data to a terminal: name an output file"
        raise click.UsageError(msg)


def given(source: str) -> str | bytes:
    """Return what a command reads: a path, or all bytes of standard input.

    Raises:
        bincodec.BincodecError: if standard input cannot be read, or is too large.
    """
    return standard.read_data() if source == STANDARD else source


def read(source: str) -> bytes:
    """Return all bytes of a file or of standard input.

    Raises:
        bincodec.BincodecError: if it cannot be read, or is too large.
    """
    from bincodec.io import files

    return files.read(given(source))


@contextmanager
def named(source: str) -> Iterator[None]:
    """Put the name of the file before the message of an error about its content."""
    from bincodec import BincodecError

    try:
        yield
    except BincodecError as error:
        error.args = (f"{shown(source, 'standard input')}: {error}",)
        raise


def shown(place: str, standard: str) -> str:
    """Return the name of an input or output for messages, in one line: `standard` if it is `-`."""
    return standard if place == STANDARD else output.printable(place)


def is_device(path: str) -> bool:
    """Return whether a path exists and is neither a file nor a folder, as /dev/null or a named pipe."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def _beside(source: str, extension: str) -> str:
    try:
        return str(Path(source).with_suffix(extension))
    except ValueError as error:
        msg = f"{source!r} is not the name of a file"
        raise click.UsageError(msg) from error


def is_same(first: str, second: str) -> bool:
    """Return whether two paths are one file, also through links and different spellings."""
    try:
        return os.path.samefile(first, second)
    except (OSError, ValueError):
        return os.path.abspath(first) == os.path.abspath(second)


def _refuse_occupied(destination: str, force: bool) -> None:
    if destination == STANDARD or is_device(destination):
        return
    if os.path.isdir(destination):
        msg = f"{destination}: this is a folder, not a file"
        raise Occupied(msg)
    if not os.path.isdir(os.path.dirname(destination) or "."):
        msg = f"{destination}: its folder does not exist"
        raise Occupied(msg)
    if os.path.lexists(destination) and not force:
        msg = f"{destination}: {_EXISTS}"
        raise Occupied(msg)
