"""`bincodec inpaint` and `bincodec vary`: input of both kinds, places, bad input."""

import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from bincodec import Codec
from bincodec.generation import masks
from bincodec.io import writing

TINY = Path(__file__).resolve().parents[1] / "models" / "tiny-1.safetensors"
VARY = ("--model", TINY, "--steps", 3)
SMALL = (*VARY, "--sampler", "diffusion")


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec.load(str(TINY))


@pytest.fixture
def folder(tmp_path: Path, crop: Image.Image, codec: Codec, monkeypatch: pytest.MonkeyPatch) -> Path:
    """photo.png, 73 x 50, tiny.bld, the same by the tiny model, and a mask of the right size."""
    crop.save(tmp_path / "photo.png")
    (tmp_path / "tiny.bld").write_bytes(codec.pack(codec.encode(crop, 40)))
    white = np.zeros((50, 73), np.uint8)
    white[20:30, 10:25] = 255
    Image.fromarray(white).save(tmp_path / "mask.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pixels_of(path: Path | str) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def made(folder: Path) -> list[str]:
    given = ("photo.png", "tiny.bld", "mask.png")
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.name not in given)


def test_an_image_keeps_all_that_is_not_masked(run, codec: Codec, folder: Path) -> None:
    result = run("inpaint", "photo.png", "--mask", "mask.png", "-o", "out.png", *SMALL, "--seed", 2)
    assert (result.exit_code, result.stdout) == (0, ""), result.stderr
    assert result.stderr.startswith(
        "out.png: 1 picture of 73 x 50 pixels, diffusion in 3 steps, seed 2, model tiny-1, "
    )
    (inpainted,) = codec.inpaint("photo.png", "mask.png", sampler="diffusion", steps=3, seed=2)
    found, original = pixels_of("out.png"), pixels_of("photo.png")
    assert np.array_equal(found, np.asarray(inpainted.image))
    assert np.array_equal(found[:, 40:], original[:, 40:])
    assert not np.array_equal(found, original)


def test_a_code_keeps_the_bits_of_positions_clear_of_the_mask(run, codec: Codec, folder: Path) -> None:
    result = run("inpaint", "tiny.bld", "--mask", "mask.png", "-o", "out.bld", *SMALL, "--json")
    assert (result.exit_code, result.stderr) == (0, ""), result.stderr
    facts = json.loads(result.stdout)
    # A mask at 10..24, 20..29 comes near columns 0, 1 and 2 of 5 (2..32) and rows 0, 1 and 2 of 4 (12..37).
    assert (facts["positions"], facts["positions_sampled"], facts["quality"]) == (20, 9, 40)
    old, new = (codec.unpack((folder / name).read_bytes()) for name in ("tiny.bld", "out.bld"))
    known = masks.known_positions(pixels_of("mask.png") > 0)
    assert all(np.array_equal(a[:, known], b[:, known]) for a, b in zip(old.levels, new.levels, strict=True))
    assert old.digest() != new.digest()
    assert (facts["input"], facts["mask"], facts["files"]) == ("tiny.bld", "mask.png", ["out.bld"])


def test_the_shipped_model_is_found_by_the_file_s_own_fingerprint(run, folder: Path, bld: Path) -> None:
    for source in ("photo.png", bld):
        command = ("inpaint", source, "--mask", "mask.png", "-o", "out.png", "--force", "--json")
        facts = json.loads(run(*command, "--sampler", "autoregressive").stdout)
        assert facts["model"].startswith("photo-")
    result = run("vary", bld, "--strength", 0.2, "-o", "out.png", "--force", "--json")
    assert "was not made to vary pictures" in result.stderr
    facts = json.loads(result.stdout)
    assert facts["model"].startswith("photo-")
    assert facts["strength"] == 0.2


def test_variants_go_into_a_folder(run, codec: Codec, folder: Path) -> None:
    command = ("inpaint", "photo.png", "--mask", "mask.png", "-n", 2, "-o", "out", *SMALL, "--save-codes")
    result = run(*command, "--quiet")
    assert (result.exit_code, result.output) == (0, "")
    assert made(folder) == ["out", "out/000.bld", "out/000.png", "out/001.bld", "out/001.png"]
    for index, inpainted in enumerate(
        codec.inpaint("photo.png", "mask.png", count=2, sampler="diffusion", steps=3)
    ):
        assert np.array_equal(pixels_of(f"out/00{index}.png"), np.asarray(inpainted.image))
        assert codec.unpack((folder / f"out/00{index}.bld").read_bytes()).digest() == inpainted.code.digest()


def test_standard_input_is_the_picture_or_the_mask(run, folder: Path) -> None:
    run("inpaint", "photo.png", "--mask", "mask.png", "-o", "expected.png", *SMALL)
    photo, mask = (folder / "photo.png").read_bytes(), (folder / "mask.png").read_bytes()
    run("inpaint", "-", "--mask", "mask.png", "-o", "one.png", *SMALL, stdin=photo)
    run("inpaint", "photo.png", "--mask", "-", "-o", "two.png", *SMALL, stdin=mask)
    for name in ("one.png", "two.png"):
        assert np.array_equal(pixels_of(name), pixels_of("expected.png"))
    result = run("inpaint", "-", "--mask", "-", "-o", "three.png", stdin=photo)
    assert result.exit_code == 2
    assert "cannot both be standard input" in result.stderr


def test_a_mask_that_reaches_every_position_is_said(run, folder: Path) -> None:
    pixels = np.full((50, 73), 255, np.uint8)
    pixels[:2] = 0
    Image.fromarray(pixels).save("mask.png")
    result = run("inpaint", "photo.png", "--mask", "mask.png", "-o", "out.png", *SMALL)
    assert result.exit_code == 0
    assert "bincodec: note: no position is more than 8 pixels from the mask" in result.stderr


def test_the_help_says_what_stays(run) -> None:
    row = np.zeros((1, 100), np.bool_)
    row[0, 50] = True
    black, white = (np.full((1, 100, 3), value, np.uint8) for value in (0, 255))
    changed = np.flatnonzero(masks.blend(black, white, row)[0, :, 0])
    nearest_kept = changed.max() + 1 - 50
    # The first position is columns 0 to 15.
    distances = [at - 15 for at in range(16, 40) if masks.known_positions(np.arange(48)[None] == at)[0, 0]]
    text = " ".join(run("inpaint", "--help").stdout.split())
    assert f"all pixels stay the same that are {nearest_kept} or more pixels from the mask" in text
    assert f"positions (16 x 16 pixels) that are more than {min(distances) - 1} pixels from the mask" in text


def save_mask(width: int, height: int, level: int) -> None:
    Image.new("L", (width, height), level).save("bad.png")


@pytest.mark.parametrize("source", ["photo.png", "tiny.bld"])
def test_bad_masks_are_one_line_and_write_nothing(run, folder: Path, source: str) -> None:
    for width, height, level, words in (
        (50, 73, 255, "the mask has 50 x 73 pixels, but the picture has 73 x 50"),
        (73, 50, 0, "the mask is empty"),
        (73, 50, 255, "the mask covers the whole picture"),
    ):
        save_mask(width, height, level)
        result = run("inpaint", source, "--mask", "bad.png", "-o", "out.png", *SMALL)
        assert (result.exit_code, result.stdout, made(folder)) == (1, "", ["bad.png"])
        assert words in result.stderr
        assert result.stderr.count("\n") == 1
    result = run("inpaint", source, "--mask", "no.png", "-o", "out.png", *SMALL)
    assert result.exit_code == 1
    assert result.stderr.startswith("bincodec: error: no.png: ")
    result = run("inpaint", source, "--mask", source, "-o", source, *SMALL, "--force")
    assert (result.exit_code, "are the same file" in result.stderr) == (2, True)


def test_neither_the_picture_nor_the_mask_is_overwritten(run, folder: Path) -> None:
    before = {name: (folder / name).read_bytes() for name in ("photo.png", "mask.png")}
    for name in before:
        command = ("inpaint", "photo.png", "--mask", "mask.png", "-o", name, "--force", *SMALL)
        result = run(*command)
        assert (result.exit_code, "are the same file" in result.stderr) == (2, True)
    assert before == {name: (folder / name).read_bytes() for name in before}


@pytest.mark.parametrize(
    ("arguments", "old", "new"),
    [
        (("inpaint", "out/000.png", "--mask", "mask.png"), "photo.png", "000.png"),
        (("inpaint", "photo.png", "--mask", "out/001.png"), "mask.png", "001.png"),
        (("inpaint", "out/001.bld", "--mask", "mask.png", "--save-codes"), "tiny.bld", "001.bld"),
        (("vary", "out/000.bld", "--strength", 0.2, "--save-codes"), "tiny.bld", "000.bld"),
    ],
)
def test_no_input_is_overwritten_in_a_folder(
    run, folder: Path, arguments: tuple[object, ...], old: str, new: str
) -> None:
    (folder / "out").mkdir()
    given = (folder / "out" / new).write_bytes((folder / old).read_bytes())
    result = run(*arguments, "-n", 2, "-o", "out", "--force", *VARY)
    assert (result.exit_code, made(folder)) == (2, ["out", f"out/{new}"])
    assert f"out/{new} and out/{new} are the same file" in result.stderr
    assert (folder / "out" / new).stat().st_size == given


def test_a_mask_is_not_overwritten_by_what_stands_beside_a_picture(run, folder: Path) -> None:
    (folder / "out.bld").symlink_to("mask.png")
    result = run(
        "inpaint", "photo.png", "--mask", "mask.png", "-o", "out.png", "--save-codes", "--force", *SMALL
    )
    assert (result.exit_code, made(folder)) == (2, ["out.bld"])
    assert "mask.png and out.bld are the same file" in result.stderr


@pytest.mark.parametrize("command", [("inpaint", "--mask", "mask.png"), ("vary", "--strength", 0.5)])
def test_bad_input_is_one_line_and_writes_nothing(
    run, folder: Path, bld: Path, command: tuple[object, ...]
) -> None:
    name, *rest = command
    for source, more, code, words in (
        (bld, VARY, 1, "small.bld: the code belongs to model"),
        ("no.png", VARY, 1, "no.png: cannot be read"),
        ("photo.png", ("--class", "cat"), 2, "has no classes"),
        ("photo.png", ("--steps", 0), 2, "0 is not in the range"),
        ("photo.png", ("-n", 2), 2, "out.png: one file cannot hold 2 pictures"),
        ("photo.png", ("--max-pixels", 9), 1, "--max-pixels raises it"),
    ):
        result = run(name, source, *rest, "-o", "out.png", *more)
        assert (result.exit_code, result.stdout) == (code, ""), result.stderr
        assert words in result.stderr
        assert result.stderr.count("\n") == 1
        assert not Path("out.png").exists()


@pytest.mark.parametrize("command", [("inpaint", "--mask", "mask.png"), ("vary", "--strength", 0.5)])
@pytest.mark.parametrize("source", ["photo.png", "tiny.bld"])
def test_what_the_format_cannot_hold_is_not_drawn(
    run, folder: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[object, ...], source: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        msg = "drawn"
        raise AssertionError(msg)

    monkeypatch.setattr("bincodec.generation.editing._draw", refuse)
    monkeypatch.setitem(writing.MAX_SIDE, "WEBP", 72)
    name, *rest = command
    result = run(name, source, *rest, "-o", "out.webp", *VARY)
    assert (result.exit_code, made(folder)) == (2, [])
    assert "cannot write 73 x 50 pixels as WEBP: the limit is 72 pixels on a side" in result.stderr


def test_vary_draws_pictures_like_a_given_one(run, codec: Codec, folder: Path) -> None:
    code = codec.unpack(Path("tiny.bld").read_bytes())
    for source, given in (("photo.png", "photo.png"), ("tiny.bld", code)):
        command = ("vary", source, "--strength", 0.3, *VARY, "-n", 2, "--save-codes", "--force")
        result = run(*command, "-o", "out")
        assert result.exit_code == 0, result.stderr
        for index, varied in enumerate(codec.vary(given, 0.3, count=2, steps=3)):
            found = codec.unpack((folder / f"out/00{index}.bld").read_bytes())
            assert (found.digest(), found.quality) == (varied.digest(), varied.quality)
            assert np.array_equal(pixels_of(f"out/00{index}.png"), np.asarray(codec.decode(varied)))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_an_input_is_read_once_so_it_may_be_a_pipe(run, folder: Path) -> None:
    os.mkfifo("pipe")
    data = Path("photo.png").read_bytes()
    writer = threading.Thread(target=Path("pipe").write_bytes, args=(data,), daemon=True)
    writer.start()
    result = run("vary", "pipe", "--strength", 0.3, *VARY, "-o", "out.png")
    assert result.exit_code == 0, result.stderr
    Path("empty.png").touch()
    result = run("vary", "empty.png", "--strength", 0.3, *VARY, "-o", "none.png")
    assert "error: empty.png: the file is empty" in result.stderr


def test_a_png_tells_how_it_was_drawn(run, folder: Path) -> None:
    for command, more in (
        (("inpaint", "photo.png", "--mask", "mask.png", "--sampler", "diffusion"), {}),
        (("vary", "photo.png", "--strength", 0.3), {"strength": "0.3"}),
    ):
        assert run(*command, *VARY, "--seed", 9, "-n", 2, "-o", "out", "--force").exit_code == 0
        with Image.open("out/001.png") as image:
            assert isinstance(image, PngImageFile)
            found = dict(image.text)
        expected = {
            "model": "tiny-1",
            "seed": "9",
            "steps": "3",
            "sampler": "diffusion",
            "picture": "1",
        } | more
        assert found | expected == found


@pytest.mark.parametrize("strength", ["-0.1", "1.1", "nan", "much"])
def test_strengths_that_do_not_exist(run, folder: Path, strength: str) -> None:
    result = run("vary", "photo.png", "--strength", strength, "-o", "out.png", *SMALL)
    assert (result.exit_code, made(folder)) == (2, [])
    assert result.stderr.count("\n") == 1
