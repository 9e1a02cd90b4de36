"""One picture of a batch, from the store it lies in to the store it goes to."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from bincodec.cli import output
from bincodec.cli.batch import stores


@dataclass(frozen=True)
class Made:
    """What a command made of one picture or file.

    Args:
        facts: what `--json` says of it.
        text: the same in one line.
        data: the output, for a command that has one.
        failure: what is wrong with the input, although its facts could be told.
    """

    facts: dict[str, Any]
    text: str
    data: bytes | None = None
    failure: str | None = None


Work = Callable[[str, str | bytes, str], Made]
"""What a command does to one input: its name, its path or content, and the name of the output ("" for none).

It has to be picklable: a function of a module, or a partial of one.
"""


@dataclass(frozen=True)
class Job:
    """One input, and the name of its output; "" for a command without outputs."""

    source: str
    destination: str


@dataclass(frozen=True)
class Outcome:
    """What became of one job."""

    status: Literal["done", "skipped", "failed"]
    facts: dict[str, Any] = field(default_factory=dict)
    text: str = ""
    error: str | None = None
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Order:
    """What is done to every picture of a batch, by whatever process gets it.

    Args:
        work: what the command does.
        replace: whether an output that exists is made anew.
        threads: how many threads work on a picture; None leaves them as they are.
    """

    work: Work
    replace: bool
    threads: int | None

    def __call__(self, job: Job) -> Outcome:
        """Carry out one job; a failure that a user can understand is an outcome, any other is raised."""
        began = time.perf_counter()
        notes: list[str] = []
        try:
            with output.warnings_as_notes(notes.append):
                if job.destination and not self.replace and stores.exists(job.destination):
                    return Outcome("skipped", seconds=time.perf_counter() - began)
                made = self._made(job)
        except FileExistsError:  # Somebody else has finished it meanwhile.
            return Outcome("skipped", seconds=time.perf_counter() - began)
        except Exception as error:
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
