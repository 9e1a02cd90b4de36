"""Delay Ctrl-C until a step is complete.

Python raises KeyboardInterrupt between any two instructions of the main thread. This may be right after a
file was made, before its name was noted, or while temporary files are being removed.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], object]


class Postponement:
    """The interruptions that are waiting, and the handler that will get them, or None if none can wait."""

    def __init__(self, handler: Handler | None) -> None:
        self.handler = handler
        self._waiting: list[tuple[int, FrameType | None]] = []

    def record(self, number: int, frame: FrameType | None) -> None:
        """Note an interruption for later. This is the handler while the block runs."""
        self._waiting.append((number, frame))

    def check(self) -> None:
        """Pass a waiting interruption on to its handler, which usually raises KeyboardInterrupt."""
        if self._waiting and self.handler is not None:
            arrived = self._waiting[0]
            self._waiting.clear()
            self.handler(*arrived)

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Let interruptions take effect at once in this block, because it may take very long."""
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
    """Delay Ctrl-C until the block has ended, or until it calls `check`.

    The current handler of SIGINT gets the signal then. Python never interrupts other threads, so nothing
    changes there. If SIGINT is ignored, or ends the process without Python, it stays so. A block inside
    another one belongs to it.
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
    """Block a signal, such as "SIGINT", in this thread while the block runs.

    The signal is also blocked in threads and processes that are started inside the block. On a system that
    cannot block signals, nothing changes.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {getattr(signal, name)})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
