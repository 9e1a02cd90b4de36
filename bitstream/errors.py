"""Everything that can be wrong with a file. `bincodec.errors` draws the whole tree of errors.

Calls that no file can cause (arrays of the wrong shape, writing a quality of 101) raise `ValueError` instead.
"""


class BincodecError(Exception):
    """The root of every error that bad input can cause."""


class NotBld(BincodecError):
    """The data does not start with the magic bytes of a .bld file."""


class Truncated(BincodecError):
    """The data ends before the file does."""


class Corrupt(BincodecError):
    """The data contradicts its checksums, itself or the format."""


class BitsMismatch(Corrupt):
    """A chunk is intact, but its decoded levels are not the ones that were written.

    Either the file was forged, or the probabilities differ from the writer's: decoding once more with exact
    arithmetic that depends on nothing tells which.
    """


class Unsupported(BincodecError):
    """The file uses a version, a flag or critical data that this reader does not know."""


class TooLarge(BincodecError):
    """Something exceeds one of `limits.Limits`, or a size that the format cannot express.

    `option` is the field of `Limits` that can be raised, or None where nothing can; `value` is what was found
    and `limit` what is allowed.
    """

    def __init__(
        self, message: str, *, option: str | None = None, value: int | None = None, limit: int | None = None
    ) -> None:
        super().__init__(message)
        self.option, self.value, self.limit = option, value, limit


class WrongModel(BincodecError):
    """The file or the code belongs to another model than the one that it was given to."""
