"""How long one photo takes, and how much memory: in a process that keeps the model, and in one of its own.

    OMP_NUM_THREADS=2 python benchmarks/speed.py PHOTO [--quality 50] [--model photo] [--json]

Run it with nothing else on the machine. Seconds are medians of five after one warm-up. Encoding includes the
verification that `compress` does by default. `bincodec decompress` finds its model by the file's fingerprint:
a model outside the package must lie in the folder that BINCODEC_MODELS names.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

REPEATS = 5
COMMAND = (sys.executable, "-c", "from bincodec.cli.main import main; main()")


@dataclass(frozen=True)
class Process:
    """Wall time and peak resident memory of a child process."""

    seconds: float
    megabytes: float


def run_process(arguments: list[str]) -> Process:
    """Run a command to its end, silently.

    Linux counts the memory of the parent at the time of the fork as the child's, so this belongs before
    anything large is imported here.
    """
    start = time.perf_counter()
    silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    child = os.posix_spawn(arguments[0], arguments, os.environ, file_actions=silent)
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - start
    if os.waitstatus_to_exitcode(status):
        msg = f"failed: {' '.join(arguments)}"
        raise SystemExit(msg)
    unit = 1 if platform.system() == "Darwin" else 1024
    return Process(seconds, usage.ru_maxrss * unit / 1e6)


def median_process(arguments: list[str]) -> Process:
    """Median time and largest memory of several runs, after one that fills the disk cache."""
    run_process(arguments)
    runs = [run_process(arguments) for _ in range(REPEATS)]
    return Process(statistics.median(run.seconds for run in runs), max(run.megabytes for run in runs))


def median_seconds(call: Callable[[], object]) -> float:
    """Median of several calls, after one that warms up."""
    call()
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def measure_processes(photo: Path, quality: int, model: str) -> dict[str, float]:
    """Whole processes: help, import, compress, decompress."""
    with tempfile.TemporaryDirectory() as folder:
        bld, png = str(Path(folder) / "photo.bld"), str(Path(folder) / "photo.png")
        compress = ["compress", str(photo), bld, "--quality", str(quality), "--model", model]
        calls = {
            "help": [*COMMAND, "--help"],
            "import": [sys.executable, "-c", "import bincodec"],
            "compress": [*COMMAND, *compress, "--force", "--quiet"],
            "decompress": [*COMMAND, "decompress", bld, png, "--force", "--quiet"],
        }
        runs = {name: median_process(arguments) for name, arguments in calls.items()}
    return {
        **{f"process_{name}_seconds": run.seconds for name, run in runs.items()},
        **{f"process_{name}_megabytes": run.megabytes for name, run in runs.items()},
    }


def measure_codec(photo: Path, quality: int, model: str) -> dict[str, float | int | str]:
    """The codec with its model loaded."""
    import torch

    import bincodec
    from bincodec import images

    pixels = images.load(photo).pixels
    codec = bincodec.Codec.load(model)
    data = codec.pack(codec.encode(pixels, quality))
    return {
        "model": codec.model.card.name,
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "bytes": len(data),
        "threads": torch.get_num_threads(),
        "load_seconds": median_seconds(lambda: bincodec.Codec.load(model)),
        "encode_seconds": median_seconds(lambda: codec.pack(codec.encode(pixels, quality), verify=True)),
        "encode_unverified_seconds": median_seconds(lambda: codec.pack(codec.encode(pixels, quality))),
        "decode_seconds": median_seconds(lambda: codec.decode(codec.unpack(data))),
    }


def main() -> None:
    """Measure one photo and print a table, or JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photo", type=Path)
    parser.add_argument("--quality", type=int, default=50)
    parser.add_argument("--model", default="photo")
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    processes = measure_processes(wanted.photo, wanted.quality, wanted.model)
    result = {
        "photo": wanted.photo.name,
        "quality": wanted.quality,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "load_average": os.getloadavg()[0],
        **measure_codec(wanted.photo, wanted.quality, wanted.model),
        **processes,
    }
    if wanted.json:
        print(json.dumps(result, indent=1))
        return
    for name, value in result.items():
        print(f"{name:<32}{f'{value:.3f}' if isinstance(value, float) else value}")


if __name__ == "__main__":
    main()
