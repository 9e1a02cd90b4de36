"""`bincodec decompress`: formats, layers, partial files, streams, bad files."""

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

import bincodec
from bincodec import Codec
from bincodec.bitstream import container, stream
from bincodec.bitstream.container import Memory
from bincodec.io import writing

TINY = Path(__file__).resolve().parents[1] / "models" / "tiny-1.safetensors"
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
    "decoder": str,
    "realism": float,
    "intact": bool,
    "damage": list,
    "notes": list,
    "bytes": int,
    "seconds": float,
    "seconds_load": float,
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


@pytest.fixture
def damaged(layered: bytes, chunk_place: Callable[..., slice]) -> bytes:
    """A file whose last layer but one is damaged."""
    data = bytearray(layered)
    data[chunk_place(layered, bincodec.read_header(layered).layers - 2).start] ^= 1
    return bytes(data)


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


def test_the_format_of_standard_output_can_be_chosen(run, bld: Path, compressed: bytes) -> None:
    result = run("decompress", bld, "-", "--format", "webp")
    assert result.exit_code == 0
    with Image.open(io.BytesIO(result.stdout_bytes)) as image:
        assert (image.format, image.size) == ("WEBP", (73, 50))
    assert run("decompress", bld, "--format", "jpg").exit_code == 0
    with Image.open(bld.with_suffix(".jpg")) as image:
        assert image.format == "JPEG"


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
    same = "are the same file"
    for arguments, words in (([bld, bld], same), ([bld, image], same), ([image], "name the output too")):
        result = run("decompress", *arguments, "--force")
        assert result.exit_code == 2
        assert words in result.stderr
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


def test_a_truncated_file_is_shown_if_asked_for(
    run, bld: Path, layered: bytes, chunk_place: Callable[..., slice]
) -> None:
    layers = bincodec.read_header(layered).layers
    bld.write_bytes(layered[: chunk_place(layered, layers - 2).stop])
    result = run("decompress", bld)
    assert_fails(result, bld.parent, f"{bld}: the file ends at byte")
    assert result.stderr.endswith(" (--missing expect shows what is there)\n")
    assert "chunk of layer" in result.stderr
    result = run("decompress", bld, "--missing", "expect")
    assert result.exit_code == 0
    assert (
        "bincodec: note: the file is damaged, and what is missing is shown as the model expects it: the file "
        in (result.stderr)
    )
    assert result.stderr.splitlines()[0].endswith(" (and 1 more)")
    assert pixels_of(bld.with_suffix(".png")).shape == (50, 73, 3)
    facts = json.loads(run("decompress", bld, "--missing", "expect", "--force", "--json").stdout)
    assert (facts["intact"], facts["layers"], len(facts["damage"])) == (False, layers - 2, 2)
    assert all(line.startswith("the file ends at byte ") for line in facts["damage"])


def test_bad_files_are_one_line_and_write_nothing(
    run, bld: Path, compressed: bytes, repair: Callable[..., bytes]
) -> None:
    folder = bld.parent
    (folder / "folder.bld").mkdir()
    flipped = bytearray(compressed)
    flipped[-20] ^= 1
    stranger = repair(compressed[:24] + b"stranger" + compressed[32:])
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
        assert ("--missing" in result.stderr) == (name in ("flipped.bld", "trailing.bld"))
    assert_fails(run("decompress", folder / "missing.bld"), folder, "No such file")
    assert_fails(
        run("decompress", folder / "folder.bld"), folder, "this folder has no files for this command"
    )
    assert_fails(run("decompress", "-", folder / "out.png", stdin=b""), folder, "standard input: ")


def test_what_the_format_cannot_hold_is_not_decoded(run, bld: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        msg = "decoded"
        raise AssertionError(msg)

    monkeypatch.setattr(bincodec.Codec, "decompress", refuse)
    monkeypatch.setitem(writing.MAX_SIDE, "WEBP", 72)
    result = run("decompress", bld, bld.with_suffix(".webp"))
    assert_fails(
        result, bld.parent, f"{bld}: cannot write 73 x 50 pixels as WEBP: the limit is 72 pixels on a side"
    )


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


def test_what_a_damaged_file_lacks_is_sampled(run, bld: Path, damaged: bytes) -> None:
    bld.write_bytes(damaged)
    assert_fails(run("decompress", bld), bld.parent, "does not match")
    assert_fails(run("decompress", bld, "--missing", "error"), bld.parent, "does not match")
    result = run("decompress", bld, "--missing", "sample")
    assert result.exit_code == 0, result.stderr
    read = container.read(Memory(damaged), partial=True)
    layers, (intact,) = read.header.layers, read.tile_layers
    assert intact == layers - 2
    words = (
        f"note: the file is damaged ({read.damage[0]}): layers 1 to {intact} of {layers} came from the file, "
    )
    assert words in result.stderr
    expected = bincodec.decompress(damaged, missing="sample")
    assert np.array_equal(pixels_of(bld.with_suffix(".png")), np.array(expected))
    smooth = bincodec.decompress(damaged, missing="expect")
    assert not np.array_equal(pixels_of(bld.with_suffix(".png")), np.array(smooth))


@pytest.mark.parametrize("missing", ["expect", "sample"])
def test_layers_that_are_not_intact_are_not_asked_for(run, bld: Path, damaged: bytes, missing: str) -> None:
    bld.write_bytes(damaged)
    layers = bincodec.read_header(damaged).layers
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


# --- regions ----------------------------------------------------------------------------------------------


def test_a_region_is_a_part_of_the_picture(run, bld: Path, compressed: bytes) -> None:
    whole, out = np.array(bincodec.decompress(compressed)), bld.with_suffix(".png")
    for text in ("10,3,40,30", "72,49,1,1", "0,0,73,50", " 10 , 3 ,40,30"):
        left, top, width, height = map(int, text.split(","))
        result = run("decompress", bld, "--region", text, "--force", "--json")
        assert (result.exit_code, result.stderr) == (0, "")
        facts = json.loads(result.stdout)
        assert (facts["width"], facts["height"], facts["intact"]) == (width, height, True)
        assert {key: type(value) for key, value in facts.items()} == KEYS
        expected = whole[top : top + height, left : left + width].astype(int)
        assert np.abs(pixels_of(out).astype(int) - expected).max() <= 1
    assert run("decompress", bld, "--region", "1,2,5,6", "--force").stderr.startswith(
        f"{out}: 5 x 6 pixels, "
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,2,3", "'1,2,3' is not four integers X,Y,W,H"),
        ("1,2,3,4,5", "is not four integers"),
        ("", "'' is not four integers"),
        ("-1,2,3,4", "is not four integers"),
        ("1.5,2,3,4", "is not four integers"),
        ("1,2,3,9999999999", "is not four integers"),
        ("1,2,3,x", "is not four integers"),
        ("0,0,0,4", "width of the region 0 is not an integer in 1..73"),
        ("0,0,74,4", "width of the region 74 is not an integer in 1..73"),
        ("70,0,4,4", "width of the region 4 is not an integer in 1..3"),
        ("73,0,1,1", "left of the region 73 is not an integer in 0..72"),
        ("0,50,1,1", "top of the region 50 is not an integer in 0..49"),
        ("0,10,1,41", "height of the region 41 is not an integer in 1..40"),
    ],
)
def test_regions_that_do_not_exist(run, bld: Path, text: str, words: str) -> None:
    assert_fails(run("decompress", bld, "--region", text), bld.parent, words, code=2)


def test_a_region_is_not_sampled(run, bld: Path) -> None:
    result = run("decompress", bld, "--region", "0,0,5,5", "--missing", "sample")
    assert_fails(result, bld.parent, "--region does not go with --missing sample", code=2)


def test_a_region_may_be_what_another_format_can_hold(
    run, bld: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written counts, not what the file holds."""
    monkeypatch.setitem(writing.MAX_SIDE, "WEBP", 72)
    out = bld.with_suffix(".webp")
    assert_fails(run("decompress", bld, out), bld.parent, "the limit is 72 pixels on a side")
    assert run("decompress", bld, out, "--region", "1,0,72,50").exit_code == 0
    assert pixels_of(out).shape == (50, 72, 3)


def test_a_region_of_a_damaged_file_may_be_whole(
    run, bld: Path, monkeypatch: pytest.MonkeyPatch, chunk_place: Callable[..., slice]
) -> None:
    """Only the tiles that it needs are looked at."""
    monkeypatch.setattr(stream, "GROUP_BYTES", 0)
    monkeypatch.setenv("BINCODEC_MODELS", str(TINY.parent))
    codec = Codec.load(str(TINY))
    code = codec.encode(np.random.default_rng(0).integers(0, 256, (16, 400, 3), np.uint8))
    data = bytearray(codec.pack(dataclasses.replace(code, tile_side=16)))
    data[chunk_place(bytes(data), 1, 1).start] ^= 1
    bld.write_bytes(data)
    assert_fails(run("decompress", bld), bld.parent, "layer 2 of tile 1 (row 0, column 1) does not match")
    result = run("decompress", bld, "--region", "0,0,64,16", "--json")
    assert (result.exit_code, json.loads(result.stdout)["intact"]) == (0, True), result.stderr
    bld.with_suffix(".png").unlink()
    assert_fails(run("decompress", bld, "--region", "300,0,64,16"), bld.parent, "tile 1")
    result = run("decompress", bld, "--region", "300,0,64,16", "--missing", "expect")
    assert (result.exit_code, "the file is damaged" in result.stderr) == (0, True), result.stderr
