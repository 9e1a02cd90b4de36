"""Alpha, colour profile, Exif and XMP: from an image to the bytes of a file, and back."""

import dataclasses
import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

import bincodec
from bincodec import Codec, Limits
from bincodec.bitstream import container, extras
from bincodec.bitstream.container import Extra
from bincodec.bitstream.deflate import deflate
from bincodec.bitstream.extras import METADATA, TITLES
from bincodec.bitstream.index import ALPHA
from bincodec.io import images

PROFILE = bytes(range(256)) * 3
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">\xc3\xa9</x:xmpmeta>'


def exif(orientation: int) -> bytes:
    fields = Image.Exif()
    fields[ExifTags.Base.Make], fields[ExifTags.Base.Orientation] = "bincodec", orientation
    return fields.tobytes()


INFO = {"icc_profile": PROFILE, "exif": exif(1), "xmp": XMP}


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    skimage = pytest.importorskip("skimage.data", reason="scikit-image carries the photos")
    image = Image.fromarray(skimage.astronaut()[60:101, 200:255])
    return image


@pytest.fixture(scope="module")
def alpha() -> np.ndarray:
    """Return alpha that is clear on the left and opaque on the right, with a soft edge between."""
    return np.tile(np.clip(np.arange(55) * 20 - 400, 0, 255).astype(np.uint8), (41, 1))


@pytest.fixture(scope="module")
def photo_codec() -> Codec:
    return Codec.load("photo")


def with_alpha(photo: Image.Image, alpha: np.ndarray, mode: str = "RGBA") -> Image.Image:
    image = photo.convert(mode)
    image.putalpha(Image.fromarray(alpha))
    return image


def described(image: Image.Image, **info: Any) -> Image.Image:
    image = image.copy()
    image.info |= INFO | info
    return image


# --- round trips ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_comes_back_exactly_and_colours_as_well_as_ever(
    photo_codec: Codec, photo: Image.Image, alpha: np.ndarray, mode: str
) -> None:
    decoded = photo_codec.decompress(photo_codec.compress(with_alpha(photo, alpha, mode), quality=80))
    assert (decoded.mode, decoded.size) == (mode, (55, 41))
    assert np.array_equal(np.array(decoded.getchannel("A")), alpha)
    opaque = photo_codec.decompress(photo_codec.compress(photo.convert(mode[:-1]), quality=80))
    original, seen = np.array(photo.convert(mode[:-1])), alpha > 0
    errors = [
        np.square(np.array(image.convert(mode[:-1])).astype(float) - original)[seen].mean()
        for image in (decoded, opaque)
    ]
    assert errors[0] < 1.3 * errors[1]


def test_what_is_decoded_is_a_source_like_any_other(
    codec: Codec, photo: Image.Image, alpha: np.ndarray
) -> None:
    decoded = codec.decompress(codec.compress(with_alpha(photo, alpha)))
    for source in (decoded, np.array(decoded)):
        again = codec.decompress(codec.compress(source))
        assert np.array_equal(np.array(again.getchannel("A")), alpha)


def test_opaque_alpha_costs_nothing(codec: Codec, photo: Image.Image) -> None:
    assert codec.compress(photo.convert("RGBA")) == codec.compress(photo)
    assert codec.compress(photo.convert("LA")) == codec.compress(photo.convert("L"))


def test_colours_that_nobody_sees_do_not_matter(codec: Codec, photo: Image.Image, alpha: np.ndarray) -> None:
    one, other = np.array(with_alpha(photo, alpha)), np.array(with_alpha(photo, alpha))
    other[alpha == 0, :3] = np.random.default_rng(0).integers(0, 256, (int((alpha == 0).sum()), 3))
    assert codec.compress(one) == codec.compress(other)
    one[..., 3] = 0
    clear = codec.decompress(codec.compress(one))
    assert not np.array(clear.getchannel("A")).any()


def test_colours_that_nobody_sees_are_cheap(
    photo_codec: Codec, photo: Image.Image, alpha: np.ndarray
) -> None:
    sizes = [
        len(photo_codec.pack(dataclasses.replace(photo_codec.encode(image, 90), extras=())))
        for image in (photo, with_alpha(photo, alpha))
    ]
    assert sizes[1] < 0.8 * sizes[0]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA"])
def test_metadata_comes_back_byte_for_byte(
    codec: Codec, photo: Image.Image, alpha: np.ndarray, mode: str
) -> None:
    image = with_alpha(photo, alpha, mode) if mode.endswith("A") else photo.convert(mode)
    decoded = codec.decompress(codec.compress(described(image)))
    assert decoded.mode == mode
    assert {key: decoded.info[key] for key in INFO} == INFO
    assert decoded.info["bld"]["layers"] == codec.model.card.architecture.layers
    plain = codec.decompress(codec.compress(image))
    assert set(plain.info) == {"bld"}
    assert np.array_equal(np.array(plain), np.array(decoded))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_exif_comes_back_but_for_the_orientation(codec: Codec, photo: Image.Image, orientation: int) -> None:
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", exif=exif(orientation))
    decoded = codec.decompress(codec.compress(buffer.getvalue()))
    assert decoded.info["exif"] == exif(1)
    assert decoded.size == ((41, 55) if orientation > 4 else (55, 41))


def test_what_is_decoded_can_be_written_and_read_by_pillow(codec: Codec, photo: Image.Image) -> None:
    decoded = codec.decompress(codec.compress(described(photo)))
    buffer = io.BytesIO()
    decoded.save(buffer, "PNG", exif=decoded.info["exif"])
    with Image.open(buffer) as image:
        image.load()
        assert image.info["icc_profile"] == PROFILE
        assert image.getexif()[ExifTags.Base.Make] == "bincodec"


@pytest.mark.parametrize(
    ("strip", "left"),
    [
        ("all", set()),
        (["all", "xmp"], set()),
        ("icc", {"exif", "xmp"}),
        (("exif", "xmp"), {"icc_profile"}),
        (iter(["icc", "exif"]), {"xmp"}),
        ((), {"icc_profile", "exif", "xmp"}),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_metadata_can_be_left_out(codec: Codec, photo: Image.Image, strip: Any, left: set[str]) -> None:
    decoded = codec.decompress(codec.compress(described(photo), strip=strip))
    assert set(decoded.info) - {"bld"} == left


@pytest.mark.parametrize(
    ("keywords", "error", "words"),
    [
        ({"strip": "gps"}, bincodec.InvalidSetting, "strip 'gps' is not one of all, icc, exif, xmp"),
        ({"strip": ["icc", "al"]}, bincodec.InvalidSetting, "strip 'al' is not one of"),
        ({"strip": None}, TypeError, "strip must be a str or several, not None"),
        ({"strip": [3]}, TypeError, "strip must be a str, not 3"),
        ({"srgb": "yes"}, TypeError, "srgb must be True or False, not 'yes'"),
    ],
)
def test_what_cannot_be_asked_for(keywords: Any, error: type[Exception], words: str) -> None:
    for call in (bincodec.compress, Codec.load("photo").encode):
        with pytest.raises(error, match=words):
            call(np.zeros((4, 4, 3), np.uint8), **keywords)  # type: ignore[operator]


def test_colours_are_converted_where_that_is_asked_for(codec: Codec, photo: Image.Image) -> None:
    with pytest.MonkeyPatch.context() as patch:
        seen = []
        patch.setattr(images, "load", spy(images.load, seen))
        codec.compress(photo, srgb=True, strip="xmp")
        codec.encode(photo)
    assert [(call["srgb"], call["strip"]) for call in seen] == [(True, {"xmp"}), (False, set())]


def spy(call: Callable[..., Any], seen: list[dict[str, Any]]) -> Callable[..., Any]:
    def noting(*arguments: Any, **keywords: Any) -> Any:
        seen.append(keywords)
        return call(*arguments, **keywords)

    return noting


# --- limits and damage ------------------------------------------------------------------------------------


def test_metadata_has_a_limit_in_both_directions(codec: Codec, photo: Image.Image) -> None:
    tight = Limits(metadata_bytes=len(PROFILE) - 1)
    for call in (codec.compress, codec.encode):
        with pytest.raises(bincodec.TooLarge, match="the image: the colour profile of 768 bytes is over"):
            call(described(photo), limits=tight)
    data = codec.compress(described(photo))
    for read in (codec.unpack, codec.decompress):
        with pytest.raises(bincodec.TooLarge, match="colour profile: more than 767 bytes unpacked, over"):
            read(data, limits=tight)
    code = codec.unpack(data)
    with pytest.raises(bincodec.TooLarge, match="metadata_bytes=767"):
        codec.decode(code, limits=tight)
    loose = Limits(metadata_bytes=2**23)
    large = described(photo, icc_profile=bytes(2**22 + 1))
    data = codec.compress(large, limits=loose)
    with pytest.raises(bincodec.TooLarge, match="metadata_bytes=4194304"):
        codec.decompress(data)
    assert codec.decompress(data, limits=loose).info["icc_profile"] == bytes(2**22 + 1)
    assert codec.decompress(data, limits=loose, layers=1, missing="sample").info["icc_profile"]


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ((Extra(ALPHA, b""),), "alpha of 55 x 41 pixels: nothing is in it"),
        ((Extra(ALPHA, b"\0" + deflate(bytes(55 * 41 - 1))),), "2254 bytes unpacked, not 2255"),
        ((Extra(ALPHA, b"\0" + deflate(bytes(2**24))),), "more than 2255 bytes unpacked"),
        ((Extra(ALPHA, b"\x04garbage"),), "alpha of 55 x 41 pixels: "),
        *(((Extra(kind, b"garbage"),), f"{TITLES[name]}: ") for name, kind in METADATA.items()),
    ],
)
def test_malformed_chunks_make_a_file_corrupt(
    codec: Codec, photo: Image.Image, extra: tuple[Extra, ...], words: str
) -> None:
    code = codec.encode(photo)
    data = codec.pack(dataclasses.replace(code, extras=extra))
    for read in (codec.unpack, codec.decompress):
        with pytest.raises(bincodec.Corrupt, match=words):
            read(data)
    with pytest.raises(bincodec.VerificationFailed, match=words):
        codec.pack(dataclasses.replace(code, extras=extra), verify=True)
    with pytest.raises(bincodec.Corrupt, match=words):
        codec.decode(dataclasses.replace(code, extras=extra))


def test_a_bomb_is_refused_before_anything_is_decoded(
    codec: Codec, photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = Extra(METADATA["exif"], deflate(bytes(2**24)))
    data = codec.pack(dataclasses.replace(codec.encode(photo), extras=(bomb,)))
    monkeypatch.setattr("bincodec.coding.packing.unpack", None)
    with pytest.raises(bincodec.TooLarge, match="Exif: more than 4194304 bytes unpacked, over the limit"):
        codec.unpack(data)


def test_a_file_packs_to_the_same_bytes_again(codec: Codec, photo: Image.Image, alpha: np.ndarray) -> None:
    data = codec.compress(described(with_alpha(photo, alpha)))
    code = codec.unpack(data)
    assert codec.pack(code) == data
    assert extras.read(container.read(container.Memory(data)).extras, 55, 41).names == ("alpha", *METADATA)


@pytest.mark.parametrize("layers", [1, 2])
def test_a_coarser_picture_has_the_same_alpha(
    codec: Codec, photo: Image.Image, alpha: np.ndarray, layers: int
) -> None:
    data = codec.compress(described(with_alpha(photo, alpha)))
    for missing in ("error", "expect", "sample"):
        decoded = codec.decompress(data, layers=layers, missing=missing)
        assert np.array_equal(np.array(decoded.getchannel("A")), alpha)
        assert decoded.info["icc_profile"] == PROFILE


def test_what_is_left_of_a_damaged_file_is_shown(codec: Codec, photo: Image.Image, alpha: np.ndarray) -> None:
    data = codec.compress(described(with_alpha(photo, alpha)))
    decoded = codec.decompress(data[:-1], missing="expect")
    assert not decoded.info["bld"]["intact"]
    assert decoded.size == (55, 41)


# --- drawing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_code", [False, True])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_inpainting_keeps_alpha_and_metadata(
    codec: Codec, photo: Image.Image, alpha: np.ndarray, mode: str, as_code: bool
) -> None:
    image = described(with_alpha(photo, alpha, mode))
    hole = np.zeros((41, 55), bool)
    hole[10:20, 15:40] = True
    (filled,) = codec.inpaint(codec.encode(image) if as_code else image, hole, seed=3)
    assert filled.image.mode == mode
    assert np.array_equal(np.array(filled.image.getchannel("A")), alpha)
    assert filled.image.info["icc_profile"] == PROFILE
    if not as_code:
        far = np.zeros((41, 55), bool)
        far[32:] = True
        assert np.array_equal(np.array(filled.image)[far], np.array(image)[far])
    decoded = codec.decompress(codec.pack(filled.code, verify=True))
    assert decoded.mode == mode
    assert decoded.info["xmp"] == XMP


@pytest.mark.parametrize("as_code", [False, True])
def test_variations_keep_alpha_and_metadata(
    codec: Codec, photo: Image.Image, alpha: np.ndarray, as_code: bool
) -> None:
    image = described(with_alpha(photo, alpha))
    (varied,) = codec.vary(codec.encode(image) if as_code else image, 0.2, seed=3, steps=2)
    decoded = codec.decode(varied)
    assert np.array_equal(np.array(decoded.getchannel("A")), alpha)
    assert decoded.info["exif"] == exif(1)


def test_what_is_transparent_in_a_mask_marks_nothing(codec: Codec, photo: Image.Image) -> None:
    hole = np.zeros((41, 55, 4), np.uint8)
    hole[..., :3] = 255
    hole[10:20, 15:40, 3] = 255
    one = codec.inpaint(photo, hole, seed=3)[0].code
    other = codec.inpaint(photo, hole[..., 3] == 255, seed=3)[0].code
    assert one.same_as(other)


def test_pictures_with_metadata_leave_no_warning(codec: Codec, photo: Image.Image) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        codec.decompress(codec.compress(described(photo, exif=b"Exif\0\0broken")))
