"""The errors of requests to measure, apart from those of images."""

from collections.abc import Iterator
from contextlib import contextmanager

from bincodec.errors import BincodecError


class NotInstalled(BincodecError):
    """The package or program of a known codec, metric or method is missing.

    The message names it and says how to get it.
    """


class UnknownCodec(BincodecError, ValueError):
    """No codec has that name or that option."""


class NameTaken(BincodecError, ValueError):
    """Two codecs or curves of a run have the same name, so tables and plots could not tell them apart."""


class UnknownMetric(BincodecError, ValueError):
    """No metric has that name."""


@contextmanager
def needed(who: str, package: str, extra: str = "eval") -> Iterator[None]:
    """Import a package of an extra inside this block. `who`, such as "MS-SSIM needs", begins the message.

    Raises:
        NotInstalled: if the package is missing.
    """
    try:
        yield
    except ImportError as error:
        msg = f"{who} the package {package}: pip install 'bincodec[{extra}]'"
        raise NotInstalled(msg) from error
