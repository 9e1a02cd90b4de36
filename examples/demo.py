"""Compress the bundled photo, decode it again, and print bytes, PSNR and seconds.

python examples/demo.py [PHOTO] [QUALITY]

The script writes `demo.bld` and `demo.png` into the current folder.
"""

import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

import bincodec
from bincodec.defaults import DEFAULT_QUALITY
from bincodec.eval.metrics import psnr


def main(photo: Path, quality: int) -> None:
    """Write `demo.bld` and `demo.png` for one photo, and print bytes, bits per pixel, PSNR and seconds."""
    original = Image.open(photo).convert("RGB")
    start = time.perf_counter()
    codec = bincodec.Codec.load("photo")
    loaded = time.perf_counter()
    data = codec.pack(codec.encode(original, quality=quality), verify=True)
    encoded = time.perf_counter()
    decoded = codec.decode(codec.unpack(data))
    finished = time.perf_counter()
    Path("demo.bld").write_bytes(data)
    decoded.save("demo.png")

    width, height = original.size
    bits_per_pixel = 8 * len(data) / (width * height)
    distance = psnr(np.asarray(original), np.asarray(decoded.convert("RGB")))
    print(f"{photo.name}: {width} x {height} pixels, {photo.stat().st_size} bytes")
    print(f"demo.bld: {len(data)} bytes, {bits_per_pixel:.3f} bits per pixel, quality {quality}")
    print(f"demo.png: PSNR {distance:.2f} dB")
    print(f"seconds: {encoded - loaded:.2f} to compress and verify, {finished - encoded:.2f} to decompress")
    print(f"         {loaded - start:.2f} to load {codec.model.card.name} beforehand")


if __name__ == "__main__":
    main(
        Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "chelsea.png",
        int(sys.argv[2]) if len(sys.argv) > 2 else DEFAULT_QUALITY,
    )
