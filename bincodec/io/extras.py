"""Turn the alpha and the metadata of a picture into extras of a file, and back."""

from __future__ import annotations

from collections.abc import Iterable

from PIL import Image

from bincodec.bitstream import extras
from bincodec.bitstream.container import Extra
from bincodec.bitstream.index import ALPHA
from bincodec.bitstream.limits import DEFAULT_LIMITS, Limits
from bincodec.io import transparency
from bincodec.io.images import Picture
from bincodec.io.metadata import EXIF_PREFIX


def to_extras(picture: Picture, limits: Limits = DEFAULT_LIMITS) -> tuple[Extra, ...]:
    """Return the extras that hold the alpha and the metadata of a picture; an empty tuple if it has neither.

    Raises:
        TooLarge: if a reader with these limits would refuse the metadata.
    """
    return tuple(Extra(kind, payload) for kind, payload in extras.payloads(beside(picture), limits))


def beside(picture: Picture) -> extras.Extras:
    """Return the alpha and the metadata of a picture."""
    return extras.Extras(picture.alpha, picture.icc, picture.exif, picture.xmp)


def has_alpha(kinds: Iterable[int]) -> bool:
    """Return whether a file with extras of these kinds has alpha."""
    return ALPHA in kinds


def restored(
    image: Image.Image, found: extras.Extras, region: tuple[int, int, int, int] | None = None
) -> Image.Image:
    """Return an image of mode L or RGB with its alpha, as LA or RGBA, and with its metadata in `info`.

    `info` gets "icc_profile", "exif" and "xmp" in the form that Pillow uses for files that it opens. If there
    is a `region` (left, top, width, height) in pixels, the image shows that part of the picture, and the same
    part is cut out of the alpha, which is that of the whole picture.
    """
    if found.alpha is not None:
        left, top, width, height = region or (0, 0, image.width, image.height)
        image = transparency.joined(image, found.alpha[top : top + height, left : left + width])
    image.info.update(in_info(found))
    return image


def in_info(found: extras.Extras) -> dict[str, bytes]:
    """Return the metadata under the names that Pillow uses in the `info` of an image that it opens."""
    about = {
        "icc_profile": found.icc,
        "exif": None if found.exif is None else EXIF_PREFIX + found.exif,
        "xmp": found.xmp,
    }
    return {key: data for key, data in about.items() if data is not None}
