"""What can be wrong with a request to measure, beside the images."""

from bincodec.errors import BincodecError


class NotInstalled(BincodecError):
    """A codec, metric or method that there is an adapter for, but whose package or tool is missing.

    The message names it and says how to get it.
    """


class UnknownCodec(BincodecError, ValueError):
    """No codec has that name or that option."""


class NameTaken(BincodecError, ValueError):
    """Two codecs or curves of a run have one name: tables and plots could not tell them apart."""


class UnknownMetric(BincodecError, ValueError):
    """No metric has that name."""
