"""Pictures per second of batches by engine and workers: python benchmarks/cluster.py [--workers 1 2 4] ...

Three kinds of work go through the engines of `bincodec compress`:

- `nothing`: jobs without work. What the command itself can hand out and take back is the end of all scaling.
- `wait`: each job sleeps for `--seconds`, as if another core worked on it. So the engine alone is measured,
  also with more workers than this machine has cores.
- `compress`: small pictures made here, from folder to folder, with the model of `--model`.

The clock runs from the result after the first tenth of them to the last result; what passes before, the start
of processes and the loading of the model, stands beside it. Ratios are to the first number of workers, in the
same run. At last listings of `--listed` URLs and paths, a thousand in each folder, are read as the command
reads them before it begins; their seconds are those of the processor.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from bincodec.cli.batch import cluster, inputs, local
from bincodec.cli.batch.engine import Engine
from bincodec.cli.batch.job import Job, Made, Order, Work
from bincodec.cli.batch.run import check_manifest
from bincodec.cli.compress import Compression
from bincodec.cli.options import Common

ROOT = Path(__file__).resolve().parents[1]
TINY = ROOT / "tests" / "models" / "tiny-1.safetensors"
SIDE = 48
MANY = 10
"""So many more jobs there are where there is nothing to do."""


def wait(_source: str, _given: str | bytes, _destination: str, *, seconds: float) -> Made:
    """Stands for a picture that another core works on."""
    time.sleep(seconds)
    return Made({}, "")


def made(folder: Path, count: int) -> list[Job]:
    """Pictures of SIDE x SIDE: patches of random colours, softly lit; and where their files go."""
    random = np.random.default_rng(1)
    light = np.linspace(0.5, 1, SIDE)[:, np.newaxis, np.newaxis]
    jobs = []
    for number in range(count):
        patches = random.integers(0, 256, (SIDE // 8, SIDE // 8, 3)).repeat(8, axis=0).repeat(8, axis=1)
        source = folder / f"{number:05}.png"
        Image.fromarray((patches * light).astype(np.uint8)).save(source)
        jobs.append(Job(str(source), str(folder / f"{number:05}.bld")))
    return jobs


def compression(model: str) -> Compression:
    """What is done to them."""
    common = Common(max_pixels=None, force=True, device="cpu", as_json=False, quiet=True)
    asked = {"quality": 50}
    return Compression(asked, model, 0, (), srgb=False, no_verify=False, measure=False, common=common)


def measured(engine: Engine, work: Work, jobs: Sequence[Job]) -> tuple[float, float]:
    """Seconds until a tenth of the results was there, and results per second from there on."""
    began = time.perf_counter()
    first = max(1, len(jobs) // 10)
    then = began
    for number, (_, outcome) in enumerate(engine(Order(work, replace=True, threads=1), jobs), 1):
        if getattr(outcome, "status", "") != "done":
            raise RuntimeError(outcome)
        if number == first:
            then = time.perf_counter()
    return then - began, (len(jobs) - first) / (time.perf_counter() - then)


def listing(count: int, kind: str, place: str, folder: str) -> None:
    """Print what it takes to hold so many inputs of a `place` whose outputs go into a `folder`."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    lines = "\n".join(f"{place}/{number // 1000:06}/{number:09}.jpg" for number in range(count))
    found = inputs.gather(
        [],
        list(inputs.listed(lines)),
        wanted=bool,
        recursive=False,
        extension=".bld",
        folder=folder,
    )
    seconds = time.process_time() - began
    check_manifest(f"{folder}/all.jsonl", found, None)
    checked = time.process_time() - began - seconds
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(
        f"{len(found.jobs)} listed {kind}: {seconds:.1f} s, with a manifest {checked:.1f} s more, "
        f"{peak / 1000:.0f} MB at the most",
        flush=True,
    )


def listings(count: int) -> None:
    """Print both in processes of their own, so that each has its own peak of memory."""
    print()
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        for kind, place, outputs in (
            ("URLs", "memory://photos/in", "memory://photos/out"),
            ("paths", f"{folder}/in", f"{folder}/out"),
        ):
            process = spawn.Process(target=listing, args=(count, kind, place, outputs))
            process.start()
            process.join()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engines", nargs="+", default=["local", "ray"], choices=["local", "ray"])
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--work", nargs="*", default=["nothing", "wait", "compress"])
    parser.add_argument("--pictures", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--model", default=str(TINY))
    parser.add_argument("--address", help="a Ray cluster; without it one is made for each row")
    parser.add_argument("--listed", type=int, default=1_000_000)
    chosen = parser.parse_args()
    works: dict[str, Work] = {
        "nothing": partial(wait, seconds=0),
        "wait": partial(wait, seconds=chosen.seconds),
        "compress": compression(chosen.model),
    }
    print("work | engine | workers | start, s | jobs/s | ratio")
    print("--- | --- | ---: | ---: | ---: | ---:", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        pictures = made(Path(folder), chosen.pictures)
        for name in chosen.work:
            jobs = pictures if name == "compress" else [Job(job.source, "") for job in pictures]
            jobs *= MANY if name == "nothing" else 1
            for kind in chosen.engines:
                base = 0.0
                for workers in chosen.workers:
                    on_ray = partial(cluster.engine, chosen.address, threads=1)
                    engine = local.engine(workers) if kind == "local" else on_ray(jobs=workers)
                    start, rate = measured(engine, works[name], jobs)
                    base = base or rate
                    print(
                        f"{name} | {kind} | {workers} | {start:.1f} | {rate:.2f} | {rate / base:.2f}",
                        flush=True,
                    )
    if chosen.listed:
        listings(chosen.listed)


if __name__ == "__main__":
    main()
