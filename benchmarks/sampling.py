"""Measure how long sampling takes: sixteen small pictures, and a large one in one piece.

    python benchmarks/sampling.py [--small clothing] [--large photo] [--threads 2] [--device cpu] [--runs 3]

The result is a Markdown table. Sampling and decoding are timed separately, without loading. The times are
medians over the runs, after one run that is not counted. The last column is the beginning of the SHA-256 of
all codes. It is the same on every device and with any number of threads.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import torch

from bincodec import BinaryCode, Codec

HEAD = (
    "| what | model | seconds to draw | seconds to decode | codes |",
    "|---|---|---:|---:|---|",
)


@dataclasses.dataclass(frozen=True)
class Task:
    """`count` samples of a size (width, height). `how` holds keywords of `Codec.sample`."""

    model: str
    count: int
    size: tuple[int, int]
    how: dict[str, Any]

    def __str__(self) -> str:
        ways = ", ".join(f"{name} {value}" for name, value in self.how.items())
        return f"{self.count} of {self.size[0]} x {self.size[1]}{', ' if ways else ''}{ways}"


def tasks(small: str, large: str, side: int) -> list[Task]:
    """Return the tasks: sixteen small pictures in 16 steps, without and with guidance, and a large one."""
    codec = Codec.load(small)
    alone = Task(small, 16, codec.model.card.size, {"steps": 16, "sampler": "diffusion"})
    several = [alone]
    if codec.model.card.architecture.single_bits:
        several.insert(0, dataclasses.replace(alone, how=alone.how | {"guidance": 0.0}))
    return [*several, Task(large, 1, (side, side), {})]


def line(task: Task, device: str, runs: int) -> str:
    """Return the row of the table for one task."""
    codec = Codec.load(task.model, device)
    measured = [_once(codec, task) for _ in range(runs + 1)][1:]
    digest = hashlib.sha256("".join(code.digest() for code in measured[0][2]).encode()).hexdigest()
    cells = (
        f"{task}",
        codec.model.card.name,
        f"{median(draw for draw, _, _ in measured):.2f}",
        f"{median(decode for _, decode, _ in measured):.2f}",
        digest[:16],
    )
    return f"| {' | '.join(cells)} |"


def _once(codec: Codec, task: Task) -> tuple[float, float, list[BinaryCode]]:
    """Return the seconds to draw, the seconds to decode, and the codes.

    The results are copied from a GPU to the CPU, so the GPU has finished when the time is taken.
    """
    start = time.perf_counter()
    codes = codec.sample(task.count, task.size, **task.how)
    drawn = time.perf_counter()
    for code in codes:
        codec.decode(code)
    return drawn - start, time.perf_counter() - drawn, codes


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", default="clothing", help="a model that draws small pictures")
    parser.add_argument("--large", default="photo", help="a model that draws large ones")
    parser.add_argument("--side", type=int, default=1024, help="of the large picture, in pixels")
    parser.add_argument("--threads", type=int, help="of the CPU; PyTorch's own choice if not given")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args(arguments)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    print("\n".join(HEAD))
    for task in tasks(options.small, options.large, options.side):
        print(line(task, options.device, options.runs), flush=True)


if __name__ == "__main__":
    main()
