"""Alpha and metadata of a picture to chunks of a file, and from chunks back onto a Pillow image."""

from __future__ import annotations

from collections.abc import Iterable

from PIL import Image

from bincodec.bitstream import extras
from bincodec.bitstream.container import Ancillary
from bincodec.bitstream.extras import Chunk
from bincodec.bitstream.limits import DEFAULT_LIMITS, Limits
from bincodec.io import transparency
from bincodec.io.images import Picture
from bincodec.io.metadata import EXIF_PREFIX


def to_chunks(picture: Picture, limits: Limits = DEFAULT_LIMITS) -> tuple[Ancillary, ...]:
    """The chunks that hold what a picture has beside its colours; an opaque one without metadata has none.

    Raises:
        TooLarge: for metadata that a reader with these limits would refuse.
    """
    found = extras.Extras(picture.alpha, picture.icc, picture.exif, picture.xmp)
    return tuple(Ancillary(kind, payload) for kind, payload in extras.payloads(found, limits))


def has_alpha(chunks: Iterable[Chunk]) -> bool:
    """Whether one of the chunks holds alpha."""
    return any(chunk.kind == extras.ALPHA for chunk in chunks)


def restored(image: Image.Image, chunks: Iterable[Chunk], limits: Limits = DEFAULT_LIMITS) -> Image.Image:
    """An image of mode L or RGB with what the chunks hold: alpha as LA or RGBA, metadata in its `info`.

    `info` has "icc_profile", "exif" and "xmp" as Pillow has them for a file that it opens.

    Raises:
        Corrupt, TooLarge: as `bincodec.bitstream.extras.read`.
    """
    found = extras.read(chunks, image.width, image.height, limits)
    if found.alpha is not None:
        image = transparency.joined(image, found.alpha)
    about = {
        "icc_profile": found.icc,
        "exif": None if found.exif is None else EXIF_PREFIX + found.exif,
        "xmp": found.xmp,
    }
    image.info |= {key: data for key, data in about.items() if data is not None}
    return image
