"""Compare what readers of pictures make of unusual TIFF files, and their size on disk.

    python benchmarks/tiff_readers.py > table.md

The samples of these files do not have 8 bits, or are not side by side. Each file is written by tifffile from
one photo, and read by each installed library: Pillow, bincodec (with Pillow), tifffile (with imagecodecs if
installed), and pyvips. *Right* means within one level of the photo in 8 bits everywhere. *Wrong* says by how
many levels the picture differs on average. *Refused* is an error. Seconds are for a photo of 12 megapixels in
16 bits, compressed with deflate. Megabytes are those of the installed files.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import io
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import skimage.data
import tifffile
from numpy.typing import NDArray
from PIL import Image

from bincodec.io import images

Samples = NDArray[Any]
SIDE = 64
HAS_IMAGECODECS = importlib.util.find_spec("imagecodecs") is not None


def written(samples: Samples, **options: Any) -> bytes:
    """Return a TIFF of these samples."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, samples, metadata=None, **options)
    return buffer.getvalue()


def of_12_bits(grey: Samples) -> bytes:
    """Return a TIFF with two samples in three bytes. It is written as bytes, and then retagged."""
    bits = (grey[..., None] >> np.arange(11, -1, -1)) & 1
    packed = np.packbits(bits.reshape(len(grey), -1).astype(np.uint8), axis=1)
    buffer = io.BytesIO(written(packed, photometric="minisblack"))
    with tifffile.TiffFile(buffer, mode="r+") as file:
        tags = file.pages[0].tags
        tags["BitsPerSample"].overwrite(12)
        tags["ImageWidth"].overwrite(grey.shape[1])
    return buffer.getvalue()


def kinds(photo: Samples) -> Iterator[tuple[str, bytes, Samples]]:
    """Yield name, file and the picture in 8 bits, of a photo (H, W, 3) of 16 bits."""
    grey = photo[..., 1]
    planes = np.moveaxis(photo, 2, 0)
    with_alpha = np.stack([grey, np.full_like(grey, 65535)], axis=-1)
    colours, light = ((np.round(samples / 257)).astype(int) for samples in (photo, grey))
    yield "16-bit RGB, deflate, predictor", written(photo, compression="zlib", predictor=True), colours
    yield "16-bit grey from white", written(65535 - grey, photometric="miniswhite"), light
    yield "12-bit grey", of_12_bits(grey >> 4), np.round((grey >> 4).astype(int) * 255 / 4095).astype(int)
    for name, options in (("not packed", {}), ("deflate", {"compression": "zlib"})):
        data = written(planes, photometric="rgb", planarconfig="separate", **options)
        yield f"16-bit planes, {name}", data, colours
    big = written(planes, photometric="rgb", planarconfig="separate", byteorder=">")
    yield "16-bit planes, big-endian", big, colours
    yield (
        "16-bit grey with alpha",
        written(with_alpha, photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"]),
        light,
    )
    if HAS_IMAGECODECS:
        yield "16-bit RGB, LZW", written(photo, compression="lzw"), colours


def by_pillow(data: bytes) -> Samples:
    """Read with Pillow, and convert to 8 bits as anybody would."""
    with Image.open(io.BytesIO(data)) as image:
        samples = np.asarray(image)
        return np.round(samples / 257) if samples.dtype == np.uint16 else np.asarray(image.convert("RGB"))


def by_bincodec(data: bytes) -> Samples:
    """Read with the reader of the codec."""
    return images.load(data).pixels


def by_tifffile(data: bytes) -> Samples:
    """Read the samples, and apply by hand what their directory says about them."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        samples = page.asarray()
        if page.planarconfig == 2:
            samples = np.moveaxis(samples, 0, 2)
        samples = samples[..., 0] if page.extrasamples else samples
        fractions = samples / (2**page.bitspersample - 1)
        return np.round(255 * (1 - fractions if page.photometric == 0 else fractions))


def by_pyvips(data: bytes) -> Samples:
    """Read with pyvips and its own conversion to sRGB."""
    import pyvips

    image = pyvips.Image.new_from_buffer(data, "")
    return np.asarray(image.colourspace("srgb").numpy())


def readers() -> Iterator[tuple[str, tuple[str, ...], Callable[[bytes], Samples]]]:
    """Yield name, distributions and function of each installed library."""
    yield "Pillow", ("pillow",), by_pillow
    yield "bincodec", ("pillow",), by_bincodec
    both = ("tifffile", "imagecodecs") if HAS_IMAGECODECS else ("tifffile",)
    yield " and ".join(both), both, by_tifffile
    if importlib.util.find_spec("pyvips"):
        yield "pyvips", ("pyvips", "pyvips-binary", "cffi"), by_pyvips


def verdict(read: Callable[[bytes], Samples], data: bytes, expected: Samples) -> str:
    """Return one cell of the table."""
    try:
        found = read(data).astype(int)
    except Exception:
        return "refused"
    if found.ndim == 3:
        found = found[..., 0] if expected.ndim == 2 else found[..., :3]
    if found.shape != expected.shape:
        return "wrong shape"
    error = np.abs(found - expected)
    return "right" if error.max() <= 1 else f"wrong by {error.mean():.0f}"


def megabytes(distributions: tuple[str, ...]) -> float:
    """Return the size on disk of installed distributions, in megabytes."""
    files = [file for name in distributions for file in importlib.metadata.files(name) or ()]
    return sum(file.size or 0 for file in files) / 1e6


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    logging.disable()
    photo = skimage.data.astronaut()[:SIDE, :SIDE].astype(np.uint16) * 257
    photo = np.minimum(photo.astype(np.int64) + np.arange(SIDE)[:, None], 65535).astype(np.uint16)
    there = list(readers())
    print("| | " + " | ".join(name for name, _, _ in there) + " |")
    print("| --- |" + " --- |" * len(there))
    for name, data, expected in kinds(photo):
        print(f"| {name} | " + " | ".join(verdict(read, data, expected) for _, _, read in there) + " |")
    large = written(np.tile(photo, (47, 63, 1)), compression="zlib", rowsperstrip=64)
    seconds = []
    for _, _, read in there:
        start = time.perf_counter()
        verdict(read, large, photo)
        seconds.append(f"{time.perf_counter() - start:.1f}")
    print("| seconds | " + " | ".join(seconds) + " |")
    print("| megabytes | " + " | ".join(f"{megabytes(names):.0f}" for _, names, _ in there) + " |")
    print(
        f"\nsimplejpeg, which tells of damaged JPEG scans, takes {megabytes(('simplejpeg',)):.1f} megabytes."
    )


if __name__ == "__main__":
    main()
