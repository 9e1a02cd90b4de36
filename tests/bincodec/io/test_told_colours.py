"""Colours that a file tells without a profile, in every container that can: kept, converted or refused."""

import contextlib
import io
import struct
import time
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from bincodec import BincodecError
from bincodec.errors import ImageError
from bincodec.io import boxes, images, spaces
from bincodec.io.spaces import ADOBE_RGB, Space

# From linear Display P3, BT.2020 and Adobe RGB to linear sRGB, as colour science has them.
TO_SRGB = {
    "Display P3": [[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]],
    "BT.2020": [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]],
    "Adobe RGB (1998)": [[1.3984, -0.3984, 0.0], [0.0, 1.0, 0.0], [0.0, -0.0429, 1.0429]],
}
P3_CODES, BT2020_CODES = (12, 13), (9, 1)
P3_POINTS = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
"""White, red, green, blue."""


def pixels(width: int = 8, height: int = 6) -> np.ndarray:
    """Muted colours, within every space."""
    return np.random.default_rng(3).integers(90, 170, (height, width, 3), dtype=np.uint8)


def curve(light: np.ndarray) -> np.ndarray:
    """sRGB's: light 0..1 to samples 0..1."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)


def light(fractions: np.ndarray) -> np.ndarray:
    """Back again."""
    return np.where(fractions <= 0.04045, fractions / 12.92, ((fractions + 0.055) / 1.055) ** 2.4)


def shown(samples: np.ndarray, space: str, exponent: float | None = None) -> np.ndarray:
    """What an sRGB screen shows of 8-bit samples of a space."""
    linear = light(samples / 255) if exponent is None else (samples / 255) ** exponent
    return 255 * curve(np.clip(linear @ np.array(TO_SRGB[space]).T, 0, 1))


def file_of(image: Image.Image, file_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=file_format, **options)
    return buffer.getvalue()


def chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def png(samples: np.ndarray, *chunks: bytes) -> bytes:
    """A PNG of 8 or 16 bits, grey or RGB, with chunks behind its header."""
    deep = samples.dtype == np.uint16
    height, width = samples.shape[:2]
    head = struct.pack(">IIBBBBB", width, height, 16 if deep else 8, 2 if samples.ndim == 3 else 0, 0, 0, 0)
    big = samples.astype(">u2") if deep else samples
    rows = b"".join(b"\0" + row.tobytes() for row in big)
    parts = [chunk(b"IHDR", head), *chunks, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def cicp(primaries: int, transfer: int, full: int = 1) -> bytes:
    return chunk(b"cICP", bytes([primaries, transfer, 0, full]))


def gama(exponent: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(100_000 / exponent)))


def chrm(points: tuple[float, ...]) -> bytes:
    return chunk(b"cHRM", struct.pack(">8I", *(round(100_000 * number) for number in points)))


def avif(samples: np.ndarray, primaries: int, transfer: int) -> bytes:
    data = file_of(Image.fromarray(samples), "AVIF", quality=100, subsampling="4:4:4")
    place = data.index(b"colrnclx") + 8
    return data[:place] + struct.pack(">HH", primaries, transfer) + data[place + 4 :]


def jp2(samples: np.ndarray, colours: bytes) -> bytes:
    """A JPEG 2000 file whose colr box holds this."""
    data = file_of(Image.fromarray(samples), "JPEG2000")
    header, old = data.index(b"jp2h") - 4, data.index(b"colr") - 4
    old_size, size = struct.unpack_from(">I", data, old)[0], struct.unpack_from(">I", data, header)[0]
    box = struct.pack(">I", 8 + len(colours)) + b"colr" + colours
    head = struct.pack(">I", size + len(box) - old_size)
    return data[:header] + head + data[header + 4 : old] + box + data[old + old_size :]


def exif_r03(order: str = "<", index: bytes = b"R03\0", base: int = 0) -> bytes:
    """Exif with a directory of interoperability, by hand: each of three directories has one field.

    It stands at `base` in the file from whose start places are counted.
    """

    def one(tag: int, kind: int, count: int, value: bytes) -> bytes:
        return struct.pack(order + "HHHI", 1, tag, kind, count) + value + bytes(4)

    def long(value: int) -> bytes:
        return struct.pack(order + "I", value)

    head = (b"II*\0" if order == "<" else b"MM\0*") + long(8)
    return (
        head + one(0x8769, 4, 1, long(base + 26)) + one(0xA005, 4, 1, long(base + 44)) + one(1, 2, 4, index)
    )


def adobe_jpeg(samples: np.ndarray) -> bytes:
    image = Image.fromarray(samples)
    return file_of(image, "JPEG", quality=100, subsampling=0, exif=b"Exif\0\0" + exif_r03())


def tiff_p3(samples: np.ndarray) -> bytes:
    tags = Image.Exif()
    tags[318], tags[319] = P3_POINTS[:2], P3_POINTS[2:]
    return file_of(Image.fromarray(samples), "TIFF", tiffinfo=tags)


TOLD = {
    "cICP": ("Display P3", None, lambda samples: png(samples, cicp(*P3_CODES))),
    "cICP of BT.2020": ("BT.2020", None, lambda samples: png(samples, cicp(*BT2020_CODES))),
    "cHRM": ("Display P3", None, lambda samples: png(samples, chrm(P3_POINTS))),
    "cHRM and gAMA": ("Display P3", 1.8, lambda samples: png(samples, gama(1.8), chrm(P3_POINTS))),
    "nclx": ("Display P3", None, lambda samples: avif(samples, *P3_CODES)),
    "colr by codes": (
        "Display P3",
        None,
        lambda samples: jp2(samples, b"\5\0\0" + struct.pack(">HHHB", *P3_CODES, 0, 128)),
    ),
    "R03": ("Adobe RGB (1998)", 563 / 256, adobe_jpeg),
    "tags of a TIFF": ("Display P3", None, tiff_p3),
}


@pytest.mark.parametrize("container", TOLD)
def test_colours_stay_beside_a_profile_that_says_the_same(container: str) -> None:
    name, exponent, make = TOLD[container]
    data = make(pixels())
    kept, converted = images.load(data), images.load(data, srgb=True)
    stored = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.array_equal(kept.pixels, stored)
    assert np.abs(stored.astype(int) - pixels()).max() <= 6  # AVIF and JPEG lose a little.
    (note,) = kept.notes
    assert note.startswith(f"the colours are {name} according to ")
    assert kept.icc is not None
    assert converted.icc is None
    assert np.abs(converted.pixels - shown(stored, name, exponent)).max() < 1.5


def test_a_profile_in_the_colr_box_is_kept_byte_for_byte() -> None:
    profile = spaces.profile(ADOBE_RGB, grey=False)
    for method in (2, 3):
        picture = images.load(jp2(pixels(), bytes([method, 0, 0]) + profile))
        assert (picture.icc, picture.notes) == (profile, ())


def test_colours_that_are_srgb_by_another_name_are_no_news() -> None:
    rec709 = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
    for data in (
        png(pixels(), cicp(1, 13)),
        png(pixels(), cicp(2, 2)),
        png(pixels(), gama(2.2), chrm(rec709)),
        png(pixels(), chunk(b"sRGB", b"\0"), gama(1.0)),
        png(pixels(), gama(2.2)),
        avif(pixels(), 1, 13),
        avif(pixels(), 2, 2),
        jp2(pixels(), b"\1\0\0" + struct.pack(">I", 16)),
        png(pixels()[..., 0], cicp(*P3_CODES)),
    ):
        picture = images.load(data)
        assert (picture.icc, picture.notes) == (None, ())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("tag", [gama(1.0), cicp(1, 8)])
def test_samples_in_proportion_to_light_get_the_curve_of_srgb(dtype: type, grey: bool, tag: bytes) -> None:
    most = int(np.iinfo(dtype).max)
    samples = np.linspace(0, most, 60).astype(dtype).reshape(4, 15)
    samples = samples if grey else np.stack([samples, samples[::-1], samples[:, ::-1]], axis=-1)
    picture = images.load(png(samples, tag))
    expected = np.round(255 * curve(samples / most))
    assert np.array_equal(picture.pixels[..., 0] if grey else picture.pixels, expected)
    assert picture.icc is None
    assert picture.grey == grey
    assert sum("the samples are linear" in note for note in picture.notes) == 1
    assert len(picture.notes) == (2 if dtype is np.uint16 else 1)


def test_linear_samples_keep_their_primaries() -> None:
    samples = pixels()
    picture = images.load(png(samples, cicp(12, 8)), srgb=True)
    expected = 255 * curve(np.clip((samples / 255) @ np.array(TO_SRGB["Display P3"]).T, 0, 1))
    assert np.abs(picture.pixels - expected).max() < 1.5


def test_the_order_of_what_a_png_tells() -> None:
    profile = spaces.profile(ADOBE_RGB, grey=False)
    iccp = chunk(b"iCCP", b"name\0\0" + zlib.compress(profile))
    every = [iccp, chunk(b"sRGB", b"\0"), gama(1.0), chrm(P3_POINTS)]
    first = images.load(png(pixels(), *every, cicp(*P3_CODES)))
    assert first.notes[0].startswith("the colours are Display P3 according to cICP")
    second = images.load(png(pixels(), *every))
    assert (second.icc, second.notes) == (profile, ())
    third = images.load(png(pixels(), *every[1:]))
    assert (third.icc, third.notes) == (None, ())
    # Where cICP tells what 8 bits do not hold, the profile is for those who cannot show it.
    fourth = images.load(png(pixels(), iccp, cicp(9, 16)))
    assert fourth.icc == profile
    assert fourth.notes[0].startswith("the colour profile is used, because the cICP chunk names")


def test_a_profile_comes_before_what_is_told_without() -> None:
    profile = spaces.profile(Space("mine", exponent=1.8), grey=False)
    data = file_of(Image.fromarray(pixels()), "JPEG", exif=b"Exif\0\0" + exif_r03(), icc_profile=profile)
    picture = images.load(data)
    assert (picture.icc, picture.notes) == (profile, ())


@pytest.mark.parametrize("order", "<>")
def test_only_r03_is_adobe_rgb(order: str) -> None:
    for index, icc in ((b"R03\0", True), (b"R98\0", False)):
        exif = b"Exif\0\0" + exif_r03(order, index)
        picture = images.load(file_of(Image.fromarray(pixels()), "JPEG", exif=exif))
        assert (picture.icc is not None) == icc
        assert picture.exif == exif[6:]


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF"])
def test_r03_counts_in_any_format(file_format: str) -> None:
    if file_format == "TIFF":
        data = file_of(Image.fromarray(pixels()), "TIFF")
        planes = struct.pack("<HHI", 284, 3, 1)
        place = data.index(planes)
        directory = struct.pack("<HHII", 0x8769, 4, 1, len(data) + 26)
        data = data[:place] + directory + data[place + 12 :] + exif_r03(base=len(data))
    else:
        options = {"lossless": True} if file_format == "WEBP" else {}
        data = file_of(Image.fromarray(pixels()), file_format, exif=b"Exif\0\0" + exif_r03(), **options)
    picture = images.load(data)
    assert np.array_equal(picture.pixels, pixels())
    assert picture.icc == spaces.profile(ADOBE_RGB, grey=False)


def test_a_transfer_function_of_a_tiff_is_passed_over_with_a_note() -> None:
    tags = Image.Exif()
    tags[301] = (0, 65535)
    (note,) = images.load(file_of(Image.fromarray(pixels()), "TIFF", tiffinfo=tags)).notes
    assert note.startswith("the transfer function of the TIFF is ignored")


def test_directories_that_point_to_themselves_end() -> None:
    entries = struct.pack("<HHII", 0x8769, 4, 1, 8) * 2000 + struct.pack("<HHII", 0xA005, 4, 1, 8) * 2000
    exif = b"II*\0" + struct.pack("<IH", 8, 4000) + entries + bytes(4)
    start = time.perf_counter()
    picture = images.load(file_of(Image.fromarray(pixels()), "JPEG", exif=b"Exif\0\0" + exif))
    assert picture.icc is None
    assert time.perf_counter() - start < 5


def test_bits_beyond_8_are_told() -> None:
    data = bytearray(avif(pixels(), 1, 13))
    place = data.index(b"pixi") + 8
    data[place : place + 4] = b"\3\x0a\x0a\x0a"
    assert boxes.read_avif(bytes(data)).bits == 10
    deep = bytearray(jp2(pixels(), b"\1\0\0" + struct.pack(">I", 16)))
    deep[deep.index(b"ihdr") + 14] = 11
    assert boxes.read_jpeg_2000(bytes(deep)).bits == 12
    assert "the 12-bit samples are reduced to 8 bits" in images.load(bytes(deep)).notes


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (png(pixels(), cicp(9, 16)), r"names a high dynamic range \(PQ\), which 8 bits cannot hold"),
        (png(pixels(), cicp(9, 18)), r"names a high dynamic range \(HLG\)"),
        (png(pixels(), cicp(99, 13)), "codes 99 and 13"),
        (png(pixels(), cicp(12, 13, full=0)), "samples of a narrow range"),
        (avif(pixels(), 9, 16), r"high dynamic range \(PQ\)"),
        (jp2(pixels(), b"\1\0\0" + struct.pack(">I", 14)), "the colour space with the number 14"),
    ],
)
def test_colours_that_8_bits_do_not_hold_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(ImageError, match=words) as caught:
        images.load(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "chunks",
    [
        [chunk(b"gAMA", struct.pack(">I", 0))],
        [chunk(b"gAMA", b"\0")],
        [chunk(b"gAMA", struct.pack(">I", 1))],
        [chrm((0.3, 0.3) * 4)],
        [chrm((0.0,) * 8)],
        [chunk(b"cHRM", b"short")],
    ],
)
def test_numbers_that_are_no_colours_are_passed_over_with_a_note(chunks: list[bytes]) -> None:
    picture = images.load(png(pixels(), *chunks))
    (note,) = picture.notes
    assert note.startswith("the colours are taken for sRGB, because gAMA and cHRM contain")
    assert np.array_equal(picture.pixels, pixels())


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("exponent", [None, 1.8])
def test_a_profile_is_one_that_littlecms_takes(grey: bool, exponent: float | None) -> None:
    space = Space("Mine", exponent=exponent)
    data = spaces.profile(space, grey=grey)
    opened = ImageCms.ImageCmsProfile(io.BytesIO(data)).profile
    assert opened.xcolor_space.strip() == ("GRAY" if grey else "RGB")
    assert opened.profile_description.startswith("Mine")
    assert int.from_bytes(data[:4], "big") == len(data)


# --- whatever the bytes ---------------------------------------------------------------------------------


SEEDS = {
    "png": png(pixels(), cicp(12, 13), gama(2.2), chrm(P3_POINTS)),
    "avif": avif(pixels(), 12, 13),
    "jp2": jp2(pixels(), b"\2\0\0" + spaces.profile(ADOBE_RGB, grey=False)),
    "jpeg": adobe_jpeg(pixels()),
    "tiff": tiff_p3(pixels()),
}


@given(
    kind=st.sampled_from(sorted(SEEDS)),
    damages=st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), min_size=1, max_size=8),
)
@pytest.mark.filterwarnings("ignore")
def test_damage_gives_a_picture_or_an_error_of_ours(kind: str, damages: list[tuple[int, int]]) -> None:
    data = bytearray(SEEDS[kind])
    for place, value in damages:
        data[place % len(data)] = value
    with contextlib.suppress(BincodecError):
        assert images.load(bytes(data)).pixels.dtype == np.uint8


@given(st.binary(max_size=300))
def test_boxes_of_any_bytes_end(data: bytes) -> None:
    for read, head in ((boxes.read_avif, b"\0\0\0\x0cftypavif"), (boxes.read_jpeg_2000, b"\0\0\0\0jp2h")):
        with contextlib.suppress(spaces.Unknown):
            read(head + data)
