"""Hide Pillow's warnings from the caller."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# The warning filters belong to the whole process, so two threads must not change them at the same time.
_filters = threading.Lock()


@contextmanager
def silence() -> Iterator[None]:
    """Hide warnings about large images, which are checked against another limit, and about unusual tags."""
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
