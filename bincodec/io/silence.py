"""Pillow's warnings, kept from the caller."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# The warning filters belong to the whole process, and are not safe to change from two threads at once.
_filters = threading.Lock()


@contextmanager
def silence() -> Iterator[None]:
    """Without warnings of large images, whose size is checked against our own limit, and of odd tags."""
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
