"""Compare two ways to code pictures in another colour space: keep it and its profile, or convert to sRGB.

    python benchmarks/colour.py [--model photo] [--quality 20,40,60,80] [IMAGE...] > tables.md

The pictures are parts of photos (of three from scikit-image, if none are given). There are two kinds for each
profile. *The same colours* are converted from sRGB, so all are within its gamut. *Vivid* pictures interpret
the same numbers as colours of the profile, and many are outside the gamut of sRGB. *Kept* pictures are coded
as they are, and *converted* ones are converted to sRGB first. The first error is measured in sRGB, as a
common screen shows it, with 8 bits. The second is measured in the space of the profile, as a screen with a
wider gamut shows it. Bytes do not include the profile. *Bits* says by how much they rise at equal error of
the first and of the second kind if colours are converted.
"""

from __future__ import annotations

import argparse
import io
import struct
from collections.abc import Iterator, Sequence

import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image, ImageCms

from bincodec import Codec
from bincodec.bitstream.deflate import deflate
from bincodec.io import images

Pixels = NDArray[np.uint8]
Matrix = tuple[tuple[float, float, float], ...]

PHOTOS = ("astronaut", "coffee", "chelsea")
PART = 256
TOP_LEFT = 20, 60

# The curve is ((X + 0.055) / 1.055) ** 2.4 from 0.04045 on, and X / 12.92 below.
SRGB_CURVE = b"para" + struct.pack(
    ">4xHxx5i", 3, *(round(65536 * value) for value in (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))
)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
# Red, green and blue in CIE XYZ, adapted to D50, and the curve: an exponent, or None for the curve of sRGB.
SPACES: dict[str, tuple[Matrix, float | None]] = {
    "Display P3": (
        ((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407)),
        None,
    ),
    "Adobe RGB": (
        ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)),
        563 / 256,
    ),
}


def profile(name: str) -> bytes:
    """Return an ICC profile of one of the SPACES."""
    matrix, exponent = SPACES[name]
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(256 * exponent)) if exponent else SRGB_CURVE
    title = name.encode() + b"\0"
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(title)) + title + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": point((0.9642, 1.0, 0.8249)),
        **{
            letter + b"XYZ": point(primary)
            for letter, primary in zip((b"r", b"g", b"b"), matrix, strict=True)
        },
        **{letter + b"TRC": curve for letter in (b"r", b"g", b"b")},
    }
    entries, data, places = b"", b"", dict[bytes, int]()
    start = 132 + 12 * len(tags)
    for tag, payload in tags.items():
        if payload not in places:  # The three curves are equal and stored once.
            data += bytes(-len(data) % 4)
            places[payload] = start + len(data)
            data += payload
        entries += tag + struct.pack(">II", places[payload], len(payload))
    body = struct.pack(">I", len(tags)) + entries + data
    head = struct.pack(">I4sI4s4s4s", 128 + len(body), b"", 0x04200000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    return (head + struct.pack(">3i", 63190, 65536, 54061)).ljust(128, b"\0") + body


def point(xyz: Sequence[float]) -> bytes:
    """Return a colour as profiles store it."""
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(65536 * value) for value in xyz))


def through(pixels: Pixels, source: ImageCms.ImageCmsProfile, target: ImageCms.ImageCmsProfile) -> Pixels:
    """Convert pixels (H, W, 3) between profiles, relative to white, as `bincodec.io.colour` does."""
    transform = ImageCms.ImageCmsTransform(
        source,
        target,
        "RGB",
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    return np.array(transform.apply(Image.fromarray(pixels)))


def parts(paths: Sequence[str]) -> list[Pixels]:
    """Return square parts of the photos in sRGB."""
    whole = [images.load_opaque(path) for path in paths]
    whole = whole or [getattr(skimage.data, photo)() for photo in PHOTOS]
    top, left = TOP_LEFT
    return [np.ascontiguousarray(pixels[top : top + PART, left : left + PART]) for pixels in whole]


def measured(
    codec: Codec, pictures: Sequence[Pixels], space: bytes, quality: int, *, kept: bool
) -> tuple[float, float, float]:
    """Return the mean bytes of a file without its profile, and PSNR in sRGB and in the profile's space."""
    own = ImageCms.ImageCmsProfile(io.BytesIO(space))
    size, shown_error, own_error = 0, 0.0, 0.0
    for pixels in pictures:
        reference = through(pixels, own, SRGB)
        data = codec.compress(pixels if kept else reference, quality, verify=False)
        decoded = np.array(codec.decompress(data))
        size += len(data)
        shown, back = (
            (through(decoded, own, SRGB), decoded) if kept else (decoded, through(decoded, SRGB, own))
        )
        shown_error += float(((shown.astype(float) - reference) ** 2).mean())
        own_error += float(((back.astype(float) - pixels) ** 2).mean())
    count = len(pictures)
    return size / count, decibels(shown_error / count), decibels(own_error / count)


def decibels(error: float) -> float:
    """Return the PSNR of a mean squared error of 8-bit samples."""
    return float(10 * np.log10(255**2 / error))


def change(kept: NDArray[np.float64], converted: NDArray[np.float64], column: int) -> float:
    """Return by how much bits rise at equal PSNR if colours are converted, averaged over the common range."""
    low = max(kept[0, column], converted[0, column])
    high = min(kept[-1, column], converted[-1, column])
    grid = np.linspace(low, high, 50)
    logarithms = [np.interp(grid, rows[:, column], np.log(rows[:, 0])) for rows in (kept, converted)]
    return float(np.exp((logarithms[1] - logarithms[0]).mean()) - 1)


def table(codec: Codec, photos: Sequence[Pixels], qualities: Sequence[int]) -> Iterator[str]:
    """Yield a row for each kind of picture and each way to code it."""
    yield "| pictures | coded | " + " | ".join(f"quality {quality}" for quality in qualities) + " | bits |"
    yield "| --- | --- |" + " --- |" * len(qualities) + " ---: |"
    for name in SPACES:
        space = profile(name)
        own = ImageCms.ImageCmsProfile(io.BytesIO(space))
        for kind, pictures in (
            ("the same colours", [through(pixels, SRGB, own) for pixels in photos]),
            ("vivid", photos),
        ):
            rows = {
                way: np.array(
                    [measured(codec, pictures, space, quality, kept=way == "kept") for quality in qualities]
                )
                for way in ("kept", "converted")
            }
            for way, found in rows.items():
                cells = [f"{size:,.0f} B, {shown:.2f} / {back:.2f} dB" for size, shown, back in found]
                bits = ""
                if way == "converted":
                    bits = " / ".join(f"{change(*rows.values(), column):+.1%}" for column in (1, 2))
                yield f"| {name}, {kind} | {way} | {' | '.join(cells)} | {bits} |"
        yield f"| | its profile | {len(deflate(space))} B |" + " |" * len(qualities)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("images", nargs="*")
    parser.add_argument("--model", default="photo")
    parser.add_argument("--quality", default="20,40,60,80")
    options = parser.parse_args()
    qualities = [int(part) for part in options.quality.split(",")]
    for line in table(Codec.load(options.model), parts(options.images), qualities):
        print(line, flush=True)


if __name__ == "__main__":
    main()
