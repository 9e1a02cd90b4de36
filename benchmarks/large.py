"""Measure time and memory of large pictures: python benchmarks/large.py PHOTO... [--sizes 4000x3000 ...]

The picture of each size is a mosaic of the photos, and every second round of photos is mirrored.
`bincodec compress` and `bincodec decompress` run as processes of their own with `--threads` threads. Seconds
are those of the whole process, including the start of Python and the loading of the model. Processor seconds
are the sum over the threads. They hardly depend on other work of the machine.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

SIZES = ("1024x1024", "4000x3000", "8000x6000", "12000x9000", "65535x200")
COMMAND = str(Path(sys.executable).with_name("bincodec"))


def mosaic(photos: Sequence[npt.NDArray[np.uint8]], width: int, height: int) -> npt.NDArray[np.uint8]:
    """Return a picture (height, width, 3) of the photos, row by row, mirrored in every second round."""
    cell = min(min(photo.shape[:2]) for photo in photos)
    result = np.empty((height, width, 3), np.uint8)
    number = 0
    for top in range(0, height, cell):
        for left in range(0, width, cell):
            photo = photos[number % len(photos)][:cell, :cell]
            photo = photo[:, :: -1 if number // len(photos) % 2 else 1]
            result[top : top + cell, left : left + cell] = photo[: height - top, : width - left]
            number += 1
    return result


def measured(*arguments: str, threads: int) -> tuple[float, float, float]:
    """Return the seconds, processor seconds and peak megabytes of a command."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    began = time.perf_counter()
    process = subprocess.Popen([COMMAND, *arguments], env=environment)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        msg = f"{' '.join(arguments)} failed"
        raise RuntimeError(msg)
    return time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--sizes", nargs="+", default=SIZES)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--model", default="photo")
    parser.add_argument("--quality", default="50")
    chosen = parser.parse_args()
    photos = [np.asarray(Image.open(path).convert("RGB")) for path in chosen.photos]
    print(f"{chosen.threads} threads, model {chosen.model}, quality {chosen.quality}")
    columns = ["s", "s/Mpx", "processor s/Mpx", "MB"]
    columns = [
        "size",
        "Mpx",
        "bytes",
        *(f"{name}, {of}" for name in ("compress", "decompress") for of in columns),
    ]
    print(" | ".join(columns))
    print(" | ".join(["---", *["---:"] * (len(columns) - 1)]), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for size in chosen.sizes:
            width, height = map(int, size.split("x"))
            source, coded, shown = (str(Path(folder, f"x.{end}")) for end in ("ppm", "bld", "out.ppm"))
            Image.fromarray(mosaic(photos, width, height)).save(source)
            common = ("--quiet", "--force", "--max-pixels", str(width * height))
            options = ("--quality", chosen.quality, "--model", chosen.model)
            to = measured("compress", source, coded, *options, *common, threads=chosen.threads)
            back = measured("decompress", coded, shown, *common, threads=chosen.threads)
            pixels = width * height / 1e6
            cells = [f"{pixels:.1f}", str(Path(coded).stat().st_size)]
            for seconds, busy, memory in (to, back):
                cells += [
                    f"{seconds:.1f}",
                    f"{seconds / pixels:.2f}",
                    f"{busy / pixels:.2f}",
                    f"{memory:.0f}",
                ]
            print(" | ".join([size, *cells]), flush=True)


if __name__ == "__main__":
    main()
