"""Carry out one job of a batch: read an input, process it and write its output."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from bincodec.cli import output
from bincodec.cli.batch import stores


@dataclass(frozen=True)
class Made:
    """The result of a command for one picture or file.

    Args:
        facts: the result as `--json` prints it.
        text: the result in one line of text.
        data: the bytes of the output, or None for a command without outputs.
        failure: what is wrong with the input, or None. The facts say what could be read in spite of it.
    """

    facts: dict[str, Any]
    text: str
    data: bytes | None = None
    failure: str | None = None


Work = Callable[[str, str | bytes, str], Made]
"""What a command does with one input.

Its arguments are the name of the input, its path or content, and the name of the output, which is "" for
none. It has to be picklable, so it is a function of a module, or a partial of one.
"""


@dataclass(frozen=True)
class Job:
    """One input, and the name of its output, which is "" for a command without outputs."""

    source: str
    destination: str


@dataclass(frozen=True)
class Outcome:
    """The outcome of one job. `seconds` includes the time for reading and writing."""

    status: Literal["done", "skipped", "failed"]
    facts: dict[str, Any] = field(default_factory=dict)
    text: str = ""
    error: str | None = None
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Order:
    """What every process does with each picture of a batch that it gets.

    Args:
        work: what the command does with one picture.
        replace: whether an output that exists is written again.
        threads: how many threads work on a picture. None leaves PyTorch as it is, and does not load it.
    """

    work: Work
    replace: bool
    threads: int | None

    def __call__(self, job: Job) -> Outcome:
        """Carry out one job. An error that a user can understand becomes an outcome; others are raised."""
        began = time.perf_counter()
        notes: list[str] = []
        try:
            with output.warnings_as_notes(notes.append):
                if job.destination and not self.replace and stores.exists(job.destination):
                    return Outcome("skipped", seconds=time.perf_counter() - began)
                made = self._made(job)
        except Exception as error:
            if isinstance(error, FileExistsError) and not self.replace:
                # Another process has written it meanwhile.
                return Outcome("skipped", seconds=time.perf_counter() - began)
            line = output.explained(error)
            if line is None:
                raise
            names = output.one_line(job.source), output.printable(job.source)
            blamed = line if any(name in line for name in names) else f"{names[1]}: {line}"
            return Outcome("failed", error=blamed, seconds=time.perf_counter() - began)
        notes += made.facts.get("notes", [])
        return Outcome(
            "failed" if made.failure else "done",
            made.facts,
            made.text,
            made.failure,
            tuple(notes),
            time.perf_counter() - began,
        )

    def _made(self, job: Job) -> Made:
        if self.threads is not None:
            import torch

            torch.set_num_threads(self.threads)
        made = self.work(job.source, stores.given(job.source), job.destination)
        if made.data is not None:
            stores.write(job.destination, made.data, replace=self.replace)
        return made
