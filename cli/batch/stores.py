"""Where pictures lie and go: paths, and URLs of every store that fsspec knows.

A URL is a name with a protocol: `s3://bucket/a.jpg`, `https://host/a.jpg`, `memory://a.jpg`. Those of
`file://` are paths. What a store reports becomes one of our errors, with the name in it.
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
"""How a URL begins: with a protocol or several (`simplecache::s3://`). Names of files may have :: as well."""
_ABSENT = {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}
_WITHOUT_FOLDERS = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "memory"}
"""Protocols whose stores keep names only. To make a folder there would be to make a bucket."""


def path_of(name: str) -> str | None:
    """The path that a name stands for; None for a URL of another store."""
    if name.startswith(_FILE):
        return name.removeprefix(_FILE)
    return None if _URL.match(name) else name


class Identities:
    """The same for all spellings of one name. Links to one file are different names.

    The system is asked once for each folder: what a batch names lies in few of them.
    """

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        """The identity of a path or URL."""
        path = path_of(name)
        if path is None:
            return name
        folder, last = os.path.split(path)
        real = self._folders.get(folder)
        if real is None:
            real = folder
            with suppress(ValueError):  # A path with a NUL in it names nothing, and is told when it is read.
                real = os.path.realpath(folder)
            self._folders[folder] = real
        return f"{real.rstrip('/')}/{last}"


def given(name: str) -> str | bytes:
    """What a command reads: the path itself, or the content of a URL.

    Raises:
        Unreadable, TooLarge: for a URL, as `bincodec.io.files.read`.
    """
    path = path_of(name)
    return read(name) if path is None else path


def read(name: str) -> bytes:
    """All of a path or URL.

    Raises:
        Unreadable: as the store reports it.
        TooLarge: beyond MAX_BYTES.
    """
    path = path_of(name)
    if path is not None:
        return files.read(path)
    with reading(name):
        store, path = store_of(name)
        size = store.info(path).get("size")
        if size is None or size <= MAX_BYTES:
            return files.read(store.cat_file(path))
    msg = f"{name}: {size} bytes are more than {MAX_BYTES}, the most that is read"
    raise TooLarge(msg, value=size, limit=MAX_BYTES)


def exists(name: str) -> bool:
    """Whether an output of that name exists. What is written by `write` is whole where it exists.

    Raises:
        Unreadable: as the store reports it.
        OSError: if the name is taken by what is no file: a folder, a pipe, a link that leads nowhere.
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
    """Those of the outputs of a batch that exist, as far as listing folders tells it.

    Listing takes one request for many names, and asking for each name takes one request each. `folder` is
    where the outputs go. If it is a URL, everything below it is listed. Of paths, only the folders in which
    outputs stand are listed.

    Raises:
        Unreadable: as the store reports it.
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
    """What is below a URL, by names that begin with its own; nothing if it is not there."""
    with reading(folder):
        store, path = store_of(folder)
        store.invalidate_cache()
        root = path.rstrip("/")
        return {f"{folder.rstrip('/')}/{one.removeprefix(root).lstrip('/')}" for one in store.find(path)}


def write(name: str, data: bytes, *, replace: bool) -> None:
    """Write an output that is seen whole or not at all; the folders that it needs are made.

    An object store gives an object its name when all of it has arrived. Other stores get it in a transaction
    of fsspec: under another name first.

    Raises:
        FileExistsError: without `replace`, if the name is taken.
        OSError: as the store reports it; it names `name`.
    """
    path = path_of(name)
    if path is not None:
        # SIGTERM ends the processes of a batch, and none of them is to leave half a file behind.
        with blocked("SIGTERM"):
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
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


def check_folder(name: str) -> None:
    """Try whether outputs can be written below a folder, which need not exist yet.

    A URL gets an empty object for an instant.

    Raises:
        OSError: as the store reports it; it names the folder.
    """
    path = path_of(name)
    if path is None:
        trial = f"{name.rstrip('/')}/.bincodec-{secrets.token_hex(8)}.tmp"
        with _blamed(name, OSError):
            write(trial, b"", replace=True)
            store, path = store_of(trial)
            store.rm_file(path)
        return
    files.check_folder(_existing(path), blamed=name)


def ignores_case(folder: str) -> bool:
    """Whether names that differ only in the case of letters are one name in a folder, which need not exist.

    The file system is asked, by an empty file that is there for an instant.

    Raises:
        OSError: as the system reports it.
    """
    path = path_of(folder)
    if path is None:
        return False
    with tempfile.NamedTemporaryFile(prefix=".bincodec-a", suffix=".tmp", dir=_existing(path)) as trial:
        where, name = os.path.split(trial.name)
        return os.path.lexists(os.path.join(where, name.upper()))


def _existing(path: str) -> str:
    """The folder in which a path lies, or will lie, as far as it exists."""
    existing = os.path.abspath(path)
    while not os.path.lexists(existing):
        existing = os.path.dirname(existing)
    return existing


def store_of(name: str) -> tuple[Any, str]:
    """The file system of fsspec that a URL belongs to, and its path there; errors as fsspec has them."""
    from fsspec.core import url_to_fs

    store, path = url_to_fs(name)
    return store, path


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn whatever a store raises in here into `Unreadable` with its name."""
    with _blamed(name, Unreadable):
        yield


def _has_no_folders(store: Any) -> bool:
    names = (store.protocol,) if isinstance(store.protocol, str) else store.protocol
    return bool(_WITHOUT_FOLDERS.intersection(names))


@contextmanager
def _blamed(name: str, kind: Callable[[int, str, str], OSError]) -> Iterator[None]:
    """Turn whatever a store raises into an error of the system that names `name`."""
    try:
        yield
    except BincodecError:
        raise
    except Exception as raised:  # Each store has errors of its own, most of which are no OSError.
        error = _cause(raised)
        number = getattr(error, "errno", None) or _number(error)
        raise kind(number, _reason(error, number), name) from raised


def _cause(error: Exception) -> Exception:
    """What went wrong: fsspec says of every failure of a web server that there is no such file."""
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
