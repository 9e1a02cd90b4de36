"""Find the page of a TIFF that is the picture, and read what its directory says about the samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

from PIL import TiffImagePlugin as Tiff
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from bincodec.io import metadata, spaces
from bincodec.io.spaces import Tag

# The last two have their bytes in the wrong order, but some programs write them.
PREFIXES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"II\0*", b"MM*\0")
NOT_COMPRESSED = 1
HORIZONTAL = 2
GREY_FROM_WHITE, GREY, RGB, CMYK = 0, 1, 2, 5
_YCBCR = 6
COLOURS = {GREY_FROM_WHITE: 1, GREY: 1, RGB: 3, CMYK: 4}
"""The number of samples of a pixel that are colours, by the photometric interpretation."""
PREMULTIPLIED, ALPHA = 1, 2
# The compressions that pack bytes without regard to their meaning: none, LZW, deflate (two numbers),
# PackBits, LZMA and Zstandard.
_OF_BYTES = (NOT_COMPRESSED, 5, 8, 32946, 32773, 34925, 50000)
_UNSIGNED, _SIGNED, _FLOAT, _VOID = 1, 2, 3, 4
_REDUCED_PAGE, _MASK_PAGE = 1, 4
_MOST_PAGES = 100
_MOST_SAMPLES = 8
_DEPTHS = (*range(1, 17), 32)
# The meanings of an extra sample: unspecified, premultiplied alpha, plain alpha, and 999, which one program
# writes for plain alpha.
_SINGLE_EXTRAS = ((0,), (PREMULTIPLIED,), (ALPHA,), (999,))
_WHITE, _PRIMARIES, _SUBFILE, _OLD_SUBFILE = 318, 319, 254, 255


class Unsupported(Exception):
    """The TIFF is of a kind that is not supported. The message is to follow the name of the file."""


@dataclass(frozen=True)
class Page:
    """What the directory of a page says about its samples.

    Args:
        number: the number of the page, from 0 on.
        offset: the place of its directory in the file, in bytes.
        size: the width and height in pixels as they are stored, before any turning.
        photometric: the meaning of the samples, as a number of the TIFF specification.
        bits: the number of bits of each sample of a pixel.
        kinds: the kinds of samples that occur: 1 is unsigned, 2 signed, 3 floating-point.
        planes: whether each colour is stored in a plane of its own.
        extra: the meaning of the samples beyond the colours.
        tags: the whole directory.
    """

    number: int
    offset: int
    size: tuple[int, int]
    photometric: int
    bits: tuple[int, ...]
    kinds: tuple[int, ...]
    planes: bool
    extra: tuple[int, ...]
    tags: ImageFileDirectory_v2


def picture_page(data: bytes, notes: list[str]) -> Page:
    """Return the page with the picture: the only one that is neither a reduced copy of another nor a mask.

    What the user should know is appended to `notes`.

    Raises:
        Unsupported: if there are several pictures, or none but a preview.
        Exception: of one of many types, from Pillow, if the data is not a TIFF.
    """
    pages = list(_pages(data))
    pictures = [page for page in pages if not _kind_of_page(page.tags) & (_REDUCED_PAGE | _MASK_PAGE)]
    # Many programs do not mark thumbnails as such.
    pictures = pictures[:1] + [page for page in pictures[1:] if not _is_small_copy(page, pictures[0])]
    if len(pictures) > 1 or len(pages) >= _MOST_PAGES:
        msg = "it holds an animation or several pages, which are not supported: extract one picture first"
        raise Unsupported(msg)
    if len(pages) > 1:
        notes.append("the other pages of the file (reduced copies, masks) are left out")
    if not pictures and Tiff.SUBIFD in pages[0].tags:
        msg = "it holds only a preview and the samples of a sensor (a camera's raw file): develop it first"
        raise Unsupported(msg)
    picture = (pictures or pages)[0]
    _refuse_coarse_colours(picture)
    return picture


def _refuse_coarse_colours(page: Page) -> None:
    """Refuse uncompressed YCbCr with fewer samples of colour than of light, because Pillow misreads it."""
    sizes = page.tags.get(Tiff.STRIPBYTECOUNTS, page.tags.get(Tiff.TILEBYTECOUNTS, ()))
    width, height = page.size
    plain = page.tags.get(Tiff.COMPRESSION, 1) == NOT_COMPRESSED
    if page.photometric == _YCBCR and plain and (page.planes or sum(sizes) < 3 * width * height):
        msg = "it has uncompressed YCbCr in planes or with subsampled colours, which is not supported"
        raise Unsupported(msg)


def is_plain(page: Page) -> bool:
    """Return whether Pillow itself reads these samples correctly."""
    if page.photometric not in COLOURS or page.tags.get(Tiff.COMPRESSION, 1) not in _OF_BYTES:
        return page.kinds == (_UNSIGNED,) and max(page.bits) <= 8
    if page.kinds == (_UNSIGNED,) and len(page.bits) == 1 and page.bits[0] in (1, 2, 4, 8):
        return True
    if page.kinds == (_SIGNED,) and page.bits == (32,) and page.photometric == GREY:
        return True  # Pillow itself saves 16 bits and more in this way. The range is checked later.
    if page.photometric not in (RGB, CMYK) or page.tags.get(Tiff.FILLORDER, 1) != 1:
        return False
    same = page.kinds == (_UNSIGNED,) and set(page.bits) == {8} and not page.planes
    return same and (not page.extra or (page.photometric == RGB and page.extra in _SINGLE_EXTRAS))


def is_decoded_rightly(image: Tiff.TiffImageFile) -> bool:
    """Return whether Pillow decodes the page of an open image correctly, except for the last bits."""
    page = _page(0, 0, image.tag_v2)
    if is_plain(page) or page.photometric not in COLOURS:
        return True
    scrambled = page.planes and page.tags.get(Tiff.COMPRESSION, 1) == NOT_COMPRESSED
    return set(page.bits) == {16} and page.photometric != GREY_FROM_WHITE and not scrambled


def about(page: Page, data: bytes) -> dict[str, bytes]:
    """Return the colour profile, XMP and Exif of a page, under the names that Pillow uses in `info`."""
    there = {"icc_profile": page.tags.get(Tiff.ICCPROFILE), "xmp": page.tags.get(Tiff.XMP)}
    if exif := metadata.of_tiff(data, page.offset):
        there["exif"] = metadata.EXIF_PREFIX + exif
    return {key: value for key, value in there.items() if isinstance(value, bytes) and value}


def colours(page: Page) -> Tag | None:
    """Return what the primaries in the tags of a page say about its colours, or None.

    Raises:
        spaces.Unknown: if the primaries span no colours.
    """
    white, corners = (tuple(map(float, page.tags.get(tag, ()))) for tag in (_WHITE, _PRIMARIES))
    if page.photometric != RGB or len(corners) != 6:
        return None
    red, green, blue = zip(corners[::2], corners[1::2], strict=True)
    point = (white[0], white[1]) if len(white) == 2 else spaces.SRGB.primaries[3]
    return Tag("PrimaryChromaticities", spaces.from_numbers(None, (red, green, blue, point)))


def checked_bits(page: Page) -> int:
    """Return the number of bits that all samples have.

    Raises:
        Unsupported: if the samples are of a kind that is not supported.
    """
    tags, bits = page.tags, page.bits[0]
    described = f"{'/'.join(map(str, dict.fromkeys(page.bits)))}-bit samples"
    if page.kinds != (_UNSIGNED,):
        what = {_SIGNED: "signed", _FLOAT: "floating-point"}.get(page.kinds[0], "unusual")
        msg = f"its {what} {described} are not supported: convert it to unsigned 8 or 16 bits first"
        raise Unsupported(msg)
    if page.photometric not in COLOURS:
        msg = f"its {described} of photometric {page.photometric} are not supported: convert it to RGB first"
        raise Unsupported(msg)
    compression = tags.get(Tiff.COMPRESSION, 1)
    if compression not in _OF_BYTES:
        msg = f"its {described} in TIFF compression {compression} are not supported: use another one"
        raise Unsupported(msg)
    if set(page.bits) != {bits} or bits not in _DEPTHS or len(page.bits) > _MOST_SAMPLES:
        msg = f"its {described} are not supported: convert it to 8-bit RGB first"
        raise Unsupported(msg)
    if tags.get(Tiff.PREDICTOR, 1) not in (1, HORIZONTAL) or (
        tags.get(Tiff.PREDICTOR, 1) == HORIZONTAL and bits not in (8, 16, 32)
    ):
        msg = f"its {described} with TIFF predictor {tags[Tiff.PREDICTOR]} are not supported"
        raise Unsupported(msg)
    if len(page.bits) < COLOURS[page.photometric]:
        msg = f"it has {len(page.bits)} samples for each pixel, which are too few for its colours"
        raise Unsupported(msg)
    return bits


def _pages(data: bytes) -> Iterator[Page]:
    file = BytesIO(data)
    head = file.read(16 if data[2:3] == b"+" or data[3:4] == b"+" else 8)
    directory = ImageFileDirectory_v2(head)
    offset, seen = directory.next, set[int]()
    while offset and offset not in seen and len(seen) < _MOST_PAGES:
        seen.add(offset)
        tags = ImageFileDirectory_v2(head)
        file.seek(offset)
        tags.load(file)
        yield _page(len(seen) - 1, offset, tags)
        offset = tags.next


def _page(number: int, offset: int, tags: ImageFileDirectory_v2) -> Page:
    photometric = tags.get(Tiff.PHOTOMETRIC_INTERPRETATION, 0)
    count = tags.get(Tiff.SAMPLESPERPIXEL, 1)
    bits = tuple(tags.get(Tiff.BITSPERSAMPLE, (1,)))
    bits = bits * min(count, 100) if len(bits) == 1 else bits[:count]
    kinds = tuple(
        dict.fromkeys(_UNSIGNED if kind == _VOID else kind for kind in tags.get(Tiff.SAMPLEFORMAT, (1,)))
    )
    extra = tuple(tags.get(Tiff.EXTRASAMPLES, ()))
    if not extra and len(bits) == COLOURS.get(photometric, len(bits)) + 1:
        extra = (ALPHA,) if photometric == RGB else (0,)  # This is how Pillow reads it.
    planes = tags.get(Tiff.PLANAR_CONFIGURATION, 1) == 2 and len(bits) > 1
    if Tiff.IMAGEWIDTH not in tags or Tiff.IMAGELENGTH not in tags:
        msg = "a directory has no width and height"
        raise OSError(msg)
    size = (int(tags[Tiff.IMAGEWIDTH]), int(tags[Tiff.IMAGELENGTH]))
    return Page(number, offset, size, int(photometric), bits, kinds, planes, extra, tags)


def _is_small_copy(page: Page, picture: Page) -> bool:
    """Return whether a page has the proportions of another one and at most half its width and height."""
    (width, height), (whole_width, whole_height) = page.size, picture.size
    if 2 * width > whole_width or 2 * height > whole_height:
        return False
    return abs(width * whole_height - height * whole_width) <= max(whole_width, whole_height)


def _kind_of_page(tags: ImageFileDirectory_v2) -> int:
    """Return NewSubfileType, or the same value made from the old SubfileType."""
    if _SUBFILE in tags:
        return int(tags[_SUBFILE])
    return _REDUCED_PAGE if tags.get(_OLD_SUBFILE) == 2 else 0
