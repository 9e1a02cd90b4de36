"""Every error of bincodec, as one tree.

    BincodecError
    ├── NotBld              the data does not start like a .bld file
    ├── Truncated           the file ends before its last chunk does
    ├── Corrupt             the file contradicts itself or the format
    │   └── BitsMismatch        it arrived intact, but decodes to other levels than were written
    ├── Unsupported         the file asks for something that this version or this device does not know
    ├── TooLarge            something exceeds a limit, which the error names
    ├── WrongModel          the file or the code belongs to another model than the one it was given to
    ├── UnknownModel        no model of that name or fingerprint is installed
    ├── DamagedModel        a model file cannot be read, or is not what it says it is
    ├── ImageError          an image cannot be read, or holds what the codec cannot represent
    ├── Unreadable          the system does not let us read a path (an OSError as well)
    ├── InvalidSetting      a quality, a device or the like does not exist (a ValueError as well)
    ├── OutOfReach          no quality gives the size or the PSNR that was asked for
    └── VerificationFailed  a finished file did not give back the code it was made from

Bad input and bad settings always raise one of these. Too little memory raises `MemoryError`, and a path that
cannot be written the system's own `OSError`. The first eight stand in `bincodec.bitstream.errors`, which has
to do without the rest of the package.

A wrong type of argument raises `TypeError`: a mistake in the calling program, never the fault of its input.
The line to `InvalidSetting` is drawn by type alone. quality=101 is an integer, but no quality: an
`InvalidSetting`. quality=50.0, "50" and True are no integers: a `TypeError`. NumPy's integers and
floats count as numbers. A source is a path, anything bytes-like or a binary stream; a stream of text is a
`TypeError`, and what the system says of a path or a stream is `Unreadable`.
"""

from __future__ import annotations

from bincodec.bitstream.errors import (
    BincodecError,
    BitsMismatch,
    Corrupt,
    NotBld,
    TooLarge,
    Truncated,
    Unsupported,
    WrongModel,
)

__all__ = [
    "BincodecError",
    "BitsMismatch",
    "Corrupt",
    "DamagedModel",
    "ImageError",
    "InvalidSetting",
    "NotBld",
    "OutOfReach",
    "TooLarge",
    "Truncated",
    "UnknownModel",
    "Unreadable",
    "Unsupported",
    "VerificationFailed",
    "WrongModel",
]


class UnknownModel(BincodecError):
    """No model of that name or fingerprint is installed here."""


class DamagedModel(BincodecError):
    """A model file cannot be read, or its contents are not those that its own card describes."""


class ImageError(BincodecError):
    """An image that cannot be read, or that holds what the codec cannot represent."""


class Unreadable(BincodecError, OSError):
    """A path that the system does not let us read: missing, a directory, not permitted.

    It has the `errno`, `strerror` and `filename` of any OSError.
    """

    def __str__(self) -> str:
        return f"{self.filename}: cannot be read: {self.strerror}"


class InvalidSetting(BincodecError, ValueError):
    """A quality, an effort, a number of layers, a device and the like that does not exist.

    `option` is the field of `Limits` that stands in the way and can be raised, or None.
    """

    def __init__(self, message: str, *, option: str | None = None) -> None:
        super().__init__(message)
        self.option = option


class OutOfReach(BincodecError):
    """No quality gives the size, bits per pixel or PSNR that was asked for; the message names the limit."""


class VerificationFailed(BincodecError):
    """A finished file did not give back the code it was made from, so it was not returned."""
