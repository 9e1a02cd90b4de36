"""Samples of any depth to the 8 bits of the codec: rounded once, from all the bits that the file has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Samples: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]
Tone: TypeAlias = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""What becomes of colours 0..1 on their way to 8 bits; they stay within 0..1."""

REDUCED = "16-bit samples reduced to 8 bits"
_COLOURS = {"L": 1, "LA": 1, "RGB": 3, "RGBA": 3, "CMYK": 4}
# Of 16-bit PNG, as (mode, raw mode) of Pillow: the mode to read the high and the low bytes of each sample.
# The raw modes for either order of bytes each take one of the two; Pillow's own choice takes the high ones.
_RAW_MODES = {
    "RGB;16B": ("RGB", "RGB;16L"),
    "RGBA;16B": ("RGBA", "RGBA;16L"),
}
_GREY_AND_ALPHA = "LA;16B"
# Pixels at a time: tables and indices of many samples are wide.
_PORTION = 2**20


def to_8_bits(samples: NDArray[Any], maximum: int, tone: Tone | None = None) -> NDArray[np.uint8]:
    """Samples 0..maximum, of 16 bits at most, to 0..255, through `tone` if there is one, and rounded once."""
    fractions = np.arange(maximum + 1) / maximum
    table = np.round(255 * np.clip(fractions if tone is None else tone(fractions), 0, 1)).astype(np.uint8)
    result: NDArray[np.uint8] = table[np.minimum(samples, maximum)]
    return result


def reduced(samples: NDArray[Any], mode: str, maximum: int, tone: Tone | None) -> Image.Image:
    """A Pillow image of 8 bits from samples (H, W, C) for a mode; alpha is no colour and takes no `tone`."""
    count = _COLOURS[mode]
    colours = to_8_bits(samples[..., :count], maximum, tone)
    pixels = np.concatenate([colours, to_8_bits(samples[..., count:], maximum)], axis=2)
    return Image.fromarray(pixels[..., 0] if mode == "L" else pixels, mode)


def is_16_bit_png(image: Image.Image) -> bool:
    """Whether Pillow, decoding this PNG, would cut samples of 16 bits."""
    return image.format == "PNG" and _raw_mode(image) in (*_RAW_MODES, _GREY_AND_ALPHA)


def read_png(image: Image.Image, again: Image.Image, tone: Tone | None) -> Image.Image:
    """An undecoded 16-bit PNG with colours or alpha in 8 bits; `again` is the same file, opened anew.

    Pillow has no mode for these samples, so their high and low bytes are read one after the other.
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
    """Have the pixels of an undecoded PNG taken apart in another way."""
    tiles = []
    for tile in image.tile:  # type: ignore[attr-defined]
        # Named or not, by the version of Pillow: the raw mode comes last.
        changed = (*tile[:3], raw_mode)
        tiles.append(tile._make(changed) if hasattr(tile, "_make") else changed)
    image.tile = tiles  # type: ignore[attr-defined]


def _raw_mode(image: Image.Image) -> str:
    """How Pillow will take the first pixels apart; empty once they are decoded."""
    tiles = getattr(image, "tile", ())
    if not tiles:
        return ""
    arguments = tiles[0][3]
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def scale_key(image: Image.Image) -> None:
    """Bring the transparent value of an undecoded grey PNG of 2 or 4 bits to 8, as its pixels will be."""
    factor = {"L;2": 85, "L;4": 17}.get(_raw_mode(image))
    key = image.info.get("transparency")
    if image.format == "PNG" and factor and isinstance(key, int):
        image.info["transparency"] = key * factor
