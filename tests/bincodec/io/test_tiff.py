"""TIFF: any depth, either grey, in planes or not, packed in any way gives the picture that was put in."""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from bincodec import BincodecError
from bincodec.bitstream.limits import Limits
from bincodec.errors import ImageError, TooLarge
from bincodec.io import images

DEFLATE = 8
GREY_FROM_WHITE, GREY, RGB, CMYK = 0, 1, 2, 5


def samples(width: int, height: int, count: int, bits: int) -> np.ndarray:
    """(H, W, count) values of so many bits, with the lowest and the highest among them."""
    values = np.random.default_rng(bits).integers(0, 2**bits, (height, width, count), dtype=np.uint64)
    values[0, 0], values[-1, -1] = 0, 2**bits - 1
    return values


def packed(values: np.ndarray, bits: int, order: str) -> bytes:
    """Rows (H, W, count) as they stand in a file: each row begins with a byte of its own."""
    if bits % 8 == 0:
        return values.astype(f"{order}u{bits // 8}").tobytes()
    rows = values.reshape(len(values), -1)
    each = (rows[..., None] >> np.arange(bits - 1, -1, -1, dtype=np.uint64)) & np.uint64(1)
    return np.packbits(each.astype(np.uint8).reshape(len(values), -1), axis=1).tobytes()


def directory(order: str, start: int, entries: dict[int, tuple[str, list[int]]]) -> bytes:
    """A directory that stands at `start`: values by tag, shorts ("H"), longs ("I") or bytes ("B")."""
    kinds = {"B": 1, "H": 3, "I": 4}
    fields, behind = b"", b""
    place = start + 2 + 12 * len(entries) + 4
    for tag, (form, values) in sorted(entries.items()):
        data = struct.pack(f"{order}{len(values)}{form}", *values)
        if len(data) > 4:
            value, behind = (
                struct.pack(order + "I", place + len(behind)),
                behind + data + bytes(len(data) % 2),
            )
        else:
            value = data.ljust(4, b"\0")
        fields += struct.pack(order + "HHI", tag, kinds[form], len(values)) + value
    return struct.pack(order + "H", len(entries)) + fields + bytes(4) + behind


def tiff(
    values: np.ndarray,
    bits: int,
    photometric: int,
    *,
    order: str = "<",
    planes: bool = False,
    compression: int = 1,
    rows: int | None = None,
    tile: int | None = None,
    predictor: bool = False,
    **tags: tuple[str, list[int]],
) -> bytes:
    """A TIFF by hand; `tags` by names like t338."""
    height, width, count = values.shape
    layers = [values[..., [index]] for index in range(count)] if planes else [values]
    parts = []
    for layer in layers:
        if tile:
            padded = np.pad(layer, ((0, -height % tile), (0, -width % tile), (0, 0)))
            cut = [
                padded[top : top + tile, left : left + tile]
                for top in range(0, height, tile)
                for left in range(0, width, tile)
            ]
        else:
            cut = [layer[top : top + (rows or height)] for top in range(0, height, rows or height)]
        if predictor:
            cut = [np.diff(part, axis=1, prepend=part.dtype.type(0)) for part in cut]
        parts += [packed(part, bits, order) for part in cut]
    if compression == DEFLATE:
        parts = [zlib.compress(part) for part in parts]
    data = (b"II*\0" if order == "<" else b"MM\0*") + bytes(4)
    offsets = []
    for part in parts:
        offsets.append(len(data))
        data += part + bytes(len(part) % 2)
    entries: dict[int, tuple[str, list[int]]] = {
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", [bits] * count),
        259: ("H", [compression]),
        262: ("H", [photometric]),
        277: ("H", [count]),
        284: ("H", [2 if planes else 1]),
    }
    if predictor:
        entries[317] = ("H", [2])
    if tile:
        entries |= {322: ("I", [tile]), 323: ("I", [tile])}
    else:
        entries |= {278: ("I", [rows or height])}
    entries |= {324 if tile else 273: ("I", offsets), 325 if tile else 279: ("I", [*map(len, parts)])}
    entries |= {int(name[1:]): value for name, value in tags.items()}
    start = len(data)
    data += directory(order, start, entries)
    return data[:4] + struct.pack(order + "I", start) + data[8:]


def in_8_bits(values: np.ndarray, bits: int) -> np.ndarray:
    return np.round(values * 255.0 / (2**bits - 1)).astype(np.uint8)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 10, 12, 14, 16, 32])
@pytest.mark.parametrize("photometric", [GREY_FROM_WHITE, GREY])
def test_grey_of_any_depth(photometric: int, bits: int) -> None:
    values = samples(7, 5, 1, bits)
    expected = in_8_bits(values, bits)
    for order in "<>":
        picture = images.load(tiff(values, bits, photometric, order=order))
        assert picture.grey
        light = 255 - picture.pixels if photometric == GREY_FROM_WHITE else picture.pixels
        # What lies in the middle between two levels may go to either.
        assert np.abs(light[..., :1].astype(int) - expected).max() <= (photometric == GREY_FROM_WHITE)
        note = {16: ("the 16-bit samples are reduced to 8 bits",)}.get(
            bits, (f"the {bits}-bit samples are reduced to 8 bits",)
        )
        assert picture.notes == (note if bits > 8 else ())


@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("bits", [4, 8, 12, 16, 32])
@pytest.mark.parametrize("layout", [{}, {"rows": 2}, {"tile": 16}, {"tile": 32}])
@pytest.mark.parametrize("compression", [1, DEFLATE])
def test_colours_of_any_depth_and_layout(planes: bool, bits: int, layout: dict, compression: int) -> None:
    values = samples(19, 9, 3, bits)
    for order in "<>":
        data = tiff(values, bits, RGB, order=order, planes=planes, compression=compression, **layout)
        assert np.array_equal(images.load(data).pixels, in_8_bits(values, bits))


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd", "lzma"])
def test_libtiff_unpacks_what_it_knows(compression: str) -> None:
    """Pillow writes 16-bit grey in each compression; said to count from white, it is the negative."""
    values = samples(33, 9, 1, 16)[..., 0].astype(np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "TIFF", compression=compression)
    data = bytearray(buffer.getvalue())
    field = struct.pack("<HHI", 262, 3, 1)
    assert data.count(field) == 1
    data[data.index(field) + 8] = GREY_FROM_WHITE
    expected = in_8_bits(65535 - values.astype(np.int64), 16)
    assert np.array_equal(images.load(bytes(data)).pixels[..., 0], expected)


@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
def test_differences_along_rows_are_undone(bits: int, planes: bool) -> None:
    values = samples(19, 9, 3, bits).astype(f"u{bits // 8}")
    for order in "<>":
        data = tiff(values, bits, RGB, order=order, planes=planes, compression=DEFLATE, predictor=True)
        assert np.array_equal(images.load(data).pixels, in_8_bits(values, bits))


@pytest.mark.parametrize("planes", [False, True])
def test_inks_of_16_bits(planes: bool) -> None:
    values = samples(9, 5, 4, 16)
    picture = images.load(tiff(values, 16, CMYK, planes=planes))
    expected = Image.fromarray(in_8_bits(values, 16), "CMYK").convert("RGB")
    assert np.array_equal(picture.pixels, np.array(expected))
    assert picture.notes == (
        "the 16-bit samples are reduced to 8 bits",
        "the image is converted from CMYK to RGB",
    )


@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("photometric", [GREY, RGB])
@pytest.mark.parametrize("kind", [1, 2])
def test_alpha_beside_any_colours(planes: bool, bits: int, photometric: int, kind: int) -> None:
    colours = 1 if photometric == GREY else 3
    values = samples(9, 5, colours + 1, bits)
    if kind == 1:  # Colours that are multiplied by their alpha do not exceed it.
        values[..., :-1] = np.minimum(values[..., :-1], values[..., -1:])
    picture = images.load(tiff(values, bits, photometric, planes=planes, t338=("H", [kind])))
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha, in_8_bits(values[..., -1], bits))
    assert picture.grey == (photometric == GREY)
    expected = in_8_bits(values[..., :-1], bits).astype(int)
    if kind == 1:
        expected = 255.0 * values[..., :-1] / np.maximum(values[..., -1:], 1)
    clear = picture.alpha == 0
    assert np.abs(picture.pixels[..., :colours] - expected)[~clear].max() <= 1


def test_an_opaque_grey_tiff_with_alpha_stays_grey() -> None:
    values = samples(9, 5, 2, 16)
    values[..., 1] = 65535
    picture = images.load(tiff(values, 16, GREY, t338=("H", [2])))
    assert picture.grey
    assert picture.alpha is None


def test_samples_without_a_meaning_are_left_out_with_a_note() -> None:
    values = samples(9, 5, 5, 16)
    picture = images.load(tiff(values, 16, RGB, t338=("H", [0, 0])))
    assert np.array_equal(picture.pixels, in_8_bits(values[..., :3], 16))
    assert picture.notes == (
        "2 of the 5 samples of each pixel are left out",
        "the 16-bit samples are reduced to 8 bits",
    )


def test_bits_in_the_other_order() -> None:
    values = samples(16, 5, 1, 12)
    data = tiff(values, 12, GREY, t266=("H", [2]))
    body = bytes(int(f"{byte:08b}"[::-1], 2) for byte in data[8 : 8 + 5 * 24])
    picture = images.load(data[:8] + body + data[8 + 5 * 24 :])
    assert np.array_equal(picture.pixels[..., :1], in_8_bits(values, 12))


def test_what_the_tags_say_stays_beside_deep_samples() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = tiff(
        *(samples(9, 5, 3, 16), 16, RGB),
        t34675=("B", [*profile]),
        t700=("B", [*b"<x:xmpmeta/>"]),
        t274=("H", [6]),
    )
    picture = images.load(data)
    assert (picture.icc, picture.xmp) == (profile, b"<x:xmpmeta/>")
    assert picture.pixels.shape == (9, 5, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_samples_are_turned_as_well(orientation: int) -> None:
    values = samples(9, 5, 4, 16)
    values[..., 3] |= 2**15
    picture = images.load(tiff(values, 16, RGB, t338=("H", [2]), t274=("H", [orientation])))
    upright = np.flip(values, [(), (), 1, (0, 1), 0, (), 0, (0, 1), 1][orientation])
    upright = upright.swapaxes(0, 1) if orientation >= 5 else upright
    expected = in_8_bits(upright, 16)
    assert picture.alpha is not None
    assert np.array_equal(picture.pixels, expected[..., :3])
    assert np.array_equal(picture.alpha, expected[..., 3])
    exif = Image.Exif()
    exif.load(picture.exif or b"")
    assert exif.get(274, 1) == 1


# --- pages ------------------------------------------------------------------------------------------------


def two_pages(first: np.ndarray, second: np.ndarray, **tags: tuple[str, list[int]]) -> bytes:
    """Two pages of 8 bits; `tags` are those of the second."""
    data = tiff(first, 8, RGB)
    start = struct.unpack("<I", data[4:8])[0]
    link = start + 2 + 12 * struct.unpack("<H", data[start : start + 2])[0]
    height, width, _ = second.shape
    pixels = len(data)
    data += second.astype(np.uint8).tobytes()
    data += bytes(len(data) % 2)
    entries: dict[int, tuple[str, list[int]]] = {
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", [8, 8, 8]),
        262: ("H", [RGB]),
        273: ("I", [pixels]),
        277: ("H", [3]),
        278: ("I", [height]),
        279: ("I", [second.size]),
    }
    entries |= {int(name[1:]): value for name, value in tags.items()}
    page = directory("<", len(data), entries)
    return data[:link] + struct.pack("<I", len(data)) + data[link + 4 :] + page


@pytest.mark.parametrize(
    ("size", "tags"), [((12, 8), {}), ((24, 16), {"t254": ("I", [1])}), ((20, 9), {"t255": ("H", [2])})]
)
def test_a_reduced_copy_is_left_out_with_a_note(size: tuple[int, int], tags: dict) -> None:
    photo, copy = samples(24, 16, 3, 8), samples(*size, 3, 8)
    picture = images.load(two_pages(photo, copy, **tags))
    assert np.array_equal(picture.pixels, photo)
    assert picture.notes == ("the other pages of the file (reduced copies, masks) are left out",)


def test_the_photo_may_come_behind_its_reduced_copy() -> None:
    photo, copy = samples(24, 16, 3, 8), samples(12, 8, 3, 8)
    data = bytearray(two_pages(copy, photo))
    # The first page's directory says that it is reduced, in place of its planes.
    place = data.index(struct.pack("<HHI", 284, 3, 1))
    data[place : place + 12] = struct.pack("<HHIHH", 254, 3, 1, 1, 0)
    assert np.array_equal(images.load(bytes(data)).pixels, photo)


def test_the_preview_of_a_raw_file_is_not_taken_for_the_photo() -> None:
    data = tiff(samples(9, 5, 3, 8), 8, RGB, t254=("I", [1]), t330=("I", [8]))
    with pytest.raises(ImageError, match="a camera's raw file"):
        images.load(data)


def test_coarse_colours_that_are_not_compressed_are_refused() -> None:
    whole = tiff(samples(16, 8, 3, 8), 8, 6)
    assert images.load(whole).notes == ("the image is converted from YCbCr to RGB",)
    coarse = tiff(samples(16, 8, 3, 8), 8, 6, t279=("I", [16 * 8 * 3 // 2]))
    for data in (coarse, tiff(samples(16, 8, 3, 8), 8, 6, planes=True)):
        with pytest.raises(
            ImageError, match="it has uncompressed YCbCr in planes or with subsampled colours"
        ):
            images.load(data)


def test_two_pictures_are_refused() -> None:
    for size in ((24, 16), (12, 16)):
        with pytest.raises(ImageError, match="several pages"):
            images.load(two_pages(samples(24, 16, 3, 8), samples(*size, 3, 8)))


# --- refusals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bits", "tags", "words"),
    [
        (32, {"t339": ("H", [3])}, "its floating-point 32-bit samples"),
        (16, {"t339": ("H", [3])}, "its floating-point 16-bit samples"),
        (16, {"t339": ("H", [2])}, "its signed 16-bit samples"),
        (64, {}, "its 64-bit samples"),
        (16, {"t262": ("H", [8])}, "16-bit samples of photometric 8"),
        (16, {"t259": ("H", [7])}, "16-bit samples in TIFF compression 7"),
        (16, {"t259": ("H", [8]), "t317": ("H", [3])}, "with TIFF predictor 3"),
    ],
)
def test_what_is_not_read_is_named(bits: int, tags: dict, words: str) -> None:
    data = tiff(samples(9, 5, 3, min(bits, 32)), bits, RGB, **tags)
    with pytest.raises(ImageError, match=words) as caught:
        images.load(data)
    assert "damaged" not in str(caught.value)


def test_a_file_that_ends_early_is_damaged() -> None:
    values = samples(40, 30, 3, 16)
    for compression in (1, DEFLATE):
        data = tiff(values, 16, RGB, compression=compression)
        start = struct.unpack("<I", data[4:8])[0]
        cut = bytearray(data)
        # Its directory stays whole, its pixels end early.
        place = data.index(struct.pack("<HHI", 273, 4, 1))
        struct.pack_into("<I", cut, place + 8, start - 200)
        with pytest.raises(ImageError, match="damaged or cut short"):
            images.load(bytes(cut))


def test_a_directory_that_lies_is_refused_before_pixels_are_unpacked() -> None:
    huge = tiff(samples(4, 4, 3, 16), 16, RGB, compression=DEFLATE, t256=("I", [8000]), t257=("I", [8000]))
    many = tiff(samples(4, 4, 3, 16), 16, RGB, t278=("I", [1]), t256=("I", [4]), t257=("I", [60000]))
    with pytest.raises(TooLarge, match="64000000 is over the limit pixels=1000000"):
        images.load(huge, limits=Limits(pixels=10**6))
    with pytest.raises(ImageError, match="its directory names too few strips or tiles"):
        images.load(many)
    side = ("I", [8000])
    wide = tiff(samples(4, 4, 3, 32), 32, RGB, compression=DEFLATE, t256=side, t257=side, t278=side)
    with pytest.raises(ImageError, match="a strip or tile of 768000000 bytes, which is over the limit"):
        images.load(wide)
    tiles = {"t256": ("I", [1000]), "t257": ("I", [1000]), "t322": ("I", [1]), "t323": ("I", [1])}
    with pytest.raises(ImageError, match="it has 1000000 strips or tiles, which is over the limit of 100000"):
        images.load(tiff(samples(4, 4, 3, 16), 16, RGB, tile=4, **tiles))


@given(st.lists(st.tuples(st.integers(0, 999), st.integers(0, 255)), min_size=1, max_size=6), st.booleans())
def test_damage_gives_a_picture_or_an_error_of_ours(damages: list[tuple[int, int]], packed: bool) -> None:
    data = bytearray(tiff(samples(9, 5, 3, 12), 12, RGB, compression=DEFLATE if packed else 1, rows=2))
    for place, value in damages:
        data[-1 - place % len(data)] = value
    with contextlib.suppress(BincodecError):
        assert images.load(bytes(data), limits=Limits(pixels=10**6)).pixels.dtype == np.uint8
