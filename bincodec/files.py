"""Reading and writing whole files. Nothing half-written ever carries the final name."""

import os
import secrets
import shutil
from pathlib import Path
from typing import IO

from bincodec.bitstream.errors import BincodecError, TooLarge
from bincodec.bitstream.header import HEADER_BYTES, Header
from bincodec.bitstream.limits import DEFAULT_LIMITS, Limits

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes]


MOST_BYTES = 2**30
"""1 GiB: more than 64 Mpx take in any format, and an end to endless input."""


class Unreadable(BincodecError):
    """A path that the system does not let us read: missing, a directory, not permitted."""


def read(source: Source, size: int = -1) -> bytes:
    """The content of a path or binary file object, or the bytes themselves; only the first `size` if not -1.

    Raises:
        Unreadable: as the system reports it.
        TooLarge: beyond MOST_BYTES.
        TypeError: for a source of another type.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source if size < 0 else source[:size])
    data = _read(source, MOST_BYTES + 1 if size < 0 else size)
    if len(data) > MOST_BYTES:
        msg = f"{source}: more than {MOST_BYTES} bytes, the most that is read"
        raise TooLarge(msg)
    return data


def _read(source: str | os.PathLike[str] | IO[bytes], size: int) -> bytes:
    if isinstance(source, str | os.PathLike):
        try:
            with open(source, "rb") as file:
                return file.read(size)
        except (OSError, ValueError) as error:
            # ValueError: a path with a NUL in it.
            msg = f"{os.fspath(source)}: cannot be read: {getattr(error, 'strerror', None) or error}"
            raise Unreadable(msg) from error
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
        OSError: as the system reports it.
    """
    path = Path(os.path.realpath(destination))
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    temporary = path.parent / f".bincodec-{secrets.token_hex(8)}.tmp"
    try:
        # Mode "x" honours the umask, where the tempfile module would leave a private file.
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
