"""Write image files: the formats, what each of them can hold, and their bytes.

This module does not need torch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from bincodec.errors import ImageError
from bincodec.io import files, metadata

# Extension -> Pillow's format and save options. The quality of JPEG is high, so that it adds little to the
# loss of the codec.
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
_ONLY_GREY = ".pgm"
# The most pixels on a side, for formats that hold fewer than a .bld file.
MAX_SIDE = {"JPEG": 65500, "WEBP": 16383}
# Extensions of pictures that not every Pillow knows.
_OTHERS = (".avif", ".heic", ".heif", ".jp2", ".jxl", ".svg")


def check_writable(extension: str) -> None:
    """Raise ImageError if an extension is not in WRITABLE. This is checked before an image is computed."""
    if extension.lower() not in WRITABLE:
        msg = f"cannot write images as {extension!r}: choose one of {', '.join(WRITABLE)}"
        raise ImageError(msg)


def check_alpha(extension: str) -> None:
    """Raise ImageError if an extension is that of a format without transparency."""
    check_writable(extension)
    file_format, _ = WRITABLE[extension.lower()]
    if file_format not in WITH_ALPHA:
        msg = f"{file_format} cannot hold transparency: choose one of {', '.join(WITH_ALPHA)}"
        raise ImageError(msg)


def check_colour(extension: str, *, grey: bool) -> None:
    """Raise ImageError if a picture is not grey, and an extension is that of a format for grey pictures."""
    if not grey and extension.lower() == _ONLY_GREY:
        msg = f"cannot write a picture in colour as {_ONLY_GREY}: choose .ppm"
        raise ImageError(msg)


def check_size(extension: str, width: int, height: int) -> None:
    """Raise ImageError if a side has more pixels than the format holds, before an image is computed."""
    check_writable(extension)
    file_format, _ = WRITABLE[extension.lower()]
    most = MAX_SIDE.get(file_format)
    if most is not None and max(width, height) > most:
        msg = f"cannot write {width} x {height} pixels as {file_format}: the limit is {most} pixels on a side"
        raise ImageError(msg)


def is_of_pictures(extension: str) -> bool:
    """Return whether an extension is that of a picture, in a format that can be written or another one."""
    return extension.lower() in (*WRITABLE, *_OTHERS, *Image.registered_extensions())


def encode(
    image: Image.Image,
    extension: str,
    texts: Mapping[str, str] | None = None,
    notes: list[str] | None = None,
) -> bytes:
    """Return the bytes of an image file. The extension (".png", ...) selects the format.

    `texts` are written into a PNG, by keyword (1..79 characters of Latin-1). Other formats have no place for
    them. The colour profile, Exif and XMP in `image.info` are written if the format can hold them. If it
    cannot, `notes` says so.

    Raises:
        ImageError: if the extension is not in WRITABLE, or if the format cannot hold the image.
    """
    check_size(extension, image.width, image.height)
    check_colour(extension, grey=image.mode in ("1", "L", "LA"))
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
    """Write an image file as a whole or not at all. The extension of `destination` selects the format.

    Raises:
        ImageError: as `encode`.
        OSError: if the system cannot write the file.
    """
    files.write(destination, encode(image, Path(destination).suffix))
