"""Everything that can be wrong with a file, as one tree.

BincodecError
├── NotBld          it does not start like a .bld file
├── Truncated       it ends before its last chunk does
├── Corrupt         it contradicts itself or the format
│   └── BitsMismatch    it arrived intact, but decodes to other levels than were written
├── Unsupported     it asks for something this version does not know
├── TooLarge        it exceeds a limit
└── WrongModel      it was made with another model

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
    """The file uses a version, flag, tile size or critical chunk that this reader does not know."""


class TooLarge(BincodecError):
    """The file exceeds one of `limits.Limits`, or a size that the format cannot express."""


class WrongModel(BincodecError):
    """The file was written with a model other than the one at hand, or with one that is not installed."""
