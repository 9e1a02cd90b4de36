"""Measure how damaged files are read: python benchmarks/damage.py FILE.bld... [--flips 2000] [--cuts 500]

Each file is damaged at random many times in three ways: one bit is flipped, the end is cut off, or one byte
is replaced (`--bytes`). Every damaged file is unpacked twice: as a whole file, and with `partial`, which
returns what is intact. The results are counted:

- refused: the reader raises a `BincodecError` with a message of one line;
- the same: the damage has no effect (a byte was replaced by itself);
- rest whole: with `partial`, all levels that the reader returns are as they were written;
- silent: levels differ from what was written without an error. This must not happen;
- untyped: any other exception. This must not happen.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bincodec import BinaryCode, BincodecError, Codec, read_header
from bincodec.model import store


def damaged(data: bytes, flips: int, cuts: int, others: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield damaged copies of a file, each with the name of the damage."""
    rng = np.random.default_rng(seed)
    for bit in rng.integers(0, 8 * len(data), flips):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << int(bit) % 8
        yield "flipped bits", bytes(changed)
    for end in rng.integers(0, len(data), cuts):
        yield "cut ends", data[:end]
    for place, value in zip(rng.integers(0, len(data), others), rng.integers(0, 256, others), strict=True):
        changed = bytearray(data)
        changed[place] = value
        yield "replaced bytes", bytes(changed)


def outcome(codec: Codec, data: bytes, original: BinaryCode, *, partial: bool) -> str:
    """Return the result of unpacking a damaged file."""
    try:
        found = codec.unpack(data, partial=partial)
    except BincodecError as error:
        return "refused" if "\n" not in str(error) else "untyped"
    except Exception:
        return "untyped"
    if found.same_as(original):
        return "the same"
    if not partial or not found.damage:
        return "silent"
    for tile in original.tiles:
        mine, theirs = found.levels_of(tile), original.levels_of(tile)
        if not all(np.array_equal(one, two) for one, two in zip(mine, theirs, strict=False)):
            return "silent"
    return "rest whole"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--flips", type=int, default=2000)
    parser.add_argument("--cuts", type=int, default=500)
    parser.add_argument("--bytes", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    counts: Counter[tuple[str, str, str]] = Counter()
    for path in chosen.files:
        data = path.read_bytes()
        codec = Codec.load(str(store.find_for(read_header(data).fingerprint).path))
        original = codec.unpack(data)
        for kind, changed in damaged(data, chosen.flips, chosen.cuts, chosen.bytes, chosen.seed):
            for partial in (False, True):
                how = "what there is" if partial else "whole"
                counts[kind, how, outcome(codec, changed, original, partial=partial)] += 1
    outcomes = ("refused", "the same", "rest whole", "silent", "untyped")
    print(" | ".join(["damage", "asked for", *outcomes]))
    print(" | ".join(["---", "---", *["---:"] * len(outcomes)]))
    for kind in ("flipped bits", "cut ends", "replaced bytes"):
        for how in ("whole", "what there is"):
            print(" | ".join([kind, how, *(str(counts[kind, how, result]) for result in outcomes)]))


if __name__ == "__main__":
    main()
