"""`bincodec compress`: names, refusals, streams, notes, JSON."""

import json
import math
import os
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

import bincodec
from bincodec.cli import compress
from bincodec.cli import options as shared
from bincodec.defaults import DEFAULT_QUALITY
from bincodec.io import images
from bincodec.model import store

KEYS = {
    "schema": int,
    "command": str,
    "input": str,
    "output": str,
    "width": int,
    "height": int,
    "grey": bool,
    "alpha": bool,
    "metadata": list,
    "quality": int,
    "effort": int,
    "model": str,
    "bytes": int,
    "bits_per_pixel": float,
    "verified": bool,
    "notes": list,
    "seconds_load": float,
    "seconds_code": float,
}


def assert_fails(result, folder: Path, words: str, code: int = 1) -> None:
    """One line, an exit code, nothing on standard output and nothing new in the folder."""
    assert result.exit_code == code, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith("bincodec: error: ")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert not [path for path in folder.iterdir() if path.suffix in (".bld", ".tmp")]


def test_pillow_s_limit_is_not_that_of_the_command(run, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(bincodec.TooLarge, match="MAX_IMAGE_PIXELS"):
        bincodec.compress(photo)
    assert run("compress", photo).exit_code == 0
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_the_psnr_of_equal_pictures_is_null(run, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bincodec.encoder.targets.psnr", lambda *_: math.inf)
    result = run("compress", photo, "--measure", "--json")
    assert json.loads(result.stdout, parse_constant=pytest.fail)["psnr"] is None


def test_the_output_stands_beside_the_input(run, photo: Path) -> None:
    result = run("compress", photo)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    data = photo.with_suffix(".bld").read_bytes()
    header = bincodec.read_header(data)
    assert (header.width, header.height, header.quality, header.grey) == (73, 50, DEFAULT_QUALITY, False)
    assert result.stderr.startswith(f"{photo.with_suffix('.bld')}: {len(data)} bytes, ")
    assert data == bincodec.compress(photo)


def test_a_named_output_and_a_quality(run, photo: Path, tmp_path: Path) -> None:
    result = run("compress", photo, tmp_path / "out.bld", "-q", 0, "--quiet")
    assert (result.exit_code, result.output) == (0, "")
    assert bincodec.read_header(tmp_path / "out.bld").quality == 0
    assert run("compress", photo, tmp_path / "best.BLD", "--quality", 100).exit_code == 0
    assert (tmp_path / "best.BLD").stat().st_size > (tmp_path / "out.bld").stat().st_size


def test_targets_instead_of_a_quality(run, photo: Path, tmp_path: Path) -> None:
    size = photo.with_name("size.bld")
    facts = json.loads(run("compress", photo, size, "--size", "1.2k", "--json").stdout)
    assert facts["bytes"] == size.stat().st_size <= 1200
    assert facts["quality"] == bincodec.read_header(size).quality
    assert size.read_bytes() == bincodec.compress(photo, size=1200)
    rate = photo.with_name("rate.bld")
    assert run("compress", photo, rate, "--bpp", 2.6302).exit_code == 0
    assert rate.read_bytes() == size.read_bytes()
    assert run("compress", photo, tmp_path / "psnr.bld", "--psnr", 27).exit_code == 0
    result = run("compress", photo, tmp_path / "no.bld", "--size", 40)
    assert result.exit_code == 1
    assert result.stderr.startswith(
        "bincodec: error: size 40 is out of reach: the smallest file of this image has "
    )
    assert not (tmp_path / "no.bld").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-q", "50", "--size", "20k"], "--quality and --size cannot go together"),
        (["-q", "0", "--psnr", "30"], "--quality and --psnr cannot go together"),
        (["--bpp", "1", "--psnr", "30"], "--bpp and --psnr cannot go together"),
        (["--size", "20x"], "'20x' is not a size"),
        (["--size", "0"], "'0' is not a size"),
        (["--size", "-5"], "'-5' is not a size"),
        (["--bpp", "0"], "0<x<=1000"),
        (["--psnr", "fine"], "not a valid float"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_targets_that_are_none(run, photo: Path, options: list[str], words: str) -> None:
    result = run("compress", photo, *options)
    assert result.exit_code == 2
    assert words in result.stderr
    assert not photo.with_suffix(".bld").exists()


@pytest.mark.parametrize(
    ("text", "value"),
    [("20000", 20000), ("20k", 20000), ("20kB", 20000), ("20 KiB", 20480), ("1.5M", 1500000), ("2Mi", 2**21)],
)
def test_sizes_have_units(text: str, value: int) -> None:
    assert shared._parse_bytes(click.Context(compress.command), click.Option(["--size"]), text) == value


def test_json_is_one_object_with_stable_keys(run, photo: Path) -> None:
    result = run("compress", photo, "--json", "-q", 20)
    assert result.exit_code == 0
    assert result.stderr == ""
    facts = json.loads(result.stdout)
    assert {key: type(value) for key, value in facts.items()} == KEYS
    path = photo.with_suffix(".bld")
    assert (facts["schema"], facts["command"]) == (2, "compress")
    assert (facts["input"], facts["output"]) == (str(photo), str(path))
    assert (facts["width"], facts["height"], facts["quality"], facts["grey"]) == (73, 50, 20, False)
    assert facts["bytes"] == path.stat().st_size
    assert facts["bits_per_pixel"] == pytest.approx(8 * facts["bytes"] / (73 * 50))
    assert facts["model"] == store.find("photo").name
    assert facts["verified"]
    assert (facts["alpha"], facts["metadata"], facts["notes"]) == (False, [], [])


def test_verification_can_be_skipped(run, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    pack = bincodec.Codec.pack

    def spy(self, code, *, verify: bool = False) -> bytes:
        asked.append(verify)
        return pack(self, code, verify=verify)

    monkeypatch.setattr(bincodec.Codec, "pack", spy)
    assert run("compress", photo).exit_code == 0
    facts = json.loads(run("compress", photo, "--no-verify", "--json", "--force").stdout)
    assert asked == [True, False]
    assert not facts["verified"]


def test_a_file_that_fails_verification_is_not_written(
    run, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self, code, *, verify: bool = False) -> bytes:
        msg = "the finished file does not decode"
        raise bincodec.VerificationFailed(msg)

    monkeypatch.setattr(bincodec.Codec, "pack", fail)
    assert_fails(run("compress", photo), photo.parent, "does not decode")


def test_standard_input_and_output(run, photo: Path, tmp_path: Path) -> None:
    expected = bincodec.compress(photo)
    piped = run("compress", "-", stdin=photo.read_bytes())
    assert piped.exit_code == 0
    assert piped.stdout_bytes == expected
    assert piped.stderr.startswith("standard output: ")
    assert run("compress", photo, "-", "--quiet").stdout_bytes == expected
    assert run("compress", "-", tmp_path / "out.bld", stdin=photo.read_bytes()).exit_code == 0
    assert (tmp_path / "out.bld").read_bytes() == expected


def test_an_existing_output_needs_force(run, photo: Path) -> None:
    path = photo.with_suffix(".bld")
    path.write_bytes(b"precious")
    result = run("compress", photo)
    assert result.exit_code == 1
    assert result.stderr == f"bincodec: error: {path}: this file exists; --force overwrites it\n"
    assert path.read_bytes() == b"precious"
    assert run("compress", photo, "--force").exit_code == 0
    assert bincodec.read_header(path).width == 73
    path.write_bytes(b"precious")
    assert run("compress", photo, "-f").exit_code == 0
    assert bincodec.read_header(path).width == 73


def test_an_output_that_appears_meanwhile_is_not_overwritten(
    run, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = photo.with_suffix(".bld")
    pack = bincodec.Codec.pack

    def slow(self, code, *, verify: bool = False) -> bytes:
        path.write_bytes(b"precious")
        return pack(self, code, verify=verify)

    monkeypatch.setattr(bincodec.Codec, "pack", slow)
    assert run("compress", photo).exit_code == 1
    assert path.read_bytes() == b"precious"


@pytest.mark.parametrize("link", ["same", "spelling", "hard", "symbolic"])
def test_input_and_output_must_differ(run, photo: Path, link: str) -> None:
    source, target = photo.with_suffix(".bld"), photo.parent / "link.bld"
    photo.rename(source)
    before = source.read_bytes()
    if link == "same":
        target = source
    elif link == "spelling":
        target = source.parent / ".." / source.parent.name / source.name
    elif link == "hard":
        os.link(source, target)
    else:
        target.symlink_to(source)
    result = run("compress", source, target, "--force")
    assert result.exit_code == 2
    assert "are the same file" in result.stderr
    assert source.read_bytes() == before


def test_a_bld_is_not_compressed_onto_itself(run, bld: Path, compressed: bytes) -> None:
    result = run("compress", bld, "--force")
    assert result.exit_code == 2
    assert f"{bld}: this is a .bld file already; 'bincodec decompress' makes an image of it" in result.stderr
    assert bld.read_bytes() == compressed


def test_a_bld_is_not_an_image(run, bld: Path, compressed: bytes, tmp_path: Path) -> None:
    out = tmp_path / "other.bld"
    for arguments, stdin, name in (([bld], None, str(bld)), (["-"], compressed, "the image")):
        result = run("compress", *arguments, out, stdin=stdin)
        assert result.exit_code == 1
        assert (
            result.stderr
            == f"bincodec: error: {name}: this is a .bld file already, not an image to compress\n"
        )
    assert not out.exists()


def test_a_failed_replacement_leaves_the_old_file(run, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = photo.with_suffix(".bld")
    path.write_bytes(b"precious")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    result = run("compress", photo, "--force")
    assert (result.exit_code, result.stderr) == (1, f"bincodec: error: {path}: No space left on device\n")
    assert path.read_bytes() == b"precious"
    assert sorted(photo.parent.iterdir()) == [path, photo]


def test_bad_input_is_one_line_and_writes_nothing(run, photo: Path, tmp_path: Path) -> None:
    data = photo.read_bytes()
    frames = [Image.new("L", (9, 9), level) for level in (0, 255)]
    frames[0].save(tmp_path / "animation.gif", save_all=True, append_images=frames[1:])
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not an image at all")
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    (tmp_path / "folder.png").mkdir()
    for name, words in (
        ("missing.png", "missing.png: cannot be read: No such file or directory"),
        ("folder.png", "folder.png: this folder has no files for this command"),
        ("empty.png", "empty.png: the file is empty"),
        ("text.png", "text.png: this is not an image"),
        ("cut.png", "cut.png: it is damaged or cut short"),
        ("animation.gif", "animation.gif: it holds an animation"),
    ):
        assert_fails(run("compress", tmp_path / name), tmp_path, words)
    assert_fails(run("compress", "-", tmp_path / "out.bld", stdin=b""), tmp_path, "empty")


def test_an_image_too_large_is_refused(run, tmp_path: Path) -> None:
    wide = Image.new("1", (66000, 1))
    wide.save(tmp_path / "wide.png")
    assert_fails(run("compress", tmp_path / "wide.png"), tmp_path, "over the limit side=65535")
    # 400 million pixels in 50 kB.
    Image.new("1", (20000, 20000)).save(tmp_path / "bomb.png")
    assert_fails(
        run("compress", tmp_path / "bomb.png"), tmp_path, "400000000 is over the limit pixels=268435456"
    )
    Image.new("1", (300, 200)).save(tmp_path / "large.png")
    result = run("compress", tmp_path / "large.png", "--max-pixels", 59999)
    assert_fails(result, tmp_path, "60000 is over the limit pixels=59999")


def test_an_output_without_a_place(run, photo: Path, tmp_path: Path) -> None:
    assert_fails(run("compress", photo, tmp_path / "no" / "out.bld"), tmp_path, "does not exist")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "dir.bld").mkdir()
    result = run("compress", photo, tmp_path / "folder" / "dir.bld", "--force")
    assert_fails(result, tmp_path, "this is a folder, not a file")


def test_unknown_models_and_devices(run, photo: Path, tmp_path: Path) -> None:
    assert_fails(run("compress", photo, "--model", "nosuch"), tmp_path, "'nosuch'")
    assert_fails(run("compress", photo, "--device", "abacus"), tmp_path, "'abacus'", code=2)


def test_notes_go_to_standard_error(run, crop: Image.Image, tmp_path: Path) -> None:
    path = tmp_path / "press.jpg"
    crop.convert("CMYK").save(path)
    result = run("compress", path)
    assert result.exit_code == 0
    assert result.stderr.splitlines()[0] == "bincodec: note: the image is converted from CMYK to RGB"
    silent = run("compress", path, "--quiet", "--force")
    assert (silent.exit_code, silent.output) == (0, "")
    facts = json.loads(run("compress", path, "--json", "--force").stdout)
    assert facts["notes"] == ["the image is converted from CMYK to RGB"]


def test_grey_stays_grey(run, crop: Image.Image, tmp_path: Path) -> None:
    crop.convert("L").save(tmp_path / "grey.png")
    assert json.loads(run("compress", tmp_path / "grey.png", "--json").stdout)["grey"]
    assert bincodec.read_header(tmp_path / "grey.bld").grey
    assert run("decompress", tmp_path / "grey.bld", tmp_path / "back.png").exit_code == 0
    with Image.open(tmp_path / "back.png") as image:
        assert image.mode == "L"


def test_the_orientation_is_applied(run, crop: Image.Image, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    crop.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    assert run("compress", tmp_path / "turned.jpg", "-q", 90).exit_code == 0
    assert run("decompress", tmp_path / "turned.bld").exit_code == 0
    decoded = images.load(tmp_path / "turned.png").pixels
    expected = images.load(tmp_path / "turned.jpg").pixels
    assert decoded.shape == expected.shape == (73, 50, 3)
    upright = np.abs(decoded.astype(int) - expected).mean()
    assert upright < np.abs(decoded.astype(int) - expected[::-1, ::-1]).mean()
