"""Alpha and metadata of a picture to extras of a file, and from there back onto a Pillow image."""

from __future__ import annotations

from collections.abc import Iterable

from PIL import Image

from bincodec.bitstream import extras
from bincodec.bitstream.container import Extra
from bincodec.bitstream.limits import DEFAULT_LIMITS, Limits
from bincodec.io import transparency
from bincodec.io.images import Picture
from bincodec.io.metadata import EXIF_PREFIX


def to_extras(picture: Picture, limits: Limits = DEFAULT_LIMITS) -> tuple[Extra, ...]:
    """The extras that hold what a picture has beside its colours; an opaque one without metadata has none.

    Raises:
        TooLarge: for metadata that a reader with these limits would refuse.
    """
    found = extras.Extras(picture.alpha, picture.icc, picture.exif, picture.xmp)
    return tuple(Extra(kind, payload) for kind, payload in extras.payloads(found, limits))


def has_alpha(kinds: Iterable[int]) -> bool:
    """Whether a file with extras of these kinds has alpha."""
    return extras.ALPHA in kinds


def restored(
    image: Image.Image,
    held: Iterable[Extra],
    size: tuple[int, int],
    region: tuple[int, int, int, int] | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Image.Image:
    """An image of mode L or RGB with what its file holds beside: alpha as LA or RGBA, metadata in its `info`.

    `size` is the width and height of the whole picture, of which the image is the `region` (left, top, width,
    height), if there is one.

    `info` has "icc_profile", "exif" and "xmp" as Pillow has them for a file that it opens.

    Raises:
        Corrupt, TooLarge: as `bincodec.bitstream.extras.read`.
    """
    found = extras.read(held, *size, limits)
    if found.alpha is not None:
        left, top, width, height = region or (0, 0, *size)
        image = transparency.joined(image, found.alpha[top : top + height, left : left + width])
    about = {
        "icc_profile": found.icc,
        "exif": None if found.exif is None else EXIF_PREFIX + found.exif,
        "xmp": found.xmp,
    }
    image.info |= {key: data for key, data in about.items() if data is not None}
    return image
