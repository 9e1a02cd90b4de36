"""Whether the prior can enlarge pictures: each way beside bicubic interpolation, as a Markdown table.

    python benchmarks/upscaling.py [--model photo] [--quality 80] [--side 256] [IMAGE...] > table.md

Parts of pictures (of three photos, if none are given) are halved, enlarged again, and compared with what they
were. The enlarged picture's code gives some layers; the others are expected or sampled.
*Detail* is what a picture loses when it is halved: how much there is, against the original's, and how far it
agrees with it (their correlation).
*Corrected*: where the result, halved, differs from the small picture, the difference is enlarged and added,
three times; that needs no model.
*Oracle*: the layers are the original's own, which shows what the prior makes of a perfect start.
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
"""From the original and the bicubically enlarged picture to another enlarged one."""

PHOTOS = ("astronaut", "coffee", "chelsea")
TOP_LEFT = 32
TEMPERATURES = (0.0, 0.5, 1.0)
STRENGTHS = (0.05, 0.1, 0.2)
ROUNDS = 3
BICUBIC = Image.Resampling.BICUBIC
HEAD = ("| way | PSNR dB | detail | agreement |", "|---|---:|---:|---:|")


def resized(pixels: NDArray[Any], width: int, height: int, how: Image.Resampling) -> NDArray[Any]:
    """Pillow's resampling of uint8 (H, W, 3), or of float32 (H, W)."""
    return np.asarray(Image.fromarray(pixels).resize((width, height), how))


def enlarged(pixels: Pixels, how: Image.Resampling = BICUBIC) -> Pixels:
    """A picture of even sides, halved and enlarged again."""
    height, width = pixels.shape[:2]
    half = resized(pixels, width // 2, height // 2, BICUBIC)
    return resized(half, width, height, how)


def detail(pixels: Pixels) -> NDArray[np.float64]:
    """What is lost by halving."""
    return pixels.astype(np.float64) - enlarged(pixels)


def ways(codec: Codec, quality: int) -> Iterator[tuple[str, Way]]:
    """All ways that are tried, by name."""
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
    """Another way, made to halve to what the original halves to (iterated back-projection)."""

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
    """The first `count` layers are kept; the others are sampled, or expected without a temperature."""

    def way(original: Pixels, big: Pixels) -> Pixels:
        code = codec.encode(original if oracle else big, quality)
        if temperature is None:
            return np.asarray(codec.decode(code, count).convert("RGB"))
        return decoded(codec, codec.complete(code, count, temperature=temperature).code)

    return way


def _varied(codec: Codec, quality: int, strength: float) -> Way:
    """Noise is added to all bits and taken away."""

    def way(original: Pixels, big: Pixels) -> Pixels:
        return decoded(codec, codec.vary(big, strength, quality, temperature=0.5)[0])

    return way


def decoded(codec: Codec, code: BinaryCode) -> Pixels:
    """The pixels (H, W, 3) of a code."""
    return np.asarray(codec.decode(code).convert("RGB"))


def of_even_sides(pixels: Pixels, most: int) -> Pixels:
    """The part of a picture from its top left corner whose sides are even and not over `most`."""
    height, width = (min(side, most) // 2 * 2 for side in pixels.shape[:2])
    return np.ascontiguousarray(pixels[:height, :width])


def line(name: str, way: Way, originals: Sequence[Pixels]) -> str:
    """One row of the table: means over the photos."""
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
