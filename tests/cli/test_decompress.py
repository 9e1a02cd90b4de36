"""`bincodec decompress`: formats, layers, partial files, streams, bad files."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

import bincodec
from bincodec.bitstream import container
from bincodec.io import writing

PHOTO = Path(__file__).resolve().parents[2] / "examples" / "chelsea.png"
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
    "model": str,
    "layers": int,
    "intact": bool,
    "notes": list,
    "bytes": int,
    "seconds": float,
}


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def texts_of(path: Path) -> dict[str, str]:
    with Image.open(path) as image:
        assert isinstance(image, PngImageFile)
        return dict(image.text)


def assert_fails(result, folder: Path, words: str, code: int = 1) -> None:
    assert result.exit_code == code, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith("bincodec: error: ")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert not [path for path in folder.iterdir() if path.suffix in (".png", ".tmp")]


def last_levels(data: bytes) -> int:
    """Where the last chunk of levels of a whole file starts; ancillary chunks follow."""
    position, found = 36, 36
    while position < len(data):
        if data[position] < 0x80:
            found = position
        position += 4 + int.from_bytes(data[position + 1 : position + 4], "little") + 8
    return found


def test_the_output_stands_beside_the_input(run, bld: Path, compressed: bytes) -> None:
    result = run("decompress", bld)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith(f"{bld.with_suffix('.png')}: 73 x 50 pixels, ")
    expected = np.array(bincodec.decompress(compressed))
    assert np.array_equal(pixels_of(bld.with_suffix(".png")), expected)


@pytest.mark.parametrize("name", ["out.png", "out.webp", "out.tif", "out.bmp", "out.ppm"])
def test_the_extension_picks_the_format(run, bld: Path, compressed: bytes, name: str) -> None:
    result = run("decompress", bld, bld.parent / name, "--quiet")
    assert (result.exit_code, result.output) == (0, "")
    assert np.array_equal(pixels_of(bld.parent / name), np.array(bincodec.decompress(compressed)))


def test_json_is_one_object_with_stable_keys(run, bld: Path, compressed: bytes) -> None:
    result = run("decompress", bld, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    facts = json.loads(result.stdout)
    assert {key: type(value) for key, value in facts.items()} == KEYS
    assert (facts["width"], facts["height"], facts["quality"], facts["grey"]) == (73, 50, 30, False)
    assert (facts["bytes"], facts["intact"]) == (len(compressed), True)
    assert facts["layers"] == bincodec.read_header(compressed).layers
    assert facts["output"] == str(bld.with_suffix(".png"))


def test_standard_input_and_output(run, bld: Path, compressed: bytes) -> None:
    expected = np.array(bincodec.decompress(compressed))
    for arguments in (["-"], ["-", "-"], [bld, "-"]):
        result = run("decompress", *arguments, stdin=compressed)
        assert result.exit_code == 0, result.stderr
        assert np.array_equal(np.array(Image.open(io.BytesIO(result.stdout_bytes))), expected)
    assert run("decompress", "-", bld.parent / "named.png", stdin=compressed).exit_code == 0
    assert np.array_equal(pixels_of(bld.parent / "named.png"), expected)


def test_an_existing_output_needs_force(run, bld: Path) -> None:
    path = bld.with_suffix(".png")
    path.write_bytes(b"precious")
    result = run("decompress", bld)
    assert (result.exit_code, path.read_bytes()) == (1, b"precious")
    assert "--force" in result.stderr
    assert run("decompress", bld, "--force").exit_code == 0
    assert pixels_of(path).shape == (50, 73, 3)


def test_input_and_output_must_differ(run, bld: Path, compressed: bytes) -> None:
    image = bld.parent / "link.png"
    image.symlink_to(bld)
    for arguments in ([bld, bld], [bld, image], [image]):
        result = run("decompress", *arguments, "--force")
        assert result.exit_code == 2
        assert "are the same file" in result.stderr
    assert bld.read_bytes() == compressed


def test_fewer_layers_are_a_coarser_picture(run, bld: Path, crop: Image.Image) -> None:
    layers = bincodec.read_header(bld).layers
    errors = []
    for count in (1, layers):
        path = bld.parent / f"{count}.png"
        facts = json.loads(run("decompress", bld, path, "--layers", count, "--json").stdout)
        assert facts["layers"] == count
        errors.append(np.square(pixels_of(path).astype(float) - np.array(crop)).mean())
        path.unlink()
    assert errors[1] < errors[0]
    result = run("decompress", bld, "--layers", layers + 1)
    assert_fails(result, bld.parent, f"layers {layers + 1} ", code=2)


def test_a_truncated_file_is_shown_if_asked_for(run, bld: Path) -> None:
    # The whole photo: the layers of a small crop share one chunk.
    compressed = bincodec.compress(PHOTO, quality=80)
    assert last_levels(compressed) > 36
    bld.write_bytes(compressed[: last_levels(compressed) + 9])
    assert_fails(run("decompress", bld), bld.parent, f"{bld}: file ends at byte")
    result = run("decompress", bld, "--missing", "expect")
    assert result.exit_code == 0
    assert "bincodec: note: the file is damaged: only its first" in result.stderr
    assert pixels_of(bld.with_suffix(".png")).shape == (300, 451, 3)
    facts = json.loads(run("decompress", bld, "--missing", "expect", "--force", "--json").stdout)
    assert facts["intact"] is False
    assert facts["layers"] < bincodec.read_header(compressed).layers


def test_bad_files_are_one_line_and_write_nothing(run, bld: Path, compressed: bytes) -> None:
    folder = bld.parent
    (folder / "folder.bld").mkdir()
    flipped = bytearray(compressed)
    flipped[-20] ^= 1
    foreign = bincodec.read_header(compressed)
    stranger = type(foreign)(73, 50, 30, foreign.layers, b"stranger").pack() + compressed[36:]
    for name, data, words in (
        ("empty.bld", b"", "not a .bld file"),
        ("text.bld", b"hello, hello, hello, hello, hello, hello", "not a .bld file"),
        ("head.bld", compressed[:20], "ends after 20"),
        ("flipped.bld", bytes(flipped), "does not match"),
        ("trailing.bld", compressed + b"!", "1 bytes follow"),
        ("stranger.bld", stranger, b"stranger".hex()),
    ):
        (folder / name).write_bytes(data)
        result = run("decompress", folder / name)
        assert_fails(result, folder, words)
        assert f"{folder / name}: " in result.stderr
    assert_fails(run("decompress", folder / "missing.bld"), folder, "No such file")
    assert_fails(run("decompress", folder / "folder.bld"), folder, "Is a directory")
    assert_fails(run("decompress", "-", folder / "out.png", stdin=b""), folder, "standard input: ")


def test_what_the_format_cannot_hold_is_not_decoded(run, bld: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        msg = "decoded"
        raise AssertionError(msg)

    monkeypatch.setattr(bincodec, "decompress", refuse)
    monkeypatch.setitem(writing.MAX_SIDE, "WEBP", 72)
    result = run("decompress", bld, bld.with_suffix(".webp"))
    assert_fails(result, bld.parent, f"{bld}: cannot write 73 x 50 pixels as WEBP: it ends at 72 a side")


def test_completing_says_what_is_real(run, bld: Path, compressed: bytes) -> None:
    command = ("decompress", bld, "--layers", 2, "--missing", "sample", "--seed", 3, "--temperature", 0.5)
    result = run(*command, "--json")
    assert result.exit_code == 0
    expected = bincodec.decompress(compressed, layers=2, missing="sample", seed=3, temperature=0.5)
    assert np.array_equal(pixels_of(bld.with_suffix(".png")), np.array(expected))
    facts, layers = json.loads(result.stdout), bincodec.read_header(compressed).layers
    assert {key: type(value) for key, value in facts.items()} == KEYS | {
        "seed": int,
        "real_layers": int,
        "real_share": float,
    }
    assert (facts["layers"], facts["real_layers"], facts["seed"], facts["intact"]) == (layers, 2, 3, True)
    assert facts["real_share"] == expected.info["bld"]["real_share"]
    share = f"{facts['real_share']:.1%}"
    words = f"note: layers 1 to 2 of {layers} came from the file, {share} of the bits; the rest is drawn\n"
    assert words in result.stderr
    assert texts_of(bld.with_suffix(".png")) == {
        "Software": f"bincodec {bincodec.__version__}",
        "model": facts["model"],
        "quality": "30",
        "real_layers": "2",
        "seed": "3",
        "temperature": "0.5",
    }
    assert run(*command, "--force", "--quiet").output == ""
    whole = run("decompress", bld, "--missing", "sample", "--force")
    assert f"all {layers} layers came from the file, nothing is drawn" in whole.stderr
    assert np.array_equal(pixels_of(bld.with_suffix(".png")), np.array(bincodec.decompress(compressed)))
    assert texts_of(bld.with_suffix(".png")) == {}


def test_what_a_damaged_file_lacks_is_sampled(run, bld: Path) -> None:
    compressed = bytearray(bincodec.compress(PHOTO, quality=80))
    compressed[last_levels(bytes(compressed)) + 9] ^= 1
    bld.write_bytes(compressed)
    assert_fails(run("decompress", bld), bld.parent, "does not match")
    assert_fails(run("decompress", bld, "--missing", "error"), bld.parent, "does not match")
    result = run("decompress", bld, "--missing", "sample")
    assert result.exit_code == 0, result.stderr
    read = container.read(bytes(compressed), partial=True)
    layers, intact = read.header.layers, sum(chunk.layers for chunk in read.chunks)
    assert 0 < intact < layers
    words = f"note: the file is damaged: layers 1 to {intact} of {layers} came from the file, "
    assert words in result.stderr
    expected = bincodec.decompress(bytes(compressed), missing="sample")
    assert np.array_equal(pixels_of(bld.with_suffix(".png")), np.array(expected))
    smooth = bincodec.decompress(bytes(compressed), missing="expect")
    assert not np.array_equal(pixels_of(bld.with_suffix(".png")), np.array(smooth))


@pytest.mark.parametrize("missing", ["expect", "sample"])
def test_layers_that_are_not_intact_are_not_asked_for(run, bld: Path, missing: str) -> None:
    compressed = bytearray(bincodec.compress(PHOTO, quality=80))
    compressed[last_levels(bytes(compressed)) + 9] ^= 1
    bld.write_bytes(compressed)
    layers = bincodec.read_header(bytes(compressed)).layers
    result = run("decompress", bld, "--missing", missing)
    assert result.exit_code == 0, result.stderr
    expected = pixels_of(bld.with_suffix(".png"))
    result = run("decompress", bld, "--missing", missing, "--layers", layers, "--force")
    assert (result.exit_code, "the file is damaged" in result.stderr) == (0, True), result.stderr
    assert np.array_equal(pixels_of(bld.with_suffix(".png")), expected)
    assert run("decompress", bld, "--missing", missing, "--layers", 1, "--force").exit_code == 0
    assert not np.array_equal(pixels_of(bld.with_suffix(".png")), expected)
    bld.with_suffix(".png").unlink()
    result = run("decompress", bld, "--missing", missing, "--layers", layers + 1)
    assert_fails(result, bld.parent, f"layers {layers + 1} is not an integer in 1..{layers}", code=2)


@pytest.mark.parametrize("option", [("--seed", 1), ("--temperature", 1.0)])
def test_what_steers_a_draw_needs_one(run, bld: Path, option: tuple[str, float]) -> None:
    result = run("decompress", bld, *option)
    assert_fails(result, bld.parent, "need --missing sample", code=2)
