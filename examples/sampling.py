"""Draw pictures with the `clothing` model: rows of classes, and its own pictures with one half inpainted.

    python examples/sampling.py -o docs

The script writes OUT/samples.webp and OUT/inpaintings.webp. The seeds were not selected by their results.
"""

import argparse
from pathlib import Path

from PIL import Image

from bincodec import Codec
from bincodec.io.contact_sheet import contact_sheet

CLASSES = ("pants", "tshirt", "dress", "shorts", "longsleeve", "skirt", "shoes", "hat")
SEED = 3
HOW = {"steps": 16}
INPAINTED = ("pants", "tshirt", "longsleeve", "shorts")
VARIANTS = 5
GREY = (128, 128, 128)


def samples(codec: Codec, each: int) -> Image.Image:
    """Return a row of `each` pictures for every class."""
    rows = [codec.sample(each, seed=SEED, label=label, **HOW) for label in CLASSES]
    return contact_sheet([codec.decode(code) for row in rows for code in row], each)


def inpaintings(codec: Codec) -> Image.Image:
    """Return rows of a sample, the sample with its lower half hidden, and several ways to fill that half."""
    pictures = []
    for label in INPAINTED:
        code = codec.sample(1, seed=SEED, label=label, **HOW)[0]
        whole = codec.decode(code)
        hidden = (0, whole.height // 2, whole.width, whole.height)
        mask = Image.new("L", whole.size, 0)
        mask.paste(255, hidden)
        shown = whole.copy()
        shown.paste(GREY, hidden)
        filled = codec.inpaint(code, mask, count=VARIANTS, seed=SEED, label=label, **HOW)
        pictures += [whole, shown, *(one.image for one in filled)]
    return contact_sheet(pictures, VARIANTS + 2)


def main() -> None:
    """Make both pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path())
    parser.add_argument("-n", type=int, default=8)
    chosen = parser.parse_args()
    codec = Codec.load("clothing")
    samples(codec, chosen.n).save(chosen.output / "samples.webp", quality=88, method=6)
    inpaintings(codec).save(chosen.output / "inpaintings.webp", quality=88, method=6)


if __name__ == "__main__":
    main()
