"""Images: Pillow files and objects to 8-bit sRGB arrays, and back.

What the codec cannot represent is either converted with a note (16 bits, CMYK, colour profiles) or refused
with an `ImageError` (transparent pixels, animations, floating point). The conversions themselves live in
`colour`. Needs no torch.
"""

import os
import threading
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError

from bincodec.bitstream.limits import DEFAULT_LIMITS, Limits, checked_limits
from bincodec.errors import ImageError, TooLarge
from bincodec.io import colour, files

Pixels = NDArray[np.uint8]
Source = files.Source | Image.Image | NDArray[Any]

# Only formats that hold photographs: Pillow also opens PostScript by starting Ghostscript, and containers
# whose header does not tell the size of what is inside.
READABLE = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "PPM", "AVIF", "JPEG2000", "QOI", "TGA")
# Extension -> Pillow's format and save options; JPEG is set to add little to the codec's own loss.
WRITABLE: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".webp": ("WEBP", {"lossless": True}),
    ".tif": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ".tiff": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ".bmp": ("BMP", {}),
    ".pgm": ("PPM", {}),
    ".ppm": ("PPM", {}),
}
# Pixels a side, where a format ends below what a file of ours may have.
MAX_SIDE = {"JPEG": 65500, "WEBP": 16383}
# Extensions of pictures that Pillow does not always know, if ever.
_OTHERS = (".avif", ".heic", ".heif", ".jp2", ".jxl", ".svg")

# Pillow warns about large images through the process-wide warning filters, which are not safe to change from
# two threads at once.
_warning_filters = threading.Lock()


@dataclass(frozen=True)
class Picture:
    """An image ready for the codec.

    Args:
        pixels: (height, width, 3) uint8, sRGB, contiguous and writable; the channels are equal where grey.
        grey: whether the source was a greyscale image.
        notes: one sentence for each change that the user should know of.
    """

    pixels: Pixels
    grey: bool
    notes: tuple[str, ...] = ()


def load(source: Source, *, limits: Limits = DEFAULT_LIMITS) -> Picture:
    """Read an image from a path, the bytes of a file, a binary stream, a Pillow image or an array.

    Arrays are (H, W, 3) for colour or (H, W) for grey, uint8. The Exif orientation is applied.

    Raises:
        Unreadable: for a path that the system does not let us read.
        ImageError: for what is no image, a damaged one, or one that cannot be represented.
        TooLarge: beyond `limits.pixels` or `limits.side`; a file's declared size is checked before decoding.
        TypeError: for a source of another type, or a stream of text.
    """
    checked_limits(limits)
    if isinstance(source, np.ndarray):
        return _from_array(source, limits)
    if isinstance(source, Image.Image):
        return _from_image(source, "the image", limits)
    name = os.fspath(source) if isinstance(source, str | os.PathLike) else "the image"
    data = files.read(source)
    if not data:
        msg = f"{name}: empty, no image in it"
        raise ImageError(msg)
    with _open(name, data, limits) as image:
        return _from_image(image, name, limits)


def to_image(pixels: Pixels, *, grey: bool = False) -> Image.Image:
    """A Pillow image of mode RGB, or of mode L where `grey` is set, from (H, W, 3) uint8 pixels."""
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if grey else pixels))


def check_writable(extension: str) -> None:
    """Raise ImageError for an extension that is not in WRITABLE, before any work goes into the image."""
    if extension.lower() not in WRITABLE:
        msg = f"cannot write images as {extension!r}: choose one of {', '.join(WRITABLE)}"
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


def encode(image: Image.Image, extension: str, texts: Mapping[str, str] | None = None) -> bytes:
    """The bytes of an image file; `extension` (".png", ...) picks the format.

    `texts` by keyword (1..79 characters of Latin-1) go into a PNG; the other formats have no place for them.

    Raises:
        ImageError: for an extension that is not in WRITABLE, or an image that the format cannot hold.
    """
    check_size(extension, image.width, image.height)
    file_format, options = WRITABLE[extension.lower()]
    if texts and file_format == "PNG":
        options = options | {"pnginfo": _png_texts(texts)}
    buffer = BytesIO()
    try:
        image.save(buffer, format=file_format, **options)
    except (OSError, ValueError) as error:
        msg = f"cannot write {image.width} x {image.height} pixels as {file_format}: {_one_line(error)}"
        raise ImageError(msg) from error
    return buffer.getvalue()


def _png_texts(texts: Mapping[str, str]) -> PngImagePlugin.PngInfo:
    chunks = PngImagePlugin.PngInfo()
    for keyword, text in texts.items():
        chunks.add_text(keyword, text)
    return chunks


def save(image: Image.Image, destination: str | os.PathLike[str]) -> None:
    """Write an image file, atomically; the extension picks the format.

    Raises:
        ImageError: as `encode`.
        OSError: where the system refuses.
    """
    files.write(destination, encode(image, Path(destination).suffix))


def _from_array(array: NDArray[Any], limits: Limits) -> Picture:
    colourful = array.ndim == 3 and array.shape[2] == 3
    if array.dtype != np.uint8 or not (colourful or array.ndim == 2) or array.size == 0:
        msg = f"an array must be uint8 of shape (H, W, 3) or (H, W), not {array.dtype} of shape {array.shape}"
        raise ImageError(msg)
    _check_size("the array", array.shape[1], array.shape[0], limits)
    pixels = array if colourful else np.repeat(array[:, :, None], 3, axis=2)
    return Picture(np.require(pixels, requirements=["C", "W"]), grey=not colourful)


def _open(name: str, data: bytes, limits: Limits) -> Image.Image:
    """Parse an image's header; the pixels stay undecoded."""
    try:
        with _warning_filters, warnings.catch_warnings():
            # Sizes are checked below, against our own cap; above twice its own, Pillow raises.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            Image.init()
            image = Image.open(BytesIO(data), formats=[known for known in READABLE if known in Image.OPEN])
    except UnidentifiedImageError as error:
        msg = f"{name}: not an image in a known format ({', '.join(READABLE)})"
        raise ImageError(msg) from error
    except Image.DecompressionBombError as error:
        msg = f"{name}: {_one_line(error)} (Pillow's own cap; no option raises it)"
        raise TooLarge(msg) from error
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers let many types through on damaged input.
        raise _unreadable(name, error) from error
    _check_size(name, *image.size, limits)
    return image


def _check_size(name: str, width: int, height: int, limits: Limits) -> None:
    if width < 1 or height < 1:
        msg = f"{name}: no pixels ({width} x {height})"
        raise ImageError(msg)
    for field, value, limit in (
        ("side", max(width, height), limits.side),
        ("pixels", width * height, limits.pixels),
    ):
        if value > limit:
            msg = f"{name}: {width} x {height}: {value} is over the limit {field}={limit}"
            raise TooLarge(msg, option=field, value=value, limit=limit)


def _unreadable(name: str, error: Exception) -> ImageError:
    return ImageError(f"{name}: damaged or cut short: {_one_line(error)}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _from_image(image: Image.Image, name: str, limits: Limits) -> Picture:
    """Check, decode, convert and turn a Pillow image."""
    _check_size(name, *image.size, limits)
    notes: list[str] = []
    try:
        _refuse_several_pictures(image, notes)
        if _reduced_from_16_bits(image):
            notes.append("16-bit samples reduced to 8 bits")
        image.load()
        turn = _orientation(image, notes)
        pixels, grey = colour.to_srgb(image, notes)
    except colour.Unrepresentable as error:
        msg = f"{name}: {error}"
        raise ImageError(msg) from error
    except MemoryError:
        raise
    except Exception as error:  # As in _open.
        raise _unreadable(name, error) from error
    return Picture(np.ascontiguousarray(_turned(pixels, turn)), grey, tuple(notes))


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


def _orientation(image: Image.Image, notes: list[str]) -> int:
    """The Exif orientation, 1..8; 1 where there is none. TIFFs are turned by Pillow while it decodes them."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception as error:  # Exif is a TIFF inside the file, with the same wealth of ways to be broken.
        notes.append(f"broken Exif data ignored ({_one_line(error)})")
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _turned(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an Exif orientation: 5 to 8 swap rows and columns, then either may run backwards."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    flip_rows = orientation in (3, 4, 7, 8)
    flip_columns = orientation in (2, 3, 6, 7)
    return pixels[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
