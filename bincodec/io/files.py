"""Reading and writing whole files. Nothing half-written ever carries the final name."""

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
    """Whatever lends its memory: bytes, bytearray, memoryview, mmap, array, a NumPy array."""

    def __buffer__(self, flags: int, /) -> memoryview:
        """Lend it."""
        ...


Source = str | os.PathLike[str] | BytesLike | Stream | ByteSource
"""A path, the bytes themselves, a binary stream; or what `opened` made of one of them."""

Name = TypeVar("Name", bound=str | os.PathLike[str])


def read(source: Source, size: int = -1) -> bytes:
    """The content of a path or binary stream, or the bytes themselves; only the first `size` if not -1.

    A stream that can seek is read from its start, wherever it stands, as Pillow does; another one from where
    it stands. Memory grows with what arrives, never ahead of it.

    Raises:
        Unreadable: as the system reports it.
        TooLarge: beyond MAX_BYTES.
        TypeError: for a source of another type, or a stream of text.
    """
    if isinstance(source, str | os.PathLike):
        return _read_path(os.fspath(source), size)
    if isinstance(source, Memory | SeekableFile):
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
    """A source from which bytes can be taken anywhere; errors as of `read`.

    With `parts`, of a path or a stream that can seek only what is asked for is read, when it is asked for;
    all others, and all without, are read whole now.
    """
    if isinstance(source, Memory | SeekableFile):
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
    except ValueError as error:  # a path with a NUL in it
        raise Unreadable(errno.EINVAL, str(error), path) from error


def _rewind(stream: Stream) -> None:
    """To the start, where a stream can seek; what it cannot do is no reason not to read it."""
    with suppress(AttributeError, OSError, ValueError):
        stream.seek(0)  # type: ignore[attr-defined]


def _copied(view: memoryview, size: int) -> bytes:
    """The bytes of some memory, or the first `size` of them, whatever its items are."""
    wanted = view.nbytes if size < 0 else size
    try:
        return bytes(view.cast("B")[:wanted])
    except TypeError:  # Scattered memory, or items that have no plain bytes.
        return view.tobytes()[:wanted]


def read_header(source: Source, limits: Limits = DEFAULT_LIMITS) -> Header:
    """What a .bld file says about itself: size, quality, layers, model. Needs neither torch nor the model.

    Reads the first 36 bytes only. A stream that can seek is read from its start, another one from where it
    stands; either is left after these 36 bytes, or at its end if it has fewer.

    Raises:
        Unreadable: for a path or a stream that cannot be read.
        NotBld, Truncated, Corrupt, Unsupported, TooLarge: as `bincodec.bitstream.header.Header.parse`.
        TypeError: for a source of another type, or a stream of text.

    Example:
        >>> import bincodec, numpy
        >>> header = bincodec.read_header(bincodec.compress(numpy.zeros((32, 48, 3), numpy.uint8)))
        >>> header.width, header.height, header.quality
        (48, 32, 75)
    """
    return Header.parse(read(source, HEADER_BYTES), limits)


def write(destination: str | os.PathLike[str], data: bytes, *, replace: bool = True) -> None:
    """Write `data` under a temporary name in the same folder, then give it the name `destination`.

    A failure leaves an existing file as it was and no new one. With `replace` an existing file is replaced:
    its permissions are kept, and a symbolic link stays one. Without it, the name must be free: of several
    writers of one name, exactly one gets it. Devices and pipes are written to directly either way.

    Raises:
        FileExistsError: without `replace`, if the name is taken.
        OSError: as the system reports it; it names `destination`.
    """
    write_all({destination: data}, replace=replace)


def write_all(contents: Mapping[Name, bytes], *, replace: bool = True) -> None:
    """Write several files as `write`: none gets its name before all of them are on the disk.

    Without `replace` all get their names or none: those that were given are taken back if one fails. With it,
    what was replaced until then stays so, for the old files are gone. Ctrl-C is a failure until all have
    their names, and comes afterwards from there on.

    Raises:
        FileExistsError: without `replace`, if one of the names is taken.
        OSError: as the system reports it; it names the destination.
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
                interruption.check()  # The last moment at which names can be taken back.
        except BaseException:
            for path, identity in published:
                _take_back(path, identity)
            raise
        finally:
            # Until here a link still has its temporary name, so that no other file can have its number.
            for temporary, _ in staged.values():
                with suppress(OSError):  # It was renamed; or what went wrong is told, not what came of it.
                    temporary.unlink()


def write_folder(folder: str | os.PathLike[str], contents: Mapping[str, bytes]) -> None:
    """Make a new folder of files by name, which appears with all of them in it or not at all.

    Raises:
        FileExistsError: if the name is taken, if only by an empty folder.
        OSError: as the system reports it; it names the folder.
    """
    path = Path(folder)
    temporary = path.parent / f".bincodec-{secrets.token_hex(8)}.tmp"
    with blamed_on(folder), postponed() as interruption:
        temporary.mkdir()
        try:
            write_all({temporary / name: data for name, data in contents.items()})
            interruption.check()
            # A rename replaces an empty folder silently, also somebody else's; to make one never does. So the
            # name is taken first, and what is replaced is our own.
            path.mkdir()
            try:
                temporary.rename(path)
            except BaseException:
                with suppress(OSError):  # Somebody has put something into it.
                    path.rmdir()
                raise
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
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

    It has no name, or on some file systems a temporary one for an instant.

    Raises:
        OSError: as the system reports it; it names `blamed`, or the folder.
    """
    with blamed_on(folder if blamed is None else blamed):
        tempfile.TemporaryFile(prefix=".bincodec-", suffix=".tmp", dir=folder).close()


def _resolved(destination: str | os.PathLike[str], replace: bool) -> Path:
    """Where a file gets its name: what a symbolic link points to is replaced, but a link takes its name."""
    path = Path(destination)
    return Path(os.path.realpath(path)) if replace else Path(os.path.realpath(path.parent)) / path.name


def _stage(temporary: Path, path: Path, data: bytes) -> None:
    """A finished file that only lacks its name."""
    # Mode "x" honours the umask, where the tempfile module would leave a private file.
    with temporary.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    with suppress(FileNotFoundError):  # There is nothing to replace, or not any more.
        shutil.copymode(path, temporary)


def _publish(temporary: Path, path: Path, replace: bool) -> None:
    """Give a finished file its name; without `replace` only if the system finds that free.

    A second name for the same file is a link, which fails where the name is taken. Where there are no links
    (FAT, some network folders), an empty file takes the name, which fails just so, and is replaced by the
    finished one: for an instant others may see it empty, but never half-written.
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
    """Remove a file that was published, unless it is another one by now."""
    with suppress(OSError):  # What went wrong is told, not what that made of the others.
        found = path.lstat()
        if os.path.samestat(found, identity) and found.st_mtime_ns == identity.st_mtime_ns:
            path.unlink()


def _is_direct(destination: str | os.PathLike[str]) -> bool:
    """Whether something is there that cannot be renamed over.

    Asked of the name as it was given: what stands behind /dev/stdout may have no path at all.
    """
    return os.path.exists(destination) and not os.path.isfile(destination)
