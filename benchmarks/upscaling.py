"""Measure whether the prior can enlarge pictures, in several ways beside bicubic interpolation.

    python benchmarks/upscaling.py [--model photo] [--quality 80] [--side 256] [IMAGE...] > table.md

The result is a Markdown table. Parts of pictures (of three photos, if none are given) are halved, enlarged
again, and compared with the originals. The code of the enlarged picture provides some layers. The others are
replaced by their expectation or sampled.

- *Detail* is what a picture loses when it is halved. The table gives its amount relative to the original, and
  its agreement with the original (their correlation).
- *Corrected* results are halved and compared with the small picture; the difference is enlarged and added.
  This is done three times and needs no model.
- *Oracle* results use layers of the original. They show what the prior makes of a perfect start.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from bincodec import BinaryCode, Codec
from bincodec.eval.metrics import psnr
from bincodec.io import images

Pixels = NDArray[np.uint8]
Way = Callable[[Pixels, Pixels], Pixels]
"""A function of the original and the bicubically enlarged picture that returns another enlarged picture."""

PHOTOS = ("astronaut", "coffee", "chelsea")
TOP_LEFT = 32
TEMPERATURES = (0.0, 0.5, 1.0)
STRENGTHS = (0.05, 0.1, 0.2)
ROUNDS = 3
BICUBIC = Image.Resampling.BICUBIC
HEAD = ("| way | PSNR dB | detail | agreement |", "|---|---:|---:|---:|")


def resized(pixels: NDArray[Any], width: int, height: int, how: Image.Resampling) -> NDArray[Any]:
    """Resample uint8 (H, W, 3) or float32 (H, W) with Pillow."""
    return np.asarray(Image.fromarray(pixels).resize((width, height), how))


def enlarged(pixels: Pixels, how: Image.Resampling = BICUBIC) -> Pixels:
    """Halve a picture of even sides and enlarge it again."""
    height, width = pixels.shape[:2]
    half = resized(pixels, width // 2, height // 2, BICUBIC)
    return resized(half, width, height, how)


def detail(pixels: Pixels) -> NDArray[np.float64]:
    """Return what a picture loses by halving."""
    return pixels.astype(np.float64) - enlarged(pixels)


def ways(codec: Codec, quality: int) -> Iterator[tuple[str, Way]]:
    """Yield all ways with their names."""
    layers = codec.model.card.architecture.layers
    yield "bicubic", _bicubic
    yield "Lanczos", lambda original, big: enlarged(original, Image.Resampling.LANCZOS)
    yield "bicubic, corrected", _corrected(_bicubic)
    yield f"all {layers} layers", _layered(codec, quality, layers, None)
    yield f"all {layers} layers, corrected", _corrected(_layered(codec, quality, layers, None))
    for count in range(1, layers):
        name = f"{count} of {layers} layers"
        expected = _layered(codec, quality, count, None)
        yield f"{name}, the others expected", expected
        yield f"{name}, the others expected, corrected", _corrected(expected)
        for temperature in TEMPERATURES:
            yield f"{name}, sampled at {temperature}", _layered(codec, quality, count, temperature)
        yield f"oracle, {name}, the others expected", _layered(codec, quality, count, None, oracle=True)
        yield f"oracle, {name}, sampled at 1.0", _layered(codec, quality, count, 1.0, oracle=True)
    for strength in STRENGTHS:
        yield f"varied at {strength}", _varied(codec, quality, strength)


def _bicubic(original: Pixels, big: Pixels) -> Pixels:
    return big


def _corrected(way: Way) -> Way:
    """Return a way whose results are corrected to halve to the same picture as the original.

    The method is iterated back-projection.
    """

    def corrected(original: Pixels, big: Pixels) -> Pixels:
        height, width = original.shape[:2]
        found = way(original, big).astype(np.float64)
        for _ in range(ROUNDS):
            shown = np.rint(found.clip(0, 255)).astype(np.uint8)
            halves = [
                resized(pixels, width // 2, height // 2, BICUBIC).astype(np.float32)
                for pixels in (original, shown)
            ]
            channels = np.moveaxis(halves[0] - halves[1], 2, 0)
            found += np.stack([resized(channel, width, height, BICUBIC) for channel in channels], -1)
        return np.rint(found.clip(0, 255)).astype(np.uint8)

    return corrected


def _layered(
    codec: Codec, quality: int, count: int, temperature: float | None, *, oracle: bool = False
) -> Way:
    """Return a way that keeps the first `count` layers. Without a temperature, the others are expected."""

    def way(original: Pixels, big: Pixels) -> Pixels:
        code = codec.encode(original if oracle else big, quality)
        if temperature is None:
            return np.asarray(codec.decode(code, count).convert("RGB"))
        return decoded(codec, codec.complete(code, count, temperature=temperature).code)

    return way


def _varied(codec: Codec, quality: int, strength: float) -> Way:
    """Return a way that adds noise to all bits and removes it again."""

    def way(original: Pixels, big: Pixels) -> Pixels:
        return decoded(codec, codec.vary(big, strength, quality, temperature=0.5)[0])

    return way


def decoded(codec: Codec, code: BinaryCode) -> Pixels:
    """Return the pixels (H, W, 3) of a code."""
    return np.asarray(codec.decode(code).convert("RGB"))


def of_even_sides(pixels: Pixels, most: int) -> Pixels:
    """Return the upper left part of a picture whose sides are even and at most `most`."""
    height, width = (min(side, most) // 2 * 2 for side in pixels.shape[:2])
    return np.ascontiguousarray(pixels[:height, :width])


def line(name: str, way: Way, originals: Sequence[Pixels]) -> str:
    """Return one row of the table, with means over the photos."""
    rows = []
    for original in originals:
        found = way(original, enlarged(original))
        true, new = detail(original), detail(found)
        energies = float((true**2).sum()), float((new**2).sum())
        agreement = float((true * new).sum()) / np.sqrt(energies[0] * energies[1])
        rows.append((psnr(original, found), np.sqrt(energies[1] / energies[0]), agreement))
    quality, amount, agreement = np.mean(rows, axis=0)
    return f"| {name} | {quality:.2f} | {amount:.2f} | {agreement:.2f} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="photo")
    parser.add_argument("--quality", type=int, default=80)
    parser.add_argument("--side", type=int, default=256, help="of the parts, in pixels, even")
    parser.add_argument("images", nargs="*")
    options = parser.parse_args(arguments)
    part = slice(TOP_LEFT, TOP_LEFT + options.side)
    originals = [np.ascontiguousarray(getattr(skimage.data, name)()[part, part]) for name in PHOTOS]
    if options.images:
        originals = [of_even_sides(images.load_opaque(path), options.side) for path in options.images]
    codec = Codec.load(options.model)
    print("\n".join(HEAD))
    for name, way in ways(codec, options.quality):
        print(line(name, way, originals), flush=True)


if __name__ == "__main__":
    main()
