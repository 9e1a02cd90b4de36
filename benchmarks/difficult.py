"""Measure content that no photo model was trained for, beside JPEG: bytes, PSNR and colour cast.

    python benchmarks/difficult.py [--model photo] > table.md

The result is a Markdown table. The bound, in bytes, is the size of the levels as plain binary numbers, plus
what may surround them in a file, plus the post-filter of the picture.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import bincodec
from bincodec.eval import match, peers
from bincodec.eval.metrics import psnr

Pixels = NDArray[np.uint8]

SIDE = 256
QUALITIES = (0, 50, 100)
OVERHEAD_BYTES = 96
OVERHEAD_SHARE = 0.001

HEAD = (
    "| content | quality | bytes | bpp | PSNR dB | mean error R G B | bound | JPEG bytes | JPEG PSNR dB |",
    "|---|---|---|---|---|---|---|---|---|",
)
WORDS = (
    "The quick brown fox jumps over the lazy dog. 0123456789",
    "Pack my box with five dozen liquor jugs; how vexingly quick!",
    "a*x + b*y = c, and 3 < 4 > 2 {[(/\\|)]} @ # % & * ~",
)


def flat(value: int, width: int = SIDE, height: int = SIDE) -> Pixels:
    """Return a picture of one grey."""
    return np.full((height, width, 3), value, np.uint8)


def gradient() -> Pixels:
    """Return a gradient: red rises to the right, green rises downwards, and blue falls along the diagonal."""
    row, column = np.mgrid[0:SIDE, 0:SIDE]
    return np.stack([column, row, (2 * (SIDE - 1) - row - column) // 2], -1).astype(np.uint8)


def long_row() -> Pixels:
    """Return 4000 pixels in one row, with a wave in each colour."""
    phase = np.arange(4000)[None, :, None] / np.array([40, 100, 250])
    wave: NDArray[np.float64] = np.rint(127.5 + 110 * np.sin(phase))
    return wave.astype(np.uint8)


def text() -> Pixels:
    """Return black letters on white in several sizes."""
    image = Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(image)
    top = 4
    for size in (9, 11, 13, 16, 20, 28):
        font = ImageFont.load_default(size)
        for words in WORDS[: 3 if size < 20 else 1]:
            draw.text((4, top), words, fill="black", font=font)
            top += size + 3
    return np.asarray(image)


def line_art() -> Pixels:
    """Return thin lines, a circle and a curve in pure colours on white."""
    image = Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(image)
    for step in range(0, SIDE, 16):
        draw.line((0, step, step, SIDE - 1), fill="black")
    draw.ellipse((60, 40, 220, 200), outline="red", width=2)
    draw.rectangle((120, 20, 240, 90), outline="blue", width=1)
    wave = [(x, 180 + 40 * float(np.sin(x / 15))) for x in range(SIDE)]
    draw.line(wave, fill="green", width=3)
    return np.asarray(image)


def noise() -> Pixels:
    """Return independent uniform samples."""
    return np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def checkerboard() -> Pixels:
    """Return alternating black and white pixels."""
    row, column = np.mgrid[0:SIDE, 0:SIDE]
    return np.repeat(((row + column) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)


CONTENT = {
    "black": lambda: flat(0),
    "white": lambda: flat(255),
    "1×1": lambda: flat(90, 1, 1),
    "1×4000": long_row,
    "gradient": gradient,
    "text": text,
    "line art": line_art,
    "noise": noise,
    "checkerboard": checkerboard,
}


def lines(name: str, pixels: Pixels, codec: bincodec.Codec) -> Iterator[str]:
    """Yield one row of the table for each quality."""
    jpeg = peers.find("jpeg")
    for quality in QUALITIES:
        code = codec.encode(pixels, quality)
        data = codec.pack(code, verify=True)
        decoded = np.asarray(codec.decode(codec.unpack(data)).convert("RGB"))
        error = (decoded.astype(np.float64) - pixels).mean((0, 1))
        raw = sum(lv.size * top.bit_length() for lv, top in zip(code.levels, code.maximum, strict=True)) / 8
        extras = sum(extra.size for extra in code.extras)
        bound = raw + OVERHEAD_BYTES + OVERHEAD_SHARE * raw + extras
        other = match.nearest(jpeg, pixels, len(data)).encoded
        cells = (
            name,
            f"{quality}",
            f"{len(data)}{' **over**' if len(data) > bound else ''}",
            f"{8 * len(data) / (code.width * code.height):.3f}",
            f"{psnr(pixels, decoded):.2f}",
            " ".join(f"{value:+.2f}" for value in error),
            f"{bound:.0f}",
            f"{len(other.data)}",
            f"{psnr(pixels, other.pixels):.2f}",
        )
        yield f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="photo")
    codec = bincodec.Codec.load(parser.parse_args().model)
    print("\n".join(HEAD))
    for name, make in CONTENT.items():
        for line in lines(name, make(), codec):
            print(line, flush=True)


if __name__ == "__main__":
    main()
