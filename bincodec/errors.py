"""Every error of bincodec, as one tree.

    BincodecError
    ├── NotBld              the data does not start like a .bld file
    ├── Truncated           the file ends too early
    ├── Corrupt             the file contradicts itself or breaks a rule of the format
    │   └── BitsMismatch        a chunk is intact, but decodes to other levels than were written
    ├── Unsupported         the file needs something that this version or this device does not have
    ├── TooLarge            something exceeds a limit, which the error names
    ├── WrongModel          the file or the code belongs to another model
    ├── UnknownModel        no model with that name or fingerprint is installed
    ├── DamagedModel        a model file cannot be read, or contradicts its own card
    ├── ImageError          an image cannot be read, or holds what the codec cannot represent
    ├── Unreadable          the system does not allow reading a path (it is also an OSError)
    ├── InvalidSetting      a quality, a device or the like does not exist (it is also a ValueError)
    ├── OutOfReach          no quality gives the size or the PSNR that was asked for
    └── VerificationFailed  a finished file does not decode to the code that it was made from

Bad input and bad settings always raise one of these errors. Too little memory raises `MemoryError`, and a
path that cannot be written raises the system's own `OSError`. The first eight errors are defined in
`bincodec.bitstream.errors`, because that package does not import the rest of `bincodec`.

An argument of a wrong type raises `TypeError`. This is a mistake in the calling program and does not depend
on its input. Only the type decides between `TypeError` and `InvalidSetting`. quality=101 is an integer, but
not a valid quality, so it raises `InvalidSetting`. quality=50.0, "50" and True are not integers, so they
raise `TypeError`. NumPy's integers and floats count as numbers. A source is a path, a bytes-like object or a
binary stream. A text stream raises `TypeError`, and an error of the system for a path or a stream raises
`Unreadable`.
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
    """No model with that name or fingerprint is installed."""


class DamagedModel(BincodecError):
    """A model file cannot be read, or its contents contradict its own card."""


class ImageError(BincodecError):
    """An image cannot be read, or it holds what the codec cannot represent."""


class Unreadable(BincodecError, OSError):
    """The system does not allow reading a path: it is missing, is a directory, or is not permitted.

    The error has the `errno`, `strerror` and `filename` of any OSError.
    """

    def __str__(self) -> str:
        return f"{self.filename}: cannot be read: {self.strerror}"


class InvalidSetting(BincodecError, ValueError):
    """A setting, such as a quality, an effort, a number of layers or a device, does not exist.

    `option` is the field of `Limits` that can be raised to allow the setting, or None.
    """

    def __init__(self, message: str, *, option: str | None = None) -> None:
        super().__init__(message)
        self.option = option


class OutOfReach(BincodecError):
    """No quality gives the size, bits per pixel or PSNR that was asked for. The message names the limit."""


class VerificationFailed(BincodecError):
    """A finished file does not decode to the code that it was made from, so it was not returned."""
