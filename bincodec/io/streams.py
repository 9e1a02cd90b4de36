"""Read binary streams of any kind: files, pipes with and without a buffer, and objects of a program."""

from __future__ import annotations

import errno
import io
from typing import BinaryIO, Protocol

from bincodec.errors import TooLarge, Unreadable

MAX_BYTES = 2**30
"""The most bytes that are read: 1 GiB. An image of 64 megapixels takes less in every format. The limit ends
the reading of endless input."""

_PORTION = 2**16
"""The number of bytes that a stream is asked for at once. It may allocate all that it is asked for."""


class Stream(Protocol):
    """What a binary stream must have. If it also has `seek`, it is read from its start."""

    def read(self, size: int, /) -> bytes | None:
        """Return at most `size` bytes, and no bytes at the end."""
        ...


def read_on(stream: Stream, size: int = -1, name: str | None = None) -> bytes:
    """Return the rest of a binary stream, or its next `size` bytes. Errors call it `name`, or by its own
    name.

    A stream may deliver fewer bytes than it is asked for, as a pipe without a buffer does. Only an empty
    result means its end. Memory grows with the bytes that arrive, and not before.

    Raises:
        Unreadable: if the system cannot read the stream, or if the stream is closed or non-blocking.
        TooLarge: if there are more than MAX_BYTES (1 GiB).
        TypeError: if it is a stream of text.
    """
    name = _name(stream) if name is None else name
    most = MAX_BYTES + 1 if size < 0 else size
    # BytesIO grows in place and returns its bytes without a copy.
    found = io.BytesIO()
    while found.tell() < most:
        portion = _next(stream, min(_PORTION, most - found.tell()), name)
        if not portion:
            break
        found.write(portion)
    if found.tell() > MAX_BYTES:
        msg = f"{name}: it has more than {MAX_BYTES} bytes, which is the limit"
        raise TooLarge(msg, limit=MAX_BYTES)
    return found.getvalue()


class SeekableFile:
    """A binary stream that can seek, in the form of `bincodec.bitstream.container.ByteSource`."""

    def __init__(self, stream: BinaryIO, name: str | None = None) -> None:
        self._stream = stream
        self._name = _name(stream) if name is None else name

    def read_at(self, position: int, size: int) -> bytes:
        """Return `size` bytes from `position` on, or fewer at the end; errors are those of `read_on`."""
        try:
            self._stream.seek(position)
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error
        return read_on(self._stream, size, self._name)

    def size(self) -> int:
        """Return the number of bytes of the whole file."""
        try:
            return self._stream.seek(0, io.SEEK_END)
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: OSError | ValueError) -> Unreadable:
        if isinstance(error, OSError):
            return unreadable(error, self._name)
        return Unreadable(errno.EBADF, str(error), self._name)


def _next(stream: Stream, size: int, name: str) -> bytes:
    """Return at most `size` bytes, and no bytes at the end."""
    if _decodes(stream):
        raise _is_text(stream)
    try:
        portion: object = stream.read(size)
    except UnicodeDecodeError as error:
        raise _is_text(stream) from error
    except OSError as error:
        raise unreadable(error, name) from error
    except ValueError as error:  # The stream was closed before.
        raise Unreadable(errno.EBADF, str(error), name) from error
    if isinstance(portion, str):
        raise _is_text(stream)
    if portion is None:
        raise Unreadable(errno.EAGAIN, "it is non-blocking, and has no data yet", name)
    if not isinstance(portion, bytes | bytearray | memoryview):
        msg = f"{name}: its read() returned {type(portion).__name__}, not bytes"
        raise TypeError(msg)
    return bytes(portion[:size])


def _decodes(stream: object) -> bool:
    return isinstance(stream, io.TextIOBase)


def _is_text(stream: object) -> TypeError:
    kind = type(stream).__name__
    return TypeError(f"expected a binary stream, not a text stream ({kind}): open it as 'rb'")


def unreadable(error: OSError, name: str) -> Unreadable:
    """Return an `Unreadable` error with the system's reason why `name` cannot be read."""
    return Unreadable(error.errno, error.strerror or str(error) or type(error).__name__, name)


def _name(stream: object) -> str:
    name = getattr(stream, "name", None)
    return name if isinstance(name, str) else f"the {type(stream).__name__}"
