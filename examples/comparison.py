"""Draw one photo, and what several codecs make of it in the same number of bytes.

python examples/comparison.py [--bytes 6000] [--photo coffee] [--corner X,Y] [--model photo] [-o OUT]
python examples/comparison.py --rates 0.1,0.2,0.4 -o docs/rates.webp
python examples/comparison.py --rates 0.1,0.15 --codecs jpeg webp avif bincodec bincodec:realism=1 -o OUT

The first command makes docs/comparison.webp with two rows of two pictures. With --rates, there is a row for
each number of bits per pixel, and a column for each codec: JPEG, WebP, AVIF and bincodec, unless --codecs
names others. Each codec uses the highest quality whose file does not exceed the bytes. Bytes and PSNR are
those of the whole photo, and the pictures show an enlarged part. The photos come from the scikit-image
package.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from bincodec.eval import match, peers
from bincodec.eval.metrics import psnr

OUT = Path(__file__).resolve().parents[1] / "docs" / "comparison.webp"

# The sheet is 1800 pixels wide, twice the width at which it is shown. Whole pixels are repeated, because
# smooth enlarging would hide some of what each codec does, and would make the file three times as large.
CROP_WIDTH, CROP_HEIGHT, SCALE = 288, 192, 3
GAP, LABEL, TITLE = 24, 96, 46
TITLES = {
    "jpeg": "JPEG",
    "webp": "WebP",
    "avif": "AVIF",
    "bincodec": "bincodec",
    "bincodec:realism=1": "bincodec, realism",
}
PAPER, INK, GREY, ACCENT = "#ffffff", "#16181d", "#5c6370", "#0b6e4f"


@dataclass(frozen=True)
class Panel:
    """A picture with its heading and the facts beside it."""

    name: str
    facts: str
    pixels: NDArray[np.uint8]
    ours: bool = False


def original(photo: NDArray[np.uint8]) -> Panel:
    """Return the panel of the photo itself."""
    return Panel("Original", f"{photo.shape[1]} x {photo.shape[0]} pixels", photo)


def panels(
    photo: NDArray[np.uint8], size: int, model: str, codecs: Sequence[str] = ("jpeg", "webp", "bincodec")
) -> Iterator[Panel]:
    """Yield the panel of each codec at `size` bytes or just below."""
    for name in codecs:
        title = TITLES.get(name, name)
        found = match.nearest(peers.find(name, model=model), photo, size, at_most=True).encoded
        decibels = psnr(photo, found.pixels)
        facts = f"{len(found.data):,} bytes, {decibels:.2f} dB"
        yield Panel(title, facts, found.pixels, ours=name.startswith("bincodec"))


def draw(shown: list[Panel], corner: tuple[int, int], columns: int = 2) -> Image.Image:
    """Draw panels in rows of `columns`. Each shows the same enlarged crop below its label.

    The sheet is about 1800 pixels wide.
    """
    shrink = 2 / columns
    scale, label, title = max(1, round(SCALE * shrink)), round(LABEL * shrink**0.5), TITLE * shrink
    crop_width = round(CROP_WIDTH * SCALE * shrink / scale)
    crop_height = round(CROP_HEIGHT * SCALE * shrink / scale)
    left, top = corner
    box = (left, top, left + crop_width, top + crop_height)
    panel_width, panel_height = scale * crop_width, scale * crop_height
    cell = label + panel_height + GAP
    rows = -(-len(shown) // columns)
    sheet = Image.new("RGB", (GAP + columns * (panel_width + GAP), GAP // 2 + rows * cell), PAPER)
    pen = ImageDraw.Draw(sheet)
    for index, panel in enumerate(shown):
        x = GAP + index % columns * (panel_width + GAP)
        y = GAP // 2 + index // columns * cell
        name, facts = ImageFont.load_default(title), ImageFont.load_default(title * 0.75)
        base = y + label - round(28 * shrink)
        pen.text((x, base), panel.name, ACCENT if panel.ours else INK, name, "ls")
        pen.text((x + panel_width, base), panel.facts, GREY, facts, "rs")
        part = Image.fromarray(panel.pixels).crop(box)
        sheet.paste(part.resize((panel_width, panel_height), Image.Resampling.NEAREST), (x, y + label))
    return sheet


def parse_corner(text: str) -> tuple[int, int]:
    """Read `X,Y` in pixels, the upper left corner of the part that is shown."""
    x, y = (int(part) for part in text.split(","))
    return x, y


def parse_rates(text: str) -> list[float]:
    """Read `R,R,...`, rates in bits per pixel."""
    return [float(part) for part in text.split(",")]


def main() -> None:
    """Write the picture and print what it contains."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bytes", type=int, default=6000)
    parser.add_argument("--rates", type=parse_rates)
    parser.add_argument("--codecs", nargs="+", help="with --rates only")
    parser.add_argument("--photo", default="coffee", choices=["astronaut", "chelsea", "coffee", "rocket"])
    parser.add_argument("--corner", type=parse_corner, default=(180, 70))
    parser.add_argument("--model", default="photo")
    parser.add_argument("-o", "--output", type=Path, default=OUT)
    wanted = parser.parse_args()
    if wanted.codecs and not wanted.rates:
        parser.error("--codecs needs --rates")
    codecs = wanted.codecs or ["jpeg", "webp", "avif", "bincodec"]
    photo = np.ascontiguousarray(getattr(skimage.data, wanted.photo)()[..., :3])
    if wanted.rates:
        sizes = [round(rate * photo.shape[0] * photo.shape[1] / 8) for rate in wanted.rates]
        shown = [panel for size in sizes for panel in panels(photo, size, wanted.model, codecs)]
        sheet = draw(shown, wanted.corner, len(codecs))
    else:
        shown = [original(photo), *panels(photo, wanted.bytes, wanted.model)]
        sheet = draw(shown, wanted.corner)
    # A palette of 256 colours would cause banding, and a lower quality would add artefacts to every panel.
    sheet.save(wanted.output, optimize=True, quality=85, method=6)
    for panel in shown:
        print(f"{panel.name}: {panel.facts}")
    print(f"{wanted.output}: {sheet.width} x {sheet.height} pixels, {wanted.output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
