"""Hide Pillow's warnings from the caller."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# The warning filters belong to the whole process, so two threads must not change them at the same time.
_filters = threading.Lock()
# If a process forks while another thread holds the lock, the child would wait for it forever, and keep the
# filters of that thread.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_filters.acquire, after_in_parent=_filters.release, after_in_child=_filters.release
    )


@contextmanager
def silence() -> Iterator[None]:
    """Hide warnings about large images, which are checked against another limit, and about unusual tags."""
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
