"""The errors that a file can cause. `bincodec.errors` shows the whole tree of errors.

A mistake that no file can cause, such as an array of the wrong shape, raises `ValueError` instead.
"""


class BincodecError(Exception):
    """The base class of every error that bad input can cause."""


class NotBld(BincodecError):
    """The data does not start with the magic bytes of a .bld file."""


class Truncated(BincodecError):
    """The data ends before the end of the file that it describes."""


class Corrupt(BincodecError):
    """The data contradicts its checksums, contradicts itself, or breaks a rule of the format."""


class BitsMismatch(Corrupt):
    """A chunk is intact, but its decoded levels are not the ones that were written.

    Either the file was forged, or the probabilities differ from those of the writer. A reader finds out which
    by decoding once more with its safest arithmetic.
    """


class Unsupported(BincodecError):
    """The file uses a version, a flag or critical data that this reader does not know."""


class TooLarge(BincodecError):
    """Something exceeds one of `limits.Limits`, or is larger than the format can express.

    `option` is the field of `Limits` that can be raised, or None if there is none. `value` is the number that
    was found, and `limit` is the largest that is allowed.
    """

    def __init__(
        self, message: str, *, option: str | None = None, value: int | None = None, limit: int | None = None
    ) -> None:
        super().__init__(message)
        self.option, self.value, self.limit = option, value, limit


class WrongModel(BincodecError):
    """The file or the code belongs to a different model than the one that should decode it."""
