"""The interface of the engines, which carry out the jobs of a batch."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TypeAlias

from bincodec.cli.batch.job import Job, Outcome
from bincodec.eval.workers import Broken

Results: TypeAlias = Generator[tuple[int, Outcome | Broken], None, None]
"""The index and the outcome of each job, in any order. The outcome is `Broken` if the process of a job has
died.

Closing this generator ends the work that is not done.
"""

Engine: TypeAlias = Callable[[Callable[[Job], Outcome], Sequence[Job]], Results]
"""A function that applies a given function to every job, in some process."""
