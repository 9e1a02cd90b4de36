"""`bincodec eval generation`: tables and files, sets from archives, bad input in one line."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bincodec.eval import features, generation
from bincodec.eval.errors import NotInstalled
from bincodec.eval.features import FeatureNetwork
from bincodec.io import files
from bincodec.model.card import read_card

TINY = Path(__file__).resolve().parents[1] / "models" / "tiny-1.safetensors"


def picture(seed: int, size: tuple[int, int] = (32, 32)) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.NEAREST)


@pytest.fixture(autouse=True)
def network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Features that need no download, in a folder of its own."""

    def find(name: str, **_: object) -> FeatureNetwork:
        return FeatureNetwork(
            f"pixels ({name})", "", 32, lambda b: torch.nn.functional.avg_pool2d(b / 255, 8).flatten(1)
        )

    monkeypatch.setattr(features, "find", find)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def tar(tmp_path: Path) -> Path:
    path = tmp_path / "set.tar"
    with tarfile.open(path, "w") as archive:
        for i in range(20):
            buffer = io.BytesIO()
            picture(i).save(buffer, "PNG")
            member = tarfile.TarInfo(
                f"{'heldout' if i < 10 else 'train'}/{'hat' if i % 2 else 'shoe'}/{i}.png"
            )
            member.size = buffer.tell()
            archive.addfile(member, io.BytesIO(buffer.getvalue()))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "made"
    place.mkdir()
    for i in range(5):
        picture(100 + i).save(place / f"{i}.png")
    return place


COMMON = ("--under", "heldout/", "--model", TINY, "-n", 4, "-o", "out", "--quiet")


def test_one_call_makes_a_table(run, tar: Path, folder: Path) -> None:
    result = run(
        "eval", "generation", tar, *COMMON, "--train", tar, "--train-under", "train/",
        "--setting", "sampler=diffusion:steps=2,3", "--setting", "", "--samples", f"vq={folder}",
    )  # fmt: skip
    assert (result.exit_code, result.stderr) == (0, "")
    content = json.loads(Path("out/generation.json").read_text())
    names = [row["set"] for row in content["rows"]]
    assert names[4:] == ["vq", "sampler=diffusion:steps=2", "sampler=diffusion:steps=3", "default"]
    assert (content["held_out"], content["training"], content["width"]) == (10, 10, 32)
    assert content["models"] == {str(TINY): read_card(TINY).fingerprint.hex()}
    for name in names:
        assert f"\n{name} " in result.stdout
    assert "features of pixels (efficientnet)" in result.stdout
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "closest.png", "generation.json", "generation.md", "rows.csv", "samples.png",
    ]  # fmt: skip


def test_json_is_the_file(run, tar: Path) -> None:
    result = run("eval", "generation", tar, *COMMON, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) == json.loads(Path("out/generation.json").read_text())


def test_a_folder_alone_needs_no_model(run, tar: Path, folder: Path) -> None:
    arguments = ("--under", "heldout/", "--samples", f"vq={folder}", "-o", "out", "--model", "nothing")
    result = run("eval", "generation", tar, *arguments, "--features", "alexnet", "--quiet")
    assert result.exit_code == 0, result.stderr
    content = json.loads(Path("out/generation.json").read_text())
    assert [row["kind"] for row in content["rows"]] == ["floor", "folder"]
    assert content["features"]["network"] == "pixels (alexnet)"


def test_all_pictures_are_brought_to_a_size(run, tar: Path, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    for i in range(4):
        picture(i, (64, 48)).save(tmp_path / "more" / f"{i}.png")
    result = run("eval", "generation", tar, "more", *COMMON[2:])
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "64 x 48 pixels, but others have 32 x 32: use --size" in result.stderr
    assert run("eval", "generation", tar, "more", *COMMON[2:], "--size", "48x32").exit_code == 0
    content = json.loads(Path("out/generation.json").read_text())
    assert (content["width"], content["height"], content["held_out"]) == (48, 32, 24)


def test_an_interruption_leaves_what_was_complete(run, tar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    real = generation.run
    monkeypatch.setattr(generation, "run", lambda plan, **how: replace(real(plan, **how), interrupted=True))
    result = run("eval", "generation", tar, *COMMON)
    assert (result.exit_code, result.stderr.count("\n")) == (130, 1)
    assert "interrupted: out holds the sets that were complete" in result.stderr
    assert json.loads(Path("out/generation.json").read_text())["interrupted"]


def test_an_early_interruption_leaves_nothing(run, tar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(generation, "run", interrupted)
    result = run("eval", "generation", tar, *COMMON)
    assert (result.exit_code, Path("out").exists()) == (130, False)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["set.tar", "--setting", "speed=4"], 2, "'speed' is no setting; there are sampler, steps"),
        (["set.tar", "--setting", "steps=0"], 2, "steps=0: steps 0 is not an integer in 1..1000"),
        (["set.tar", "--setting", "sampler=autoregressive:steps=8"], 2, "steps 8 is over the limit of 7"),
        (["set.tar", "--setting", "guidance=2"], 2, "model tiny-1 has no classes"),
        (["set.tar", "--setting", "classes=hat"], 2, "model tiny-1 has no classes"),
        (["set.tar", "--setting", "model=nothing"], 1, "no model is called 'nothing'"),
        (["set.tar", "-n", "1"], 2, "each drawn set: distances need at least 4 pictures, not 1"),
        (["set.tar", "-n", "0"], 2, "0 is not in the range"),
        (["set.tar", "--under", "none/"], 1, "set.tar: there are no pictures in it under none/"),
        (["empty"], 1, "empty: there are no pictures in it"),
        (["gone.tar"], 1, "gone.tar: cannot be read"),
        (["set.tar", "--train", "empty"], 1, "empty: there are no pictures in it"),
        (["set.tar", "--samples", "made"], 2, "'made' is not of the form NAME=PATH"),
        (["set.tar", "--samples", "a=made", "--samples", "a=made"], 2, "the name 'a' is given twice"),
        (["set.tar", "--size", "32"], 2, "'32' is not a size such as 256x256"),
        (["set.tar", "--size", "0x32"], 2, "width 0 is not an integer in 1..65535"),
        (["set.tar", "--features", "resnet"], 2, "'resnet' is not one of"),
        ([], 2, "Missing argument 'REAL...'"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    run, tar: Path, folder: Path, arguments: list[str], code: int, words: str
) -> None:
    Path("empty").mkdir()
    result = run("eval", "generation", "--model", TINY, "-n", 4, "-o", "out", "--quiet", *arguments)
    assert (result.exit_code, result.stdout) == (code, ""), result.stderr
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert not Path("out").exists()


@pytest.fixture
def no_features(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        msg = "measured"
        raise AssertionError(msg)

    monkeypatch.setattr(FeatureNetwork, "features", refuse)


@pytest.mark.usefixtures("no_features")
@pytest.mark.parametrize("name", ["samples.png", "closest.png", "rows.csv", "generation.md"])
def test_files_of_somebody_else_are_left_alone(run, tar: Path, name: str) -> None:
    Path("out").mkdir()
    (Path("out") / name).write_bytes(b"mine")
    result = run("eval", "generation", tar, *COMMON)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert f"out/{name}: this file exists, but there is no earlier report (generation.json)" in result.stderr
    assert [(path.name, path.read_bytes()) for path in Path("out").iterdir()] == [(name, b"mine")]


def test_a_report_replaces_an_earlier_one(run, tar: Path) -> None:
    assert run("eval", "generation", tar, *COMMON, "--train", tar, "--train-under", "train/").exit_code == 0
    (Path("out") / "notes.txt").write_bytes(b"mine")
    assert run("eval", "generation", tar, *COMMON).exit_code == 0
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "generation.json", "generation.md", "notes.txt", "rows.csv", "samples.png",
    ]  # fmt: skip


@pytest.mark.usefixtures("no_features")
@pytest.mark.parametrize("cache", ["file/cache", "file/more/cache"])
def test_a_cache_that_cannot_be_kept_is_found_before_anything_is_measured(run, tar: Path, cache: str) -> None:
    Path("file").write_text("")
    result = run("eval", "generation", tar, *COMMON, "--cache", cache)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith(f"bincodec: error: {cache}: ")
    assert not Path("out").exists()


@pytest.mark.usefixtures("no_features")
@pytest.mark.parametrize("place", ["kept", "out"])
def test_a_folder_that_takes_no_file_is_found_before_anything_is_measured(
    run, tar: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    real = files.tempfile.TemporaryFile

    def refuse(dir: Path, **more: str) -> object:
        if dir.name == place:
            raise PermissionError(13, "Permission denied")
        return real(dir=dir, **more)

    monkeypatch.setattr(files.tempfile, "TemporaryFile", refuse)
    result = run("eval", "generation", tar, *COMMON, "--cache", "kept")
    assert (result.exit_code, result.stderr) == (1, f"bincodec: error: {place}: Permission denied\n")
    assert not Path("out").exists()


def test_missing_packages_are_named(run, tar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        msg = "features of EfficientNet-Lite0 need the package x"
        raise NotInstalled(msg)

    monkeypatch.setattr(features, "find", missing)
    result = run("eval", "generation", tar, *COMMON)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "need the package x" in result.stderr
