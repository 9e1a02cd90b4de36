"""Transparency is read from every form that it comes in, and an opaque picture has none."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bincodec.errors import ImageError
from bincodec.io import images

PHOTO = Path(__file__).resolve().parents[3] / "examples" / "chelsea.png"


def photo(size: tuple[int, int] = (40, 30)) -> Image.Image:
    with Image.open(PHOTO) as image:
        return image.convert("RGB").resize(size)


def file_of(image: Image.Image, file_format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=file_format, **options)
    return buffer.getvalue()


def ramp(size: tuple[int, int] = (40, 30)) -> np.ndarray:
    return np.array(Image.linear_gradient("L").resize(size))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG made by hand, for what Pillow does not write."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = b""
    for kind, payload in ((b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        body += struct.pack(">I", len(payload)) + kind + payload
        body += struct.pack(">I", zlib.crc32(kind + payload))
    return b"\x89PNG\r\n\x1a\n" + body


# --- channels ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "grey"), [("RGBA", False), ("LA", True)])
@pytest.mark.parametrize("file_format", [None, "PNG", "WEBP", "TIFF"])
def test_an_alpha_channel_is_kept_exactly(mode: str, grey: bool, file_format: str | None) -> None:
    image = photo().convert(mode)
    image.putalpha(Image.fromarray(ramp()))
    options = {"lossless": True, "exact": True} if file_format == "WEBP" else {}
    picture = images.load(image if file_format is None else file_of(image, file_format, **options))
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha, ramp())
    assert picture.alpha.flags.c_contiguous
    assert np.array_equal(picture.pixels, np.array(image.convert(mode[:-1]).convert("RGB")))
    # WebP has no grey mode of its own.
    assert picture.grey == (grey and file_format != "WEBP")
    assert picture.notes == ()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_an_opaque_channel_is_none(mode: str) -> None:
    base = photo().convert({"RGBA": "RGB", "LA": "L", "PA": "P"}[mode])
    picture = images.load(base.convert(mode))
    assert picture.alpha is None
    assert np.array_equal(picture.pixels, np.array(base.convert("RGB")))
    assert (picture.grey, picture.notes) == (mode == "LA", ())


def test_a_palette_with_a_channel() -> None:
    image = photo().quantize(32).convert("PA")
    image.putalpha(Image.fromarray(ramp()))
    picture = images.load(image)
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha, ramp())
    assert np.array_equal(picture.pixels, np.array(photo().quantize(32).convert("RGB")))


@pytest.mark.parametrize(("plain", "premultiplied"), [("RGBA", "RGBa"), ("LA", "La")])
def test_premultiplied_alpha(plain: str, premultiplied: str) -> None:
    image = photo().convert(plain)
    picture = images.load(image.convert(premultiplied))
    assert (picture.alpha, picture.grey) == (None, plain == "LA")
    assert np.array_equal(picture.pixels, np.array(image.convert("RGB")))
    image.putalpha(Image.fromarray(np.full((30, 40), 128, np.uint8)))
    picture = images.load(image.convert(premultiplied))
    assert picture.alpha is not None
    assert (picture.alpha == 128).all()
    assert np.abs(picture.pixels.astype(int) - np.array(image.convert("RGB"))).max() <= 1


def test_16_bit_alpha_is_reduced_with_a_note() -> None:
    row = b"\0" + struct.pack(">4H", 0, 32896, 65535, 30000) + struct.pack(">4H", 1, 2, 3, 65535)
    picture = images.load(png(2, 1, 16, 6, row))
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[117, 255]]
    assert picture.notes == ("the 16-bit samples are reduced to 8 bits",)


@pytest.mark.parametrize("samples", [2, 4])
def test_arrays_with_alpha(samples: int) -> None:
    array = np.array(photo().convert("RGBA" if samples == 4 else "LA"))
    assert images.load(array).alpha is None
    array[..., -1] = ramp()
    picture = images.load(array[:, ::-1])
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha, ramp()[:, ::-1])
    assert np.array_equal(picture.pixels, np.broadcast_to(array[:, ::-1, :-1], (30, 40, 3)))
    assert picture.grey == (samples == 2)
    assert picture.pixels.flags.c_contiguous
    assert picture.pixels.flags.writeable
    assert picture.alpha.flags.c_contiguous


def test_a_picture_gives_itself() -> None:
    picture = images.load(photo())
    assert images.load(picture) is picture


# --- colours that are transparent -------------------------------------------------------------------------


def test_transparent_palette_entries_count_where_they_are_used() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    unused = images.load(file_of(image, transparency=0))
    assert unused.alpha is None
    assert unused.pixels[0, 0].tolist() == [200, 100, 50]
    image.putpixel((1, 2), 0)
    for transparency, alpha in ((1, [255, 0]), (0, [0, 255]), (bytes([255, 100]), [255, 100])):
        picture = images.load(file_of(image, transparency=transparency))
        expected = np.full((4, 4), alpha[1])
        expected[2, 1] = alpha[0]
        assert np.array_equal(picture.alpha, expected)
        assert picture.pixels[2, 1].tolist() == [0, 0, 0]
        # Where the colour cannot be seen, all that can be is grey.
        assert picture.grey == (alpha[1] == 0)
        assert picture.grey or picture.pixels[0, 0].tolist() == [200, 100, 50]


def test_a_gif_is_grey_where_it_can_be_seen() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([255, 0, 255, 90, 90, 90])
    image.putpixel((0, 0), 0)
    picture = images.load(file_of(image, "GIF", transparency=0))
    assert picture.grey
    assert np.array_equal(picture.alpha, np.where(np.arange(16).reshape(4, 4), 255, 0))
    assert (picture.pixels.reshape(-1, 3)[1:] == 90).all()
    assert not images.load(file_of(image, "GIF")).grey


@pytest.mark.parametrize(
    ("image", "unused", "used"),
    [
        (Image.new("L", (3, 3), 77), 78, 77),
        (Image.new("RGB", (3, 3), (1, 2, 3)), (1, 2, 4), (1, 2, 3)),
        (Image.new("1", (3, 3), 255), 0, 255),
    ],
    ids=["L", "RGB", "1"],
)
def test_a_transparent_colour_counts_where_it_is_used(image: Image.Image, unused: Any, used: Any) -> None:
    assert images.load(file_of(image, transparency=unused)).alpha is None
    image = image.copy()
    image.putpixel((1, 1), 0)
    picture = images.load(file_of(image, transparency=used))
    expected = np.zeros((3, 3))
    expected[1, 1] = 255
    assert np.array_equal(picture.alpha, expected)
    assert picture.grey == (image.mode != "RGB")


def test_a_transparent_colour_of_16_bits() -> None:
    grey_row = b"\0" + struct.pack(">2H", 1000, 1001)
    assert images.load(png(2, 1, 16, 0, grey_row, (b"tRNS", struct.pack(">H", 1002)))).alpha is None
    grey = images.load(png(2, 1, 16, 0, grey_row, (b"tRNS", struct.pack(">H", 1000))))
    assert grey.grey
    assert np.array_equal(grey.alpha, [[0, 255]])
    colour_row = b"\0" + struct.pack(">6H", 1000, 2000, 3000, 1000, 2000, 9000)
    other = (b"tRNS", struct.pack(">3H", 1000, 2000, 60000))
    assert images.load(png(2, 1, 16, 2, colour_row, other)).alpha is None
    key = (b"tRNS", struct.pack(">3H", 1000, 2000, 3000))
    assert np.array_equal(images.load(png(2, 1, 16, 2, colour_row, key)).alpha, [[0, 255]])


# --- beside other things ----------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
def test_alpha_is_turned_with_its_picture(orientation: int) -> None:
    image = photo().convert("RGBA")
    image.putalpha(image.getchannel("R"))
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = images.load(file_of(image, exif=exif))
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha, picture.pixels[..., 0])
    assert picture.alpha.flags.c_contiguous
    assert picture.pixels.flags.c_contiguous


def test_what_is_measured_must_be_opaque(tmp_path: Path) -> None:
    image = photo().convert("RGBA")
    image.save(tmp_path / "photo.png")
    assert np.array_equal(images.load_opaque(tmp_path / "photo.png"), np.array(photo()))
    image.putpixel((3, 3), (0, 0, 0, 254))
    image.save(tmp_path / "photo.png")
    with pytest.raises(ImageError, match=r"photo\.png: it has transparent pixels"):
        images.load_opaque(tmp_path / "photo.png")
    with pytest.raises(ImageError, match="the image: it has transparent pixels"):
        images.load_opaque(image)
