"""The limits of the work and memory that a file can demand (FORMAT, "Limits")."""

from dataclasses import dataclass

PIXELS = 64 * 2**20
"""64 megapixels, more than most cameras have. With this limit, a reader needs a few gigabytes at most."""

SIDE = 65535
"""The longest side that JPEG can express. Other software expects images to stay within it."""

ANCILLARY_BYTES = 2**24
"""16 MiB for colour profile, Exif, XMP and the like together, as they are stored in the file."""

METADATA_BYTES = 2**22
"""4 MiB each for the unpacked colour profile, Exif and XMP. This is little memory, and cameras write less."""


@dataclass(frozen=True)
class Limits:
    """The largest file that a reader accepts. A larger one raises `TooLarge`, which names the field to raise.

    Args:
        pixels: the largest width times height.
        side: the largest width, and the largest height.
        ancillary_bytes: the most bytes in the file for all data together that a reader may ignore.
        metadata_bytes: the most bytes for each of colour profile, Exif and XMP once it is unpacked.

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
"""The default limits of a reader."""

WRITING_LIMITS = Limits(pixels=SIDE**2)
"""The limits of a writer in Python. Only the sides are limited. Image files also have Pillow's limit."""


def checked_limits(limits: object) -> Limits:
    """Return `limits` if it is a `Limits`. Without this check, a plain number would fail only much later.

    Raises:
        TypeError: if it is anything else.
    """
    if not isinstance(limits, Limits):
        msg = f"limits must be a Limits, not {type(limits).__name__}"
        raise TypeError(msg)
    return limits
