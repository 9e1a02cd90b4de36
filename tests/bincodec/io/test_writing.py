"""Writing image files: what each format holds, and what is refused or left out."""

import io
import os
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngImageFile

from bincodec.errors import ImageError
from bincodec.io import images, metadata, writing

PHOTO = Path(__file__).resolve().parents[3] / "examples" / "chelsea.png"
PROFILE = b"a profile" * 20
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'


def photo(size: tuple[int, int] = (40, 30)) -> Image.Image:
    with Image.open(PHOTO) as image:
        return image.convert("RGB").resize(size)


def exif(*, deep: bool = True, **texts: str) -> bytes:
    """Exif as Pillow has it, with fields that say how pixels are stored, which were another file's."""
    fields = Image.Exif()
    fields[ExifTags.Base.Make] = "bincodec"
    fields[ExifTags.Base.ImageWidth] = 9999
    fields[ExifTags.Base.Compression] = 6
    fields[ExifTags.Base.PhotometricInterpretation] = 6
    for name, text in texts.items():
        fields[ExifTags.Base[name]] = text
    if deep:
        fields.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2026:01:02 03:04:05"
        fields.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    return fields.tobytes()


def described(image: Image.Image, **info: bytes) -> Image.Image:
    image.info |= {"icc_profile": PROFILE, "exif": exif(), "xmp": XMP} | info
    return image


def read_back(image: Image.Image, extension: str, notes: list[str] | None = None) -> Image.Image:
    found = Image.open(io.BytesIO(writing.encode(image, extension, notes=notes)))
    found.load()
    return found


def test_only_grey_pictures_are_written_as_pgm() -> None:
    assert writing.encode(photo().convert("L"), ".pgm")[:2] == b"P5"
    assert writing.encode(photo(), ".ppm")[:2] == b"P6"
    with pytest.raises(ImageError, match=r"cannot write a picture in colour as \.pgm: choose \.ppm"):
        writing.encode(photo(), ".pgm")


@pytest.mark.parametrize("extension", [".png", ".PNG", ".webp", ".tif", ".tiff", ".bmp", ".ppm"])
@pytest.mark.parametrize("grey", [False, True])
def test_what_is_saved_is_read_back(extension: str, grey: bool, tmp_path: Path) -> None:
    pixels = np.array(photo())
    if grey:
        pixels = np.repeat(pixels[..., :1], 3, axis=2)
    path = tmp_path / f"out{extension}"
    writing.save(images.to_image(pixels, grey=grey), path)
    picture = images.load(path)
    assert np.array_equal(picture.pixels, pixels)
    # WebP has no grey mode of its own.
    assert picture.grey == (grey and extension != ".webp")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("extension", [".jpg", ".jpeg"])
def test_jpeg_is_written_at_high_quality(extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"out{extension}"
    writing.save(photo(), path)
    assert np.abs(images.load(path).pixels.astype(int) - np.array(photo())).mean() < 3
    with Image.open(path) as image:
        assert image.format == "JPEG"


def test_grey_is_saved_with_one_channel(tmp_path: Path) -> None:
    writing.save(images.to_image(np.array(photo()), grey=True), tmp_path / "grey.png")
    with Image.open(tmp_path / "grey.png") as image:
        assert image.mode == "L"


@pytest.mark.parametrize("name", ["out.xyz", "out", "out.bld"])
def test_unknown_extensions_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"choose one of \.png"):
        writing.save(photo(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_size_that_the_format_cannot_hold_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="70000 x 1 pixels as JPEG"):
        writing.save(Image.new("RGB", (70000, 1)), tmp_path / "wide.jpg")
    assert list(tmp_path.iterdir()) == []


def test_texts_go_into_a_png_in_any_script() -> None:
    texts = {"seed": "7", "class": "Hemd, 衬衫"}
    with Image.open(io.BytesIO(writing.encode(photo(), ".png", texts))) as image:
        assert isinstance(image, PngImageFile)
        assert image.text == texts
    assert writing.encode(photo(), ".jpg", texts) == writing.encode(photo(), ".jpg")


def test_saving_into_a_missing_folder_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        writing.save(photo(), os.path.join(tmp_path, "no", "out.png"))


# --- transparency -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", [".png", ".webp", ".tif"])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_written_where_the_format_holds_it(extension: str, mode: str) -> None:
    image = photo().convert(mode)
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    found = read_back(image, extension)
    # WebP has no grey mode of its own. Clear pixels keep their colours too.
    assert found.mode == ("RGBA" if extension == ".webp" else mode)
    assert np.array_equal(np.array(found.convert("RGBA")), np.array(image.convert("RGBA")))


@pytest.mark.parametrize("extension", [".jpg", ".bmp", ".ppm"])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_refused_where_it_would_be_lost(extension: str, mode: str) -> None:
    message = r"(JPEG|BMP|PPM) cannot hold transparency: choose one of PNG, WEBP, TIFF"
    with pytest.raises(ImageError, match=message):
        writing.encode(photo().convert(mode), extension)


# --- metadata ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", [".png", ".jpg", ".webp"])
def test_metadata_is_written_byte_for_byte(extension: str) -> None:
    notes: list[str] = []
    info = read_back(described(photo()), extension, notes).info
    assert info["icc_profile"] == PROFILE
    assert info["exif"].removeprefix(metadata.EXIF_PREFIX) == exif().removeprefix(metadata.EXIF_PREFIX)
    assert info["xmp"] == XMP
    assert notes == []


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA"])
def test_a_tiff_takes_what_exif_says_about_the_picture(mode: str) -> None:
    notes: list[str] = []
    found = read_back(described(photo().convert(mode)), ".tif", notes)
    assert (found.mode, found.size) == (mode, (40, 30))
    assert np.array_equal(np.array(found), np.array(photo().convert(mode)))
    assert found.info["icc_profile"] == PROFILE
    assert found.info["xmp"] == XMP
    fields = found.getexif()
    assert fields[ExifTags.Base.Make] == "bincodec"
    dates = fields.get_ifd(ExifTags.IFD.Exif)
    assert dates == {ExifTags.Base.DateTimeOriginal: "2026:01:02 03:04:05"}
    assert fields.get_ifd(ExifTags.IFD.GPSInfo) == {ExifTags.GPS.GPSLatitudeRef: "N"}
    assert notes == []


def test_a_tiff_is_compressed_where_pillow_can() -> None:
    shallow = described(photo(), exif=exif(deep=False, Artist="nobody"))
    found = read_back(shallow, ".tif")
    assert found.info["compression"] == "tiff_adobe_deflate"
    assert found.getexif()[ExifTags.Base.Artist] == "nobody"
    assert read_back(described(photo()), ".tif").info["compression"] == "raw"
    assert read_back(photo(), ".tif").info["compression"] == "tiff_adobe_deflate"


@pytest.mark.parametrize("broken", [b"Exif\0\0", b"nonsense", exif()[:40], b"Exif\0\0MM\0*\xff\xff\xff\xff"])
def test_broken_exif_costs_a_tiff_nothing_else(broken: bytes) -> None:
    notes: list[str] = []
    found = read_back(described(photo(), exif=broken), ".tif", notes)
    assert np.array_equal(np.array(found), np.array(photo()))
    assert found.info["xmp"] == XMP
    assert all(note.startswith("broken Exif left out (") for note in notes)


FIELDS = st.tuples(
    st.sampled_from([*metadata._DESCRIPTIONS, 0x0112, 0x8769, 0x8825, 0x02BC, 0x0100, 0x0111]),
    st.integers(0, 14),
    st.sampled_from([0, 1, 2, 4, 5, 100, 2**31]),
    st.binary(min_size=4, max_size=4) | st.sampled_from([struct.pack("<I", place) for place in (8, 26, 60)]),
)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.lists(FIELDS, min_size=1, max_size=5), st.binary(max_size=90))
def test_any_exif_leaves_a_tiff_whole(fields: list[tuple[int, int, int, bytes]], tail: bytes) -> None:
    """What a file says of itself may be forged, and a TIFF holds Exif among the fields of its pixels."""
    body = b"".join(struct.pack("<HHI", *field[:3]) + field[3] for field in fields)
    forged = b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(fields)) + body + bytes(4) + tail
    image = photo((8, 6)).convert("RGBA")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = read_back(described(image.copy(), exif=forged), ".tif")
    assert np.array_equal(np.array(found), np.array(image))
    assert (found.info["icc_profile"], found.info["xmp"]) == (PROFILE, XMP)


@pytest.mark.parametrize("extension", [".bmp", ".ppm"])
def test_formats_without_metadata_leave_a_note(extension: str) -> None:
    notes: list[str] = []
    found = read_back(described(photo()), extension, notes)
    assert np.array_equal(np.array(found), np.array(photo()))
    (note,) = notes
    assert note.startswith("colour profile, Exif and XMP left out, because ")
    assert note.endswith("PPM cannot hold metadata" if extension == ".ppm" else "BMP cannot hold metadata")
    assert writing.encode(photo(), extension) == writing.encode(described(photo()), extension)


def test_a_jpeg_holds_so_much_and_no_more() -> None:
    for key, most, title in (("exif", 65533, "Exif"), ("xmp", 65504, "XMP")):
        notes: list[str] = []
        found = read_back(described(photo(), **{key: b"Exif\0\0" + bytes(most - 6)}), ".jpg", notes)
        assert (len(found.info[key]), notes) == (most, [])
        found = read_back(described(photo(), **{key: b"Exif\0\0" + bytes(most - 5)}), ".jpg", notes)
        assert key not in found.info
        assert notes == [f"{title} left out: it has {most + 1} bytes, and JPEG holds {most} at most"]
    large = described(photo(), icc_profile=bytes(range(256)) * 1000)
    assert read_back(large, ".jpg").info["icc_profile"] == bytes(range(256)) * 1000


def test_texts_and_xmp_share_a_png() -> None:
    data = writing.encode(described(photo()), ".png", {"seed": "7"})
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert isinstance(image, PngImageFile)
        assert (image.text["seed"], image.info["xmp"]) == ("7", XMP)
    # No state is left in the options that all pictures share.
    assert writing.encode(photo(), ".png") == writing.encode(photo(), ".png", {})
    assert b"seed" not in writing.encode(photo(), ".png")


def test_what_is_no_metadata_is_not_written() -> None:
    info: dict[str, Any] = {"icc_profile": b"", "exif": 7, "xmp": None}
    image = photo()
    image.info |= info
    for extension in (".png", ".jpg", ".tif", ".webp"):
        assert writing.encode(image, extension) == writing.encode(photo(), extension)
