"""Convert images of any Pillow mode to 8-bit grey or RGB, and to sRGB if the caller asks for it.

A grey image stays grey. As a rule, pixels keep their values, and the colour profile beside them says what the
values mean. CMYK and linear samples, which are proportional to light, are always converted
(docs/decisions/0019 and 0022). Every change of samples or colours leaves a note for the user.
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

SAME_COLOUR_LEVELS = 2
"""A profile that moves no colour of the test lattice by more levels than this is taken for sRGB itself."""
_CONVERTED_MODES = ("CMYK", "YCbCr", "HSV", "LAB")
# The tags of a profile that have no influence on colours.
_TEXT_TAGS = (b"cprt", b"desc", b"dmnd", b"dmdd", b"vued", b"targ", b"meta", b"tech", b"calt")
_MOST_SALVAGED = 2**22
_PROFILE_ERRORS = (ImageCms.PyCMSError, ImportError, OSError, ValueError, TypeError, AttributeError)


class Unrepresentable(Exception):
    """The image cannot be converted to 8-bit grey or RGB. The message says why."""


def to_plain(
    image: Image.Image, profile: bytes | None, notes: list[str], tag: Tag | None = None
) -> tuple[Image.Image, bytes | None]:
    """Return an image in mode L or RGB, and the profile that its pixels are for (None means sRGB).

    The given image has no transparency. If there is no `profile`, `tag` says what the colours mean. A profile
    that says the same is then made, and linear samples get the curve of sRGB. What the user should know is
    appended to `notes`.

    Raises:
        Unrepresentable: if 8-bit grey or RGB cannot hold the image.
    """
    if profile is not None or tag is None or image.mode == "CMYK":
        return _to_plain(image, profile, notes, None)
    curve, tag = tone(tag, notes)
    plain, _ = _to_plain(image, None, notes, curve)
    grey = plain.mode == "L"
    if tag is None or tag.space.is_srgb(grey=grey):
        return plain, None
    name = tag.space.name
    notes.append(f"the colours are {name} according to {tag.source}; a colour profile for them is added")
    return plain, spaces.profile(tag.space, grey=grey)


def tone(tag: Tag | None, notes: list[str]) -> tuple[Tone | None, Tag | None]:
    """Return the tone that turns linear samples into samples that 8 bits can hold, and the tag of the result.

    For samples that are not linear, the tone is None, and the tag is returned as it is.
    """
    if tag is None or not tag.space.is_nearly_linear:
        return None, tag
    notes.append(f"the samples are linear according to {tag.source}; they are converted to the curve of sRGB")
    return tag.space.to_srgb_curve, Tag(tag.source, tag.space.with_srgb_curve())


def problem(profile: bytes, mode: str) -> str | None:
    """Return why a profile cannot be used for an image of mode L or RGB, or None if it can be used."""
    try:
        space = ImageCms.ImageCmsProfile(BytesIO(profile)).profile.xcolor_space.strip()
    except _PROFILE_ERRORS as error:
        return f"the colour profile is damaged ({' '.join(str(error).split()) or type(error).__name__})"
    if space == "RGB" or (space == "GRAY" and mode == "L"):
        return None
    return f"the colour profile is for {space}, not for {'grey' if mode == 'L' else 'RGB'}"


def salvaged(begun: bytes) -> bytes | None:
    """Return a profile whose end is missing, filled up with zeros, or None if it cannot be used.

    It can be used if all tags that have an influence on colours are there.
    """
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
        notes.append(f"the image is converted from {plain.mode} to RGB")
    if plain.mode == "LAB":
        # Lab values name colours without a profile. A profile beside them is for paper or screens.
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
    """Return an image of mode L, RGB or CMYK in sRGB, converted through its profile.

    An image of mode L stays in mode L. The image is returned unchanged if the profile is sRGB, is broken or
    is for another colour space. Except for sRGB, `notes` then says so.
    """
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        # Grey images are often saved with the RGB profile of a screen. Its grey axis is what was meant.
        through = image.convert("RGB") if space == "RGB" and image.mode == "L" else image
        if {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(space) != through.mode:
            notes.append(f"the colour profile is for {space}, but the image is {image.mode}; it is ignored")
            return image
        transform = _to_srgb(source, through.mode)
        if through.mode != "CMYK" and _is_identity(transform, through.mode):
            return image
        converted = transform.apply(through)
    except _PROFILE_ERRORS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        notes.append(f"the colour profile is broken ({reason}); it is ignored")
        return image
    notes.append(f"the colours are converted from the profile {_name(source)!r} to sRGB")
    return converted.getchannel("G") if image.mode == "L" else converted


def foreign_name(profile: bytes, mode: str) -> str | None:
    """Return the name of a profile that shows mode L or RGB in other colours than sRGB does, else None."""
    before = Image.new(mode, (1, 1))
    notes: list[str] = []
    if to_srgb(before, profile, notes) is before:
        return None
    return _name(ImageCms.ImageCmsProfile(BytesIO(profile)))


def _to_8_bits(image: Image.Image, notes: list[str], curve: Tone | None = None) -> Image.Image:
    """Return an image of mode L, P, RGB or one of _CONVERTED_MODES, with 8 bits for each sample.

    Raises:
        Unrepresentable: for samples outside 0..65535, and for modes such as floating point.
    """
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
                f"it has samples from {low} to {high}, but only 0 to 65535 are supported: "
                "convert it to 8 or 16 bits first"
            )
            raise Unrepresentable(msg)
        notes.append(depth.reduced_note(16))
        return Image.fromarray(depth.to_8_bits(samples, 65535, curve))
    msg = f"it has pixels of Pillow's mode {mode!r}, which is not supported: convert it to 8-bit RGB first"
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
    """Return whether a transform to sRGB moves no colour of a lattice by more than SAME_COLOUR_LEVELS."""
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    if mode == "L":
        lattice = levels[None]
    else:
        lattice = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    before = Image.fromarray(np.ascontiguousarray(lattice))
    after = np.asarray(transform.apply(before), np.int16)
    return int(np.abs(after - np.asarray(before.convert("RGB"), np.int16)).max()) <= SAME_COLOUR_LEVELS
