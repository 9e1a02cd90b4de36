"""Colour: any Pillow mode to 8-bit sRGB, through its colour profile where it has one.

Grey stays grey. Nothing is dropped silently: a change of samples or colours leaves a note, and transparency
that shows is an error.
"""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

Pixels = NDArray[np.uint8]

# A profile that moves no colour of the test lattice further than this is sRGB under another name.
SAME_COLOUR_LEVELS = 2
_SIXTEEN_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N")
_CONVERTED_MODES = ("CMYK", "YCbCr", "HSV")


class Unrepresentable(Exception):
    """An image that 8-bit sRGB without transparency cannot hold."""


def to_srgb(image: Image.Image, notes: list[str]) -> tuple[Pixels, bool]:
    """Convert a decoded image to (H, W, 3) uint8 sRGB; the second result tells whether it is grey.

    Appends to `notes` what the user should know. Raises: Unrepresentable.
    """
    profile = image.info.get("icc_profile")
    opaque = _without_transparency(image)
    plain = _to_8_bits(opaque, notes)
    if plain.mode == "P":
        plain = plain.convert("RGB")
        pixels = np.asarray(plain)
        if (pixels == pixels[..., :1]).all():
            plain = plain.convert("L")
    if plain.mode in _CONVERTED_MODES:
        notes.append(f"{plain.mode} converted to RGB")
    grey = plain.mode == "L"
    if isinstance(profile, bytes) and profile:
        plain = _through_profile(plain, profile, notes)
    if plain.mode != "RGB":
        plain = plain.convert("RGB")
    pixels = np.array(plain)
    return (np.repeat(pixels[..., 1:2], 3, axis=2) if grey else pixels), grey


def _without_transparency(image: Image.Image) -> Image.Image:
    """The image less an alpha channel that is opaque everywhere."""
    if not image.has_transparency_data:
        return image
    key = image.info.get("transparency")
    if image.mode in _SIXTEEN_BIT_MODES:
        visible = bool((np.asarray(image) == key).any())
    elif image.mode == "RGB" and isinstance(key, tuple) and max(key) > 255:
        # The key of a file with 16-bit samples, of which Pillow keeps the high byte.
        visible = bool((np.asarray(image) == np.array(key) >> 8).all(axis=2).any())
    else:
        visible = image.convert("RGBA").getchannel("A").getextrema() != (255, 255)
    if visible:
        msg = "has transparent pixels, which are not supported: flatten it onto a background first"
        raise Unrepresentable(msg)
    if image.mode in ("LA", "La"):
        return image.getchannel(0)
    if image.mode in ("RGBA", "RGBa", "PA", "P"):
        return image.convert("RGBA").convert("RGB")
    return image


def _to_8_bits(image: Image.Image, notes: list[str]) -> Image.Image:
    """Mode L, P, RGB or one of _CONVERTED_MODES, with 8 bits a sample."""
    mode = image.mode
    if mode in ("L", "P", "RGB", *_CONVERTED_MODES):
        return image
    if mode == "1":
        return image.convert("L")
    if mode == "RGBX":
        return image.convert("RGB")
    if mode in _SIXTEEN_BIT_MODES or mode == "I":
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


def _through_profile(image: Image.Image, profile: bytes, notes: list[str]) -> Image.Image:
    """Mode RGB in sRGB; the image as it is where the profile is sRGB, broken or of another colour space."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        if space == "RGB" and image.mode == "L":
            # Grey saved with the profile of a screen is common; the profile's grey axis is what was meant.
            image = image.convert("RGB")
        if {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(space) != image.mode:
            notes.append(f"colour profile ignored: it is for {space}, the image is {image.mode}")
            return image
        transform = ImageCms.ImageCmsTransform(
            source,
            ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
            image.mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        if image.mode != "CMYK" and _is_identity(transform, image.mode):
            return image
        converted = transform.apply(image)
    except (ImageCms.PyCMSError, ImportError, OSError, ValueError, TypeError, AttributeError) as error:
        notes.append(
            f"broken colour profile ignored ({' '.join(str(error).split()) or type(error).__name__})"
        )
        return image
    name = " ".join((source.profile.profile_description or "unnamed").split())
    notes.append(f"colours converted to sRGB from the profile {name!r}")
    return converted


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
