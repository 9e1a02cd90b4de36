"""Measure the rate that tiles cost.

    python benchmarks/tile_cost.py PHOTO... [--sides 64 32 16] [--qualities 20 50 80]

Each photo is encoded once at each quality, and packed with tiles of each side and as one tile. The table
gives, by quality and side, the length of the seams for 1,000 positions, and by how many percent the files of
all photos together grow.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from bincodec import BinaryCode, Codec
from bincodec.bitstream.tiles import LARGEST_SIDE, tiles_of


def seams(code: BinaryCode) -> int:
    """Return the number of pairs of neighbouring positions that are in different tiles."""
    rows, columns = code.grid
    tiles = tiles_of(code.width, code.height, code.tile_side)
    across, down = {tile.left for tile in tiles} - {0}, {tile.top for tile in tiles} - {0}
    return len(across) * rows + len(down) * columns


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--sides", nargs="+", type=int, default=[32, 16])
    parser.add_argument("--qualities", nargs="+", type=int, default=[20, 50, 80])
    parser.add_argument("--model", default="photo")
    chosen = parser.parse_args()
    codec = Codec.load(chosen.model)
    print("quality | tile side | seams per 1,000 positions | bytes, whole | bytes, tiles | more, %")
    print("---: | ---: | ---: | ---: | ---: | ---:", flush=True)
    for quality in chosen.qualities:
        codes = [codec.encode(path, quality) for path in chosen.photos]
        if any(max(code.grid) > LARGEST_SIDE for code in codes):
            msg = f"a photo has more than {LARGEST_SIDE} positions a side: it cannot be one tile"
            raise SystemExit(msg)
        whole = sum(len(codec.pack(code)) for code in codes)
        positions = sum(code.grid[0] * code.grid[1] for code in codes)
        for side in chosen.sides:
            cut = [dataclasses.replace(code, tile_side=side) for code in codes]
            size = sum(len(codec.pack(code)) for code in cut)
            length = 1000 * sum(map(seams, cut)) / positions
            print(
                f"{quality} | {side} | {length:.1f} | {whole} | {size} | {100 * (size / whole - 1):+.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
