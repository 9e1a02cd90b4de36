"""Measure the bytes of alpha in several forms, and the cost of clear pixels by what replaces them.

    python benchmarks/alpha.py [--model photo] [--quality 20,50,80] > tables.md

The results are two Markdown tables. The masks are drawn at 768x512, except for two from scikit-image. PNG and
WebP are the smallest lossless files of Pillow. *deflate* is the best zlib stream of the plane and its
differences, *coded* is coded from coarse to fine with the range coder, and *file* is what
`bincodec.bitstream.alpha` writes. Seconds are the processor time of one thread. The photos under the masks
are parts of photos of scikit-image. Errors are measured in visible pixels only.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from bincodec import Codec
from bincodec.bitstream import alpha, plane
from bincodec.io.filling import fill

Plane = NDArray[np.uint8]
Mask = NDArray[np.bool_]

SIZE = (768, 512)
PART = 256
"""The side of the pictures under a mask, in pixels."""
PHOTOS = ("astronaut", "coffee", "chelsea")


def outline(scale: int) -> Image.Image:
    """Draw a lobed shape, enlarged `scale` times."""
    random = np.random.default_rng(1)
    angles = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    radius = np.ones_like(angles)
    for order, size, phase in zip(
        range(2, 14), random.normal(0, 0.18, 12), random.uniform(0, 2 * np.pi, 12), strict=True
    ):
        radius += size / order * np.cos(order * angles + phase)
    image = Image.new("L", (scale * SIZE[0], scale * SIZE[1]))
    points = np.stack([384 + 190 * radius * np.cos(angles), 256 + 170 * radius * np.sin(angles)], 1) * scale
    ImageDraw.Draw(image).polygon([tuple(point) for point in points.tolist()], fill=255)
    return image


def hairy() -> Image.Image:
    """Draw the shape with 500 curved hairs around it."""
    image, random = outline(4), np.random.default_rng(2)
    for _ in range(500):
        angle, line = random.uniform(0, 2 * np.pi), []
        x, y = 384 + 180 * np.cos(angle), 256 + 160 * np.sin(angle)
        for _ in range(12):
            line.append((4 * x, 4 * y))
            angle += random.normal(0, 0.15)
            x, y = x + 8 * np.cos(angle), y + 8 * np.sin(angle)
        ImageDraw.Draw(image).line(line, fill=255, width=int(random.integers(2, 6)))
    return image.resize(SIZE, Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(0.7))


def masks() -> Iterator[tuple[str, Plane]]:
    """Yield all masks with their names."""
    soft = outline(8).resize(SIZE, Image.Resampling.BOX)
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    random = np.random.default_rng(3)
    yield "hard edge", np.array(outline(1))
    yield "antialiased edge", np.array(soft)
    yield "hair", np.array(hairy())
    feathered = np.array(soft.filter(ImageFilter.GaussianBlur(6)))
    yield "feathered edge", feathered
    noisy = np.clip(feathered + random.normal(0, 6, feathered.shape), 0, 255)
    yield (
        "feathered, with noise",
        np.where((feathered > 0) & (feathered < 255), noisy, feathered).astype(np.uint8),
    )
    yield "drop shadow", np.array(soft.filter(ImageFilter.GaussianBlur(25)))
    window = Image.new("L", (4 * SIZE[0], 4 * SIZE[1]))
    ImageDraw.Draw(window).rounded_rectangle((80, 80, 2992, 1968), radius=96, fill=255)
    yield "rounded window", np.array(window.resize(SIZE, Image.Resampling.BOX))
    yield "linear gradient", np.round(x * 255 / (SIZE[0] - 1)).astype(np.uint8)
    yield "vignette", np.clip(300 - 0.6 * np.hypot(x - 384, y - 256), 0, 255).astype(np.uint8)
    yield "noise", random.integers(0, 256, SIZE[::-1], dtype=np.uint8)
    yield "half clear all over", np.full(SIZE[::-1], 128, np.uint8)
    yield "horse, 400x328", np.where(skimage.data.horse(), 0, 255).astype(np.uint8)
    yield "logo, 500x500", np.ascontiguousarray(skimage.data.logo()[..., 3])


def saved(mask: Plane, file_format: str, **options: Any) -> int:
    """Return the bytes of an image file of a mask."""
    image = Image.fromarray(mask)
    if file_format == "PNG" and set(np.unique(mask).tolist()) <= {0, 255}:
        image = image.convert("1")
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return len(buffer.getvalue())


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """Return the result of a call and its processor seconds."""
    start = time.process_time()
    return call(), time.process_time() - start


def forms() -> Iterator[str]:
    """Yield a row for each mask: bytes by form, and seconds to pack and unpack."""
    yield "| mask | PNG | WebP | deflate | coded | file | pack, s | unpack, s |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for name, mask in masks():
        payload, packing = timed(lambda mask=mask: alpha.pack(mask))
        height, width = mask.shape
        found, unpacking = timed(
            lambda payload=payload, width=width, height=height: alpha.unpack(payload, width, height)
        )
        assert np.array_equal(found, mask)
        sizes = (
            saved(mask, "PNG", optimize=True),
            saved(mask, "WEBP", lossless=True, quality=100, method=6),
            min(len(alpha.deflated(mask, method)) for method in range(alpha.CODED)),
            len(plane.encode(mask)) + 1,
            len(payload),
        )
        yield f"| {name} | {' | '.join(f'{size:,}' for size in sizes)} | {packing:.2f} | {unpacking:.2f} |"


def flat(pixels: Plane, hidden: Mask, colour: Any) -> Plane:
    """Return the picture with one colour where it is hidden."""
    return np.where(hidden[..., None], np.asarray(colour, np.uint8), pixels)


def standing_in(codec: Codec, quality: int) -> dict[str, Callable[[Plane, Mask], Plane]]:
    """Return the ways to replace clear pixels, by name."""

    def again(pixels: Plane, hidden: Mask) -> Plane:
        filled = fill(pixels, hidden)
        decoded = np.array(codec.decode(codec.encode(filled, quality)))
        return np.where(hidden[..., None], decoded, pixels)

    return {
        "as they are": lambda pixels, hidden: pixels,
        "black": lambda pixels, hidden: flat(pixels, hidden, 0),
        "the mean of the others": lambda pixels, hidden: flat(
            pixels, hidden, pixels[~hidden].mean(0).round()
        ),
        "a smooth continuation": fill,
        "that, decoded once": again,
    }


def clear_pixels(codec: Codec, qualities: list[int]) -> Iterator[str]:
    """Yield a row for each replacement: bytes without alpha, and PSNR of visible pixels, by quality."""
    whole = dict(masks())
    cases = []
    for photo in PHOTOS:
        pixels = np.ascontiguousarray(getattr(skimage.data, photo)()[20 : 20 + PART, 60 : 60 + PART])
        for name in ("antialiased edge", "feathered edge"):
            shape = np.array(Image.fromarray(whole[name]).resize((PART, PART), Image.Resampling.BOX))
            cases += [(pixels, shape), (pixels, 255 - shape)]
    yield "| in place of clear pixels | " + " | ".join(f"quality {quality}" for quality in qualities) + " |"
    yield "| --- |" + " ---: |" * len(qualities)
    for name in standing_in(codec, 0):
        cells = []
        for quality in qualities:
            stand_in, size, error = standing_in(codec, quality)[name], 0, 0.0
            for pixels, shape in cases:
                code = codec.encode(stand_in(pixels, shape == 0), quality)
                size += len(codec.pack(code))
                shown = np.array(codec.decode(code)).astype(float)
                error += float(((shown - pixels) ** 2)[shape > 0].mean()) / len(cases)
            cells.append(f"{size / len(cases):,.0f} B, {10 * np.log10(255**2 / error):.2f} dB")
        yield f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="photo")
    parser.add_argument("--quality", default="20,50,80")
    options = parser.parse_args()
    for line in forms():
        print(line, flush=True)
    print()
    for line in clear_pixels(Codec.load(options.model), [int(part) for part in options.quality.split(",")]):
        print(line, flush=True)


if __name__ == "__main__":
    main()
