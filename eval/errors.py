"""What can be wrong with a request to measure, beside the images."""

from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def needed(who: str, package: str, extra: str = "eval") -> Iterator[None]:
    """Import a package of an extra in here: `who`, with its verb, needs it.

    Raises:
        NotInstalled: if it is missing.
    """
    try:
        yield
    except ImportError as error:
        msg = f"{who} the package {package}: pip install 'bincodec[{extra}]'"
        raise NotInstalled(msg) from error
