"""Alpha and metadata on the command line: kept, shown, left out, refused where a format would lose them."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

import bincodec
from bincodec.bitstream import container, header
from bincodec.bitstream.container import Extra
from bincodec.bitstream.deflate import deflate
from bincodec.bitstream.extras import METADATA
from bincodec.bitstream.index import ALPHA

TINY = Path(__file__).resolve().parents[1] / "models" / "tiny-1.safetensors"
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'


def exif(orientation: int = 1) -> bytes:
    fields = Image.Exif()
    fields[ExifTags.Base.Make], fields[ExifTags.Base.Orientation] = "bincodec", orientation
    return fields.tobytes()


@pytest.fixture
def rgba(crop: Image.Image, tmp_path: Path) -> Path:
    """A picture with a soft edge, and with everything that there is to be said about it."""
    image, path = crop.copy(), tmp_path / "cutout.png"
    image.putalpha(Image.linear_gradient("L").resize(crop.size))
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", XMP)
    image.save(path, icc_profile=PROFILE, exif=exif(), pnginfo=texts)
    return path


@pytest.fixture
def coded(run, rgba: Path) -> Path:
    assert run("compress", rgba, "--quiet").exit_code == 0
    return rgba.with_suffix(".bld")


def loaded(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
        return image


def forged(coded: Path, *extra: Extra) -> Path:
    """A file with other chunks of alpha and metadata."""
    whole = container.read(container.Memory(coded.read_bytes()))
    path = coded.with_name("forged.bld")
    path.write_bytes(container.write(whole.header, whole.groups, whole.chunks, extra))
    return path


def assert_fails(result, words: str, code: int = 1) -> None:
    assert result.exit_code == code, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith("bincodec: error: ")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_everything_is_kept_on_the_way_through_a_file(run, rgba: Path, crop: Image.Image) -> None:
    facts = json.loads(run("compress", rgba, "--json").stdout)
    assert (facts["alpha"], facts["metadata"], facts["notes"]) == (True, ["icc", "exif", "xmp"], [])
    result = run("decompress", rgba.with_suffix(".bld"), rgba.with_name("back.png"), "--json")
    facts = json.loads(result.stdout)
    assert (facts["alpha"], facts["metadata"], facts["notes"]) == (True, ["icc", "exif", "xmp"], [])
    assert facts["grey"] is False
    image = loaded(rgba.with_name("back.png"))
    assert np.array_equal(np.array(image.getchannel("A")), np.array(loaded(rgba).getchannel("A")))
    assert (image.info["icc_profile"], image.info["xmp"]) == (PROFILE, XMP)
    assert image.getexif()[ExifTags.Base.Make] == "bincodec"


@pytest.mark.parametrize("name", ["back.webp", "back.tif", "back.png"])
def test_formats_that_hold_alpha_and_metadata(run, coded: Path, name: str) -> None:
    result = run("decompress", coded, coded.with_name(name))
    assert (result.exit_code, "note" in result.stderr) == (0, False)
    expected = bincodec.decompress(coded)
    image = loaded(coded.with_name(name))
    assert np.array_equal(np.array(image), np.array(expected))
    assert (image.info["icc_profile"], image.info["xmp"]) == (PROFILE, XMP)
    assert image.getexif()[ExifTags.Base.Make] == "bincodec"


@pytest.mark.parametrize("name", ["back.jpg", "back.bmp", "back.ppm"])
def test_formats_without_alpha_are_refused_before_decoding(
    run, coded: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bincodec.Codec, "decompress", None)
    result = run("decompress", coded, coded.with_name(name))
    assert_fails(result, f"{coded}: ")
    assert "cannot hold transparency: choose one of PNG, WEBP, TIFF" in result.stderr
    assert not coded.with_name(name).exists()


def test_a_jpeg_takes_the_metadata_of_an_opaque_picture(run, crop: Image.Image, tmp_path: Path) -> None:
    crop.save(tmp_path / "photo.jpg", icc_profile=PROFILE, exif=exif(6), xmp=XMP)
    assert run("compress", tmp_path / "photo.jpg").exit_code == 0
    result = run("decompress", tmp_path / "photo.bld", tmp_path / "back.jpg")
    assert (result.exit_code, "note" in result.stderr) == (0, False)
    image = loaded(tmp_path / "back.jpg")
    assert image.size == crop.size[::-1]
    assert (image.info["icc_profile"], image.info["exif"], image.info["xmp"]) == (PROFILE, exif(1), XMP)


def test_what_a_format_does_not_hold_is_a_note(run, crop: Image.Image, tmp_path: Path) -> None:
    crop.save(tmp_path / "photo.jpg", icc_profile=PROFILE, exif=exif())
    assert run("compress", tmp_path / "photo.jpg").exit_code == 0
    result = run("decompress", tmp_path / "photo.bld", tmp_path / "back.ppm")
    assert result.exit_code == 0
    note = "colour profile and Exif left out, because PPM cannot hold metadata"
    assert result.stderr.splitlines()[0] == f"bincodec: note: {note}"
    facts = json.loads(
        run("decompress", tmp_path / "photo.bld", tmp_path / "back.ppm", "--force", "--json").stdout
    )
    assert (facts["metadata"], facts["notes"]) == (["icc", "exif"], [note])


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (["--strip", "all"], []),
        (["--strip", "exif"], ["icc", "xmp"]),
        (["--strip", "exif", "--strip", "xmp"], ["icc"]),
        (["--strip", "icc"], ["exif", "xmp"]),
    ],
)
def test_metadata_is_left_out_where_that_is_asked_for(
    run, rgba: Path, options: list[str], left: list[str]
) -> None:
    facts = json.loads(run("compress", rgba, "--json", *options).stdout)
    assert (facts["alpha"], facts["metadata"], facts["notes"]) == (True, left, [])
    facts = json.loads(run("info", rgba.with_suffix(".bld"), "--json").stdout)
    assert list(facts["metadata"]) == left


def test_an_unknown_kind_of_metadata_is_wrong_usage(run, rgba: Path) -> None:
    result = run("compress", rgba, "--strip", "gps")
    assert result.exit_code == 2
    assert "'gps' is not one of 'all', 'icc', 'exif', 'xmp'" in result.stderr


def test_srgb_takes_the_profile_away(run, rgba: Path) -> None:
    facts = json.loads(run("compress", rgba, "--srgb", "--json").stdout)
    assert facts["metadata"] == ["exif", "xmp"]


def test_a_picture_is_made_to_fit_and_keeps_both(run, coded: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.png"
    for most, size in ((20, (20, 14)), (73, (73, 50)), (500, (73, 50))):
        facts = json.loads(run("decompress", coded, out, "--fit", most, "--force", "--json").stdout)
        assert (facts["width"], facts["height"]) == size
        image = loaded(out)
        assert (image.size, image.mode, image.info["icc_profile"]) == (size, "RGBA", PROFILE)
    assert run("decompress", coded, "--fit", 0).exit_code == 2


def test_the_limit_of_a_format_counts_what_is_written(run, tmp_path: Path) -> None:
    bld, wide = tmp_path / "wide.bld", Image.new("L", (16400, 16))
    bld.write_bytes(bincodec.compress(wide, quality=0, model=str(TINY)))
    result = run("decompress", bld, tmp_path / "wide.webp", "--model", TINY)
    assert (result.exit_code, "the limit is 16383 pixels on a side" in result.stderr) == (1, True)
    assert run("decompress", bld, tmp_path / "wide.webp", "--fit", 1000, "--model", TINY).exit_code == 0
    assert loaded(tmp_path / "wide.webp").width == 1000


def test_info_lists_what_there_is(run, coded: Path, bld: Path) -> None:
    result = run("info", coded)
    assert "BLD 73x50 RGBA, " in result.stdout
    for title, size in (("colour profile", len(PROFILE)), ("Exif", len(exif()) - 6), ("XMP", len(XMP))):
        assert re.search(rf"\n  {title} +\d+ bytes, [\d.]+%, {size} bytes unpacked\n", result.stdout)
    assert re.search(r"\n  alpha +\d+ bytes, [\d.]+%\n", result.stdout)
    facts = json.loads(run("info", coded, "--json").stdout)
    assert facts["alpha"] is True
    assert facts["metadata"] == {"icc": len(PROFILE), "exif": len(exif()) - 6, "xmp": len(XMP)}
    assert facts["damage"] == []
    facts = json.loads(run("info", bld, "--json").stdout)
    assert (facts["alpha"], facts["metadata"]) == (False, {})
    assert "BLD 73x50 RGB, " in run("info", bld).stdout


@pytest.mark.parametrize(
    ("kind", "payload", "words"),
    [
        (ALPHA, b"", "alpha of 73 x 50 pixels: nothing is in it"),
        (ALPHA, b"\0" + deflate(bytes(2**24)), "more than 3650 bytes unpacked"),
        (METADATA["icc"], b"garbage", "colour profile: the zlib stream is broken"),
        (METADATA["exif"], deflate(b"Exif")[:-1], "Exif: the zlib stream is cut short"),
        (METADATA["xmp"], deflate(bytes(2**24)), "XMP: more than 4194304 bytes unpacked, over the limit"),
    ],
)
def test_malformed_chunks_are_one_line(run, coded: Path, kind: int, payload: bytes, words: str) -> None:
    path = forged(coded, Extra(kind, payload))
    for command in ("decompress", "verify"):
        assert_fails(run(command, path), f"{path}: ")
        assert_fails(run(command, path), words)
    assert not path.with_suffix(".png").exists()
    result = run("info", path, "--json")
    assert result.exit_code == 1
    assert any(words in line for line in json.loads(result.stdout)["damage"])
    assert words in result.stderr


def test_too_much_metadata_names_its_way_out(run, tmp_path: Path, crop: Image.Image) -> None:
    path = tmp_path / "photo.tif"
    crop.save(path, icc_profile=bytes(2**22 + 1))
    result = run("compress", path)
    assert_fails(
        result, f"{path}: the colour profile of 4194305 bytes is over the limit metadata_bytes=4194304"
    )
    assert "(strip 'icc' leaves it out)" in result.stderr
    assert not path.with_suffix(".bld").exists()
    assert run("compress", path, "--strip", "icc").exit_code == 0


def test_a_profile_that_is_missed_is_a_note(run, tmp_path: Path, crop: Image.Image) -> None:
    grey = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    crop.save(tmp_path / "photo.png", icc_profile=grey)
    assert run("compress", tmp_path / "photo.png", "--strip", "icc", "--quiet").output == ""
    result = run("compress", tmp_path / "photo.png", "--srgb", "--force")
    assert (
        "bincodec: note: the colour profile is for XYZ, but the image is RGB; it is ignored" in result.stderr
    )


def test_the_header_does_not_change(coded: Path, bld: Path) -> None:
    """Light readers need not know about alpha and metadata."""
    for path in (coded, bld):
        assert bincodec.read_header(path).version == header.FORMAT_VERSION


@pytest.mark.parametrize("command", [["inpaint", "--mask", "mask.png"], ["vary", "--strength", "0"]])
def test_drawing_keeps_alpha_and_metadata(run, rgba: Path, coded: Path, command: list[str]) -> None:
    mask = Image.new("L", (73, 50))
    mask.paste(255, (20, 20, 40, 30))
    mask.save(rgba.with_name("mask.png"))
    name, *options = [str(rgba.with_name(word)) if word == "mask.png" else word for word in command]
    for source in (rgba, coded):
        out = rgba.with_name("drawn.png")
        result = run(name, source, *options, "-o", out, "--seed", 1, "--force", "--steps", 2)
        assert result.exit_code == 0, result.stderr
        image = loaded(out)
        assert np.array_equal(np.array(image.getchannel("A")), np.array(loaded(rgba).getchannel("A")))
        assert image.info["icc_profile"] == PROFILE
        result = run(name, source, *options, "-o", rgba.with_name("drawn.jpg"))
        assert_fails(result, "JPEG cannot hold transparency: choose one of PNG, WEBP, TIFF", code=2)
    packed = rgba.with_name("drawn.bld")
    assert run(name, rgba, *options, "-o", packed, "--steps", 2).exit_code == 0
    assert bincodec.decompress(packed).mode == "RGBA"
