"""Metadata is kept byte for byte, but for an orientation that was applied."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms, ImageOps, PngImagePlugin

from bincodec import TooLarge
from bincodec.bitstream.limits import Limits
from bincodec.io import images, metadata
from bincodec.io.metadata import EXIF_PREFIX, Metadata

PHOTO = Path(__file__).resolve().parents[3] / "examples" / "chelsea.png"
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/">\xc3\xa9</x:xmpmeta><?xpacket end="w"?>'


def photo(size: tuple[int, int] = (40, 30)) -> Image.Image:
    with Image.open(PHOTO) as image:
        return image.convert("RGB").resize(size)


def file_of(image: Image.Image, file_format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    if file_format == "PNG" and "xmp" in options:
        texts = PngImagePlugin.PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", options.pop("xmp"))
        options["pnginfo"] = texts
    image.save(buffer, format=file_format, **options)
    return buffer.getvalue()


def tiff(order: str, *entries: tuple[int, int, int, bytes], start: int = 8) -> bytes:
    """Exif by hand: entries of (tag, type, count, four bytes), and something behind them."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", start) + bytes(start - 8)
    body = b"".join(struct.pack(order + "HHI", *entry[:3]) + entry[3] for entry in entries)
    return head + struct.pack(order + "H", len(entries)) + body + bytes(4) + b"thumbnail and maker notes"


def orientation(order: str, value: int, form: str = "H", kind: int = 3) -> tuple[int, int, int, bytes]:
    return 0x0112, kind, 1, struct.pack(order + form, value).ljust(4, b"\0")


MAKE = (0x010F, 2, 4, b"abc\0")


# --- reading ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
def test_metadata_is_read_byte_for_byte(file_format: str) -> None:
    exif = tiff(">", MAKE, orientation(">", 1))
    data = file_of(photo(), file_format, icc_profile=PROFILE, exif=EXIF_PREFIX + exif, xmp=XMP)
    picture = images.load(data)
    assert (picture.icc, picture.exif, picture.xmp) == (PROFILE, exif, XMP)
    assert picture.metadata == ["icc", "exif", "xmp"]
    assert picture.notes == ()


def test_a_pillow_image_brings_its_metadata() -> None:
    exif = tiff("<", MAKE)
    opened = Image.open(
        io.BytesIO(file_of(photo(), "JPEG", icc_profile=PROFILE, exif=EXIF_PREFIX + exif, xmp=XMP))
    )
    for image in (opened, opened.copy(), opened.resize((20, 20)), opened.convert("L")):
        picture = images.load(image)
        assert (picture.icc, picture.exif, picture.xmp) == (PROFILE, exif, XMP)


def test_a_picture_without_metadata_has_none() -> None:
    for source in (
        photo(),
        file_of(photo()),
        np.array(photo()),
        file_of(photo(), "GIF"),
        file_of(photo(), "TIFF"),
    ):
        picture = images.load(source)
        assert (picture.icc, picture.exif, picture.xmp, picture.metadata) == (None, None, None, [])


@pytest.mark.parametrize("strip", [("icc",), ("exif",), ("xmp",), ("icc", "xmp"), ("icc", "exif", "xmp")])
def test_what_is_stripped_is_gone_and_nothing_else(strip: tuple[str, ...]) -> None:
    exif = tiff(">", orientation(">", 6))
    data = file_of(photo(), "JPEG", icc_profile=PROFILE, exif=EXIF_PREFIX + exif, xmp=XMP)
    whole, picture = images.load(data), images.load(data, strip=strip)
    assert picture.metadata == [name for name in ("icc", "exif", "xmp") if name not in strip]
    # What was stripped has still been applied.
    assert np.array_equal(picture.pixels, whole.pixels)
    assert picture.pixels.shape == (40, 30, 3)


def test_a_tiff_s_own_fields_are_its_exif() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "somebody"
    exif[ExifTags.Base.Orientation] = 6
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2026:01:02 03:04:05"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    data = file_of(photo(), "TIFF", exif=exif.tobytes(), icc_profile=PROFILE)
    picture = images.load(data)
    assert picture.pixels.shape == (40, 30, 3)
    assert picture.icc == PROFILE
    assert picture.exif is not None
    found = Image.Exif()
    found.load(picture.exif)
    assert found[ExifTags.Base.Artist] == "somebody"
    assert found.get(ExifTags.Base.Orientation, 1) == 1
    # How pixels are stored is a matter of the file that they came from.
    assert not set(found) & {ExifTags.Base.ImageWidth, ExifTags.Base.Compression, ExifTags.Base.StripOffsets}
    assert found.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] == "2026:01:02 03:04:05"
    assert found.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"


@pytest.mark.parametrize(("file_format", "limit"), [("PNG", 3), ("JPEG", 3), ("WEBP", 3)])
def test_metadata_has_a_limit(file_format: str, limit: int, tmp_path: Path) -> None:
    path = tmp_path / "photo.img"
    path.write_bytes(file_of(photo(), file_format, icc_profile=PROFILE))
    assert images.load(path, limits=Limits(metadata_bytes=len(PROFILE))).icc == PROFILE
    size = len(PROFILE)
    most = size - 1
    message = rf"the colour profile of {size} bytes is over the limit metadata_bytes={most} \(strip 'icc'"
    with pytest.raises(TooLarge, match=message) as caught:
        images.load(path, limits=Limits(metadata_bytes=most))
    assert (caught.value.option, caught.value.value, caught.value.limit) == ("metadata_bytes", size, most)
    assert images.load(path, limits=Limits(metadata_bytes=0), strip=["icc"]).icc is None


# --- orientation ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("form", "kind"), [("H", 3), ("I", 4)])
@pytest.mark.parametrize("start", [8, 22])
@pytest.mark.parametrize("value", range(1, 9))
def test_an_orientation_is_applied_and_becomes_1(
    order: str, form: str, kind: int, start: int, value: int
) -> None:
    def exif(written: int) -> bytes:
        return tiff(order, MAKE, orientation(order, written, form, kind), MAKE, start=start)

    data = file_of(photo(), exif=EXIF_PREFIX + exif(value))
    picture = images.load(data)
    assert picture.exif == exif(1)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert np.array_equal(picture.pixels, np.array(expected))


@pytest.mark.parametrize("value", [0, 9, 60000])
def test_an_orientation_that_does_not_exist_stays(value: int) -> None:
    exif = tiff("<", orientation("<", value))
    picture = images.load(file_of(photo(), "JPEG", exif=EXIF_PREFIX + exif))
    assert picture.exif == exif
    assert np.array_equal(picture.pixels.shape, (30, 40, 3))


def test_of_several_orientations_the_last_counts_and_all_become_1() -> None:
    exif = tiff("<", orientation("<", 3), orientation("<", 6))
    found = metadata.read(Image.open(io.BytesIO(file_of(photo(), exif=EXIF_PREFIX + exif))))
    assert found.orientation == 6
    assert metadata.upright(found).exif == tiff("<", orientation("<", 1), orientation("<", 1))


SAID = b'<x:xmpmeta><rdf:Description tiff:Orientation="%d" tiff:Make="6"/></x:xmpmeta>'
SAID_IN_AN_ELEMENT = b"<x:xmpmeta><tiff:Orientation>%d</tiff:Orientation></x:xmpmeta>"


@pytest.mark.parametrize("said", [SAID, SAID_IN_AN_ELEMENT])
def test_an_orientation_in_xmp_counts_where_exif_has_none(said: bytes) -> None:
    """Pillow reads it so: nothing that is kept may ask for the turn that was made."""
    data = file_of(photo(), xmp=said % 6)
    picture = images.load(data)
    assert picture.pixels.shape == (40, 30, 3)
    assert picture.xmp == said % 1
    exif = tiff("<", orientation("<", 8))
    picture = images.load(file_of(photo(), xmp=said % 6, exif=EXIF_PREFIX + exif))
    assert np.array_equal(picture.pixels, np.rot90(np.array(photo())))
    assert (picture.xmp, picture.exif) == (said % 1, tiff("<", orientation("<", 1)))
    upright = tiff("<", orientation("<", 1))
    picture = images.load(file_of(photo(), xmp=said % 6, exif=EXIF_PREFIX + upright))
    assert picture.pixels.shape == (30, 40, 3)
    assert picture.xmp == said % 6


@pytest.mark.parametrize(
    "exif",
    [
        b"MM\0*\xff\xff\xff\xff",
        b"II*\0",
        b"nonsense",
        tiff("<", orientation("<", 6))[:18],
        tiff("<", (0x0112, 2, 1, b"6\0\0\0")),
        tiff("<", (0x0112, 1, 1, b"\6\0\0\0")),
        tiff("<", (0x0112, 3, 2, b"\6\0\6\0")),
    ],
)
def test_broken_exif_is_kept_as_it_is(exif: bytes) -> None:
    found = metadata.read(with_info(exif=EXIF_PREFIX + exif))
    assert found == Metadata(exif=exif)
    assert metadata.upright(found) == found


def with_info(**info: Any) -> Image.Image:
    image = photo()
    image.info |= info
    return image


def test_info_that_is_no_metadata_is_passed_over() -> None:
    assert metadata.read(with_info(exif=b"", icc_profile=7, xmp=None)) == Metadata()
    assert metadata.read(with_info(**{"XML:com.adobe.xmp": "é"})) == Metadata(xmp="é".encode())
    assert metadata.read(with_info(xmp="é")) == Metadata(xmp="é".encode())


def test_exif_in_a_text_of_a_png() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist], exif[ExifTags.Base.Orientation] = "somebody", 6
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Raw profile type exif", "\nexif\n  99\n" + exif.tobytes().hex())
    picture = images.load(file_of(photo(), pnginfo=texts))
    assert picture.pixels.shape == (40, 30, 3)
    assert picture.exif is not None
    found = Image.Exif()
    found.load(picture.exif)
    assert (found[ExifTags.Base.Artist], found[ExifTags.Base.Orientation]) == ("somebody", 1)
    broken = PngImagePlugin.PngInfo()
    broken.add_text("Raw profile type exif", "\nexif\n  99\nno hex")
    assert images.load(file_of(photo(), pnginfo=broken)).exif is None


@settings(max_examples=200, derandomize=True)
@given(st.binary(max_size=80), st.sampled_from([b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"]))
def test_any_exif_keeps_its_length_and_is_upright_afterwards(tail: bytes, head: bytes) -> None:
    found = metadata.read(with_info(exif=EXIF_PREFIX + head + tail))
    assert 1 <= found.orientation <= 8
    kept = metadata.upright(found)
    assert len(kept.exif or b"") == len(head + tail)
    assert metadata.read(with_info(exif=EXIF_PREFIX + (kept.exif or b""))).orientation == 1
