"""Measure the time and memory that forged files cost a reader.

    python benchmarks/forged_files.py [--model NAME] [CASE...]

Each file is read in a process of its own, which reports its processor seconds and its peak memory. The memory
includes libraries and weights, so the case "nothing", a picture of one position, is there for comparison.
`tests/attacks` checks that each file is refused for the right reason. This script only measures the cost.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

from bincodec import BincodecError, Codec
from bincodec.bitstream import container
from bincodec.bitstream.container import Chunk, Extra
from bincodec.bitstream.header import Header

Make = Callable[[Codec], bytes]


def header_of(codec: Codec, width: int, height: int) -> Header:
    """Return the header of a picture with all layers of the model."""
    card = codec.model.card
    return Header(width, height, 50, card.architecture.layers, card.fingerprint)


def alike(codec: Codec, width: int, height: int, payload: bytes, *, raw: bool) -> bytes:
    """Return a file with one chunk for each tile, all of them the same."""
    header = header_of(codec, width, height)
    row = tuple(Chunk(payload, raw, 0) for _ in header.tiles)
    return container.write(header, (header.layers,), (row,))


def zeros(codec: Codec, width: int, height: int, extras: tuple[Extra, ...] = ()) -> bytes:
    """Return a whole picture with empty payloads. All of its levels are 0."""
    header, channels = header_of(codec, width, height), codec.model.card.architecture.channels
    row = []
    for tile in header.tiles:
        taken = tile.number.to_bytes(4, "little") + bytes(channels * tile.shape[0] * tile.shape[1])
        row.append(Chunk(b"", False, zlib.crc32(taken, header.crc)))
    return container.write(header, (header.layers,), (tuple(row),), extras)


def endless(codec: Codec) -> bytes:
    """Return a file whose index has a number of 16 MiB."""
    whole = zeros(codec, 16, 16)
    mask = -(-codec.model.card.architecture.layers // 8)
    return whole[: 36 + mask + 1] + b"\x80" * 2**24


FILTER = Extra(0x81, bytes(6) + b"\xff" * 7 + b"\x0f")
CASES: dict[str, Make] = {
    "nothing": lambda codec: zeros(codec, 16, 16),
    "raw-8000x8000": lambda codec: alike(codec, 8000, 8000, b"", raw=True),
    "empty-2000x2000": lambda codec: alike(codec, 2000, 2000, b"", raw=False),
    "empty-65535x1024": lambda codec: alike(codec, 65535, 1024, b"", raw=False),
    "ones-65535x1024": lambda codec: alike(codec, 65535, 1024, b"\xff" * 8, raw=False),
    "zeros-256x256": lambda codec: zeros(codec, 256, 256),
    "zeros-2000x2000": lambda codec: zeros(codec, 2000, 2000),
    "endless-number": endless,
    "long-post-filter": lambda codec: zeros(
        codec, 16, 16, (Extra(FILTER.kind, FILTER.payload + bytes(2**24 - 14)),)
    ),
}


def read(model: str, path: str) -> None:
    """Read a file, and print the cost and the result as JSON."""
    codec = Codec.load(model)
    start = time.process_time()
    try:
        said = "a picture of {} x {}".format(*codec.decompress(path).size)
    except BincodecError as error:
        said = f"{type(error).__name__}: {error}"
    seconds = time.process_time() - start
    # Linux reports KiB, and macOS reports bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    print(json.dumps({"seconds": seconds, "memory": memory, "said": said}))


def main() -> None:
    """Make the files, read each one in a process, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="photo")
    parser.add_argument(
        "cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; all if none is named"
    )
    parser.add_argument("--read", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        read(arguments.model, arguments.read)
        return
    if unknown := set(arguments.cases) - set(CASES):
        parser.error(f"no case is called {', '.join(sorted(unknown))}")
    codec = Codec.load(arguments.model)
    print("| file | bytes | seconds | MB | what became of it |\n| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.cases or CASES:
            path = Path(folder) / f"{name}.bld"
            path.write_bytes(CASES[name](codec))
            command = [sys.executable, __file__, "--model", arguments.model, "--read", str(path)]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            cost = f"{found['seconds']:.2f} | {found['memory'] / 1e6:.0f}"
            print(f"| `{name}` | {path.stat().st_size} | {cost} | {found['said']} |", flush=True)


if __name__ == "__main__":
    main()
