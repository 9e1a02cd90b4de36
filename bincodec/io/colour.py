"""Colour: any Pillow mode to 8-bit grey or RGB, and through a colour profile to sRGB where that is asked for.

Grey stays grey. Pixels stay as they are, and mean what the colour profile beside them says; only CMYK is
converted in any case (docs/decisions/0019). Nothing is dropped silently: a change of samples or colours
leaves a note.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from bincodec.io.transparency import SIXTEEN_BIT_MODES

Pixels = NDArray[np.uint8]

# A profile that moves no colour of the test lattice further than this is sRGB under another name.
SAME_COLOUR_LEVELS = 2
_CONVERTED_MODES = ("CMYK", "YCbCr", "HSV")
_PROFILE_ERRORS = (ImageCms.PyCMSError, ImportError, OSError, ValueError, TypeError, AttributeError)


class Unrepresentable(Exception):
    """An image that 8-bit grey or RGB cannot hold."""


def to_plain(image: Image.Image, profile: bytes | None, notes: list[str]) -> tuple[Image.Image, bytes | None]:
    """An image without transparency in mode L or RGB, and the profile that its pixels are for.

    Appends to `notes` what the user should know. Raises: Unrepresentable.
    """
    plain = _to_8_bits(image, notes)
    if plain.mode == "P":
        plain = plain.convert("RGB")
        pixels = np.asarray(plain)
        if (pixels == pixels[..., :1]).all():
            plain = plain.getchannel("G")
    if plain.mode in _CONVERTED_MODES:
        notes.append(f"{plain.mode} converted to RGB")
    if plain.mode == "CMYK":
        converted = plain if profile is None else to_srgb(plain, profile, notes)
        return converted.convert("RGB"), None
    return (plain if plain.mode == "L" else plain.convert("RGB")), profile


def to_srgb(image: Image.Image, profile: bytes, notes: list[str]) -> Image.Image:
    """An image of mode L, RGB or CMYK in sRGB, through its profile.

    L stays L. The image is given back as it is where the profile is sRGB, broken or of another colour space;
    what is the case stands in `notes`, but for sRGB.
    """
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        # Grey saved with the profile of a screen is common; the profile's grey axis is what was meant.
        through = image.convert("RGB") if space == "RGB" and image.mode == "L" else image
        if {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(space) != through.mode:
            notes.append(f"colour profile ignored: it is for {space}, the image is {image.mode}")
            return image
        transform = _to_srgb(source, through.mode)
        if through.mode != "CMYK" and _is_identity(transform, through.mode):
            return image
        converted = transform.apply(through)
    except _PROFILE_ERRORS as error:
        notes.append(
            f"broken colour profile ignored ({' '.join(str(error).split()) or type(error).__name__})"
        )
        return image
    notes.append(f"colours converted to sRGB from the profile {_name(source)!r}")
    return converted.getchannel("G") if image.mode == "L" else converted


def foreign_name(profile: bytes, mode: str) -> str | None:
    """The name of a profile that shows an image of mode L or RGB otherwise than sRGB would, else None."""
    before = Image.new(mode, (1, 1))
    notes: list[str] = []
    if to_srgb(before, profile, notes) is before:
        return None
    return _name(ImageCms.ImageCmsProfile(BytesIO(profile)))


def _to_8_bits(image: Image.Image, notes: list[str]) -> Image.Image:
    """Mode L, P, RGB or one of _CONVERTED_MODES, with 8 bits a sample."""
    mode = image.mode
    if mode in ("L", "P", "RGB", *_CONVERTED_MODES):
        return image
    if mode == "1":
        return image.convert("L")
    if mode == "RGBX":
        return image.convert("RGB")
    if mode in SIXTEEN_BIT_MODES:
        samples = np.asarray(image).astype(np.int64)
        low, high = int(samples.min()), int(samples.max())
        if low < 0 or high > 65535:
            msg = (
                f"has samples from {low} to {high}, which are not supported: convert it to 8 or 16 bits first"
            )
            raise Unrepresentable(msg)
        notes.append("16-bit samples reduced to 8 bits")
        return Image.fromarray(((samples * 255 + 32767) // 65535).astype(np.uint8))
    msg = f"has pixels of Pillow's mode {mode!r}, which is not supported: convert it to 8-bit RGB first"
    raise Unrepresentable(msg)


def _to_srgb(source: ImageCms.ImageCmsProfile, mode: str) -> ImageCms.ImageCmsTransform:
    return ImageCms.ImageCmsTransform(
        source,
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )


def _name(profile: ImageCms.ImageCmsProfile) -> str:
    return " ".join((profile.profile.profile_description or "unnamed").split())


def _is_identity(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether a transform to sRGB leaves a lattice of colours where it was."""
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    if mode == "L":
        lattice = levels[None]
    else:
        lattice = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    before = Image.fromarray(np.ascontiguousarray(lattice))
    after = np.asarray(transform.apply(before), np.int16)
    return int(np.abs(after - np.asarray(before.convert("RGB"), np.int16)).max()) <= SAME_COLOUR_LEVELS
