"""Every cap that bounds the work and memory a file can ask for (FORMAT, "Limits")."""

from dataclasses import dataclass

PIXELS = 64 * 2**20
"""64 Mpx: larger than the sensors of today's cameras; a reader then stays within a few gigabytes."""

SIDE = 65535
"""The longest edge that JPEG can express, hence what other software expects an image to fit in."""

ANCILLARY_BYTES = 2**24
"""16 MiB of colour profile, Exif, XMP and the like, as they stand in the file, all together."""

METADATA_BYTES = 2**22
"""4 MiB each of unpacked colour profile, Exif and XMP: no camera's reach it, and a reader notices nothing."""


@dataclass(frozen=True)
class Limits:
    """What a reader accepts; a file beyond it raises `TooLarge`, which names the field to raise.

    Args:
        pixels: width times height.
        side: width and height, each.
        ancillary_bytes: bytes in the file of all data that a reader may ignore, together.
        metadata_bytes: bytes of the colour profile, of Exif and of XMP, each, once they are unpacked.

    Example:
        >>> import bincodec, numpy
        >>> small = bincodec.Limits(pixels=1000)
        >>> try:
        ...     bincodec.compress(numpy.zeros((32, 48, 3), numpy.uint8), limits=small)
        ... except bincodec.TooLarge as error:
        ...     print(error.option, error.value, error.limit)
        pixels 1536 1000
    """

    pixels: int = PIXELS
    side: int = SIDE
    ancillary_bytes: int = ANCILLARY_BYTES
    metadata_bytes: int = METADATA_BYTES


DEFAULT_LIMITS = Limits()
"""What a reader accepts if it is not told otherwise."""

WRITING_LIMITS = Limits(pixels=SIDE**2)
"""What a writer accepts: any number of pixels."""


def checked_limits(limits: object) -> Limits:
    """`limits`, if they are some; a plain number of pixels, or None, is a mistake that would show much later.

    Raises:
        TypeError: for anything else.
    """
    if not isinstance(limits, Limits):
        msg = f"limits must be a Limits, not {type(limits).__name__}"
        raise TypeError(msg)
    return limits
