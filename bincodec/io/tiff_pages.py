"""The pages of a TIFF: which of them is the picture, and what its directory says of the samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

from PIL import TiffImagePlugin as Tiff
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from bincodec.io import metadata, spaces
from bincodec.io.spaces import Tag

# The last two are the wrong way round, as some writers have them.
PREFIXES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"II\0*", b"MM*\0")
NOT_COMPRESSED = 1
HORIZONTAL = 2
GREY_FROM_WHITE, GREY, RGB, CMYK = 0, 1, 2, 5
_YCBCR = 6
COLOURS = {GREY_FROM_WHITE: 1, GREY: 1, RGB: 3, CMYK: 4}
"""How many samples of a pixel are colours, by what they mean."""
PREMULTIPLIED, ALPHA = 1, 2
# Those that pack bytes, whatever they mean: none, LZW, deflate (by two numbers), PackBits, LZMA, Zstandard.
_OF_BYTES = (NOT_COMPRESSED, 5, 8, 32946, 32773, 34925, 50000)
_UNSIGNED, _SIGNED, _FLOAT, _VOID = 1, 2, 3, 4
_REDUCED_PAGE, _MASK_PAGE = 1, 4
_MOST_PAGES = 100
_MOST_SAMPLES = 8
_DEPTHS = (*range(1, 17), 32)
# Unspecified, premultiplied, plain, and what one program writes for plain.
_SINGLE_EXTRAS = ((0,), (PREMULTIPLIED,), (ALPHA,), (999,))
_WHITE, _PRIMARIES, _SUBFILE, _OLD_SUBFILE = 318, 319, 254, 255


class Unsupported(Exception):
    """A TIFF of a kind that is not read; the message goes on behind the file's name."""


@dataclass(frozen=True)
class Page:
    """What the directory of a page says of its samples.

    Args:
        number: the page, from 0 on.
        offset: where its directory stands.
        size: width and height as they are stored.
        photometric: what the samples mean, by TIFF's numbers.
        bits: bits of each sample of a pixel.
        kinds: unsigned 1, signed 2, float 3, for all samples.
        planes: whether each colour stands for itself.
        extra: what the samples beyond the colours are.
        tags: all of the directory.
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
    """The page that holds the picture: the only one that is no reduced copy and no mask of another.

    Raises:
        Unsupported: for several pictures.
        Exception: of many types, for what is no TIFF, as Pillow has them.
    """
    pages = list(_pages(data))
    pictures = [page for page in pages if not _kind_of_page(page.tags) & (_REDUCED_PAGE | _MASK_PAGE)]
    # Many writers of thumbnails do not say that they are.
    pictures = pictures[:1] + [page for page in pictures[1:] if not _is_small_copy(page, pictures[0])]
    if len(pictures) > 1 or len(pages) >= _MOST_PAGES:
        msg = "holds an animation or several pages, which are not supported: extract one picture first"
        raise Unsupported(msg)
    if len(pages) > 1:
        notes.append("the other pages of the file (reduced copies, masks) are left out")
    if not pictures and Tiff.SUBIFD in pages[0].tags:
        msg = "holds only a preview and the samples of a sensor (a camera's raw file): develop it first"
        raise Unsupported(msg)
    picture = (pictures or pages)[0]
    _refuse_coarse_colours(picture)
    return picture


def _refuse_coarse_colours(page: Page) -> None:
    """Pillow takes YCbCr that is not compressed for one with as many samples of colour as of light."""
    sizes = page.tags.get(Tiff.STRIPBYTECOUNTS, page.tags.get(Tiff.TILEBYTECOUNTS, ()))
    width, height = page.size
    plain = page.tags.get(Tiff.COMPRESSION, 1) == NOT_COMPRESSED
    if page.photometric == _YCBCR and plain and (page.planes or sum(sizes) < 3 * width * height):
        msg = "has YCbCr in planes or with fewer samples of colour, not compressed, which is not supported"
        raise Unsupported(msg)


def is_plain(page: Page) -> bool:
    """Whether Pillow itself reads these samples rightly."""
    if page.photometric not in COLOURS or page.tags.get(Tiff.COMPRESSION, 1) not in _OF_BYTES:
        return page.kinds == (_UNSIGNED,) and max(page.bits) <= 8
    if page.kinds == (_UNSIGNED,) and len(page.bits) == 1 and page.bits[0] in (1, 2, 4, 8):
        return True
    if page.kinds == (_SIGNED,) and page.bits == (32,) and page.photometric == GREY:
        return True  # Pillow's own way to save 16 bits and more; the range is looked at later.
    if page.photometric not in (RGB, CMYK) or page.tags.get(Tiff.FILLORDER, 1) != 1:
        return False
    same = page.kinds == (_UNSIGNED,) and set(page.bits) == {8} and not page.planes
    return same and (not page.extra or (page.photometric == RGB and page.extra in _SINGLE_EXTRAS))


def is_decoded_rightly(image: Tiff.TiffImageFile) -> bool:
    """Whether Pillow decodes the page of an image that it has open rightly, but for the last bits."""
    page = _page(0, 0, image.tag_v2)
    if is_plain(page) or page.photometric not in COLOURS:
        return True
    scrambled = page.planes and page.tags.get(Tiff.COMPRESSION, 1) == NOT_COMPRESSED
    return set(page.bits) == {16} and page.photometric != GREY_FROM_WHITE and not scrambled


def about(page: Page, data: bytes) -> dict[str, bytes]:
    """Colour profile, XMP and Exif of a page, by the names that Pillow has for them in `info`."""
    there = {"icc_profile": page.tags.get(Tiff.ICCPROFILE), "xmp": page.tags.get(Tiff.XMP)}
    if exif := metadata.of_tiff(data, page.offset):
        there["exif"] = metadata.EXIF_PREFIX + exif
    return {key: value for key, value in there.items() if isinstance(value, bytes) and value}


def colours(page: Page) -> Tag | None:
    """What the primaries in the tags of a page say.

    Raises:
        spaces.Unknown: for primaries that span no colours.
    """
    white, corners = (tuple(map(float, page.tags.get(tag, ()))) for tag in (_WHITE, _PRIMARIES))
    if page.photometric != RGB or len(corners) != 6:
        return None
    red, green, blue = zip(corners[::2], corners[1::2], strict=True)
    point = (white[0], white[1]) if len(white) == 2 else spaces.SRGB.primaries[3]
    return Tag("PrimaryChromaticities", spaces.from_numbers(None, (red, green, blue, point)))


def checked_bits(page: Page) -> int:
    """The bits of all samples, if this is a kind that is read."""
    tags, bits = page.tags, page.bits[0]
    described = f"{'/'.join(map(str, dict.fromkeys(page.bits)))}-bit samples"
    if page.kinds != (_UNSIGNED,):
        what = {_SIGNED: "signed", _FLOAT: "floating-point"}.get(page.kinds[0], "unusual")
        msg = f"has {what} {described}, which are not supported: convert it to unsigned 8 or 16 bits first"
        raise Unsupported(msg)
    if page.photometric not in COLOURS:
        msg = f"has {described} of photometric {page.photometric}, which are not supported: convert it to RGB"
        raise Unsupported(msg)
    compression = tags.get(Tiff.COMPRESSION, 1)
    if compression not in _OF_BYTES:
        msg = f"has {described} in TIFF compression {compression}, which are not supported: choose another"
        raise Unsupported(msg)
    if set(page.bits) != {bits} or bits not in _DEPTHS or len(page.bits) > _MOST_SAMPLES:
        msg = f"has {described}, which are not supported: convert it to 8-bit RGB first"
        raise Unsupported(msg)
    if tags.get(Tiff.PREDICTOR, 1) not in (1, HORIZONTAL) or (
        tags.get(Tiff.PREDICTOR, 1) == HORIZONTAL and bits not in (8, 16, 32)
    ):
        msg = f"has {described} behind TIFF predictor {tags[Tiff.PREDICTOR]}, which are not supported"
        raise Unsupported(msg)
    if len(page.bits) < COLOURS[page.photometric]:
        msg = f"has {len(page.bits)} samples a pixel, too few for its colours"
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
        extra = (ALPHA,) if photometric == RGB else (0,)  # As Pillow takes it.
    planes = tags.get(Tiff.PLANAR_CONFIGURATION, 1) == 2 and len(bits) > 1
    if Tiff.IMAGEWIDTH not in tags or Tiff.IMAGELENGTH not in tags:
        msg = "a directory without width and height"
        raise OSError(msg)
    size = (int(tags[Tiff.IMAGEWIDTH]), int(tags[Tiff.IMAGELENGTH]))
    return Page(number, offset, size, int(photometric), bits, kinds, planes, extra, tags)


def _is_small_copy(page: Page, picture: Page) -> bool:
    """Whether a page has the shape of another and at most half its width and height."""
    (width, height), (whole_width, whole_height) = page.size, picture.size
    if 2 * width > whole_width or 2 * height > whole_height:
        return False
    return abs(width * whole_height - height * whole_width) <= max(whole_width, whole_height)


def _kind_of_page(tags: ImageFileDirectory_v2) -> int:
    """NewSubfileType, or what the old SubfileType says in its terms."""
    if _SUBFILE in tags:
        return int(tags[_SUBFILE])
    return _REDUCED_PAGE if tags.get(_OLD_SUBFILE) == 2 else 0
