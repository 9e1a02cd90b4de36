"""Pillow opens and saves `.bld` files, and with it whoever reads pictures through Pillow."""

import copy
import dataclasses
import io
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

import bincodec
from bincodec import Codec
from bincodec.bitstream import container
from bincodec.bitstream.container import Memory
from bincodec.bitstream.header import HEADER_BYTES
from bincodec.pillow_plugin import BldImageFile

MODELS = Path(__file__).resolve().parents[1] / "models"
TINY = str(MODELS / "tiny-1.safetensors")
WIDTH, HEIGHT = 56, 40
PROFILE = bytes(range(256)) * 3
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">\xc3\xa9</x:xmpmeta>'


def exif(orientation: int) -> Image.Exif:
    fields = Image.Exif()
    fields[ExifTags.Base.Make], fields[ExifTags.Base.Orientation] = "bincodec", orientation
    return fields


INFO = {"icc_profile": PROFILE, "exif": exif(1).tobytes(), "xmp": XMP}


@pytest.fixture(autouse=True)
def tiny_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow names no model: a file's own has to be found."""
    monkeypatch.setenv("BINCODEC_MODELS", str(MODELS))


@pytest.fixture
def shows_what_is_left() -> Iterator[None]:
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    yield
    ImageFile.LOAD_TRUNCATED_IMAGES = False


def picture(mode: str = "RGB") -> Image.Image:
    """A smooth picture with a seam, in any mode."""
    down, right = np.mgrid[0:HEIGHT, 0:WIDTH]
    colours = np.stack([4 * right, 6 * down, np.where(right > 30, 200, 60), 255 - 4 * right], axis=2)
    return Image.fromarray(colours.astype(np.uint8)).convert(mode)


def saved(image: Image.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "BLD", **{"model": TINY} | options)
    return stream.getvalue()


@pytest.fixture(scope="module")
def data(codec: Codec) -> bytes:
    """A file with everything in it."""
    image = picture("RGBA")
    image.info |= INFO
    return codec.compress(image, 60)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA"])
def test_open_tells_what_the_header_knows_and_load_what_decompress_gives(mode: str, codec: Codec) -> None:
    data = codec.compress(picture(mode))
    with Image.open(io.BytesIO(data)) as image:
        assert isinstance(image, BldImageFile)
        assert (image.format, image.size, image.mode) == ("BLD", (WIDTH, HEIGHT), mode)
        assert image.get_format_mimetype() == "image/x-bld"
        assert "bld" not in image.info
        expected = codec.decompress(data)
        assert image.tobytes() == expected.tobytes()
        assert (image.mode, image.info) == (mode, expected.info)


def test_nothing_is_decoded_and_no_torch_loaded_before_pixels_are_asked_for(
    data: bytes, tmp_path: Path
) -> None:
    (tmp_path / "x.bld").write_bytes(data)
    code = """
import sys
import bincodec
assert "PIL" not in sys.modules
from PIL import Image
assert type(Image.__loader__).__module__ != "bincodec._registration"
image = Image.open("x.bld")
assert (image.size, image.mode, sorted(image.info)) == ((56, 40), "RGBA", ["exif", "icc_profile", "xmp"])
image.verify()
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_a_pillow_that_is_there_already_is_told_as_well(tmp_path: Path) -> None:
    code = "from PIL import Image; import bincodec; assert Image.registered_extensions()['.bld'] == 'BLD'"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_to_ask_whether_there_is_a_pillow_changes_nothing(tmp_path: Path) -> None:
    code = """
import importlib.util, sys
import bincodec
before = list(sys.meta_path)
assert importlib.util.find_spec("PIL.Image") is not None
assert sys.meta_path == before
from PIL import Image
assert Image.registered_extensions()[".bld"] == "BLD"
assert len(sys.meta_path) == len(before) - 1
assert type(Image.__loader__).__module__ != "bincodec._registration"
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_save_is_compress_with_its_keywords() -> None:
    image = picture()
    assert saved(image) == bincodec.compress(image, model=TINY)
    assert saved(image, quality=7, srgb=True, verify=False, optimize=True) == bincodec.compress(
        image, quality=7, srgb=True, model=TINY
    )
    image.info |= INFO
    assert saved(image, strip="all") == bincodec.compress(image, model=TINY, strip="all")


def test_metadata_come_back_byte_for_byte(data: bytes) -> None:
    with Image.open(io.BytesIO(data)) as image:
        assert {key: image.info[key] for key in INFO} == INFO
        assert image.getexif()[ExifTags.Base.Make] == "bincodec"
        again = saved(image)
    with Image.open(io.BytesIO(again)) as image:
        assert {key: image.info[key] for key in INFO} == INFO


def test_keywords_of_pillow_replace_metadata_or_leave_them_out() -> None:
    image = picture()
    image.info |= INFO | {"XML:com.adobe.xmp": "another"}
    other = exif(1)
    other[ExifTags.Base.Model] = "other"
    with Image.open(io.BytesIO(saved(image, exif=other, icc_profile=None, xmp=b""))) as found:
        assert found.info == {"exif": other.tobytes()}
    assert image.info.keys() == {*INFO, "XML:com.adobe.xmp"}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_is_applied_as_compress_does(orientation: int) -> None:
    image = picture()
    data = saved(image, exif=exif(orientation))
    image.info["exif"] = exif(orientation).tobytes()
    assert data == bincodec.compress(image, model=TINY)
    with Image.open(io.BytesIO(data)) as found:
        assert found.size == ((WIDTH, HEIGHT) if orientation < 5 else (HEIGHT, WIDTH))
        assert found.getexif()[ExifTags.Base.Orientation] == 1


def test_of_several_pictures_the_one_that_is_shown_is_saved() -> None:
    stream = io.BytesIO()
    picture("L").save(stream, "GIF", save_all=True, append_images=[Image.new("L", (WIDTH, HEIGHT), 200)])
    with Image.open(stream) as film:
        film.seek(1)
        with Image.open(io.BytesIO(saved(film, quality=90))) as found:
            assert abs(np.asarray(found.convert("L"), int).mean() - 200) < 8


def test_the_content_counts_not_the_name(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(data)
    picture().save(tmp_path / "b.bld", "PNG")
    with Image.open(tmp_path / "a.png") as image:
        assert image.format == "BLD"
    with Image.open(tmp_path / "b.bld") as image:
        assert (image.format, image.tobytes()) == ("PNG", picture().tobytes())


def test_a_path_is_saved_and_read_again_and_left_open_by_nobody(tmp_path: Path) -> None:
    path = tmp_path / "x.bld"
    picture().save(path, model=TINY)
    image = Image.open(path)
    file = image.fp
    image.load()
    assert file is not None
    assert file.closed
    assert image.crop((1, 2, 9, 10)).size == (8, 8)


def test_copies_and_pickles_have_pixels(data: bytes) -> None:
    expected = bincodec.decompress(data).tobytes()
    for made in (Image.Image.copy, copy.copy, copy.deepcopy, lambda image: pickle.loads(pickle.dumps(image))):
        with Image.open(io.BytesIO(data)) as image:
            assert made(image).tobytes() == expected


def test_draft_shows_the_fewer_layers_the_smaller_the_picture_is_to_be(data: bytes) -> None:
    there = bincodec.read_header(data).layers
    assert there > 2
    for shrinking, layers in ((1, there), (2, -(-there // 2)), (64, 1)):
        with Image.open(io.BytesIO(data)) as image:
            drafted = image.draft(None, (WIDTH // shrinking, HEIGHT // shrinking))
            assert drafted == (None if shrinking == 1 else ("RGBA", (0, 0, WIDTH, HEIGHT)))
            expected = bincodec.decompress(data, layers=layers)
            assert image.tobytes() == expected.tobytes()
            assert image.info["bld"]["layers"] == layers
            assert image.draft(None, (1, 1)) is None
    with Image.open(io.BytesIO(data)) as image:
        image.thumbnail((14, 10))
        assert (image.size, image.info["bld"]["layers"]) == ((14, 10), -(-there // 2))


def test_damage_is_an_error_of_the_kinds_that_pillow_raises(data: bytes, tmp_path: Path) -> None:
    damaged = bytearray(data)
    damaged[-20 - len(XMP)] ^= 1
    for spoilt in (bytes(damaged), data[:-1], data + b"x", data[: 2 * len(data) // 3]):
        (tmp_path / "x.bld").write_bytes(spoilt)
        with Image.open(tmp_path / "x.bld") as image, pytest.raises(SyntaxError):
            image.verify()
        with Image.open(tmp_path / "x.bld") as image:
            assert image.size == (WIDTH, HEIGHT)
            with pytest.raises(OSError, match=r"."):
                image.load()
    spoilt = bytearray(data)
    spoilt[20] ^= 1
    for unknown in (data[:5], data[: HEADER_BYTES - 1], data[: HEADER_BYTES + 1], bytes(spoilt)):
        with pytest.raises(UnidentifiedImageError):
            Image.open(io.BytesIO(unknown))


def test_verify_comes_directly_after_open_as_for_a_png(data: bytes) -> None:
    stream = io.BytesIO()
    picture().save(stream, "PNG")
    for content in (data, stream.getvalue()):
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            with pytest.raises(RuntimeError, match="verify must be called directly after open"):
                image.verify()
            assert image.size == (WIDTH, HEIGHT)


def test_truncated_images_are_shown_where_pillow_is_told_to(
    codec: Codec, data: bytes, shows_what_is_left: None
) -> None:
    wide = picture().resize((512, 16))
    wide.info |= INFO
    of_two_tiles = codec.pack(dataclasses.replace(codec.encode(wide), tile_side=16))
    after = sum(extra.size for extra in container.read(Memory(of_two_tiles)).extras if not extra.kind & 0x40)
    cut = of_two_tiles[: -after - 3]
    with Image.open(io.BytesIO(cut)) as image:
        assert "xmp" not in image.info
        expected = bincodec.decompress(cut, missing="expect")
        assert image.tobytes() == expected.tobytes()
        assert image.info["bld"]["damage"] == expected.info["bld"]["damage"] != ()
    spoilt = bytearray(data)
    spoilt[20] ^= 1  # One bit of the header is set right.
    with Image.open(io.BytesIO(bytes(spoilt))) as image:
        assert image.tobytes() == bincodec.decompress(data).tobytes()


def test_pillows_own_bound_of_pixels_holds(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", WIDTH * HEIGHT // 2 - 1)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(data))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", WIDTH * HEIGHT - 1)
    with pytest.warns(Image.DecompressionBombWarning), Image.open(io.BytesIO(data)) as image:
        image.load()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with Image.open(io.BytesIO(data)) as image:
        image.load()


def test_other_failures_are_of_pillows_kinds_too(
    data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = bytearray(data)
    version[8] += 1
    with pytest.raises(OSError, match="format version"):
        Image.open(io.BytesIO(bytes(version)))
    with pytest.raises(OSError, match="mode 'F'"):
        saved(Image.new("F", (8, 8)))
    with pytest.raises(ValueError, match="quality 101"):
        picture().save(tmp_path / "x.bld", quality=101, model=TINY)
    assert os.listdir(tmp_path) == []
    with Image.open(io.BytesIO(data)) as image:
        pass
    with pytest.raises(ValueError, match="closed"):
        image.load()
    monkeypatch.delenv("BINCODEC_MODELS")
    with Image.open(io.BytesIO(data)) as image, pytest.raises(OSError, match="model"):
        image.load()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"exif": bytes(5 * 2**20)}, "Exif of 5242880 bytes is over the limit"),
        ({"size": 10}, "size 10 is out of reach: the smallest file of this image has"),
        ({"psnr": 99.0}, "psnr 99 is out of reach: this image reaches"),
    ],
)
def test_what_cannot_be_saved_leaves_no_file(options: dict[str, object], words: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=words):
        picture().save(tmp_path / "x.bld", model=TINY, **options)
    assert os.listdir(tmp_path) == []


def test_a_profile_that_is_none_comes_back_as_it_is() -> None:
    with Image.open(io.BytesIO(saved(picture(), icc_profile=b"no profile" * 20))) as found:
        assert found.info["icc_profile"] == b"no profile" * 20


def test_imageio_and_matplotlib_read_it_through_pillow(data: bytes, tmp_path: Path) -> None:
    iio = pytest.importorskip("imageio.v3", reason="imageio is another reader")
    pyplot = pytest.importorskip("matplotlib.image", reason="matplotlib is another reader")
    path = tmp_path / "x.bld"
    path.write_bytes(data)
    expected = np.asarray(bincodec.decompress(data))
    assert np.array_equal(iio.imread(path), expected)
    assert np.array_equal(iio.imread(data, extension=".bld"), expected)
    assert np.array_equal(pyplot.imread(path), expected)
    iio.imwrite(tmp_path / "y.bld", expected, quality=30, model=TINY)
    with Image.open(tmp_path / "y.bld") as image:
        assert bincodec.read_header(tmp_path / "y.bld").quality == 30
        assert image.mode == "RGBA"
