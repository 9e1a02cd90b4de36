"""Image files to write: which formats there are, what each of them holds, and their bytes. Needs no torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from bincodec.errors import ImageError
from bincodec.io import files, metadata

# Extension -> Pillow's format and save options; JPEG is set to add little to the codec's own loss.
WRITABLE: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".webp": ("WEBP", {"lossless": True, "exact": True}),
    ".tif": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ".tiff": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ".bmp": ("BMP", {}),
    ".pgm": ("PPM", {}),
    ".ppm": ("PPM", {}),
}
WITH_ALPHA = ("PNG", "WEBP", "TIFF")
# Pixels a side, where a format ends below what a file of ours may have.
MAX_SIDE = {"JPEG": 65500, "WEBP": 16383}
# Extensions of pictures that Pillow does not always know, if ever.
_OTHERS = (".avif", ".heic", ".heif", ".jp2", ".jxl", ".svg")


def check_writable(extension: str) -> None:
    """Raise ImageError for an extension that is not in WRITABLE, before any work goes into the image."""
    if extension.lower() not in WRITABLE:
        msg = f"cannot write images as {extension!r}: choose one of {', '.join(WRITABLE)}"
        raise ImageError(msg)


def check_alpha(extension: str) -> None:
    """Raise ImageError for the extension of a format without transparency."""
    check_writable(extension)
    file_format, _ = WRITABLE[extension.lower()]
    if file_format not in WITH_ALPHA:
        msg = f"cannot write transparency as {file_format}: choose one of {', '.join(WITH_ALPHA)}"
        raise ImageError(msg)


def check_size(extension: str, width: int, height: int) -> None:
    """Raise ImageError for more pixels a side than the format holds, before any work goes into the image."""
    check_writable(extension)
    file_format, _ = WRITABLE[extension.lower()]
    most = MAX_SIDE.get(file_format)
    if most is not None and max(width, height) > most:
        msg = f"cannot write {width} x {height} pixels as {file_format}: it ends at {most} a side"
        raise ImageError(msg)


def is_of_pictures(extension: str) -> bool:
    """Whether an extension says that a file is a picture, in a format that can be written or in another."""
    return extension.lower() in (*WRITABLE, *_OTHERS, *Image.registered_extensions())


def encode(
    image: Image.Image,
    extension: str,
    texts: Mapping[str, str] | None = None,
    notes: list[str] | None = None,
) -> bytes:
    """The bytes of an image file; `extension` (".png", ...) picks the format.

    `texts` by keyword (1..79 characters of Latin-1) go into a PNG; the other formats have no place for them.
    The colour profile, Exif and XMP in `image.info` are written too, as far as the format holds them; what it
    does not hold is told in `notes`.

    Raises:
        ImageError: for an extension that is not in WRITABLE, or an image that the format cannot hold.
    """
    check_size(extension, image.width, image.height)
    if image.mode in ("LA", "RGBA"):
        check_alpha(extension)
    file_format, options = WRITABLE[extension.lower()]
    options = options | metadata.options(image, file_format, [] if notes is None else notes)
    if texts and file_format == "PNG":
        chunks = options.setdefault("pnginfo", PngImagePlugin.PngInfo())
        for keyword, text in texts.items():
            chunks.add_text(keyword, text)
    buffer = BytesIO()
    try:
        image.save(buffer, format=file_format, **options)
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        msg = f"cannot write {image.width} x {image.height} pixels as {file_format}: {reason}"
        raise ImageError(msg) from error
    return buffer.getvalue()


def save(image: Image.Image, destination: str | os.PathLike[str]) -> None:
    """Write an image file, atomically; the extension picks the format.

    Raises:
        ImageError: as `encode`.
        OSError: where the system refuses.
    """
    files.write(destination, encode(image, Path(destination).suffix))
