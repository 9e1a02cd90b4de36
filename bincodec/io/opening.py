"""Open image files with Pillow, and add what Pillow does not show or reads wrongly.

Only formats for photographs are opened. Pillow would also open PostScript, for which it starts Ghostscript,
and containers whose header does not say how large the image inside is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO

from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from bincodec.bitstream.header import MAGIC
from bincodec.bitstream.limits import Limits
from bincodec.errors import BincodecError, ImageError, TooLarge
from bincodec.io import boxes, colour, depth, embedded, jpeg, metadata, png, spaces, streams, tiff, tiff_pages
from bincodec.io.silence import silence
from bincodec.io.spaces import Tag

READABLE = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "PPM", "AVIF", "JPEG2000", "QOI", "TGA")

_JPEG_OF_SEVERAL = "MPO"
"""What Pillow calls a JPEG that has more pictures behind the photograph. It opens both as JPEG."""


@dataclass
class Opened:
    """An open image file, and what is known about it.

    Args:
        image: Pillow's image. Its pixels are not decoded yet, unless Pillow would decode them wrongly. Its
            `info` has the colour profile and XMP.
        tag: what the file says about its colours if it has no profile, or None.
        lost: what is wrong with a profile that cannot be used, or None.
        notes: one sentence for each change that the user should know of.
        chosen: whether the image is the picture that was chosen among several pages.
    """

    image: Image.Image
    tag: Tag | None = None
    notes: list[str] = field(default_factory=list)
    chosen: bool = False
    lost: str | None = None


def opened(name: str, data: bytes, limits: Limits) -> Opened:
    """Open the image file with the bytes `data`. Errors call it `name`.

    Raises:
        ImageError: if it is not an image, is damaged, or is not supported.
        TooLarge: if it is beyond the limits. The size that it declares is checked before it is decoded.
    """
    try:
        for knows, read in _READERS:
            if knows(data):
                return read(name, data, limits)
        return Opened(_by_pillow(name, data, limits))
    except (tiff_pages.Unsupported, spaces.Unknown) as error:
        reason = f"it names {error}" if isinstance(error, spaces.Unknown) else error
        msg = f"{name}: {reason}"
        raise ImageError(msg) from error
    except Image.DecompressionBombError as error:
        msg = f"{name}: {one_line(error)} (this is Pillow's own limit, PIL.Image.MAX_IMAGE_PIXELS)"
        raise TooLarge(msg) from error
    except (BincodecError, MemoryError):
        raise
    except Exception as error:  # Pillow raises errors of many types for damaged files.
        raise unreadable(name, error) from error


def is_readable(pillow_format: str | None) -> bool:
    """Return whether files of a format, by the name that Pillow has for it, are opened."""
    return pillow_format == _JPEG_OF_SEVERAL or pillow_format in READABLE


def of_image(name: str, image: Image.Image, limits: Limits) -> Opened:
    """Return what is known about a Pillow image.

    If the image was opened from a file and not changed since, this is all that its file says. Otherwise, or
    if the file has a format that is not opened here, it is what Pillow says.

    Raises:
        ImageError: as `opened`, and if Pillow has decoded the samples of a TIFF wrongly.
        TooLarge: as `opened`.
    """
    data = _untouched(image)
    if data is not None:
        return opened(name, data, limits)
    require_decoded_rightly(name, image)
    return Opened(image)


def require_decoded_rightly(name: str, image: Image.Image) -> None:
    """Raise `ImageError` if an image is a TIFF whose samples Pillow decodes wrongly."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return
    try:
        rightly = tiff_pages.is_decoded_rightly(image)
    except (OSError, TypeError, ValueError, KeyError):  # The directory is damaged, but the pixels are there.
        return
    if not rightly:
        msg = f"{name}: Pillow decodes these TIFF samples wrongly: give the file, as a path or bytes, instead"
        raise ImageError(msg)


def _untouched(image: Image.Image) -> bytes | None:
    """Return the bytes of the readable file of an image that is as `Image.open` gave it, or None."""
    if not isinstance(image, ImageFile.ImageFile) or not image.tile or image.fp is None:
        return None
    if not is_readable(image.format):
        return None
    known = "JPEG" if image.format == _JPEG_OF_SEVERAL else str(image.format)
    try:
        place = image.fp.tell()
        image.fp.seek(0)
        data = streams.read_on(image.fp)
        image.fp.seek(place)
        with silence():
            fresh = Image.open(BytesIO(data), formats=[known])
    except (OSError, ValueError, SyntaxError, BincodecError, Image.DecompressionBombError):
        return None
    same = fresh.size == image.size and fresh.mode == image.mode and fresh.info == image.info
    return data if same and getattr(image, "tell", int)() == 0 else None


def check_size(name: str, width: int, height: int, limits: Limits) -> None:
    """Check the width and height of a picture in pixels. Errors call it `name`.

    Raises:
        ImageError: if it has no pixels.
        TooLarge: if it is beyond `limits.side` or `limits.pixels`.
    """
    if width < 1 or height < 1:
        msg = f"{name}: it has no pixels ({width} x {height})"
        raise ImageError(msg)
    for option, value, limit in (
        ("side", max(width, height), limits.side),
        ("pixels", width * height, limits.pixels),
    ):
        if value > limit:
            msg = f"{name}: {width} x {height} pixels: {value} is over the limit {option}={limit}"
            raise TooLarge(msg, option=option, value=value, limit=limit)


def unreadable(name: str, error: Exception) -> ImageError:
    """Return an `ImageError` with the reason why a reader of Pillow's failed."""
    return ImageError(f"{name}: it is damaged or cut short: {one_line(error)}")


def one_line(error: Exception) -> str:
    """Return the text of an error in one line, or its type if it has no text."""
    return " ".join(str(error).split()) or type(error).__name__


def _by_pillow(name: str, data: bytes, limits: Limits) -> Image.Image:
    """Parse an image's header; the pixels stay undecoded."""
    try:
        with silence():
            Image.init()
            image = Image.open(BytesIO(data), formats=[known for known in READABLE if known in Image.OPEN])
    except UnidentifiedImageError as error:
        raise _unidentified(name, data) from error
    check_size(name, *image.size, limits)
    return image


_BEGINNINGS = {
    png.MAGIC: "PNG",
    jpeg.MAGIC: "JPEG",
    boxes.JPEG_2000_MAGIC: "JPEG 2000",
    **dict.fromkeys(tiff_pages.PREFIXES, "TIFF"),
    b"BM": "BMP",
    b"GIF8": "GIF",
    b"qoif": "QOI",
}


def _unidentified(name: str, data: bytes) -> ImageError:
    """Return an error that names the format of a file by its first bytes, because Pillow's does not."""
    if data.startswith(MAGIC):
        return ImageError(f"{name}: this is a .bld file already, not an image to compress")
    for beginning, format_name in _BEGINNINGS.items():
        if data.startswith(beginning):
            return ImageError(
                f"{name}: the {format_name} file is damaged, cut short, or of a kind that is not supported"
            )
    if boxes.is_avif(data) or (data.startswith(b"RIFF") and data[8:12] == b"WEBP"):
        format_name = "AVIF" if data[4:8] == b"ftyp" else "WebP"
        return ImageError(f"{name}: the {format_name} file is damaged, or of a kind that is not supported")
    return ImageError(f"{name}: this is not an image in a known format ({', '.join(READABLE)})")


def _png(name: str, data: bytes, limits: Limits) -> Opened:
    try:
        found = png.read(data, limits.metadata_bytes)
    except ImageError as error:
        msg = f"{name}: {error}"
        raise ImageError(msg) from error
    result = Opened(_by_pillow(name, found.data, limits), found.tag, [*found.notes], lost=found.lost)
    _inform(result.image, icc_profile=found.profile, xmp=found.xmp)
    depth.scale_key(result.image)
    # An animation stays as it is, because it is refused later.
    if depth.is_16_bit_png(result.image) and not getattr(result.image, "is_animated", False):
        result.notes.append(depth.reduced_note(16))
        tone = _tone(result)
        image = depth.read_png(result.image, _by_pillow(name, found.data, limits), tone)
        # Exif may stand behind the pixels, so it is known only now.
        if exif := result.image.info.get("exif"):
            image.info["exif"] = exif
        result.image = image
    return result


def _jpeg(name: str, data: bytes, limits: Limits) -> Opened:
    found = jpeg.read(data)
    if found.bits != 8:
        msg = f"{name}: a JPEG with {found.bits}-bit samples is not supported: convert it to 8 bits first"
        raise ImageError(msg)
    result = Opened(_by_pillow(name, data, limits), None, [*found.notes], lost=found.lost)
    _inform(result.image, icc_profile=found.profile)
    if problem := jpeg.damage(data):
        result.notes.append(f"a part of the picture may be damaged ({problem})")
    return result


def _tiff(name: str, data: bytes, limits: Limits) -> Opened:
    notes: list[str] = []
    with silence():
        page = tiff_pages.picture_page(data, notes)
        about, tag = tiff_pages.about(page, data), tiff_pages.colours(page)
    if tag is None and metadata.says_adobe_rgb(data):
        tag = spaces.ADOBE_RGB_IN_EXIF
    if TiffImagePlugin.TRANSFERFUNCTION in page.tags and "icc_profile" not in about:
        notes.append("the transfer function of the TIFF is ignored, and the curve of sRGB is assumed")
    check_size(name, *page.size, limits)
    if not tiff_pages.is_plain(page):
        result = Opened(Image.new("L", (1, 1)), tag, notes)
        result.image.info.update(about)
        image = tiff.read(page, data, _tone(result), notes)
        image.info.update(about)
        return Opened(image, result.tag, notes)
    image = _by_pillow(name, data, limits)
    if page.number:
        image.seek(page.number)
        check_size(name, *image.size, limits)
    return Opened(image, tag, notes, chosen=True)


def _bmp(name: str, data: bytes, limits: Limits) -> Opened:
    return _with_embedded(name, data, limits, embedded.read_bmp)


def _gif(name: str, data: bytes, limits: Limits) -> Opened:
    return _with_embedded(name, data, limits, embedded.read_gif)


def _with_embedded(
    name: str,
    data: bytes,
    limits: Limits,
    read: Callable[[bytes], tuple[bytes | None, str | None]],
) -> Opened:
    profile, lost = read(data)
    result = Opened(_by_pillow(name, data, limits), lost=lost)
    _inform(result.image, icc_profile=profile)
    return result


def _avif(name: str, data: bytes, limits: Limits) -> Opened:
    return _with_boxes(name, data, limits, boxes.read_avif)


def _jpeg_2000(name: str, data: bytes, limits: Limits) -> Opened:
    return _with_boxes(name, data, limits, boxes.read_jpeg_2000)


def _with_boxes(name: str, data: bytes, limits: Limits, read: Callable[[bytes], boxes.Told]) -> Opened:
    told = read(data)
    result = Opened(_by_pillow(name, data, limits), told.tag)
    if "icc_profile" not in result.image.info:
        _inform(result.image, icc_profile=told.profile)
    if told.bits > 8 and not result.image.mode.startswith("I"):
        result.notes.append(depth.reduced_note(told.bits))
    return result


_READERS: tuple[tuple[Callable[[bytes], bool], Callable[[str, bytes, Limits], Opened]], ...] = (
    (lambda data: data.startswith(png.MAGIC), _png),
    (lambda data: data.startswith(jpeg.MAGIC), _jpeg),
    (lambda data: data.startswith(tiff_pages.PREFIXES), _tiff),
    (lambda data: data.startswith(b"BM"), _bmp),
    (lambda data: data.startswith(b"GIF8"), _gif),
    (boxes.is_avif, _avif),
    (boxes.is_jpeg_2000, _jpeg_2000),
)


def _tone(result: Opened) -> depth.Tone | None:
    """Return the tone for linear samples, or None. Afterwards, the tag of `result` no longer says linear."""
    if result.image.info.get("icc_profile"):
        return None
    tone, result.tag = colour.tone(result.tag, result.notes)
    return tone


def _inform(image: Image.Image, **about: bytes | None) -> None:
    """Set the keys of an image's `info` to these values. Keys with the value None are removed."""
    for key, data in about.items():
        image.info.pop(key, None)
        if data is not None:
            image.info[key] = data
