"""The engine for this machine: processes that share the work, or this one alone."""

from __future__ import annotations

from functools import partial

from bincodec.cli.batch.engine import Engine
from bincodec.eval import workers
from bincodec.eval.process import usable_cores


def engine(jobs: int | None) -> Engine:
    """As many processes as `jobs` says, 0 for none but this one, None for one a core.

    Each process loads the model once. One that dies takes with it only what it was doing.
    """
    return partial(workers.run, jobs=usable_cores() if jobs is None else jobs)
