"""Compare qualities of bincodec with the defaults of other codecs.

    python benchmarks/default_quality.py PHOTO... [--crop 320] [--bincodec 50 60 ...] [--others jpeg:75 ...]

The middle of each photo, --crop pixels a side, is coded at each quality by bincodec and by the others. Their
defaults are JPEG 75 (Pillow, libjpeg), WebP 75 (cwebp) and 80 (Pillow), AVIF 60 (avifenc) and 75 (Pillow).
The table gives means over the photos of bits per pixel, PSNR, MS-SSIM and SSIMULACRA2, and the lowest
SSIMULACRA2. According to the authors of SSIMULACRA2, 70 is high quality, 50 medium and 30 low.

The script needs the extra `eval`, and the package `ssimulacra2`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from statistics import fmean

import numpy as np
from PIL import Image
from ssimulacra2 import compute_ssimulacra2

from bincodec.eval import metrics, peers
from bincodec.eval.peers import Peer, Pixels


def middle(path: Path, side: int) -> Pixels:
    """Return the middle of a photo, (side, side, 3), or smaller if the photo is."""
    image = Image.open(path).convert("RGB")
    left, top = max(0, image.width - side) // 2, max(0, image.height - side) // 2
    return np.asarray(image.crop((left, top, min(left + side, image.width), min(top + side, image.height))))


def ssimulacra2(original: Pixels, decoded: Pixels) -> float:
    """Return the SSIMULACRA2 of two pictures (H, W, 3)."""
    return float(compute_ssimulacra2(_png(original), _png(decoded)))


def _png(pixels: Pixels) -> BytesIO:
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    return stream


def settings(bincodec: list[int], others: list[str]) -> Iterator[tuple[str, Peer, int]]:
    """Yield a name, a codec and its setting for each row."""
    ours = peers.find("bincodec")
    yield from ((f"bincodec {quality}", ours, quality) for quality in bincodec)
    for other in others:
        name, _, setting = other.partition(":")
        yield f"{name} {setting}", peers.find(name), int(setting)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--crop", type=int, default=320)
    parser.add_argument("--bincodec", nargs="+", type=int, default=[50, 60, 65, 70, 75, 80, 85])
    parser.add_argument(
        "--others", nargs="+", default=["jpeg:75", "webp:75", "webp:80", "avif:60", "avif:75"]
    )
    chosen = parser.parse_args()
    photos = [middle(path, chosen.crop) for path in chosen.photos]
    print("codec and setting | bits per pixel | PSNR, dB | MS-SSIM | SSIMULACRA2 | lowest")
    print("--- | ---: | ---: | ---: | ---: | ---:", flush=True)
    for name, peer, setting in settings(chosen.bincodec, chosen.others):
        found = [peer(pixels, setting) for pixels in photos]
        pairs = [(pixels, encoded.pixels) for pixels, encoded in zip(photos, found, strict=True)]
        rate = fmean(8 * len(e.data) / (p.shape[0] * p.shape[1]) for p, e in zip(photos, found, strict=True))
        error = fmean(metrics.psnr(*pair) for pair in pairs)
        likeness = fmean(metrics.ms_ssim(*pair) for pair in pairs)
        seen = [ssimulacra2(*pair) for pair in pairs]
        line = f"{rate:.3f} | {error:.2f} | {likeness:.4f} | {fmean(seen):.1f} | {min(seen):.1f}"
        print(f"{name} | {line}", flush=True)


if __name__ == "__main__":
    main()
