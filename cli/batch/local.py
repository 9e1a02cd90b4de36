"""Run the jobs of a batch on this machine, in several processes or in this one."""

from __future__ import annotations

from functools import partial

from bincodec.cli.batch.engine import Engine
from bincodec.eval import workers
from bincodec.eval.process import usable_cores


def engine(jobs: int | None) -> Engine:
    """Return an engine with `jobs` processes. 0 means only this process, and None means one for each core.

    Each process loads the model once. If a process dies, only the picture that it worked on has failed.
    """
    return partial(workers.run, jobs=usable_cores() if jobs is None else jobs)
