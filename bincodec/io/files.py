"""Reading and writing whole files. Nothing half-written ever carries the final name."""

import errno
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TypeVar

from bincodec.bitstream.header import HEADER_BYTES, Header
from bincodec.bitstream.limits import DEFAULT_LIMITS, Limits
from bincodec.errors import TooLarge, Unreadable

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes]
Name = TypeVar("Name", bound=str | os.PathLike[str])

MAX_BYTES = 2**30
"""1 GiB: more than 64 Mpx take in any format, and an end to endless input."""


def read(source: Source, size: int = -1) -> bytes:
    """The content of a path or binary file object, or the bytes themselves; only the first `size` if not -1.

    Raises:
        Unreadable: as the system reports it.
        TooLarge: beyond MAX_BYTES.
        TypeError: for a source of another type.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source if size < 0 else source[:size])
    data = _read(source, MAX_BYTES + 1 if size < 0 else size)
    if len(data) > MAX_BYTES:
        msg = f"{source}: more than {MAX_BYTES} bytes, the most that is read"
        raise TooLarge(msg, limit=MAX_BYTES)
    return data


def _read(source: str | os.PathLike[str] | IO[bytes], size: int) -> bytes:
    if isinstance(source, str | os.PathLike):
        try:
            with open(source, "rb") as file:
                return file.read(size)
        except OSError as error:
            raise Unreadable(error.errno, error.strerror or str(error), os.fspath(source)) from error
        except ValueError as error:  # a path with a NUL in it
            raise Unreadable(errno.EINVAL, str(error), os.fspath(source)) from error
    if hasattr(source, "read"):
        return source.read(size)
    msg = f"expected a path, bytes or a binary file, not {type(source).__name__}"
    raise TypeError(msg)


def read_header(source: Source, limits: Limits = DEFAULT_LIMITS) -> Header:
    """What a .bld file says about itself: size, quality, layers, model. Needs neither torch nor the model.

    Reads the first 36 bytes only; a file object is left after them.

    Raises:
        Unreadable: for a path that cannot be read.
        NotBld, Truncated, Corrupt, Unsupported, TooLarge: as `bincodec.bitstream.header.Header.parse`.
    """
    return Header.parse(read(source, HEADER_BYTES), limits)


def write(destination: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` under a temporary name in the same folder, then rename it over `destination`.

    A failure leaves an existing file as it was and no new one. A replaced file's permissions are kept, and a
    symbolic link stays one. Devices and pipes cannot be renamed over: they are written to directly.

    Raises:
        OSError: as the system reports it; it names `destination`.
    """
    write_all({destination: data})


def write_all(contents: Mapping[Name, bytes]) -> None:
    """Write several files as `write`: none gets its name before all of them are on the disk.

    Raises:
        OSError: as the system reports it; it names the destination.
    """
    direct = [destination for destination in contents if _is_direct(destination)]
    staged: dict[Name, tuple[Path, Path]] = {}
    try:
        for destination in contents:
            if destination not in direct:
                path = Path(os.path.realpath(Path(destination)))
                staged[destination] = path.parent / f".bincodec-{secrets.token_hex(8)}.tmp", path
                with blamed_on(destination):
                    _stage(*staged[destination], contents[destination])
        for destination in direct:
            with blamed_on(destination):
                Path(destination).write_bytes(contents[destination])
        for destination, (temporary, path) in staged.items():
            with blamed_on(destination):
                temporary.replace(path)
    except BaseException:
        for temporary, _ in staged.values():
            with suppress(OSError):  # What went wrong is told, not what that made of the temporary.
                temporary.unlink()
        raise


@contextmanager
def blamed_on(path: str | os.PathLike[str]) -> Iterator[None]:
    """Let errors of the system name a path that the caller knows, instead of a temporary one."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), os.fspath(path)) from error


def check_folder(folder: str | os.PathLike[str], blamed: str | os.PathLike[str] | None = None) -> None:
    """Try whether a file can be made in `folder`, so that nobody works for what cannot be kept.

    Raises:
        OSError: as the system reports it; it names `blamed`, or the folder.
    """
    with blamed_on(folder if blamed is None else blamed), tempfile.TemporaryFile(dir=folder):
        pass


def _stage(temporary: Path, path: Path, data: bytes) -> None:
    """A finished file that only lacks its name."""
    # Mode "x" honours the umask, where the tempfile module would leave a private file.
    with temporary.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        shutil.copymode(path, temporary)


def _is_direct(destination: str | os.PathLike[str]) -> bool:
    """Whether something is there that cannot be renamed over.

    Asked of the name as it was given: what stands behind /dev/stdout may have no path at all.
    """
    return os.path.exists(destination) and not os.path.isfile(destination)
