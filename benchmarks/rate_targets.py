"""Measure how near files come to a target: python benchmarks/rate_targets.py PHOTO... [--targets bpp:1 ...]

The middle of each photo, --crop pixels a side, is compressed to each target. `bpp:0.5` is that many bits per
pixel, and `psnr:32` that many dB. The table says, for each target, how many photos cannot reach it, and how
many cannot miss it, because even quality 100 takes fewer bits (or quality 0 has more PSNR). For the others,
it gives the mean and the worst distance (in percent below the target, or in dB above it), how many miss it by
more than 2 % or 0.05 dB or are on its wrong side, and the mean and the largest number of encodes.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import fmean

import numpy as np
from PIL import Image

from bincodec import BinaryCode, Codec, OutOfReach, read_header
from bincodec.bitstream.header import BEST_QUALITY
from bincodec.encoder import analysis, targets


def middle(path: Path, side: int) -> Image.Image:
    """Return the middle of a photo, or all of it if it is smaller."""
    image = Image.open(path).convert("RGB")
    left, top = max(0, image.width - side) // 2, max(0, image.height - side) // 2
    return image.crop((left, top, min(left + side, image.width), min(top + side, image.height)))


def distance(codec: Codec, image: Image.Image, kind: str, wanted: float) -> tuple[float, bool]:
    """Return percent below a rate, or dB above a PSNR, and whether the quality that allows most was chosen.

    A negative distance is on the wrong side.
    """
    if kind == "psnr":
        data = codec.compress(image, psnr=wanted)
        error = np.asarray(image, float) - np.asarray(codec.decompress(data), float)
        return float(10 * np.log10(255**2 / np.mean(error**2)) - wanted), read_header(data).quality == 0
    most = int(wanted * image.width * image.height / 8)
    data = codec.compress(image, size=most)
    return 100 * (1 - len(data) / most), read_header(data).quality == BEST_QUALITY


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--targets", nargs="+", default=["bpp:0.25", "bpp:1", "psnr:32"])
    chosen = parser.parse_args()
    codec = Codec.load("photo")
    encodes = 0
    encode = analysis.encode

    def counted(*arguments: object) -> BinaryCode:
        nonlocal encodes
        encodes += 1
        return encode(*arguments)  # type: ignore[arg-type]

    analysis.encode = counted  # type: ignore[assignment]
    photos = [middle(path, chosen.crop) for path in chosen.photos]
    print("target | out of reach | cannot miss | others | mean distance | worst | missed | encodes | most")
    print("--- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---:", flush=True)
    for target in chosen.targets:
        kind, _, value = target.partition(":")
        unit, tolerance = ("dB", targets.DECIBELS) if kind == "psnr" else ("%", 100 * targets.TOLERANCE)
        found, counts, unreached, certain = [], [], 0, 0
        for image in photos:
            encodes = 0
            try:
                away, most_allowed = distance(codec, image, kind, float(value))
            except OutOfReach:
                unreached += 1
                continue
            if most_allowed and away > tolerance:
                certain += 1
                continue
            found.append(away)
            counts.append(encodes)
        if not found:
            print(f"{target} | {unreached} | {certain} | 0", flush=True)
            continue
        missed = sum(not 0 <= away <= tolerance for away in found)
        print(
            f"{target} | {unreached} | {certain} | {len(found)} | {fmean(found):.2f} {unit} | "
            f"{max(found, key=abs):.2f} {unit} | {missed} | {fmean(counts):.1f} | {max(counts)}",
            flush=True,
        )


if __name__ == "__main__":
    main()
