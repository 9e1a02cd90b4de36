"""What Ctrl-C means to a command, from the first import to the last line.

Python's own handler raises KeyboardInterrupt wherever the program stands. Two things are lost that way. A
library that calls Python from another language may take the exception for a failure of its own, and a
second Ctrl-C may fall into the answer to the first. So it is noted that one came.
"""

import os
import signal
import sys
import time
from types import FrameType

EXIT_CODE = 130
"""128 and the number of SIGINT, as shells count."""

AGAIN = 1.0
"""Seconds after which another Ctrl-C is heeded: the first was lost, or what ends the program takes long."""

_heard = -float("inf")
"""When Ctrl-C was last heeded, or the end began."""

_code = EXIT_CODE
"""What the process ends with, once that is settled."""

_at_work = False
"""Whether threads may still compute when the process ends."""


def heed() -> None:
    """Let Ctrl-C interrupt the command, unless somebody wants it ignored or handled otherwise."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        sys.unraisablehook = _unraisable
        signal.signal(signal.SIGINT, _interrupt)


def was_interrupted() -> bool:
    """Whether Ctrl-C was heard."""
    return _heard > 0


def raise_lost() -> None:
    """Raise the KeyboardInterrupt that somebody has lost: after Ctrl-C nothing is to be written."""
    if was_interrupted():
        raise KeyboardInterrupt


def settle_on(code: int) -> None:
    """Let Ctrl-C do nothing more but end the process with this exit code, where the end itself takes long."""
    global _heard, _code
    if signal.getsignal(signal.SIGINT) is _interrupt:
        _heard, _code = time.monotonic(), code
        signal.signal(signal.SIGINT, _leave)


def leave_at_work() -> None:
    """Say that threads may still compute when the process ends, as those of a server do.

    Python stops them wherever they are. A thread that is stopped in PyTorch's own code aborts the process,
    so the process has to end without Python's last steps.
    """
    global _at_work
    _at_work = True


def ignore() -> None:
    """Let Ctrl-C do nothing at all, while Python ends.

    It takes its own handlers down before, and the process would die of the signal with another exit code.
    """
    if _at_work:
        os._exit(_code)
    if signal.getsignal(signal.SIGINT) in (_interrupt, _leave):
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _heard
    now = time.monotonic()
    if now - _heard >= AGAIN:
        _heard = now
        raise KeyboardInterrupt


def _leave(number: int, frame: FrameType | None) -> None:
    if time.monotonic() - _heard >= AGAIN:
        os._exit(_code)


def _unraisable(lost: "sys.UnraisableHookArgs") -> None:
    """Of an interruption in a place that cannot raise one, such as the end of an object, nothing is said."""
    if not issubclass(lost.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(lost)
