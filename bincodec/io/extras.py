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
    return tuple(Extra(kind, payload) for kind, payload in extras.payloads(beside(picture), limits))


def beside(picture: Picture) -> extras.Extras:
    """What a picture has beside its colours."""
    return extras.Extras(picture.alpha, picture.icc, picture.exif, picture.xmp)


def has_alpha(kinds: Iterable[int]) -> bool:
    """Whether a file with extras of these kinds has alpha."""
    return extras.ALPHA in kinds


def restored(
    image: Image.Image, found: extras.Extras, region: tuple[int, int, int, int] | None = None
) -> Image.Image:
    """An image of mode L or RGB with what stands beside it: alpha as LA or RGBA, metadata in its `info`.

    `info` has "icc_profile", "exif" and "xmp" as Pillow has them for a file that it opens. If there is a
    `region` (left, top, width, height), the image is that part of the picture, and alpha is the picture's.
    """
    if found.alpha is not None:
        left, top, width, height = region or (0, 0, image.width, image.height)
        image = transparency.joined(image, found.alpha[top : top + height, left : left + width])
    image.info.update(in_info(found))
    return image


def in_info(found: extras.Extras) -> dict[str, bytes]:
    """Metadata by the names that Pillow gives it in the `info` of an image that it opens."""
    about = {
        "icc_profile": found.icc,
        "exif": None if found.exif is None else EXIF_PREFIX + found.exif,
        "xmp": found.xmp,
    }
    return {key: data for key, data in about.items() if data is not None}
