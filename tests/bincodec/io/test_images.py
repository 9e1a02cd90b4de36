"""Reading images: every mode, every refusal, every note."""

import io
import os
import re
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

import bincodec
from bincodec.bitstream.limits import Limits
from bincodec.errors import ImageError
from bincodec.io import images, opening

ROOT = Path(__file__).resolve().parents[3]
PHOTO = ROOT / "examples" / "chelsea.png"


def photo(size: tuple[int, int] = (40, 30)) -> Image.Image:
    with Image.open(PHOTO) as image:
        return image.convert("RGB").resize(size)


def file_of(image: Image.Image, file_format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=file_format, **options)
    return buffer.getvalue()


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG made by hand, for what Pillow does not write."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = b""
    for kind, payload in ((b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        body += struct.pack(">I", len(payload)) + kind + payload
        body += struct.pack(">I", zlib.crc32(kind + payload))
    return b"\x89PNG\r\n\x1a\n" + body


# --- sources ----------------------------------------------------------------------------------------------


def test_every_kind_of_source_gives_the_same_picture(tmp_path: Path) -> None:
    image = photo()
    data = file_of(image)
    path = tmp_path / "photo.png"
    path.write_bytes(data)
    array = np.array(image)
    sources = [path, str(path), data, bytearray(data), memoryview(data), io.BytesIO(data), image, array]
    for source in sources:
        picture = images.load(source)
        assert np.array_equal(picture.pixels, array)
        assert (picture.pixels.dtype, picture.grey, picture.notes) == (np.uint8, False, ())
        assert picture.pixels.flags.c_contiguous
        assert picture.pixels.flags.writeable


def test_a_grey_array_is_a_grey_picture() -> None:
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    picture = images.load(array)
    assert picture.grey
    assert picture.pixels.shape == (3, 4, 3)
    assert all(np.array_equal(picture.pixels[..., channel], array) for channel in range(3))


def test_views_and_read_only_arrays_are_accepted() -> None:
    array = np.array(photo())
    array.flags.writeable = False
    picture = images.load(array[::2, ::-1])
    assert np.array_equal(picture.pixels, array[::2, ::-1])
    assert picture.pixels.flags.c_contiguous
    assert picture.pixels.flags.writeable


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.uint16),
        np.zeros((4, 4, 5), np.uint8),
        np.zeros((4, 4, 1), np.uint8),
        np.zeros((3, 4, 6), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_other_arrays_are_refused_with_their_shape(array: np.ndarray) -> None:
    with pytest.raises(ImageError) as caught:
        images.load(array)
    assert str(array.shape) in str(caught.value)
    assert str(array.dtype) in str(caught.value)


def test_a_source_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match="not list"):
        images.load([1, 2, 3])  # type: ignore[arg-type]


# --- modes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_grey_modes_stay_grey(mode: str) -> None:
    picture = images.load(file_of(photo().convert("L").convert(mode)))
    expected = np.array(photo().convert("L").convert(mode).convert("L"))
    assert picture.grey
    assert picture.notes == ()
    assert np.array_equal(picture.pixels, np.repeat(expected[..., None], 3, axis=2))


def test_palettes_become_colours() -> None:
    image = photo().quantize(32)
    picture = images.load(file_of(image))
    assert not picture.grey
    assert picture.notes == ()
    assert np.array_equal(picture.pixels, np.array(image.convert("RGB")))


def test_a_palette_of_greys_is_grey() -> None:
    image = photo().convert("L").quantize(8)
    picture = images.load(file_of(image))
    assert picture.grey
    assert np.array_equal(picture.pixels, np.array(image.convert("RGB")))


def test_cmyk_is_converted_with_a_note() -> None:
    picture = images.load(file_of(photo().convert("CMYK"), "JPEG", quality=100, subsampling=0))
    assert picture.notes == ("the image is converted from CMYK to RGB",)
    assert np.abs(picture.pixels.astype(int) - np.array(photo())).mean() < 3


@pytest.mark.parametrize(("mode", "note"), [("YCbCr", True), ("HSV", True), ("RGBX", False)])
def test_other_pillow_modes_are_converted(mode: str, note: bool) -> None:
    picture = images.load(photo().convert(mode))
    assert np.abs(picture.pixels.astype(int) - np.array(photo())).max() <= 12
    assert bool(picture.notes) == note


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_16_bit_grey_is_rounded_with_a_note(file_format: str) -> None:
    samples = np.array([[0, 128, 129, 257, 30000, 65535]], np.uint16)
    picture = images.load(file_of(Image.fromarray(samples), file_format))
    assert picture.pixels[0, :, 0].tolist() == [0, 0, 1, 1, 117, 255]
    assert picture.grey
    assert picture.notes == ("the 16-bit samples are reduced to 8 bits",)


@pytest.mark.parametrize("maximum", [65535, 1000])
def test_deep_grey_ppm_is_rounded_with_one_note(maximum: int) -> None:
    samples = struct.pack(">2H", maximum, maximum // 2)
    picture = images.load(f"P5 2 1 {maximum}\n".encode() + samples)
    assert picture.pixels[0, :, 0].tolist() == [255, 127 if maximum % 2 else 128]
    assert picture.notes == ("the 16-bit samples are reduced to 8 bits",)


def test_16_bit_colour_has_a_note() -> None:
    row = b"\0" + struct.pack(">6H", 0, 32896, 65535, 257, 514, 771)
    picture = images.load(png(2, 1, 16, 2, row))
    assert picture.pixels.tolist() == [[[0, 128, 255], [1, 2, 3]]]
    assert picture.notes == ("the 16-bit samples are reduced to 8 bits",)
    ppm = images.load(b"P6 1 1 65535\n" + struct.pack(">3H", 65535, 0, 32896))
    assert ppm.pixels.tolist() == [[[255, 0, 128]]]
    assert ppm.notes == ("the 16-bit samples are reduced to 8 bits",)


def test_16_bits_for_a_whole_pixel_are_no_16_bit_samples() -> None:
    header = struct.pack("<2sIHHI", b"BM", 58, 0, 0, 54) + struct.pack(
        "<IiiHHIIiiII", 40, 1, 1, 1, 16, 0, 4, 0, 0, 0, 0
    )
    picture = images.load(header + struct.pack("<HH", 0x7C00, 0))
    assert picture.pixels.tolist() == [[[255, 0, 0]]]
    assert picture.notes == ()


def test_samples_beyond_16_bits_are_refused() -> None:
    with pytest.raises(ImageError, match="from -5 to 70000"):
        images.load(Image.fromarray(np.array([[-5, 70000]], np.int32)))
    with pytest.raises(ImageError, match="its floating-point 32-bit samples"):
        images.load(file_of(photo().convert("F"), "TIFF"))


# --- several pictures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animations_and_pages_are_refused(file_format: str) -> None:
    frames = [Image.new("RGB", (8, 8), (40 * index, 0, 0)) for index in range(3)]
    data = file_of(frames[0], file_format, save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match="animation or several pages"):
        images.load(data)


def test_an_animation_of_16_bits_is_refused() -> None:
    row = bytes([0]) + bytes(range(12))
    chunks = {
        b"acTL": struct.pack(">2I", 2, 0),
        b"fcTL": struct.pack(">5I2H2B", 0, 2, 1, 0, 0, 1, 10, 0, 0),
    }
    data = png(2, 1, 16, 2, row, *chunks.items())
    second = b""
    for kind, payload in (
        (b"fcTL", struct.pack(">5I2H2B", 1, 2, 1, 0, 0, 1, 10, 0, 0)),
        (b"fdAT", struct.pack(">I", 2) + zlib.compress(row)),
    ):
        second += struct.pack(">I", len(payload)) + kind + payload
        second += struct.pack(">I", zlib.crc32(kind + payload))
    with pytest.raises(ImageError, match="animation or several pages"):
        images.load(data[:-12] + second + data[-12:])


def test_a_still_gif_is_accepted() -> None:
    assert images.load(file_of(photo(), "GIF")).pixels.shape == (30, 40, 3)


def test_the_photograph_of_a_jpeg_with_previews_is_kept_with_a_note() -> None:
    data = file_of(photo(), "MPO", save_all=True, append_images=[photo((8, 6))])
    picture = images.load(data)
    assert picture.pixels.shape == (30, 40, 3)
    assert len(picture.notes) == 1
    assert "other pictures" in picture.notes[0]
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "MPO"
        same = images.load(image)
    assert (same.notes, np.array_equal(same.pixels, picture.pixels)) == (picture.notes, True)


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "PPM", "QOI", "TGA"])
def test_each_format_without_loss_is_read(file_format: str) -> None:
    image = photo().quantize(64) if file_format == "GIF" else photo()
    data = file_of(image, file_format, **({"lossless": True} if file_format == "WEBP" else {}))
    assert np.array_equal(images.load(data).pixels, np.array(image.convert("RGB")))


def test_the_formats_are_those_of_the_documents() -> None:
    text = " ".join((ROOT / "docs" / "pictures.md").read_text(encoding="utf-8").split())
    found = re.search(r"These formats are read: (.*?)\. ", text)
    assert found is not None
    named = re.sub(r"\(with [^)]*\)", "", found[1]).replace(" and ", ", ").split(", ")
    assert {name.strip().upper().replace(" ", "") for name in named} == set(opening.READABLE) - {"DIB"}


@pytest.mark.parametrize("file_format", ["PCX", "SGI"])
def test_an_image_that_pillow_opened_may_have_any_format(file_format: str) -> None:
    data = file_of(photo(), file_format)
    with pytest.raises(ImageError, match="not an image in a known format"):
        images.load(data)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(images.load(image).pixels, np.array(photo()))


# --- orientation ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF"])
def test_exif_orientation_is_applied(orientation: int, file_format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = file_of(photo(), file_format, exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    picture = images.load(data)
    assert np.array_equal(picture.pixels, np.array(expected))
    assert picture.pixels.flags.c_contiguous
    assert (picture.pixels.shape[0] > picture.pixels.shape[1]) == (orientation >= 5)


@pytest.mark.parametrize("value", [0, 9, 60000])
def test_an_orientation_out_of_range_is_ignored(value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    assert images.load(file_of(photo(), "JPEG", exif=exif)).pixels.shape == (30, 40, 3)


def test_broken_exif_does_not_cost_the_image() -> None:
    data = file_of(photo(), "PNG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert images.load(data).pixels.shape == (30, 40, 3)


# --- refusals ---------------------------------------------------------------------------------------------


def test_unreadable_files_are_one_clear_line(tmp_path: Path) -> None:
    empty = tmp_path / "empty.png"
    empty.touch()
    text = tmp_path / "text.png"
    text.write_text("hello " * 100)
    for source, words in (
        (tmp_path, "directory"),
        (tmp_path / "missing.png", "No such file"),
        ("with\0nul.png", "null"),
        (empty, "empty"),
        (text, "not an image"),
        (b"", "empty"),
        (b"x", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    ):
        with pytest.raises(bincodec.BincodecError, match=words) as caught:
            images.load(source)
        assert "\n" not in str(caught.value)
        if isinstance(source, Path):
            assert source.name in str(caught.value)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.95])
def test_truncated_images_are_refused(file_format: str, part: float) -> None:
    data = file_of(photo((80, 60)), file_format)
    with pytest.raises(ImageError):
        images.load(data[: int(len(data) * part)])


def test_a_truncated_pillow_image_is_refused() -> None:
    image = Image.open(io.BytesIO(file_of(photo())[:-2000]))
    with pytest.raises(ImageError, match="damaged or cut short"):
        images.load(image)


@settings(deadline=None, max_examples=150, derandomize=True)
@given(
    file_format=st.sampled_from(["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "MPO"]),
    damages=st.lists(st.tuples(st.integers(0, 1499), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_damaged_files_give_a_picture_or_an_error_of_ours(
    file_format: str, damages: list[tuple[int, int]]
) -> None:
    data = bytearray(file_of(photo((24, 20)), file_format))
    for position, value in damages:
        data[position % len(data)] = value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            picture = images.load(bytes(data), limits=Limits(pixels=10**6))
        except bincodec.BincodecError:
            return
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.shape[2] == 3


def test_the_size_is_checked_before_decoding() -> None:
    # Header only: decoding would fail with another error.
    huge = png(20000, 20000, 8, 2, b"")
    with pytest.raises(bincodec.TooLarge, match="pixels"):
        images.load(huge)
    # Above Pillow's first threshold, where it would warn, and below its second.
    with pytest.raises(bincodec.TooLarge, match="9500 x 10000 pixels: 95000000 is over the limit pixels="):
        images.load(png(9500, 10000, 8, 2, b""))
    with pytest.raises(bincodec.TooLarge, match="side=65535"):
        images.load(png(70000, 1, 8, 2, b""))


def test_the_limit_can_be_lowered_and_holds_for_every_source() -> None:
    limits = Limits(pixels=1199)
    for source in (file_of(photo()), photo(), np.array(photo())):
        with pytest.raises(bincodec.TooLarge, match="1200 is over the limit pixels=1199"):
            images.load(source, limits=limits)
        assert images.load(source, limits=Limits(pixels=1200)).pixels.shape == (30, 40, 3)


def test_a_decompression_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = file_of(photo())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(bincodec.TooLarge, match=r"decompression bomb.*PIL\.Image\.MAX_IMAGE_PIXELS"):
        images.load(data)
    # Between Pillow's two thresholds our own limit decides, without a warning.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert images.load(data).pixels.shape == (30, 40, 3)


# --- processes --------------------------------------------------------------------------------------------

FORK = """
import os, signal, sys, threading, warnings
from bincodec.io import images
from bincodec.io.silence import silence

entered, leave = threading.Event(), threading.Event()


def inside() -> None:
    with silence():
        entered.set()
        leave.wait(0.3)


thread = threading.Thread(target=inside)
thread.start()
entered.wait()
filters = len(warnings.filters)
child = os.fork()
if not child:
    signal.alarm(20)
    images.load(sys.argv[1])
    os._exit(0 if len(warnings.filters) < filters else 1)
_, code = os.waitpid(child, 0)
leave.set()
thread.join()
sys.exit(code != 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_can_read_images_while_another_thread_does() -> None:
    command = [sys.executable, "-W", "ignore:.*multi-threaded:DeprecationWarning", "-c", FORK, str(PHOTO)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
