"""Images: Pillow files and objects to 8-bit arrays, alpha and metadata.

What the codec cannot represent is either converted with a note (16 bits, CMYK) or refused with an
`ImageError` (animations, floating point). Files are opened in `opening`; what becomes of colours,
transparency and metadata stands in `colour`, `transparency` and `metadata`; files are written in `writing`.
Needs no torch.
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
from bincodec.io import colour, files, metadata, opening, transparency
from bincodec.io.opening import Opened
from bincodec.io.spaces import ADOBE_RGB_IN_EXIF

Pixels = NDArray[np.uint8]

# Dimensions and samples a pixel of an array.
_ARRAYS = ((2, 1), (3, 2), (3, 3), (3, 4))

_STRIP_ROWS = 256


@dataclass(frozen=True, eq=False)
class Picture:
    """An image ready for the codec, upright.

    Args:
        pixels: (height, width, 3) uint8, contiguous and writable; the channels are equal where grey.
        grey: whether the source was a greyscale image.
        notes: one sentence for each change that the user should know of.
        alpha: (height, width) uint8, from 0 (clear) to 255 (opaque); None where all of it is opaque.
        icc: the colour profile that says what the pixels mean; without one they are sRGB.
        exif: Exif, from its TIFF header on.
        xmp: an XMP packet.
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
        """The names of the metadata that is there."""
        return [name for name in METADATA if getattr(self, name) is not None]


Source = files.Source | Image.Image | NDArray[Any] | Picture


def load(
    source: Source,
    *,
    limits: Limits = DEFAULT_LIMITS,
    srgb: bool = False,
    strip: Collection[str] = (),
) -> Picture:
    """Read an image from a path, the bytes of a file, a binary stream, a Pillow image or an array.

    Arrays are uint8: (H, W, 3) for colour, (H, W) for grey, and with alpha (H, W, 4) or (H, W, 2). The Exif
    orientation is applied. With `srgb` the pixels are converted to sRGB through their colour profile. `strip`
    names the metadata that is left out: "icc", "exif", "xmp". A `Picture` is taken as it is, but for that.

    Raises:
        Unreadable: for a path that the system does not let us read.
        ImageError: for what is no image, a damaged one, or one that cannot be represented.
        TooLarge: beyond `limits.pixels` or `limits.side`; a file's declared size is checked before decoding.
            For metadata beyond `limits.metadata_bytes`, if it is not stripped.
        TypeError: for a source of another type, or a stream of text.
    """
    picture = _load(source, checked_limits(limits), strip)
    if srgb:
        picture = _in_srgb(picture)
    picture = _stripped(picture, strip) if strip else picture
    if not isinstance(source, Picture):
        picture = _with_word_on_profile(picture)
    _check_metadata(_name(source), picture, limits)
    return picture


def load_opaque(source: Source) -> Pixels:
    """The sRGB pixels (H, W, 3) of an image without transparency: what is measured.

    Raises:
        ImageError: for one with transparency, else as `load`.
    """
    picture = load(source, srgb=True)
    if picture.alpha is not None:
        msg = f"{_name(source)}: has transparent pixels: flatten it onto a background first"
        raise ImageError(msg)
    return picture.pixels


def to_image(pixels: Pixels, *, grey: bool = False) -> Image.Image:
    """A Pillow image of mode RGB, or of mode L where `grey` is set, from (H, W, 3) uint8 pixels."""
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if grey else pixels))


def _name(source: Source) -> str:
    return os.fspath(source) if isinstance(source, str | os.PathLike) else "the image"


def _load(source: Source, limits: Limits, strip: Collection[str]) -> Picture:
    if isinstance(source, Picture):
        opening.check_size("the image", source.pixels.shape[1], source.pixels.shape[0], limits)
        return source
    if isinstance(source, np.ndarray):
        return _from_array(source, limits)
    if isinstance(source, Image.Image):
        return _from_image("the image", opening.of_image("the image", source, limits), limits, strip)
    name, data = _name(source), files.read(source)
    if not data:
        msg = f"{name}: empty, no image in it"
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
            notes = (*notes, f"the colour profile {name!r} is left out: its colours will be taken for sRGB")
    return replace(
        picture,
        notes=notes,
        icc=None if "icc" in names else picture.icc,
        exif=None if "exif" in names else picture.exif,
        xmp=None if "xmp" in names else picture.xmp,
    )


def _with_word_on_profile(picture: Picture) -> Picture:
    """A profile is kept byte for byte even if nobody can make anything of it, but not without a word."""
    problem = picture.icc and colour.problem(picture.icc, "L" if picture.grey else "RGB")
    if not problem:
        return picture
    note = f"{problem}: it is kept, and the colours will be taken for sRGB"
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
                f"{name}: {TITLES[field]} of {size} bytes is over the limit metadata_bytes={most} "
                f"(strip {field!r} leaves it out)"
            )
            raise TooLarge(msg, option="metadata_bytes", value=size, limit=most)


def _from_image(name: str, opened: Opened, limits: Limits, strip: Collection[str]) -> Picture:
    """Check, decode, convert and turn a Pillow image."""
    image, tag, notes = opened.image, opened.tag, [*opened.notes]
    opening.check_size(name, *image.size, limits)
    try:
        if not opened.chosen:
            _refuse_several_pictures(image, notes)
        if _reduced_from_16_bits(image):
            notes.append("16-bit samples reduced to 8 bits")
        image.load()
        about = metadata.read(image)
        opaque, alpha = transparency.split(image)
        if tag is None and metadata.says_adobe_rgb(about.exif or b""):
            tag = ADOBE_RGB_IN_EXIF
        if opened.lost:
            _tell_lost_profile(opened.lost, tag is not None or "icc" in strip, notes)
        if image.info.get("icc_profile") == b"":
            notes.append("its colour profile is empty, and left out")
        plain, profile = colour.to_plain(opaque, about.icc, notes, tag)
        pixels = _in_rgb(plain)
    except colour.Unrepresentable as error:
        msg = f"{name}: {error}"
        raise ImageError(msg) from error
    except MemoryError:
        raise
    except Exception as error:  # As in opening.opened.
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
    """The pixels of an image of mode L or RGB.

    They are taken strip by strip: for a large picture as a whole, Pillow would make several copies at once.
    """
    width, height = plain.size
    result = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _STRIP_ROWS):
        strip = plain.crop((0, top, width, min(top + _STRIP_ROWS, height)))
        result[top : top + strip.height] = np.asarray(strip.convert("RGB"))
    return result


def _tell_lost_profile(lost: str, dispensable: bool, notes: list[str]) -> None:
    """Without its profile, a picture would have other colours than it was made with."""
    if not dispensable:
        msg = f"{lost}, so its colours are not known (strip 'icc' takes them for sRGB)"
        raise colour.Unrepresentable(msg)
    notes.append(f"{lost}, and left out")


def _refuse_several_pictures(image: Image.Image, notes: list[str]) -> None:
    if not getattr(image, "is_animated", False):
        return
    if image.format != "MPO":
        msg = "holds an animation or several pages, which are not supported: extract one picture first"
        raise colour.Unrepresentable(msg)
    # Cameras append previews, depth and gain maps to a JPEG; the photograph comes first (CIPA DC-007).
    notes.append("the other pictures of the file (previews, depth, gain map) are left out")


def _reduced_from_16_bits(image: Image.Image) -> bool:
    """Whether Pillow will cut 16-bit samples while it decodes: only the tile descriptors still tell."""
    if image.mode.startswith("I"):
        return False
    for _, _, _, arguments, *_ in getattr(image, "tile", ()):
        values = arguments if isinstance(arguments, tuple) else (arguments,)
        raw_mode, maximum = str(values[0]), values[-1]
        # Elsewhere, as in BMP, ";16" is the bits of a whole pixel.
        if image.format in ("PNG", "TIFF") and ";16" in raw_mode:
            return True
        if image.format == "PPM" and isinstance(maximum, int) and maximum > 255:
            return True
    return False


def _turned(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an Exif orientation: 5 to 8 swap rows and columns, then either may run backwards; contiguous."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    flip_rows = orientation in (3, 4, 7, 8)
    flip_columns = orientation in (2, 3, 6, 7)
    return np.ascontiguousarray(pixels[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1])
