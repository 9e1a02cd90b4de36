"""Colours stay as they are beside their profile, and go through it to sRGB where they are asked to."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from bincodec.io import images

PHOTO = Path(__file__).resolve().parents[3] / "examples" / "chelsea.png"


def photo(size: tuple[int, int] = (40, 30)) -> Image.Image:
    with Image.open(PHOTO) as image:
        return image.convert("RGB").resize(size)


def file_of(image: Image.Image, file_format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=file_format, **options)
    return buffer.getvalue()


def table(lightness: int) -> bytes:
    """An lut8 table from RGB to Lab that says the same for every colour: this lightness 0..255, no hue."""
    head = b"mft1" + bytes(4) + bytes([3, 3, 2, 0])
    matrix = struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    identity = bytes(range(256))
    grid = bytes([lightness, 128, 128]) * 8
    return head + matrix + 3 * identity + grid + 3 * identity


def profile(perceptual: int, relative: int) -> bytes:
    """An ICC 2 profile that disagrees with itself: one table for looks, one for measured colours."""
    text = b"text" + bytes(4) + b"none\0\0\0\0"
    description = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78) + bytes(1)
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    tags = {
        b"desc": description,
        b"cprt": text,
        b"wtpt": white,
        b"A2B0": table(perceptual),
        b"A2B1": table(relative),
    }
    entries, data = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, payload in tags.items():
        data += bytes(-len(data) % 4)
        entries += name + struct.pack(">II", start + len(data), len(payload))
        data += payload
    body = struct.pack(">I", len(tags)) + entries + data
    header = struct.pack(">I4sI4s4s4s", 128 + len(body), b"", 0x02400000, b"scnr", b"RGB ", b"Lab ")
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + body


def test_colours_are_converted_relative_to_white() -> None:
    file = io.BytesIO()
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))
    photo.save(file, "PNG", icc_profile=profile(perceptual=0, relative=255))
    picture = images.load(file.getvalue(), srgb=True)
    assert len(picture.notes) == 1
    assert picture.notes[0].startswith("the colours are converted from the profile")
    assert picture.pixels.min() >= 250


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def patched(profile: bytes, tag: bytes, payload: bytes) -> bytes:
    """A profile with the start of one tag's data replaced."""
    count = int.from_bytes(profile[128:132], "big")
    for index in range(count):
        entry = 132 + 12 * index
        if profile[entry : entry + 4] == tag:
            offset = int.from_bytes(profile[entry + 4 : entry + 8], "big")
            return profile[:offset] + payload + profile[offset + len(payload) :]
    raise AssertionError(tag)


def swapped_profile() -> bytes:
    """sRGB with the red and blue primaries exchanged."""
    profile = srgb_profile()
    table = {}
    for index in range(int.from_bytes(profile[128:132], "big")):
        entry = 132 + 12 * index
        offset, size = struct.unpack(">II", profile[entry + 4 : entry + 12])
        table[profile[entry : entry + 4]] = profile[offset : offset + size]
    return patched(patched(profile, b"rXYZ", table[b"bXYZ"]), b"bXYZ", table[b"rXYZ"])


def cmyk_profile() -> bytes:
    """A profile for CMYK in which every colour is one and the same light grey."""
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0])
    table += struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    identity = bytes(range(256))
    table += 4 * identity + bytes([200, 128, 128]) * 16 + 3 * identity
    colours = profile(perceptual=0, relative=0)
    start = int.from_bytes(colours[132 + 12 * 3 + 4 : 132 + 12 * 3 + 8], "big")
    tags = bytearray(colours[:start])
    for index, place in ((3, start), (4, start + len(table))):
        struct.pack_into(">II", tags, 132 + 12 * index + 4, place, len(table))
    data = bytes(tags) + 2 * table
    return struct.pack(">I", len(data)) + data[4:16] + b"CMYK" + data[20:]


@pytest.mark.parametrize("of_profile", [srgb_profile, lambda: swapped_profile(), lambda: b"nonsense"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P"])
def test_pixels_stay_as_they_are_beside_their_profile(of_profile: Any, mode: str) -> None:
    image = photo().convert(mode)
    picture = images.load(file_of(image, icc_profile=of_profile()))
    assert np.array_equal(picture.pixels, np.array(image.convert("RGB")))
    assert picture.grey == (mode in ("L", "LA"))
    assert picture.icc == of_profile()
    if of_profile() == b"nonsense":
        (note,) = picture.notes
        assert note.startswith("the colour profile is damaged")
    else:
        assert picture.notes == ()


@pytest.mark.parametrize("srgb", [False, True])
def test_cmyk_is_converted_through_its_profile(srgb: bool) -> None:
    data = file_of(photo().convert("CMYK"), "TIFF", icc_profile=cmyk_profile())
    picture = images.load(data, srgb=srgb)
    assert picture.icc is None
    assert picture.notes == (
        "the image is converted from CMYK to RGB",
        "the colours are converted from the profile 'test' to sRGB",
    )
    assert np.ptp(picture.pixels) <= 3
    assert 150 < picture.pixels.mean() < 220


def test_a_broken_profile_does_not_cost_a_cmyk_image() -> None:
    data = file_of(photo().convert("CMYK"), "TIFF", icc_profile=b"nonsense")
    picture = images.load(data)
    assert picture.icc is None
    assert picture.notes[0] == "the image is converted from CMYK to RGB"
    assert picture.notes[1].startswith("the colour profile is broken")
    assert np.array_equal(picture.pixels, images.load(file_of(photo().convert("CMYK"), "TIFF")).pixels)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_only_a_foreign_profile_is_missed(mode: str) -> None:
    image = photo().convert(mode)
    kept = images.load(file_of(image, icc_profile=srgb_profile()), strip=["icc"])
    assert (kept.icc, kept.notes) == (None, ())
    swapped = images.load(file_of(photo(), icc_profile=swapped_profile()), strip=["icc"])
    assert swapped.icc is None
    (note,) = swapped.notes
    assert note.startswith("the colour profile 'sRGB")
    assert note.endswith("is left out, so the colours will be taken for sRGB")
    assert np.array_equal(swapped.pixels, np.array(photo()))


def test_srgb_comes_before_stripping() -> None:
    data = file_of(photo(), icc_profile=swapped_profile())
    converted = images.load(data, srgb=True)
    stripped = images.load(data, srgb=True, strip=["icc", "exif", "xmp"])
    assert np.array_equal(converted.pixels, stripped.pixels)
    assert converted.notes == stripped.notes


def test_an_srgb_profile_needs_no_note() -> None:
    picture = images.load(file_of(photo(), icc_profile=srgb_profile()), srgb=True)
    assert picture.notes == ()
    assert np.array_equal(picture.pixels, np.array(photo()))


def test_another_profile_is_converted_with_a_note() -> None:
    picture = images.load(file_of(photo(), icc_profile=swapped_profile()), srgb=True)
    assert len(picture.notes) == 1
    assert picture.notes[0].startswith("the colours are converted from the profile")
    assert np.abs(picture.pixels[..., ::-1].astype(int) - np.array(photo())).max() <= 2


def test_a_profile_on_grey_keeps_it_grey() -> None:
    grey = photo().convert("L")
    picture = images.load(file_of(grey, icc_profile=srgb_profile()), srgb=True)
    assert picture.grey
    assert picture.notes == ()
    assert np.array_equal(picture.pixels[..., 0], np.array(grey))


@pytest.mark.parametrize("profile", [b"nonsense", b"\0" * 200, srgb_profile()[:300]])
def test_a_broken_profile_is_ignored_with_a_note(profile: bytes) -> None:
    picture = images.load(file_of(photo(), icc_profile=profile), srgb=True)
    assert len(picture.notes) == 1
    assert picture.notes[0].startswith("the colour profile is broken")
    assert np.array_equal(picture.pixels, np.array(photo()))


def test_a_profile_for_another_colour_space_is_ignored_with_a_note() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    picture = images.load(file_of(photo(), icc_profile=lab), srgb=True)
    assert picture.notes == ("the colour profile is for Lab, but the image is RGB; it is ignored",)
    assert np.array_equal(picture.pixels, np.array(photo()))


def test_the_profiles_of_real_photos() -> None:
    data = pytest.importorskip("skimage.data", reason="scikit-image carries the photos").__path__
    folder = Path(next(iter(data)))
    rocket = images.load(folder / "rocket.jpg", srgb=True)
    assert rocket.notes == ("the colours are converted from the profile 'Adobe RGB (1998)' to sRGB",)
    assert images.load(folder / "chelsea.png", srgb=True).notes == ()
    page = images.load(folder / "page.png", srgb=True)
    assert page.grey
    assert page.notes == ("the colours are converted from the profile 'Dot Gain 20%' to sRGB",)
