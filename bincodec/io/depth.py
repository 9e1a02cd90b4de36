"""Reduce samples of any depth to the 8 bits of the codec.

Each sample is rounded only once, from all the bits that the file has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Samples: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]
Tone: TypeAlias = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""A function that is applied to colours on their way to 8 bits. It maps 0..1 to 0..1."""

_COLOURS = {"L": 1, "LA": 1, "RGB": 3, "RGBA": 3, "CMYK": 4}
# For Pillow's raw modes of 16-bit PNG files: the mode of the image, and the raw mode that reads low bytes.
# There are raw modes for two orders of bytes. One of them reads the high byte of each sample, the other one
# the low byte. Pillow itself chooses the one for high bytes.
_RAW_MODES = {
    "RGB;16B": ("RGB", "RGB;16L"),
    "RGBA;16B": ("RGBA", "RGBA;16L"),
}
_GREY_AND_ALPHA = "LA;16B"
# The number of pixels that are converted at once. An index into a table takes eight bytes for each sample.
_PORTION = 2**20


def reduced_note(bits: int) -> str:
    """Return the note that samples of `bits` bits were reduced to 8 bits."""
    return f"the {bits}-bit samples are reduced to 8 bits"


def to_8_bits(samples: NDArray[Any], maximum: int, tone: Tone | None = None) -> NDArray[np.uint8]:
    """Return samples 0..maximum (at most 65535) as uint8 samples 0..255. `tone` is applied if given."""
    fractions = np.arange(maximum + 1) / maximum
    table = np.round(255 * np.clip(fractions if tone is None else tone(fractions), 0, 1)).astype(np.uint8)
    result: NDArray[np.uint8] = table[np.minimum(samples, maximum)]
    return result


def reduced(samples: NDArray[Any], mode: str, maximum: int, tone: Tone | None) -> Image.Image:
    """Return samples (H, W, C) in 0..maximum as an 8-bit Pillow image of `mode`. `tone` skips the alpha."""
    count = _COLOURS[mode]
    colours = to_8_bits(samples[..., :count], maximum, tone)
    pixels = np.concatenate([colours, to_8_bits(samples[..., count:], maximum)], axis=2)
    return Image.fromarray(pixels[..., 0] if mode == "L" else pixels, mode)


def is_16_bit_png(image: Image.Image) -> bool:
    """Return whether this is a PNG with 16-bit samples of which Pillow would decode only the high bytes."""
    return image.format == "PNG" and _raw_mode(image) in (*_RAW_MODES, _GREY_AND_ALPHA)


def read_png(image: Image.Image, again: Image.Image, tone: Tone | None) -> Image.Image:
    """Return the image of a 16-bit PNG with colours or alpha, reduced to 8 bits.

    `image` is not decoded yet, and `again` is the same file, opened a second time. Pillow has no mode for
    these samples, so their high and low bytes are read separately.
    """
    raw_mode = _raw_mode(image)
    key = image.info.get("transparency")
    if raw_mode == _GREY_AND_ALPHA:
        mode, low = "LA", ""
        _read_as(image, "RGBA")
    else:
        mode, low = _RAW_MODES[raw_mode]
        _read_as(again, low)
    keyed = mode == "RGB" and isinstance(key, tuple)
    result = Image.new("RGBA" if keyed else mode, image.size)
    rows = max(1, _PORTION // image.width)
    for top in range(0, image.height, rows):
        part = (0, top, image.width, min(top + rows, image.height))
        high = np.asarray(image.crop(part)).astype(np.uint16)
        samples = _joined(high, again.crop(part)) if low else high[..., ::2] << 8 | high[..., 1::2]
        if keyed:
            alpha = np.where((samples == key).all(axis=2), 0, 65535).astype(np.uint16)
            samples = np.concatenate([samples, alpha[..., None]], axis=2)
        result.paste(reduced(samples, result.mode, 65535, tone), (0, top))
    result.info = {name: value for name, value in image.info.items() if name != "transparency"}
    return result


def _joined(high: NDArray[np.uint16], low: Image.Image) -> NDArray[np.uint16]:
    both: NDArray[np.uint16] = high << 8 | np.asarray(low)
    return both


def _read_as(image: Image.Image, raw_mode: str) -> None:
    """Let Pillow decode the pixels of an undecoded PNG with another raw mode."""
    tiles = []
    for tile in image.tile:  # type: ignore[attr-defined]
        # Some versions of Pillow have named tuples here. The raw mode is the last entry in all of them.
        changed = (*tile[:3], raw_mode)
        tiles.append(tile._make(changed) if hasattr(tile, "_make") else changed)
    image.tile = tiles  # type: ignore[attr-defined]


def _raw_mode(image: Image.Image) -> str:
    """Return the raw mode with which Pillow will decode the first pixels, or "" if they are decoded."""
    tiles = getattr(image, "tile", ())
    if not tiles:
        return ""
    arguments = tiles[0][3]
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def scale_key(image: Image.Image) -> None:
    """Scale the transparent value of an undecoded grey PNG of 2 or 4 bits to 8 bits, like its pixels."""
    factor = {"L;2": 85, "L;4": 17}.get(_raw_mode(image))
    key = image.info.get("transparency")
    if image.format == "PNG" and factor and isinstance(key, int):
        image.info["transparency"] = key * factor
