"""Load image files, Pillow images and arrays as 8-bit pixels, alpha and metadata.

An image that the codec cannot represent is either converted, with a note (16 bits, CMYK), or refused with an
`ImageError` (animations, floating point). `opening` opens files, and `writing` writes them. `colour`,
`transparency` and `metadata` convert the parts of an image. This module does not need torch.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bincodec.bitstream.extras import METADATA, TITLES
from bincodec.bitstream.limits import DEFAULT_LIMITS, Limits, checked_limits
from bincodec.errors import ImageError, TooLarge
from bincodec.io import colour, depth, files, metadata, opening, transparency
from bincodec.io.opening import Opened
from bincodec.io.spaces import ADOBE_RGB_IN_EXIF

Pixels = NDArray[np.uint8]

# The numbers of dimensions, and of samples for each pixel, that an array may have.
_ARRAYS = ((2, 1), (3, 2), (3, 3), (3, 4))

_STRIP_ROWS = 256


@dataclass(frozen=True, eq=False)
class Picture:
    """An upright image that is ready for the codec.

    Args:
        pixels: uint8 (height, width, 3), contiguous and writable. The three channels are equal if `grey`.
        grey: whether the source was a greyscale image.
        notes: one sentence for each change that the user should know of.
        alpha: uint8 (height, width), from 0 (clear) to 255 (opaque), or None if all pixels are opaque.
        icc: the ICC profile that says what the pixels mean, or None for sRGB.
        exif: the Exif data, from its TIFF header on, or None.
        xmp: the XMP packet, or None.
    """

    pixels: Pixels
    grey: bool
    notes: tuple[str, ...] = ()
    alpha: Pixels | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None

    @property
    def metadata(self) -> list[str]:
        """The names of the metadata that the picture has: "icc", "exif", "xmp"."""
        return [name for name in METADATA if getattr(self, name) is not None]


Source = files.Source | Image.Image | NDArray[Any] | Picture


def load(
    source: Source,
    *,
    limits: Limits = DEFAULT_LIMITS,
    srgb: bool = False,
    strip: Collection[str] = (),
    name: str | None = None,
) -> Picture:
    """Read an image from a path, the bytes of a file, a binary stream, a Pillow image or an array.

    An array is uint8: (H, W, 3) for colour, (H, W) for grey, (H, W, 4) or (H, W, 2) with alpha. The Exif
    orientation is applied. If `srgb` is set, the pixels are converted to sRGB through their colour profile.
    `strip` names the metadata that is left out: "icc", "exif", "xmp". To a `Picture`, only these two apply.
    Errors call the image `name`, or else by its path.

    Raises:
        Unreadable: if the system cannot read the path or the stream.
        ImageError: if the source is not an image, is damaged, or holds what 8-bit grey or RGB cannot.
        TooLarge: if the image is beyond `limits.pixels` or `limits.side`, or if metadata that is kept is
            beyond `limits.metadata_bytes`. The size that a file declares is checked before it is decoded.
        TypeError: if the source is of another type, or is a stream of text.
    """
    name = name or _name(source)
    picture = _load(name, source, checked_limits(limits), strip)
    if srgb:
        picture = _in_srgb(picture)
    picture = _stripped(picture, strip) if strip else picture
    if not isinstance(source, Picture):
        picture = _with_word_on_profile(picture)
    _check_metadata(name, picture, limits)
    return picture


def load_opaque(source: Source, *, name: str | None = None) -> Pixels:
    """Return the sRGB pixels of an image for measurements and training, uint8 (H, W, 3).

    Errors call it `name`, or else by its path.

    Raises:
        ImageError: if the image has transparent pixels. Other errors are those of `load`.
    """
    picture = load(source, srgb=True, name=name)
    if picture.alpha is not None:
        msg = f"{name or _name(source)}: it has transparent pixels: flatten it onto a background first"
        raise ImageError(msg)
    return picture.pixels


def to_image(pixels: Pixels, *, grey: bool = False) -> Image.Image:
    """Return uint8 pixels (H, W, 3) as a Pillow image of mode RGB, or of mode L if `grey` is set."""
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if grey else pixels))


def _name(source: Source) -> str:
    return os.fspath(source) if isinstance(source, str | os.PathLike) else "the image"


def _load(name: str, source: Source, limits: Limits, strip: Collection[str]) -> Picture:
    if isinstance(source, Picture):
        opening.check_size(name, source.pixels.shape[1], source.pixels.shape[0], limits)
        return source
    if isinstance(source, np.ndarray):
        return _from_array(source, limits)
    if isinstance(source, Image.Image):
        return _from_image(name, opening.of_image(name, source, limits), limits, strip)
    data = files.read(source)
    if not data:
        msg = f"{name}: the file is empty, so there is no image in it"
        raise ImageError(msg)
    opened = opening.opened(name, data, limits)
    with opened.image:
        return _from_image(name, opened, limits, strip)


def _in_srgb(picture: Picture) -> Picture:
    if picture.icc is None:
        return picture
    notes = [*picture.notes]
    image = colour.to_srgb(to_image(picture.pixels, grey=picture.grey), picture.icc, notes)
    return replace(picture, pixels=np.array(image.convert("RGB")), icc=None, notes=tuple(notes))


def _stripped(picture: Picture, names: Collection[str]) -> Picture:
    notes = picture.notes
    if "icc" in names and picture.icc is not None:
        name = colour.foreign_name(picture.icc, "L" if picture.grey else "RGB")
        if name is not None:
            note = f"the colour profile {name!r} is left out, so the colours will be taken for sRGB"
            notes = (*notes, note)
    return replace(
        picture,
        notes=notes,
        icc=None if "icc" in names else picture.icc,
        exif=None if "exif" in names else picture.exif,
        xmp=None if "xmp" in names else picture.xmp,
    )


def _with_word_on_profile(picture: Picture) -> Picture:
    """Add a note if the colour profile cannot be used. It is kept byte for byte even then."""
    problem = picture.icc and colour.problem(picture.icc, "L" if picture.grey else "RGB")
    if not problem:
        return picture
    note = f"{problem}; it is kept, and the colours will be taken for sRGB"
    return replace(picture, notes=(*picture.notes, note))


def _from_array(array: NDArray[Any], limits: Limits) -> Picture:
    samples = array.shape[2] if array.ndim == 3 else 1 if array.ndim == 2 else 0
    if array.dtype != np.uint8 or not array.size or (array.ndim, samples) not in _ARRAYS:
        msg = (
            "an array must be uint8 of shape (H, W), (H, W, 2), (H, W, 3) or (H, W, 4), "
            f"not {array.dtype} of shape {array.shape}"
        )
        raise ImageError(msg)
    opening.check_size("the array", array.shape[1], array.shape[0], limits)
    colours = array.reshape(*array.shape[:2], samples)
    alpha = None
    if samples in (2, 4):
        colours, alpha = colours[..., :-1], colours[..., -1].copy()
    pixels = colours if samples > 2 else np.repeat(colours, 3, axis=2)
    return Picture(
        np.require(pixels, requirements=["C", "W"]),
        grey=samples <= 2,
        alpha=None if alpha is None or alpha.min() == 255 else alpha,
    )


def _check_metadata(name: str, picture: Picture, limits: Limits) -> None:
    most = limits.metadata_bytes
    for field in picture.metadata:
        size = len(getattr(picture, field))
        if size > most:
            msg = (
                f"{name}: the {TITLES[field]} of {size} bytes is over the limit metadata_bytes={most} "
                f"(strip {field!r} leaves it out)"
            )
            raise TooLarge(msg, option="metadata_bytes", value=size, limit=most)


def _from_image(name: str, opened: Opened, limits: Limits, strip: Collection[str]) -> Picture:
    """Check, decode and convert a Pillow image, and turn it upright."""
    image, tag, notes = opened.image, opened.tag, [*opened.notes]
    opening.check_size(name, *image.size, limits)
    try:
        if not opened.chosen:
            _refuse_several_pictures(image, notes)
        if _reduced_from_16_bits(image):
            notes.append(depth.reduced_note(16))
        image.load()
        about = metadata.read(image)
        opaque, alpha = transparency.split(image)
        if tag is None and metadata.says_adobe_rgb(about.exif or b""):
            tag = ADOBE_RGB_IN_EXIF
        if opened.lost:
            _tell_lost_profile(opened.lost, tag is not None or "icc" in strip, notes)
        if image.info.get("icc_profile") == b"":
            notes.append("the colour profile is empty; it is left out")
        plain, profile = colour.to_plain(opaque, about.icc, notes, tag)
        pixels = _in_rgb(plain)
    except colour.Unrepresentable as error:
        msg = f"{name}: {error}"
        raise ImageError(msg) from error
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises errors of many types for damaged files.
        raise opening.unreadable(name, error) from error
    kept = metadata.upright(about)
    return Picture(
        _turned(pixels, about.orientation),
        plain.mode == "L",
        tuple(notes),
        None if alpha is None else _turned(alpha, about.orientation),
        profile,
        kept.exif,
        kept.xmp,
    )


def _in_rgb(plain: Image.Image) -> Pixels:
    """Return the pixels of an image of mode L or RGB, uint8 (H, W, 3).

    They are converted strip by strip. For a large picture as a whole, Pillow would make several copies at
    once.
    """
    width, height = plain.size
    result = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _STRIP_ROWS):
        strip = plain.crop((0, top, width, min(top + _STRIP_ROWS, height)))
        result[top : top + strip.height] = np.asarray(strip.convert("RGB"))
    return result


def _tell_lost_profile(lost: str, dispensable: bool, notes: list[str]) -> None:
    """Add a note that a profile is lost, or raise `Unrepresentable` if the colours are unknown without it."""
    if not dispensable:
        msg = f"{lost}, so the colours are not known (strip 'icc' takes them for sRGB)"
        raise colour.Unrepresentable(msg)
    notes.append(f"{lost}; it is left out")


def _refuse_several_pictures(image: Image.Image, notes: list[str]) -> None:
    if not getattr(image, "is_animated", False):
        return
    if image.format != "MPO":
        msg = "it holds an animation or several pages, which are not supported: extract one picture first"
        raise colour.Unrepresentable(msg)
    # Cameras append previews, depth maps and gain maps to a JPEG. The photograph comes first (CIPA DC-007).
    notes.append("the other pictures of the file (previews, depth, gain map) are left out")


def _reduced_from_16_bits(image: Image.Image) -> bool:
    """Return whether Pillow will drop bits of 16-bit samples while it decodes.

    Only the tile descriptors show this, and only before the image is decoded.
    """
    if image.mode.startswith("I"):
        return False
    for _, _, _, arguments, *_ in getattr(image, "tile", ()):
        values = arguments if isinstance(arguments, tuple) else (arguments,)
        raw_mode, maximum = str(values[0]), values[-1]
        # In other formats, such as BMP, ";16" is the number of bits of a whole pixel.
        if image.format in ("PNG", "TIFF") and ";16" in raw_mode:
            return True
        if image.format == "PPM" and isinstance(maximum, int) and maximum > 255:
            return True
    return False


def _turned(pixels: Pixels, orientation: int) -> Pixels:
    """Return contiguous pixels turned upright. Orientations 5 to 8 swap rows and columns first."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    flip_rows = orientation in (3, 4, 7, 8)
    flip_columns = orientation in (2, 3, 6, 7)
    return np.ascontiguousarray(pixels[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1])
