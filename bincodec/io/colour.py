"""Colour: any Pillow mode to 8-bit grey or RGB, and through a colour profile to sRGB where that is asked for.

Grey stays grey. Pixels stay as they are, and mean what the colour profile beside them says; CMYK and samples
in proportion to light are converted in any case (docs/decisions/0019 and 0021). Nothing is dropped silently:
a change of samples or colours leaves a note.
"""

from __future__ import annotations

import struct
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from bincodec.io import depth, spaces
from bincodec.io.depth import Tone
from bincodec.io.spaces import Tag
from bincodec.io.transparency import SIXTEEN_BIT_MODES

Pixels = NDArray[np.uint8]

# A profile that moves no colour of the test lattice further than this is sRGB under another name.
SAME_COLOUR_LEVELS = 2
_CONVERTED_MODES = ("CMYK", "YCbCr", "HSV", "LAB")
# Tags of a profile that tell no colours.
_TEXT_TAGS = (b"cprt", b"desc", b"dmnd", b"dmdd", b"vued", b"targ", b"meta", b"tech", b"calt")
_MOST_SALVAGED = 2**22
_PROFILE_ERRORS = (ImageCms.PyCMSError, ImportError, OSError, ValueError, TypeError, AttributeError)


class Unrepresentable(Exception):
    """An image that 8-bit grey or RGB cannot hold."""


def to_plain(
    image: Image.Image, profile: bytes | None, notes: list[str], tag: Tag | None = None
) -> tuple[Image.Image, bytes | None]:
    """An image without transparency in mode L or RGB, and the profile that its pixels are for.

    Without a profile, `tag` tells the colours: one that says the same is made, and linear samples get the
    curve of sRGB. Appends to `notes` what the user should know. Raises: Unrepresentable.
    """
    if profile is not None or tag is None or image.mode == "CMYK":
        return _to_plain(image, profile, notes, None)
    curve, tag = tone(tag, notes)
    plain, _ = _to_plain(image, None, notes, curve)
    grey = plain.mode == "L"
    if tag is None or tag.space.is_srgb(grey=grey):
        return plain, None
    name = tag.space.name
    notes.append(f"colours are {name} (told by {tag.source}): a colour profile that says the same is added")
    return plain, spaces.profile(tag.space, grey=grey)


def tone(tag: Tag | None, notes: list[str]) -> tuple[Tone | None, Tag | None]:
    """What linear samples have to go through to be held by 8 bits, and the tag of what they are then."""
    if tag is None or not tag.space.is_nearly_linear:
        return None, tag
    notes.append(f"samples in proportion to light (told by {tag.source}) converted to the curve of sRGB")
    return tag.space.to_srgb_curve, Tag(tag.source, tag.space.with_srgb_curve())


def problem(profile: bytes, mode: str) -> str | None:
    """Why a profile does not tell the colours of an image of mode L or RGB, if it does not."""
    try:
        space = ImageCms.ImageCmsProfile(BytesIO(profile)).profile.xcolor_space.strip()
    except _PROFILE_ERRORS as error:
        return f"its colour profile is damaged ({' '.join(str(error).split()) or type(error).__name__})"
    if space == "RGB" or (space == "GRAY" and mode == "L"):
        return None
    return f"its colour profile is for {space}, not for {'grey' if mode == 'L' else 'RGB'}"


def salvaged(begun: bytes) -> bytes | None:
    """A profile of which the end is missing, filled up with zeros, if all that tells colours is there."""
    size = int.from_bytes(begun[:4], "big")
    if begun[36:40] != b"acsp" or not 132 <= size <= _MOST_SALVAGED:
        return None
    begun = begun[:size]
    count = int.from_bytes(begun[128:132], "big")
    if len(begun) < 132 + 12 * count:
        return None
    for entry in range(132, 132 + 12 * count, 12):
        start, length = struct.unpack_from(">II", begun, entry + 4)
        if begun[entry : entry + 4] not in _TEXT_TAGS and start + length > len(begun):
            return None
    whole = begun.ljust(size, b"\0")
    return whole if problem(whole, "RGB") is None else None


def _to_plain(
    image: Image.Image, profile: bytes | None, notes: list[str], curve: Tone | None
) -> tuple[Image.Image, bytes | None]:
    if image.mode in SIXTEEN_BIT_MODES:
        return _to_8_bits(image, notes, curve), profile
    plain = _to_8_bits(image, notes)
    if plain.mode == "P":
        plain = plain.convert("RGB")
        pixels = np.asarray(plain)
        if (pixels == pixels[..., :1]).all():
            plain = plain.getchannel("G")
    if plain.mode in _CONVERTED_MODES:
        notes.append(f"{plain.mode} converted to RGB")
    if plain.mode == "LAB":
        # Lab says all by itself: a profile beside it is one for paper or screens that it does not need.
        lab, srgb = (ImageCms.createProfile(name) for name in ("LAB", "sRGB"))
        transform = ImageCms.buildTransform(lab, srgb, "LAB", "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC)
        return transform.apply(plain), None
    if plain.mode == "CMYK":
        converted = plain if profile is None else to_srgb(plain, profile, notes)
        return converted.convert("RGB"), None
    plain = plain if plain.mode in ("L", "RGB") else plain.convert("RGB")
    if curve is not None:
        plain = Image.fromarray(depth.to_8_bits(np.asarray(plain), 255, curve))
    return plain, profile


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


def _to_8_bits(image: Image.Image, notes: list[str], curve: Tone | None = None) -> Image.Image:
    """Mode L, P, RGB or one of _CONVERTED_MODES, with 8 bits a sample."""
    mode = image.mode
    if mode in ("L", "P", "RGB", *_CONVERTED_MODES):
        return image
    if mode == "1":
        return image.convert("L")
    if mode == "RGBX":
        return image.convert("RGB")
    if mode in SIXTEEN_BIT_MODES:
        samples = np.asarray(image)
        low, high = int(samples.min()), int(samples.max())
        if low < 0 or high > 65535:
            msg = (
                f"has samples from {low} to {high}, which are not supported: convert it to 8 or 16 bits first"
            )
            raise Unrepresentable(msg)
        notes.append(depth.REDUCED)
        return Image.fromarray(depth.to_8_bits(samples, 65535, curve))
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
