"""`bincodec sample`: places, grids, folders, codes, traces, bad input."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

import bincodec
from bincodec import Codec
from bincodec.generation.settings import SamplingSettings
from bincodec.model import store

TINY = Path(__file__).resolve().parents[1] / "models" / "tiny-1.safetensors"
KEYS = {
    "schema": int,
    "command": str,
    "output": str,
    "files": list,
    "count": int,
    "width": int,
    "height": int,
    "quality": int,
    "model": str,
    "sampler": str,
    "steps": int,
    "temperature": float,
    "seed": int,
    "schedule": str,
    "class": type(None),
    "classes": list,
    "guidance": type(None),
    "guided_by": type(None),
    "guidance_delay": type(None),
    "renewal": float,
    "final_temperature": type(None),
    "seconds_load": float,
    "seconds_draw": float,
}
SMALL = ("--model", TINY, "--size", "40x30", "--sampler", "diffusion", "--steps", 3)


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec.load(str(TINY))


@pytest.fixture(autouse=True)
def in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def pixels_of(path: Path | str) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def names() -> list[str]:
    return sorted(str(path) for path in Path().rglob("*"))


def test_one_picture_is_the_library_s(run, codec: Codec) -> None:
    result = run("sample", *SMALL, "-o", "a.png", "--seed", 5, "-q", 30)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith(
        "a.png: 1 picture of 40 x 30 pixels, diffusion in 3 steps, seed 5, model tiny-1, "
    )
    (expected,) = codec.sample(size=(40, 30), quality=30, sampler="diffusion", steps=3, seed=5)
    assert np.array_equal(pixels_of("a.png"), np.asarray(codec.decode(expected)))
    assert names() == ["a.png"]


def test_the_shipped_model_is_the_default(run) -> None:
    facts = json.loads(run("sample", "--size", "33x17", "-o", "a.png", "--json").stdout)
    assert {key: type(value) for key, value in facts.items()} == KEYS
    passes = sum(store.find("photo").architecture.layer_phases)
    assert (facts["width"], facts["height"], facts["steps"], facts["seed"]) == (33, 17, passes, 0)
    assert facts["model"].startswith("photo-")
    assert facts["files"] == ["a.png"]


def test_a_model_of_bits_says_what_it_does_of_itself(run, bits_model: Path) -> None:
    result = run("sample", "--model", bits_model, "-o", "a.png", "--trace")
    assert result.exit_code == 0, result.stderr
    assert result.stderr.startswith(
        "a.png: 1 picture of 48 x 32 pixels, diffusion in 16 steps, seed 0, model bits-1, "
    )
    assert pixels_of("a-trace.png").shape == (32, 8 * 50 - 2, 3)
    facts = json.loads(run("sample", "--model", bits_model, "-o", "b.png", "--class", "dog", "--json").stdout)
    assert (facts["sampler"], facts["steps"], facts["class"], facts["classes"]) == (
        "diffusion",
        16,
        "dog",
        ["dog"],
    )
    facts = json.loads(
        run("inpaint", "b.png", "--mask", mask(48, 32), "--model", bits_model, "-o", "c.png", "--json").stdout
    )
    assert (facts["sampler"], facts["steps"]) == ("diffusion", 16)


def mask(width: int, height: int) -> str:
    """A corner to inpaint."""
    white = np.zeros((height, width), np.uint8)
    white[:8, :8] = 255
    Image.fromarray(white).save("mask.png")
    return "mask.png"


def texts_of(path: Path | str) -> dict[str, str]:
    with Image.open(path) as image:
        assert isinstance(image, PngImageFile)
        return dict(image.text)


def test_a_png_tells_how_it_was_drawn(run, bits_model: Path) -> None:
    how = {
        "Software": f"bincodec {bincodec.__version__}",
        "model": "bits-1",
        "quality": "30",
        "sampler": "diffusion",
        "steps": "3",
        "temperature": "0.5",
        "seed": "7",
        "schedule": "cosine",
        "renewal": "0.25",
        "final_temperature": "0.75",
    }
    options = ["--steps", "3", "-q", "30", "--temperature", "0.5", "--seed", "7", "--schedule", "cosine"]
    options += ["--renewal", "0.25", "--final-temperature", "0.75"]
    common = ("sample", "--model", bits_model, *options)
    assert run(*common, "-o", "a.png").exit_code == 0
    guided = {"guidance": "2.0", "guided_by": "both", "guidance_delay": "0.0"}
    card = store.find(str(bits_model))
    label = SamplingSettings(seed=7).with_class(card, 0).label
    assert texts_of("a.png") == how | guided | {"class": label, "picture": "0"}
    assert run(*common, "-n", 2, "--class", "dog", "--class", "cat", "-o", "out").exit_code == 0
    assert texts_of("out/003.png") == how | guided | {"class": "cat", "picture": "1"}
    assert run(*common, "--class", "all", "--guidance", 0, "--grid", "-o", "b.png").exit_code == 0
    assert texts_of("b.png") == how | {"class": "cat, dog, not sure", "guidance": "0.0"}
    assert run(*common, "-o", "a.jpg").exit_code == 0


def test_random_classes_are_told_and_drawn_again(run, bits_model: Path) -> None:
    settings, card = SamplingSettings(seed=2), store.find(str(bits_model))
    labels = [settings.with_class(card, image).label for image in range(6)]
    common = ("sample", "--model", bits_model, "--seed", 2, "-n", 6)
    facts = json.loads(run(*common, "-o", "out", "--json").stdout)
    assert (facts["class"], facts["classes"], len({*labels})) == (None, labels, 3)
    assert [texts_of(path)["class"] for path in facts["files"]] == labels
    run("sample", "--model", bits_model, "--seed", 2, "-n", 6, "--class", labels[5], "-o", "again")
    assert np.array_equal(pixels_of("out/005.png"), pixels_of("again/005.png"))
    assert run(*common, "--grid", "-o", "grid.png").exit_code == 0
    assert "class" not in texts_of("grid.png")
    facts = json.loads(run(*common, "--guidance", 0, "-o", "plain", "--json").stdout)
    assert (facts["class"], facts["classes"]) == (None, [])
    assert "class" not in texts_of("plain/000.png")


def test_a_grid_has_a_row_for_each_class(run, bits_model: Path) -> None:
    codec = Codec.load(str(bits_model))
    common = ("sample", "--model", bits_model, "-n", 2, "--grid", "--seed", 3)
    for name, given, expected in (
        ("all.png", ("all",), ["cat", "dog", "not sure"]),
        ("two.png", ("dog", "cat", "dog"), ["dog", "cat"]),
    ):
        arguments = [word for label in given for word in ("--class", label)]
        result = run(*common, *arguments, "-o", name)
        assert result.exit_code == 0, result.stderr
        assert f"note: 2 of each class: {', '.join(expected)}\n" in result.stderr
        grid = pixels_of(name)
        assert grid.shape == (34 * len(expected) - 2, 98, 3)
        for row, label in enumerate(expected):
            # The pictures that the class has by itself.
            for column, code in enumerate(codec.sample(2, seed=3, label=label)):
                found = grid[34 * row : 34 * row + 32, 50 * column : 50 * column + 48]
                assert np.array_equal(found, np.asarray(codec.decode(code)))


def test_several_classes_fill_a_folder_class_by_class(run, bits_model: Path) -> None:
    codec = Codec.load(str(bits_model))
    result = run(
        "sample", "--model", bits_model, "-n", 2, "--class", "all", "-o", "out", "--save-codes", "--json"
    )
    facts = json.loads(result.stdout)
    each = [name for name in ("cat", "dog", "not sure") for _ in range(2)]
    assert (facts["count"], facts["class"], facts["classes"]) == (6, None, each)
    assert names() == ["out", *(f"out/00{i}{end}" for i in range(6) for end in (".bld", ".png"))]
    expected = codec.sample(2, label="dog")[1]
    assert codec.unpack(Path("out/003.bld").read_bytes()).digest() == expected.digest()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--class", "cow"], "class 'cow' is not one of cat, dog, not sure"),
        (["--class", "cat", "--class", "cow", "-n", "9"], "class 'cow' is not one of cat, dog, not sure"),
        (["--class", "cat", "--guidance", "17"], "17.0 is not in the range 0<=x<=16"),
        (["--class", "all"], "a.png: one file cannot hold 3 pictures: name a folder"),
        (
            ["--class", "cat", "--sampler", "autoregressive", "--trace"],
            "this is the autoregressive sampler",
        ),
    ],
)
def test_classes_that_do_not_exist_are_one_line(
    run, bits_model: Path, arguments: list[str], words: str
) -> None:
    result = run("sample", "--model", bits_model, "-o", "a.png", *arguments)
    assert (result.exit_code, result.stdout, names()) == (2, "", []), result.stderr
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_all_classes_of_a_model_without_any(run) -> None:
    result = run("sample", *SMALL, "-o", "a.png", "--class", "all")
    assert (result.exit_code, "model tiny-1 has no classes" in result.stderr, names()) == (2, True, [])


def test_a_seed_gives_one_code_on_any_number_of_threads(bits_model: Path) -> None:
    """Processes of their own: what a library reads of its environment, it reads when it is loaded."""
    found = []
    for threads in ("1", "2"):
        program = (
            "import sys, torch; from bincodec import Codec; codec = Codec.load(sys.argv[1]);"
            "how = dict(size=(400, 300), seed=5, label='cat', guidance=1.0, temperature=0.9);"
            "samplers = ('diffusion', 'autoregressive');"
            "codes = [codec.sample(sampler=name, **how)[0].digest() for name in samplers];"
            "print(torch.get_num_threads(), *codes)"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, str(bits_model)],
            env=os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        )
        used, *codes = done.stdout.split()
        assert used == threads
        found.append(codes)
    assert found[0] == found[1]
    assert found[0][0] != found[0][1]


def test_the_autoregressive_sampler_says_its_passes(run) -> None:
    arguments = ("sample", "--model", TINY, "--size", "40x30", "--sampler", "autoregressive", "--json", "-o")
    assert json.loads(run(*arguments, "a.png").stdout)["steps"] == 7
    assert json.loads(run(*arguments, "b.png", "--steps", 2).stdout)["steps"] == 2


def test_several_pictures_go_into_a_folder(run, codec: Codec) -> None:
    result = run("sample", *SMALL, "-n", 3, "-o", "out", "--save-codes", "--quiet")
    assert (result.exit_code, result.output) == (0, "")
    assert names() == ["out", *(f"out/00{i}{end}" for i in range(3) for end in (".bld", ".png"))]
    for index, code in enumerate(codec.sample(3, (40, 30), sampler="diffusion", steps=3)):
        assert np.array_equal(pixels_of(f"out/00{index}.png"), np.asarray(codec.decode(code)))
        assert codec.unpack(Path(f"out/00{index}.bld").read_bytes()).digest() == code.digest()


def test_a_grid_is_one_picture(run, codec: Codec) -> None:
    result = run("sample", *SMALL, "-n", 3, "--grid", "-o", "g.png", "--save-codes", "--trace")
    assert result.exit_code == 0, result.stderr
    assert names() == ["g-000.bld", "g-001.bld", "g-002.bld", "g-trace.png", "g.png"]
    grid = pixels_of("g.png")
    assert grid.shape == (62, 82, 3)
    third = codec.decode(codec.sample(3, (40, 30), sampler="diffusion", steps=3)[2])
    assert np.array_equal(grid[32:, :40], np.asarray(third))
    assert (grid[32:, 42:] == 255).all()
    trace = pixels_of("g-trace.png")
    assert trace.shape == (3 * 32 - 2, 3 * 42 - 2, 3)
    assert np.array_equal(trace[64:, 84:], np.asarray(third))


def test_a_trace_ends_in_the_picture_and_has_at_most_eight_states(run) -> None:
    result = run("sample", *SMALL[:-1], 20, "-o", "a.png", "--trace")
    assert result.exit_code == 0, result.stderr
    trace = pixels_of("a-trace.png")
    assert trace.shape == (30, 8 * 42 - 2, 3)
    assert np.array_equal(trace[:, -40:], pixels_of("a.png"))
    assert not np.array_equal(trace[:, :40], trace[:, -40:])
    run("sample", *SMALL, "-n", 2, "-o", "out", "--trace")
    assert pixels_of("out/001-trace.png").shape == (30, 3 * 42 - 2, 3)
    assert np.array_equal(pixels_of("out/001-trace.png")[:, -40:], pixels_of("out/001.png"))


def test_a_code_alone(run, codec: Codec) -> None:
    assert run("sample", *SMALL, "-o", "a.bld").exit_code == 0
    assert names() == ["a.bld"]
    expected = codec.sample(size=(40, 30), sampler="diffusion", steps=3)[0]
    assert codec.unpack(Path("a.bld").read_bytes()).digest() == expected.digest()


def test_standard_output(run) -> None:
    result = run("sample", *SMALL, "-o", "-")
    assert result.exit_code == 0
    assert result.stdout_bytes.startswith(b"\x89PNG")
    assert result.stderr.startswith("standard output: 1 picture of 40 x 30 pixels")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--size", "40"], 2, "'40' is not a size such as 256x256"),
        (["--size", "40x-3"], 2, "is not a size"),
        (["--size", "0x5"], 2, "width 0 is not an integer in 1..65535"),
        (["--size", "5x65536"], 2, "height 65536 is not an integer in 1..65535"),
        (["--size", "60000x60000"], 2, "limit pixels=67108864 (--max-pixels raises it)"),
        (["--size", "40x30", "--max-pixels", "1000"], 2, "1200 is over the limit pixels=1000"),
        (
            ["--size", "16400x16", "-o", "a.webp"],
            2,
            "cannot write 16400 x 16 pixels as WEBP: the limit is 16383",
        ),
        (
            ["--size", "65501x16", "-o", "a.jpg"],
            2,
            "cannot write 65501 x 16 pixels as JPEG: the limit is 65500",
        ),
        (["--size", "5000x9", "-n", "10", "--grid", "-o", "a.webp"], 2, "20006 x 31 pixels as WEBP"),
        (
            ["--size", "40x30", "-n", "3", "--grid", "--max-pixels", "5083"],
            2,
            "the grid 82 x 62 pixels: 5084 is over the limit pixels=5083 (--max-pixels raises it)",
        ),
        (
            ["--size", "40x30", "--sampler", "diffusion", "--steps", "3", "--trace", "--max-pixels", "3719"],
            2,
            "the trace 124 x 30 pixels: 3720 is over the limit pixels=3719",
        ),
        (["-n", "0"], 2, "0 is not in the range"),
        (["--steps", "0"], 2, "0 is not in the range"),
        (["--steps", "1001"], 2, "steps 1001 is not an integer in 1..1000"),
        (["--sampler", "autoregressive", "--steps", "8"], 2, "steps 8 is over the limit of 7"),
        (["--temperature", "11"], 2, "11.0 is not in the range"),
        (["--temperature", "nan"], 2, "temperature nan is not a number in 0..10"),
        (["--seed", "-1"], 2, "-1 is not in the range"),
        (["--schedule", "magic"], 2, "'magic' is not one of"),
        (["--class", "cat"], 2, "model tiny-1 has no classes"),
        (["--guidance", "2"], 2, "model tiny-1 has no classes"),
        (["--sampler", "autoregressive", "--trace"], 2, "this is the autoregressive sampler"),
        (["-n", "2"], 2, "a.png: one file cannot hold 2 pictures: name a folder"),
        (["-n", "2", "-o", "-"], 2, "standard output: one file cannot hold 2 pictures"),
        (["-n", "2", "--grid", "-o", "a.bld"], 2, "cannot write images as '.bld'"),
        (["-n", "2", "-o", "z.avif"], 2, "z.avif: one file cannot hold 2 pictures: name a folder"),
        (["-n", "2", "-o", "z.JP2"], 2, "z.JP2: one file cannot hold 2 pictures: name a folder"),
        (["-n", "2", "-o", ""], 2, "the name of the output is empty"),
        (["-o", ""], 2, "the name of the output is empty"),
        (["-o", "a.xyz"], 2, "cannot write images as '.xyz'"),
        (["-o", "-", "--save-codes"], 2, "further files are written beside the output"),
        (["-o", "-", "--json"], 2, "--json prints to standard output"),
        (["-o", "no/a.png"], 1, "does not exist"),
        (["-n", "2", "-o", "no/folder"], 1, "does not exist"),
    ],
)
def test_bad_input_is_one_line_and_draws_nothing(
    run, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, words: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        msg = "drawn"
        raise AssertionError(msg)

    monkeypatch.setattr("bincodec.generation.editing._draw", refuse)
    result = run("sample", "--model", TINY, "-o", "a.png", *arguments)
    assert (result.exit_code, result.stdout) == (code, ""), result.stderr
    assert result.stderr.startswith("bincodec: error: ")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert names() == []


def test_progress_shows_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    import sys

    from bincodec.cli import sampling

    with sampling.progress(3, hidden=False) as advance:
        advance(None)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with sampling.progress(3, hidden=True) as advance:
        advance(None)
    assert capsys.readouterr().err == ""
    with sampling.progress(1, hidden=False) as advance:
        advance(None)
    assert "100%" in capsys.readouterr().err
