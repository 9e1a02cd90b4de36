"""Separate the transparency of a Pillow image, in any of its forms, as a plane of alpha, and put it back.

Alpha is uint8 (height, width), from 0 (clear) to 255 (opaque), or None if every pixel is opaque.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Plane = NDArray[np.uint8]

SIXTEEN_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_PREMULTIPLIED = {"RGBa": "RGBA", "La": "LA"}


def split(image: Image.Image) -> tuple[Image.Image, Plane | None]:
    """Return an image without its transparency, and its alpha.

    A palette image with transparent pixels becomes RGB, or L if all of its visible pixels are grey.
    """
    if not image.has_transparency_data:
        return image, None
    alpha = of(image)
    colours = _colours(image, alpha)
    return colours, None if alpha.min() == 255 else alpha


def joined(image: Image.Image, alpha: Plane) -> Image.Image:
    """Return an image of mode L or RGB with alpha, as mode LA or RGBA."""
    image = image.copy()
    image.putalpha(Image.fromarray(alpha))
    return image


def of(image: Image.Image) -> Plane:
    """Return the alpha of an image that has transparency data, uint8 (height, width)."""
    key = image.info.get("transparency")
    if image.mode in SIXTEEN_BIT_MODES:
        return _where_not(np.asarray(image) == key)
    if image.mode == "RGB" and isinstance(key, tuple) and max(key) > 255:
        # The key has 16 bits, but Pillow keeps only the high byte of the samples.
        return _where_not((np.asarray(image) == np.array(key) >> 8).all(axis=2))
    return np.array(image.convert(_PREMULTIPLIED.get(image.mode, "RGBA")).getchannel("A"))


def _where_not(clear: NDArray[np.bool_]) -> Plane:
    return np.where(clear, np.uint8(0), np.uint8(255))


def _colours(image: Image.Image, alpha: Plane) -> Image.Image:
    """Return the image in a mode that has no alpha."""
    mode = image.mode
    if mode in ("LA", "La"):
        return image.convert("LA").getchannel("L")
    if mode in ("RGBA", "RGBa"):
        return image.convert("RGBA").convert("RGB")
    if mode in ("PA", "P"):
        # Clear pixels may have any colour. The transparent entry of a GIF often has a bright one.
        colours = image.convert("RGBA").convert("RGB")
        pixels = np.asarray(colours)
        grey = ((pixels == pixels[..., :1]).all(axis=2) | (alpha == 0)).all()
        return colours.getchannel("G") if grey else colours
    return image
