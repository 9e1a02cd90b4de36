"""What carries out the jobs of a batch: one function, of which the command does not know how it does it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TypeAlias

from bincodec.cli.batch.job import Job, Outcome
from bincodec.eval.workers import Broken

Results: TypeAlias = Generator[tuple[int, Outcome | Broken], None, None]
"""The index of each job and what became of it, in any order; `Broken` where nobody lived to tell.

Closing it ends the work that is not done.
"""

Engine: TypeAlias = Callable[[Callable[[Job], Outcome], Sequence[Job]], Results]
"""Gives every job to a function, somewhere."""
