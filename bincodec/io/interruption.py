"""Ctrl-C between two steps instead of within one.

Python raises KeyboardInterrupt between any two instructions of the main thread, so also right after a file
was made that nobody knows of yet, or while what is left over is being removed.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], object]


class Postponement:
    """Interruptions that have to wait, and the handler that they are waiting for."""

    def __init__(self, handler: Handler | None) -> None:
        self.handler = handler
        self._waiting: list[tuple[int, FrameType | None]] = []

    def record(self, number: int, frame: FrameType | None) -> None:
        """A handler that does nothing yet."""
        self._waiting.append((number, frame))

    def check(self) -> None:
        """Let in what is waiting: as a rule this raises KeyboardInterrupt."""
        if self._waiting and self.handler is not None:
            arrived = self._waiting[0]
            self._waiting.clear()
            self.handler(*arrived)

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Around what may take for ever: an interruption comes at once."""
        if self.handler is None:
            yield
            return
        signal.signal(signal.SIGINT, self.handler)
        try:
            self.check()
            yield
        finally:
            signal.signal(signal.SIGINT, self.record)


@contextmanager
def postponed() -> Iterator[Postponement]:
    """Let Ctrl-C wait until the block has ended, or asks for it by `check`.

    Whatever handles SIGINT handles it then. Other threads are never interrupted, and where SIGINT is ignored,
    or ends the process without Python, it stays so. A block inside another one is a part of it.
    """
    handler = signal.getsignal(signal.SIGINT)
    outer = getattr(handler, "__self__", None)
    if isinstance(outer, Postponement):
        yield outer
        return
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield Postponement(None)
        return
    postponement = Postponement(handler)
    signal.signal(signal.SIGINT, postponement.record)
    try:
        yield postponement
    finally:
        signal.signal(signal.SIGINT, handler)
        postponement.check()


@contextmanager
def blocked(name: str) -> Iterator[None]:
    """Let a signal, such as "SIGINT", wait in this thread and in threads and processes that it starts inside.

    Where the system cannot block signals, nothing is different.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {getattr(signal, name)})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
