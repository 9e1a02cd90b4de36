"""Reading binary streams of any kind: files, pipes with and without a buffer, what a program makes up."""

from __future__ import annotations

import errno
import io
from typing import BinaryIO, Protocol

from bincodec.errors import TooLarge, Unreadable

MAX_BYTES = 2**30
"""1 GiB: more than 64 Mpx take in any format, and an end to endless input."""

_PORTION = 2**16
"""So many bytes are asked of a stream at once: it may set aside all that it is asked for."""


class Stream(Protocol):
    """All that is asked of a binary stream; one that has `seek` as well is read from its start."""

    def read(self, size: int, /) -> bytes | None:
        """At most `size` bytes, and none at the end."""
        ...


def read_on(stream: Stream, size: int = -1, name: str | None = None) -> bytes:
    """The rest of a binary stream, or its next `size` bytes; errors call it `name`, or by its own name.

    A stream may deliver less than it is asked for, as a pipe without a buffer does: only nothing is the end.
    Memory grows with what arrives, never ahead of it.

    Raises:
        Unreadable: as the system reports it; or for a stream that is closed, or does not wait for its data.
        TooLarge: beyond MAX_BYTES.
        TypeError: for a stream of text.
    """
    name = _name(stream) if name is None else name
    most = MAX_BYTES + 1 if size < 0 else size
    # Growing bytes in place, and giving them away without a copy, is what BytesIO does.
    found = io.BytesIO()
    while found.tell() < most:
        portion = _next(stream, min(_PORTION, most - found.tell()), name)
        if not portion:
            break
        found.write(portion)
    if found.tell() > MAX_BYTES:
        msg = f"{name}: more than {MAX_BYTES} bytes, the most that is read"
        raise TooLarge(msg, limit=MAX_BYTES)
    return found.getvalue()


class SeekableFile:
    """A binary stream that can seek, as `bincodec.bitstream.container.ByteSource` wants it."""

    def __init__(self, stream: BinaryIO, name: str | None = None) -> None:
        self._stream = stream
        self._name = _name(stream) if name is None else name

    def read_at(self, position: int, size: int) -> bytes:
        """`size` bytes from `position` on, fewer where the file ends; errors as of `read_on`."""
        try:
            self._stream.seek(position)
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error
        return read_on(self._stream, size, self._name)

    def size(self) -> int:
        """Bytes of the whole file."""
        try:
            return self._stream.seek(0, io.SEEK_END)
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: OSError | ValueError) -> Unreadable:
        if isinstance(error, OSError):
            return unreadable(error, self._name)
        return Unreadable(errno.EBADF, str(error), self._name)


def _next(stream: Stream, size: int, name: str) -> bytes:
    """At most `size` bytes; none at the end."""
    if _decodes(stream):
        raise _is_text(stream)
    try:
        portion: object = stream.read(size)
    except UnicodeDecodeError as error:
        raise _is_text(stream) from error
    except OSError as error:
        raise unreadable(error, name) from error
    except ValueError as error:  # It was closed before.
        raise Unreadable(errno.EBADF, str(error), name) from error
    if isinstance(portion, str):
        raise _is_text(stream)
    if portion is None:
        raise Unreadable(errno.EAGAIN, "it does not wait for its data (non-blocking)", name)
    if not isinstance(portion, bytes | bytearray | memoryview):
        msg = f"{name}: its read() gave {type(portion).__name__}, not bytes"
        raise TypeError(msg)
    return bytes(portion[:size])


def _decodes(stream: object) -> bool:
    return isinstance(stream, io.TextIOBase)


def _is_text(stream: object) -> TypeError:
    return TypeError(f"expected a binary stream, not one of text ({type(stream).__name__}): open it as 'rb'")


def unreadable(error: OSError, name: str) -> Unreadable:
    """What the system reports of `name`, as an error of ours."""
    return Unreadable(error.errno, error.strerror or str(error) or type(error).__name__, name)


def _name(stream: object) -> str:
    name = getattr(stream, "name", None)
    return name if isinstance(name, str) else f"the {type(stream).__name__}"
