"""Read and write whole files. A file gets its final name only when all of it is written."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar, cast

from bincodec.bitstream.container import ByteSource, Memory
from bincodec.bitstream.header import HEADER_BYTES, Header
from bincodec.bitstream.limits import DEFAULT_LIMITS, Limits
from bincodec.errors import TooLarge, Unreadable
from bincodec.io.interruption import postponed
from bincodec.io.streams import MAX_BYTES, SeekableFile, Stream, read_on, unreadable


class BytesLike(Protocol):
    """An object that gives access to its memory: bytes, bytearray, memoryview, mmap, array, a NumPy array."""

    def __buffer__(self, flags: int, /) -> memoryview:
        """Return a view of the memory."""
        ...


Source = str | os.PathLike[str] | BytesLike | Stream | ByteSource
"""A path, the bytes themselves, a binary stream, or what `opened` has made of one of them."""

Name = TypeVar("Name", bound=str | os.PathLike[str])


def read(source: Source, size: int = -1) -> bytes:
    """Return the content of a source, or only its first `size` bytes if `size` is not -1.

    A stream that can seek is read from its start, as Pillow does it. Another stream is read from its current
    position. Memory grows with the bytes that arrive, and not before.

    Raises:
        Unreadable: if the system cannot read the path or the stream. The error has the system's reason.
        TooLarge: if there are more than MAX_BYTES (1 GiB).
        TypeError: if the source is of another type, or is a stream of text.
    """
    if isinstance(source, str | os.PathLike):
        return _read_path(os.fspath(source), size)
    if isinstance(source, ByteSource):
        return source.read_at(0, source.size() if size < 0 else size)
    try:
        view = memoryview(source)  # type: ignore[arg-type]
    except TypeError:
        if hasattr(source, "read"):
            stream = cast(Stream, source)
            _rewind(stream)
            return read_on(stream, size)
        msg = f"expected a path, a bytes-like object or a binary stream, not {type(source).__name__}"
        raise TypeError(msg) from None
    if size < 0 and view.nbytes > MAX_BYTES:
        msg = f"{view.nbytes} bytes are more than {MAX_BYTES}, the most that is read"
        raise TooLarge(msg, value=view.nbytes, limit=MAX_BYTES)
    return source if isinstance(source, bytes) and size < 0 else _copied(view, size)


@contextmanager
def opened(source: Source, *, parts: bool) -> Iterator[ByteSource]:
    """Give access to the bytes of a source at any position. Errors are those of `read`.

    If `parts` is set, a path or a stream that can seek is read only where and when bytes are asked for. All
    other sources are read as a whole at the start.
    """
    if isinstance(source, ByteSource):
        yield source
    elif parts and isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        with _open_path(path) as file:
            yield SeekableFile(file, path) if file.seekable() else Memory(read_on(file, name=path))
    elif parts and _can_seek(source):
        yield SeekableFile(cast(BinaryIO, source))
    else:
        yield Memory(read(source))


def _can_seek(source: object) -> bool:
    try:
        return bool(source.seekable())  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return False


def _read_path(path: str, size: int) -> bytes:
    with _open_path(path) as file:
        return read_on(file, size, path)


def _open_path(path: str) -> BinaryIO:
    try:
        return open(path, "rb")
    except OSError as error:
        raise unreadable(error, path) from error
    except ValueError as error:  # The path contains a NUL character.
        raise Unreadable(errno.EINVAL, str(error), path) from error


def _rewind(stream: Stream) -> None:
    """Go to the start of a stream if it can seek. If it cannot, it is still read."""
    with suppress(AttributeError, OSError, ValueError):
        stream.seek(0)  # type: ignore[attr-defined]


def _copied(view: memoryview, size: int) -> bytes:
    """Return the bytes of some memory, or the first `size` of them. Its items may be of any type."""
    wanted = view.nbytes if size < 0 else size
    try:
        return bytes(view.cast("B")[:wanted])
    except TypeError:  # The memory is not contiguous, or its items cannot be cast to bytes.
        return view.tobytes()[:wanted]


def read_header(source: Source, limits: Limits = DEFAULT_LIMITS) -> Header:
    """Return what a .bld file says about itself: size in pixels, quality, layers and model.

    Only the first 36 bytes are read, and neither torch nor the model is needed. A stream that can seek is
    read from its start, and another stream from its current position. Afterwards, the stream stands behind
    these 36 bytes, or at its end if it has fewer.

    Raises:
        Unreadable: if the path or the stream cannot be read.
        NotBld, Truncated, Corrupt, Unsupported, TooLarge: as `bincodec.bitstream.header.Header.parse`.
        TypeError: if the source is of another type, or is a stream of text.

    Example:
        >>> import bincodec, numpy
        >>> header = bincodec.read_header(bincodec.compress(numpy.zeros((32, 48, 3), numpy.uint8)))
        >>> header.width, header.height, header.quality
        (48, 32, 75)
    """
    return Header.parse(read(source, HEADER_BYTES), limits)


def write(destination: str | os.PathLike[str], data: bytes, *, replace: bool = True) -> None:
    """Write `data` under a temporary name in the same folder, and then give it the name `destination`.

    After a failure, an existing file is as it was, and there is no new one. If `replace` is set, an existing
    file is replaced. Its permissions are kept, and a symbolic link stays a link. Otherwise, the name must be
    free. If several processes write to one name, exactly one of them gets it. Devices and pipes are written
    to directly in both cases.

    Raises:
        FileExistsError: if the name is taken and `replace` is not set.
        OSError: if the system cannot write the file. The error names `destination`.
    """
    write_all({destination: data}, replace=replace)


def write_all(contents: Mapping[Name, bytes], *, replace: bool = True) -> None:
    """Write several files as `write` does. No file gets its name before all of them are on the disk.

    If `replace` is not set, either all files get their names or none: after a failure, the names that were
    given are removed again. If it is set, files that were replaced before a failure stay replaced, because
    the old ones no longer exist. Ctrl-C counts as a failure until all files have their names. After that, it
    takes effect when this function has ended.

    Raises:
        FileExistsError: if one of the names is taken and `replace` is not set.
        OSError: if the system cannot write a file. The error names the destination.
    """
    direct = [destination for destination in contents if _is_direct(destination)]
    staged: dict[Name, tuple[Path, Path]] = {}
    published: list[tuple[Path, os.stat_result]] = []
    with postponed() as interruption:
        try:
            for destination in contents:
                if destination not in direct:
                    path = _resolved(destination, replace)
                    staged[destination] = path.parent / f".bincodec-{secrets.token_hex(8)}.tmp", path
                    with blamed_on(destination):
                        _stage(*staged[destination], contents[destination])
                interruption.check()
            for destination in direct:
                with blamed_on(destination), interruption.admitted():
                    Path(destination).write_bytes(contents[destination])
            for destination, place in staged.items():
                with blamed_on(destination):
                    if not replace:
                        published.append((place[1], place[0].stat()))
                    _publish(*place, replace)
            if not replace:
                interruption.check()  # This is the last moment at which names can be removed again.
        except BaseException:
            for path, identity in published:
                _take_back(path, identity)
            raise
        finally:
            # Files keep their temporary names until here, so that no other file can get the same inode
            # number.
            for temporary, _ in staged.values():
                with suppress(OSError):  # It was renamed, or another error is being reported already.
                    temporary.unlink()


def write_folder(folder: str | os.PathLike[str], contents: Mapping[str, bytes]) -> None:
    """Make a new folder with files in it. `contents` has the bytes of each file by its name.

    The folder appears with all of the files, or not at all.

    Raises:
        FileExistsError: if the name is taken, even by an empty folder.
        OSError: if the system cannot make the folder. The error names it.
    """
    path = Path(folder)
    temporary = path.parent / f".bincodec-{secrets.token_hex(8)}.tmp"
    with blamed_on(folder), postponed() as interruption:
        temporary.mkdir()
        try:
            write_all({temporary / name: data for name, data in contents.items()})
            interruption.check()
            # A rename would silently replace an empty folder of somebody else, but `mkdir` never does. So the
            # name is taken by `mkdir` first, and the rename replaces our own folder.
            path.mkdir()
            try:
                temporary.rename(path)
            except BaseException:
                with suppress(OSError):  # Somebody else has put a file into it.
                    path.rmdir()
                raise
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


@contextmanager
def blamed_on(path: str | os.PathLike[str]) -> Iterator[None]:
    """Let errors of the system name `path`, which the caller knows, instead of a temporary file."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), os.fspath(path)) from error


def check_folder(folder: str | os.PathLike[str], blamed: str | os.PathLike[str] | None = None) -> None:
    """Check that a file can be made in `folder`, so that a result is not computed in vain.

    The check makes a file without a name. On some file systems, it has a temporary name for an instant.

    Raises:
        OSError: if the system cannot make a file there. The error names `blamed`, or else the folder.
    """
    with blamed_on(folder if blamed is None else blamed):
        tempfile.TemporaryFile(prefix=".bincodec-", suffix=".tmp", dir=folder).close()


def _resolved(destination: str | os.PathLike[str], replace: bool) -> Path:
    """Return the path under which a file is published.

    If it is to be replaced, this is the file that a symbolic link points to. Otherwise, a link of that name
    means that the name is taken.
    """
    path = Path(destination)
    return Path(os.path.realpath(path)) if replace else Path(os.path.realpath(path.parent)) / path.name


def _stage(temporary: Path, path: Path, data: bytes) -> None:
    """Write a finished file under its temporary name, with the permissions of the file that it replaces."""
    # Mode "x" respects the umask. The tempfile module would make a private file.
    with temporary.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    with suppress(FileNotFoundError):  # There is no file to replace, or no longer.
        shutil.copymode(path, temporary)


def _publish(temporary: Path, path: Path, replace: bool) -> None:
    """Give a finished file its name. If `replace` is not set, this fails if the name is taken.

    A hard link gives the file its second name, and fails if that name is taken. On file systems without hard
    links (FAT, some network folders), an empty file takes the name first, which fails in the same way, and
    the finished file then replaces it. Others may see the empty file for an instant, but never a half-written
    one.
    """
    if replace:
        temporary.replace(path)
        return
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        with path.open("xb"):
            pass
        try:
            temporary.replace(path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def _take_back(path: Path, identity: os.stat_result) -> None:
    """Remove a file that was published, unless another file has its name by now."""
    with suppress(OSError):  # Another error is being reported already.
        found = path.lstat()
        if os.path.samestat(found, identity) and found.st_mtime_ns == identity.st_mtime_ns:
            path.unlink()


def _is_direct(destination: str | os.PathLike[str]) -> bool:
    """Return whether something has that name which a rename cannot replace, such as a device or a pipe.

    The name is looked up as it was given, because the target of a link such as /dev/stdout may have no path.
    """
    return os.path.exists(destination) and not os.path.isfile(destination)
