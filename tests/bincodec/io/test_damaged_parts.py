"""PNG, JPEG, BMP and GIF: what does not matter does not cost the picture, and what does is told."""

import io
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from bincodec import TooLarge
from bincodec.bitstream.limits import Limits
from bincodec.errors import ImageError
from bincodec.io import images, spaces
from bincodec.io.spaces import ADOBE_RGB

PHOTO = Path(__file__).resolve().parents[3] / "examples" / "chelsea.png"
PROFILE = spaces.profile(ADOBE_RGB, grey=False)


def photo(size: tuple[int, int] = (40, 30)) -> Image.Image:
    with Image.open(PHOTO) as image:
        return image.convert("RGB").resize(size)


def file_of(image: Image.Image, file_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=file_format, **options)
    return buffer.getvalue()


def chunk(kind: bytes, payload: bytes, *, damaged: bool = False) -> bytes:
    crc = zlib.crc32(kind + payload) ^ damaged
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", crc)


def png(depth: int, colour: int, samples: np.ndarray, *chunks: bytes, after: tuple[bytes, ...] = ()) -> bytes:
    """A PNG of (H, W, C) samples of 1 to 16 bits, with chunks before and after its pixels."""
    height, width, _ = samples.shape
    if depth >= 8:
        rows = [row.astype(f">u{depth // 8}").tobytes() for row in samples]
    else:
        each = (samples[..., None].astype(np.uint8) >> np.arange(depth - 1, -1, -1)) & 1
        rows = [np.packbits(row).tobytes() for row in each.reshape(height, -1)]
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    parts = [chunk(b"IHDR", head), *chunks, pixels, *after, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def plain(*chunks: bytes, after: tuple[bytes, ...] = ()) -> bytes:
    return png(8, 2, np.array(photo()), *chunks, after=after)


def noise(*shape: int, most: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, most + 1, shape)


# --- depths of PNG ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("colour", "count"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bits_are_rounded_once_whatever_the_colours(colour: int, count: int) -> None:
    samples = noise(20, 30, count, most=65535)
    samples[0, :6, 0] = [0, 128, 129, 32767, 32768, 65535]
    expected = np.round(samples * 255 / 65535)
    picture = images.load(png(16, colour, samples))
    colours = count - (count in (2, 4))
    assert picture.grey == (colours == 1)
    assert picture.notes == ("the 16-bit samples are reduced to 8 bits",)
    alpha = expected[..., -1] if count in (2, 4) else np.full((20, 30), 255)
    shown = alpha > 0
    assert np.array_equal(picture.pixels[..., :colours][shown], expected[..., :colours][shown])
    assert np.array_equal(alpha, np.full((20, 30), 255) if picture.alpha is None else picture.alpha)


def test_an_opaque_alpha_of_16_bits_leaves_grey_grey() -> None:
    samples = noise(5, 4, 2, most=65535)
    samples[..., 1] = 65535
    picture = images.load(png(16, 4, samples))
    assert picture.grey
    assert picture.alpha is None


def test_interlaced_16_bits() -> None:
    """Pillow writes none, so the passes of Adam7 are laid out by hand: of a single pixel there is one."""
    samples = np.array([[[1000, 32900, 65535]]])
    data = png(16, 2, samples)
    head = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 1)
    interlaced = data[:8] + chunk(b"IHDR", head) + data[33:]
    assert images.load(interlaced).pixels.tolist() == [[[4, 128, 255]]]


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_transparent_grey_of_any_depth(depth: int) -> None:
    samples = noise(6, 16, 1, most=2**depth - 1)
    key = int(samples[2, 3, 0])
    picture = images.load(png(depth, 0, samples, chunk(b"tRNS", struct.pack(">H", key))))
    assert picture.grey
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha == 0, samples[..., 0] == key)


def test_a_transparent_colour_of_16_bits_is_that_colour_alone() -> None:
    samples = np.array([[[1000, 2000, 3000], [1001, 2000, 3000], [1000, 2000, 3001]]])
    picture = images.load(png(16, 2, samples, chunk(b"tRNS", struct.pack(">3H", 1000, 2000, 3000))))
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[0, 255, 255]]


# --- chunks -----------------------------------------------------------------------------------------------


def test_long_texts_do_not_cost_the_picture() -> None:
    long = b"x" * 1_500_000
    xmp = b"<x:xmpmeta>" + long
    packed = zlib.compress(long)
    itxt = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp)
    chunks = (chunk(b"zTXt", b"Comment\0\0" + packed), chunk(b"tEXt", b"Comment\0" + long))
    for data in (plain(*chunks, chunk(b"iTXt", itxt)), plain(after=(*chunks, chunk(b"iTXt", itxt)))):
        picture = images.load(data)
        assert np.array_equal(picture.pixels, np.array(photo()))
        assert (picture.xmp, picture.notes) == (xmp, ())


def test_what_unpacks_to_very_much_is_bounded_by_the_limit() -> None:
    bomb = zlib.compress(bytes(20_000_000))
    for name, data in (
        ("XMP", plain(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb))),
        ("colour profile", plain(chunk(b"iCCP", b"name\0\0" + bomb))),
    ):
        with pytest.raises(TooLarge, match=f"{name} of 1001 bytes is over the limit metadata_bytes=1000"):
            images.load(data, limits=Limits(metadata_bytes=1000))
        assert images.load(data, strip=["icc", "xmp"]).metadata == []


def test_of_many_packed_texts_one_is_unpacked() -> None:
    first, other = (
        b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(text) for text in (b"<x/>", bytes(4_000_000))
    )
    start = time.perf_counter()
    picture = images.load(plain(chunk(b"iTXt", first), *[chunk(b"iTXt", other)] * 3000))
    assert picture.xmp == b"<x/>"
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("kind", [b"tEXt", b"gAMA", b"pHYs", b"tRNS", b"cICP", b"eXIf"])
def test_a_damaged_chunk_that_does_not_matter_is_left_out_with_a_note(kind: bytes) -> None:
    picture = images.load(plain(chunk(kind, b"whatever", damaged=True)))
    assert np.array_equal(picture.pixels, np.array(photo()))
    assert picture.notes == (f"damaged PNG chunks are left out: {kind.decode()}",)


def test_names_of_damaged_chunks_are_few_and_printable() -> None:
    names = [bytes([ord("a") + index]) * 4 for index in range(20)] + [b"a\n\x1b\xff"]
    (note,) = images.load(plain(*[chunk(name, b"", damaged=True) for name in names])).notes
    assert note == "damaged PNG chunks are left out: 610a1bff, aaaa, bbbb, cccc, dddd, eeee, ffff, gggg"


def test_a_damaged_palette_is_refused() -> None:
    data = png(8, 3, noise(4, 4, 1, most=1), chunk(b"PLTE", bytes(6), damaged=True))
    with pytest.raises(
        ImageError, match="the PNG file is damaged, cut short, or of a kind that is not supported"
    ):
        images.load(data)


def test_a_wrong_checksum_of_pixels_is_told() -> None:
    data = plain()
    place = data.index(b"IEND") - 5
    picture = images.load(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    assert picture.notes == ("the checksum of the pixels is wrong; a part of the picture may be damaged",)


# --- profiles ---------------------------------------------------------------------------------------------


def test_an_empty_profile_is_told() -> None:
    note = ("the colour profile is empty; it is left out",)
    jpeg = file_of(photo(), "JPEG")
    marker = b"\xff\xe2" + struct.pack(">H", 16) + b"ICC_PROFILE\0\1\1"
    for data in (plain(chunk(b"iCCP", b"name\0\0" + zlib.compress(b""))), jpeg[:2] + marker + jpeg[2:]):
        picture = images.load(data)
        assert (picture.icc, picture.notes) == (None, note)
    image = photo()
    image.info["icc_profile"] = b""
    assert images.load(image).notes == note


def test_a_damaged_profile_is_refused_unless_it_is_not_wanted() -> None:
    packed = b"name\0\0" + zlib.compress(PROFILE)[:40]
    data = plain(chunk(b"iCCP", packed))
    words = r"the colour profile is damaged, so the colours are not known \(strip 'icc' takes them for sRGB\)"
    with pytest.raises(ImageError, match=words):
        images.load(data)
    picture = images.load(data, strip=["icc"])
    assert (picture.icc, picture.notes) == (None, ("the colour profile is damaged; it is left out",))
    assert np.array_equal(picture.pixels, np.array(photo()))
    told = images.load(plain(chunk(b"iCCP", packed), chunk(b"cICP", bytes([12, 13, 0, 1]))))
    assert told.icc is not None
    assert told.notes[0] == "the colour profile is damaged; it is left out"
    known = images.load(plain(chunk(b"iCCP", packed), chunk(b"sRGB", b"\0")))
    assert (known.icc, known.notes) == (None, ("the colour profile is damaged; it is left out",))


def test_a_whole_profile_in_a_damaged_chunk_is_used() -> None:
    picture = images.load(plain(chunk(b"iCCP", b"name\0\0" + zlib.compress(PROFILE), damaged=True)))
    assert picture.icc == PROFILE
    assert picture.notes == ("the checksum of the chunk with the colour profile is wrong",)


def with_text_behind() -> bytes:
    """The profile with 70000 more bytes at its end, in the tag of its copyright."""
    profile = bytearray(PROFILE + bytes(70000))
    profile[:4] = struct.pack(">I", len(profile))
    place = profile.index(b"cprt")
    struct.pack_into(">II", profile, place + 4, len(PROFILE), 70000)
    return bytes(profile)


def test_a_profile_whose_colours_are_whole_is_used() -> None:
    whole = with_text_behind()
    packed = zlib.compress(whole, 0)
    damaged = images.load(plain(chunk(b"iCCP", b"name\0\0" + packed[:-4] + b"oops")))
    assert damaged.icc == whole
    assert damaged.notes[0].startswith("the colour profile is damaged; the rest")
    data = file_of(photo(), "JPEG", icc_profile=whole)
    second = data.index(b"ICC_PROFILE\0\2") - 4
    size = struct.unpack_from(">H", data, second + 2)[0]
    cut = images.load(data[:second] + data[second + 2 + size :])
    assert cut.notes == (
        "part 2 of 2 of the colour profile is missing; the rest contains all colours and is used",
    )
    assert cut.icc is not None
    assert cut.icc[: len(PROFILE)] == whole[: len(PROFILE)]
    shown = [images.load(source, srgb=True) for source in (data, data[:second] + data[second + 2 + size :])]
    assert np.array_equal(shown[0].pixels, shown[1].pixels)


def test_a_profile_whose_colours_are_missing_is_refused() -> None:
    data = file_of(photo(), "JPEG", icc_profile=with_text_behind())
    first = data.index(b"ICC_PROFILE\0\1") - 4
    size = struct.unpack_from(">H", data, first + 2)[0]
    cut = data[:first] + data[first + 2 + size :]
    with pytest.raises(
        ImageError, match="part 1 of 2 of the colour profile is missing, so the colours are not known"
    ):
        images.load(cut)
    assert images.load(cut, strip=["icc"]).notes == (
        "part 1 of 2 of the colour profile is missing; it is left out",
    )


def test_parts_of_a_profile_may_stand_in_any_order() -> None:
    data = file_of(photo(), "JPEG", icc_profile=with_text_behind())
    first, second = (data.index(b"ICC_PROFILE\0" + number) - 4 for number in (b"\1", b"\2"))
    end = second + 2 + struct.unpack_from(">H", data, second + 2)[0]
    swapped = data[:first] + data[second:end] + data[first:second] + data[end:]
    assert images.load(swapped).icc == with_text_behind()


@pytest.mark.parametrize("mode", ["YCbCr", "HSV"])
def test_a_profile_of_rgb_belongs_to_what_becomes_rgb(mode: str) -> None:
    image = photo().convert(mode)
    image.info["icc_profile"] = PROFILE
    kept, converted = images.load(image), images.load(image, srgb=True)
    assert kept.icc == PROFILE
    assert kept.notes == (f"the image is converted from {mode} to RGB",)
    assert (
        converted.notes[-1] == "the colours are converted from the profile 'Adobe RGB (1998), 2.199' to sRGB"
    )
    assert np.abs(converted.pixels.astype(int) - kept.pixels).mean() > 2


def test_a_profile_for_other_colours_is_kept_with_a_note() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    picture = images.load(file_of(photo(), "PNG", icc_profile=lab))
    assert picture.icc == lab
    assert picture.notes == (
        "the colour profile is for Lab, not for RGB; it is kept, and the colours will be taken for sRGB",
    )


def test_a_profile_in_a_bmp() -> None:
    colours = np.array(photo((4, 2)))
    rows = np.ascontiguousarray(colours[::-1, :, ::-1]).tobytes()
    for kind, icc in ((b"DEBM", PROFILE), (b"KNIL", None), (b" niW", None)):
        head = struct.pack("<IiiHHIIiiII", 124, 4, 2, 1, 24, 0, len(rows), 0, 0, 0, 0) + bytes(16) + kind
        head = head.ljust(112, b"\0") + struct.pack("<III", 124 + len(rows), len(PROFILE), 0)
        body = struct.pack("<2sIHHI", b"BM", 0, 0, 0, 14 + 124) + head + rows + PROFILE
        picture = images.load(body, strip=["icc"] if kind == b"KNIL" else [])
        assert np.array_equal(picture.pixels, colours)
        assert picture.icc == icc
        assert len(picture.notes) == (kind == b"KNIL")
    cut = body[: -len(PROFILE)].replace(b" niW", b"DEBM")
    with pytest.raises(ImageError, match="the colour profile is damaged, so the colours are not known"):
        images.load(cut)


def test_a_profile_in_a_gif() -> None:
    data = file_of(photo(), "GIF")
    blocks = b"".join(
        bytes([len(PROFILE[start : start + 255])]) + PROFILE[start : start + 255]
        for start in range(0, len(PROFILE), 255)
    )
    # Behind the header and the table of 256 colours.
    place = 13 + 3 * 2 ** ((data[10] & 7) + 1)
    with_profile = data[:place] + b"!\xff\x0bICCRGBG1012" + blocks + b"\0" + data[place:]
    picture = images.load(with_profile)
    assert picture.icc == PROFILE
    assert np.array_equal(picture.pixels, images.load(data).pixels)


# --- JPEG -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_damaged_scan_is_told(mode: str, progressive: bool) -> None:
    data = file_of(photo((200, 150)).convert(mode), "JPEG", quality=90, progressive=progressive)
    assert not any("damaged" in note for note in images.load(data).notes)
    middle = len(data) // 2
    picture = images.load(data[:middle] + data[middle + 300 :])
    assert any(note.startswith("a part of the picture may be damaged (") for note in picture.notes)


def test_12_bits_are_named() -> None:
    data = bytearray(file_of(photo(), "JPEG"))
    data[data.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(ImageError, match="a JPEG with 12-bit samples is not supported"):
        images.load(bytes(data))


# --- files that cannot be opened --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("beginning", "words"),
    [
        (b"\x89PNG\r\n\x1a\n", "the PNG file is damaged"),
        (b"\xff\xd8\xff\xe0", "the JPEG file is damaged"),
        (b"GIF89a", "the GIF file is damaged"),
        (b"II*\0\x08\0\0\0\0\0\0\0\0\0", "damaged or cut short"),
        (b"RIFF\x20\0\0\0WEBPVP8 ", "damaged"),
    ],
)
def test_what_a_file_wanted_to_be_is_named(beginning: bytes, words: str) -> None:
    with pytest.raises(ImageError, match=words) as caught:
        images.load(beginning + bytes(40))
    assert "not an image" not in str(caught.value)


def test_lab_is_converted() -> None:
    transform = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    picture = images.load(file_of(transform.apply(photo()), "TIFF"))
    assert picture.notes == ("the image is converted from LAB to RGB",)
    assert np.abs(picture.pixels.astype(int) - np.array(photo())).mean() < 1


# --- Pillow images ----------------------------------------------------------------------------------------


def test_an_untouched_pillow_image_is_read_as_its_file() -> None:
    samples = noise(5, 4, 3, most=65535)
    cicp = chunk(b"cICP", bytes([12, 13, 0, 1]))
    data = png(16, 2, samples, cicp)
    image = Image.open(io.BytesIO(data))
    picture, whole = images.load(image), images.load(data)
    assert np.array_equal(picture.pixels, whole.pixels)
    assert (picture.icc, picture.notes) == (whole.icc, whole.notes)
    assert np.array_equal(np.array(image), samples >> 8)  # It can still be decoded.


def test_what_was_changed_in_a_pillow_image_counts() -> None:
    image = Image.open(io.BytesIO(file_of(photo(), "JPEG", icc_profile=PROFILE)))
    del image.info["icc_profile"]
    assert images.load(image).icc is None


def test_tiff_samples_that_pillow_has_decoded_wrongly_are_refused() -> None:
    grey = Image.fromarray(noise(5, 4, most=65535).astype(np.uint16))
    data = bytearray(file_of(grey, "TIFF"))
    assert images.load(Image.open(io.BytesIO(data))).grey
    data[data.index(struct.pack("<HHI", 262, 3, 1)) + 8] = 0
    image = Image.open(io.BytesIO(data))
    expected = np.round((65535 - np.array(grey).astype(int)) * 255 / 65535)
    assert np.array_equal(images.load(image).pixels[..., 0], expected)
    image.load()
    with pytest.raises(ImageError, match="Pillow decodes these TIFF samples wrongly: give the file"):
        images.load(image)
    for opened in (image, Image.open(io.BytesIO(data))):
        with pytest.raises(OSError, match="Pillow decodes these TIFF samples wrongly: give the file"):
            opened.save(io.BytesIO(), "BLD")
