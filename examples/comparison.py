"""Draw docs/comparison.png: one photo, and what three codecs make of it in the same number of bytes.

python examples/comparison.py [--bytes 6000] [--photo coffee] [--corner X,Y] [--model photo] [-o OUT]

Each codec gets the highest quality whose file does not exceed the bytes. Bytes and PSNR are the whole
photo's; what is shown is an enlarged part. The photos are those of the scikit-image package.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from bincodec.eval import match, peers
from bincodec.eval.metrics import psnr

OUT = Path(__file__).resolve().parents[1] / "docs" / "comparison.png"

# 1800 pixels in all: twice the width that the picture is shown at. Whole pixels are repeated, because smooth
# enlarging would hide some of what each codec does, and make a file of three times the size.
CROP_WIDTH, CROP_HEIGHT, SCALE = 288, 192, 3
GAP, LABEL, TITLE = 24, 96, 46
PAPER, INK, GREY, ACCENT = "#ffffff", "#16181d", "#5c6370", "#0b6e4f"


@dataclass(frozen=True)
class Panel:
    """A picture with its heading and what stands beside it."""

    name: str
    facts: str
    pixels: NDArray[np.uint8]
    ours: bool = False


def panels(photo: NDArray[np.uint8], size: int, model: str) -> Iterator[Panel]:
    """The original, then each codec at `size` bytes or just below."""
    yield Panel("Original", f"{photo.shape[1]} x {photo.shape[0]} pixels", photo)
    for title, name in (("JPEG", "jpeg"), ("WebP", "webp"), ("bincodec", "bincodec")):
        found = match.nearest(peers.find(name, model=model), photo, size, at_most=True).encoded
        decibels = psnr(photo, found.pixels)
        yield Panel(title, f"{len(found.data):,} bytes, {decibels:.2f} dB", found.pixels, name == "bincodec")


def draw(shown: list[Panel], corner: tuple[int, int]) -> Image.Image:
    """Two by two panels, each the same enlarged crop under its label."""
    left, top = corner
    box = (left, top, left + CROP_WIDTH, top + CROP_HEIGHT)
    panel_width, panel_height = SCALE * CROP_WIDTH, SCALE * CROP_HEIGHT
    cell = LABEL + panel_height + GAP
    sheet = Image.new("RGB", (3 * GAP + 2 * panel_width, GAP // 2 + 2 * cell), PAPER)
    pen = ImageDraw.Draw(sheet)
    for index, panel in enumerate(shown):
        x = GAP + index % 2 * (panel_width + GAP)
        y = GAP // 2 + index // 2 * cell
        name, facts = ImageFont.load_default(TITLE), ImageFont.load_default(TITLE * 0.75)
        base = y + LABEL - 28
        pen.text((x, base), panel.name, ACCENT if panel.ours else INK, name, "ls")
        pen.text((x + panel_width, base), panel.facts, GREY, facts, "rs")
        part = Image.fromarray(panel.pixels).crop(box)
        sheet.paste(part.resize((panel_width, panel_height), Image.Resampling.NEAREST), (x, y + LABEL))
    return sheet


def parse_corner(text: str) -> tuple[int, int]:
    """`X,Y` in pixels: the upper left corner of what is shown."""
    x, y = (int(part) for part in text.split(","))
    return x, y


def main() -> None:
    """Write the picture and say what is in it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bytes", type=int, default=6000)
    parser.add_argument("--photo", default="coffee", choices=["astronaut", "chelsea", "coffee", "rocket"])
    parser.add_argument("--corner", type=parse_corner, default=(180, 70))
    parser.add_argument("--model", default="photo")
    parser.add_argument("-o", "--output", type=Path, default=OUT)
    wanted = parser.parse_args()
    photo = np.ascontiguousarray(getattr(skimage.data, wanted.photo)()[..., :3])
    shown = list(panels(photo, wanted.bytes, wanted.model))
    sheet = draw(shown, wanted.corner)
    # Photographs in 256 colours would band; a JPEG would add artefacts of its own to every panel.
    sheet.save(wanted.output, optimize=True)
    for panel in shown:
        print(f"{panel.name}: {panel.facts}")
    print(f"{wanted.output}: {sheet.width} x {sheet.height} pixels, {wanted.output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
