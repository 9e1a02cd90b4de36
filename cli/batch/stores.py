"""Read and write the pictures of a batch, at paths and at URLs of all stores that fsspec knows.

A URL is a name with a protocol: `s3://bucket/a.jpg`, `https://host/a.jpg`, `memory://a.jpg`. A `file://` URL
is a path. An error of a store becomes an error of the system or of bincodec that contains the name.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import Any

from bincodec.errors import BincodecError, TooLarge, Unreadable
from bincodec.io import files
from bincodec.io.interruption import blocked
from bincodec.io.streams import MAX_BYTES

_FILE = "file://"
_URL = re.compile(r"[A-Za-z][\w+.-]*(::[A-Za-z][\w+.-]*)*://")
"""The start of a URL: one protocol or several (`simplecache::s3://`). Names of files may contain :: too."""
_ABSENT = {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}
_WITHOUT_FOLDERS = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "memory"}
"""The protocols of stores without folders. Making a folder there would make a bucket."""


def path_of(name: str) -> str | None:
    """Return the path that a name stands for, or None for a URL of another store."""
    if name.startswith(_FILE):
        return name.removeprefix(_FILE)
    return None if _URL.match(name) else name


class Identities:
    """A function whose value is the same for all spellings of one name. Two links to one file differ.

    The system is asked only once for each folder, because the files of a batch are in few folders.
    """

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        """Return the identity of a path or URL."""
        path = path_of(name)
        if path is None:
            return name
        folder, last = os.path.split(path)
        real = self._folders.get(folder)
        if real is None:
            real = folder
            with suppress(ValueError):  # A path with a NUL character fails later, when it is read.
                real = os.path.realpath(folder)
            self._folders[folder] = real
        return f"{real.rstrip('/')}/{last}"


def given(name: str) -> str | bytes:
    """Return what a command reads: the path itself, or the content of a URL.

    Raises:
        Unreadable, TooLarge: as `bincodec.io.files.read`, if the name is a URL.
    """
    path = path_of(name)
    return read(name) if path is None else path


def read(name: str) -> bytes:
    """Return all bytes of a path or URL.

    Raises:
        Unreadable: if the store cannot read it. The error has the reason of the store.
        TooLarge: if it has more than MAX_BYTES (1 GiB).
    """
    path = path_of(name)
    if path is not None:
        return files.read(path)
    with reading(name):
        store, path = store_of(name)
        size = store.info(path).get("size")
        if size is None or size <= MAX_BYTES:
            return files.read(store.cat_file(path))
    msg = f"{name}: its {size} bytes are over the limit of {MAX_BYTES}"
    raise TooLarge(msg, value=size, limit=MAX_BYTES)


def exists(name: str) -> bool:
    """Return whether a file or object of that name exists. What `write` has written is whole if it exists.

    Raises:
        Unreadable: if the store cannot be asked. The error has the reason of the store.
        OSError: if the name belongs to a folder, a pipe, or a link that leads nowhere.
    """
    path = path_of(name)
    if path is not None:
        if os.path.lexists(path) and not os.path.isfile(path):
            raise OSError(errno.EINVAL, "exists and is no file", name)
        return os.path.lexists(path)
    with reading(name):
        store, path = store_of(name)
        store.invalidate_cache()
        return bool(store.exists(path))


def existing(outputs: Iterable[str], folder: str | None) -> set[str]:
    """Return those of the outputs of a batch that exist, as far as listings of folders show it.

    Listing takes one request for many names, while asking for each name takes one request each. `folder` is
    the folder of all outputs, if there is one. If it is a URL, everything below it is listed. Of paths, only
    the folders that directly contain outputs are listed.

    Raises:
        Unreadable: if the store cannot be listed. The error has the reason of the store.
    """
    wanted = set(outputs)
    if folder is not None and path_of(folder) is None:
        return wanted & _names_below(folder)
    found: set[str] = set()
    for inner in {os.path.dirname(output) for output in wanted}:
        path = path_of(inner)
        if path is None:
            continue
        # It need not exist, and a path with a NUL in it never does.
        with suppress(OSError, ValueError), os.scandir(path or ".") as entries:
            found.update(os.path.join(inner, entry.name) for entry in entries if entry.is_file())
    return wanted & found


def _names_below(folder: str) -> set[str]:
    """Return the names of all objects below a URL, each starting with that URL; none if it does not exist."""
    with reading(folder):
        store, path = store_of(folder)
        store.invalidate_cache()
        root = path.rstrip("/")
        return {f"{folder.rstrip('/')}/{one.removeprefix(root).lstrip('/')}" for one in store.find(path)}


def write(name: str, data: bytes, *, replace: bool) -> None:
    """Write an output, which appears as a whole or not at all. The folders that it needs are made.

    An object store gives an object its name when all of it has arrived. Other stores write it under another
    name first, in a transaction of fsspec.

    Raises:
        FileExistsError: if the name is taken and `replace` is not set.
        OSError: if the store cannot write it. The error has the reason of the store, and names `name`.
    """
    path = path_of(name)
    if path is not None:
        # SIGTERM ends the processes of a batch, and must not leave a temporary file behind.
        with blocked("SIGTERM"):
            _make_folder(os.path.dirname(path) or ".")
            files.write(path, data, replace=replace)
        return
    if not replace and exists(name):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
    with _blamed(name, OSError):
        store, path = store_of(name)
        if not _has_no_folders(store):
            store.makedirs(path.rpartition("/")[0], exist_ok=True)
        with store.transaction:
            store.pipe_file(path, data)


def _make_folder(path: str) -> None:
    try:
        os.makedirs(path, exist_ok=True)
    except FileExistsError as error:  # A file has this name. The output itself does not exist.
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), error.filename) from error


def check_folder(name: str) -> None:
    """Check that outputs can be written below a folder, which need not exist yet.

    At a URL, this writes an empty object and removes it again.

    Raises:
        OSError: if nothing can be written there. The error has the reason of the store, and names the folder.
    """
    path = path_of(name)
    if path is None:
        trial = f"{name.rstrip('/')}/.bincodec-{secrets.token_hex(8)}.tmp"
        with _blamed(name, OSError):
            write(trial, b"", replace=True)
        store, path = store_of(trial)
        with suppress(OSError):  # A store may forbid deletion, and outputs can still be written.
            store.rm_file(path)
        return
    files.check_folder(_existing(path), blamed=name)


def ignores_case(folder: str) -> bool:
    """Return whether names that differ only in the case of letters are one name in a folder.

    The folder need not exist. The check makes an empty file for an instant.

    Raises:
        OSError: if the system cannot make a file there.
    """
    path = path_of(folder)
    if path is None:
        return False
    with tempfile.NamedTemporaryFile(prefix=".bincodec-a", suffix=".tmp", dir=_existing(path)) as trial:
        where, name = os.path.split(trial.name)
        return os.path.lexists(os.path.join(where, name.upper()))


def _existing(path: str) -> str:
    """Return the last folder of a path that exists."""
    existing = os.path.abspath(path)
    while not os.path.lexists(existing):
        existing = os.path.dirname(existing)
    return existing


def store_of(name: str) -> tuple[Any, str]:
    """Return the file system of fsspec for a URL, and the path in it. Errors are those of fsspec."""
    from fsspec.core import url_to_fs

    store, path = url_to_fs(name)
    return store, path


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn every error of a store in the block into `Unreadable` with the name."""
    with _blamed(name, Unreadable):
        yield


def _has_no_folders(store: Any) -> bool:
    names = (store.protocol,) if isinstance(store.protocol, str) else store.protocol
    return bool(_WITHOUT_FOLDERS.intersection(names))


@contextmanager
def _blamed(name: str, kind: Callable[[int, str, str], OSError]) -> Iterator[None]:
    """Turn every error of a store in the block into an error of the given kind that names `name`."""
    try:
        yield
    except BincodecError:
        raise
    except Exception as raised:  # Each store has error classes of its own, and most of them are no OSError.
        error = _cause(raised)
        number = getattr(error, "errno", None) or _number(error)
        raise kind(number, _reason(error, number), name) from raised


def _cause(error: Exception) -> Exception:
    """Return the cause of an error. fsspec reports every failure of a web server as "no such file"."""
    cause = error.__cause__
    if isinstance(error, FileNotFoundError) and isinstance(cause, Exception):
        failed = isinstance(cause, OSError) or getattr(cause, "status", HTTPStatus.NOT_FOUND) not in _ABSENT
        return cause if failed else error
    return error


def _number(error: Exception) -> int:
    if isinstance(error, FileNotFoundError):
        return errno.ENOENT
    return errno.EACCES if isinstance(error, PermissionError) else errno.EIO


def _reason(error: Exception, number: int) -> str:
    if isinstance(error, FileNotFoundError | PermissionError):
        return os.strerror(number)
    words = " ".join(str(getattr(error, "strerror", None) or error).split())
    return words or type(error).__name__
