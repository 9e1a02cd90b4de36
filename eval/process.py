"""Run a program from start to end, and return its output, its time and its peak memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bincodec.errors import BincodecError

LAUNCHER = Path(__file__).with_name("launcher.py")


class ProcessFailed(BincodecError):
    """A program ended with an exit code other than 0. The message is its last line on standard error."""


@dataclass(frozen=True)
class Process:
    """The standard output, wall time and peak resident memory of a finished program (1 MB = 10^6 bytes)."""

    output: str
    seconds: float
    megabytes: float


def run(program: Sequence[str], threads: int | None = None) -> Process:
    """Run `program`, whose first word is a full path, to its end.

    With `threads`, the program may use that many cores, if the system can restrict it, and OMP_NUM_THREADS
    has that value.

    Raises:
        ProcessFailed: if the program fails.
    """
    environment = {**os.environ, **({"OMP_NUM_THREADS": str(threads)} if threads else {})}
    command = [sys.executable, "-I", "-S", str(LAUNCHER), str(threads or 0), *program]
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()
        msg = said[-1] if said else f"it ended with exit code {done.returncode} and said nothing"
        raise ProcessFailed(msg)
    *output, facts = done.stdout.splitlines()
    return Process("\n".join(output), **json.loads(facts))


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
