"""Handle Ctrl-C in a command, from the first import to the last line.

Python's own handler raises KeyboardInterrupt wherever the program is. This has two problems. A library that
calls Python from another language may take the exception for a failure of its own, and a second Ctrl-C may
interrupt the handling of the first one. This module therefore notes that Ctrl-C was pressed.
"""

import os
import signal
import sys
import time
from types import FrameType

EXIT_CODE = 130
"""The exit code after Ctrl-C: 128 plus the number of SIGINT, as in shells."""

AGAIN = 1.0
"""The seconds after which another Ctrl-C takes effect, because the first was lost or the end takes long."""

_heard = -float("inf")
"""The time at which Ctrl-C last took effect, or at which the end of the program began."""

_code = EXIT_CODE
"""The exit code of the process, once it is settled."""

_at_work = False
"""Whether threads may still be computing when the process ends."""


def heed() -> None:
    """Let Ctrl-C interrupt the command, unless it is ignored or has another handler."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        sys.unraisablehook = _unraisable
        signal.signal(signal.SIGINT, _interrupt)


def was_interrupted() -> bool:
    """Return whether Ctrl-C was pressed."""
    return _heard > 0


def raise_lost() -> None:
    """Raise KeyboardInterrupt if Ctrl-C was pressed, as a library may have lost the first one.

    Nothing must be written after Ctrl-C.
    """
    if was_interrupted():
        raise KeyboardInterrupt


def settle_on(code: int) -> None:
    """Settle the exit code. From here on, Ctrl-C only ends the process with it, if the end takes long."""
    global _heard, _code
    if signal.getsignal(signal.SIGINT) is _interrupt:
        _heard, _code = time.monotonic(), code
        signal.signal(signal.SIGINT, _leave)


def leave_at_work() -> None:
    """Note that threads may still be computing when the process ends, as those of a server do.

    Python stops them wherever they are. A thread that is stopped inside PyTorch aborts the process, so the
    process has to end without Python's last steps.
    """
    global _at_work
    _at_work = True


def ignore() -> None:
    """Ignore Ctrl-C while Python ends.

    Python removes handlers before it ends. The signal would then end the process with another exit code.
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
    """Print nothing about an interruption where it cannot be raised, such as in the end of an object."""
    if not issubclass(lost.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(lost)
