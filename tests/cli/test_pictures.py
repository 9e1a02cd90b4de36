"""Where drawn pictures go: nothing in the way, nothing half-written, nothing overwritten unasked."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TINY = Path(__file__).resolve().parents[1] / "models" / "tiny-1.safetensors"
SMALL = ("--model", TINY, "--size", "40x30", "--sampler", "diffusion", "--steps", 3)


@pytest.fixture(autouse=True)
def in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def pixels_of(path: Path | str) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def names() -> list[str]:
    return sorted(str(path) for path in Path().rglob("*"))


def test_nothing_is_overwritten_unasked(run) -> None:
    for arguments, path in (
        (["-o", "a.png"], "a.png"),
        (["-o", "a.jpg", "--save-codes"], "a.bld"),
        (["-o", "a.jpg", "--trace"], "a-trace.png"),
        (["-o", "a.jpg", "-n", "2", "--grid", "--save-codes"], "a-001.bld"),
    ):
        Path(path).write_bytes(b"precious")
        result = run("sample", *SMALL, *arguments)
        assert (result.exit_code, names(), Path(path).read_bytes()) == (1, [path], b"precious")
        assert result.stderr == f"bincodec: error: {path}: this file exists; --force overwrites it\n"
        assert run("sample", *SMALL, *arguments, "--force").exit_code == 0
        assert Path(path).read_bytes() != b"precious"
        for left in names():
            Path(left).unlink()


def test_a_folder_is_not_overwritten_unasked(run) -> None:
    Path("out").mkdir()
    Path("out/000.png").write_bytes(b"precious")
    Path("out/other").write_bytes(b"precious")
    result = run("sample", *SMALL, "-n", 2, "-o", "out")
    assert (result.exit_code, names()) == (1, ["out", "out/000.png", "out/other"])
    assert "out: this folder exists; --force overwrites files of the same names in it" in result.stderr
    assert run("sample", *SMALL, "-n", 2, "-o", "out", "--force").exit_code == 0
    assert names() == ["out", "out/000.png", "out/001.png", "out/other"]
    assert Path("out/other").read_bytes() == b"precious"
    assert pixels_of("out/000.png").shape == (30, 40, 3)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The second file that is written does not fit any more; what was synchronised until then."""
    synced: list[int] = []

    def fail_at_the_second(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail_at_the_second)
    return synced


@pytest.fixture
def no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        msg = "drawn"
        raise AssertionError(msg)

    monkeypatch.setattr("bincodec.generation.editing.sample", refuse)


def test_a_new_folder_appears_whole_or_not_at_all(run, full_disk: list[int]) -> None:
    result = run("sample", *SMALL, "-n", 3, "-o", "out")
    assert (result.exit_code, len(full_disk), names()) == (1, 2, [])
    assert result.stderr == "bincodec: error: out: No space left on device\n"


@pytest.mark.parametrize("arguments", [("-n", 3, "-o", "out"), ("-o", "out/000.png", "--save-codes")])
def test_an_old_folder_gets_all_files_or_none(
    run, full_disk: list[int], arguments: tuple[object, ...]
) -> None:
    Path("out").mkdir()
    Path("out/000.png").write_bytes(b"precious")
    result = run("sample", *SMALL, *arguments, "--force")
    assert (result.exit_code, len(full_disk), names()) == (1, 2, ["out", "out/000.png"])
    assert Path("out/000.png").read_bytes() == b"precious"


@pytest.mark.usefixtures("no_drawing")
@pytest.mark.parametrize("name", ["001.png", "002.bld", "000-trace.png"])
def test_what_is_in_the_way_in_a_folder_is_found_before_drawing(run, name: str) -> None:
    (Path("out") / name).mkdir(parents=True)
    result = run("sample", *SMALL, "-n", 3, "-o", "out", "--save-codes", "--trace", "--force")
    assert (result.exit_code, names()) == (1, ["out", f"out/{name}"])
    assert result.stderr == f"bincodec: error: out/{name}: this is a folder, not a file\n"


def test_pictures_of_an_earlier_run_are_named(run) -> None:
    command = ("sample", *SMALL, "-o", "out", "--force")
    assert "earlier run" not in run(*command, "-n", 6, "--save-codes").stderr
    Path("out/other.png").write_bytes(b"")
    Path("out/2.png").write_bytes(b"")
    assert "earlier run" not in run(*command, "-n", 6, "--save-codes").stderr
    for path in Path("out").glob("*.bld"):
        path.unlink()
    result = run(*command, "-n", 4)
    assert "bincodec: note: out: files of an earlier run are still there: 004.png, 005.png\n" in result.stderr
    result = run(*command, "-n", 2)
    assert "are still there: 002.png, 003.png, 004.png, 005.png\n" in result.stderr
    Path("out/003.bld").write_bytes(b"")
    Path("out/005-trace.png").write_bytes(b"")
    result = run(*command, "-n", 2)
    assert "are still there: 002.png, 003.bld, 003.png, 004.png and 2 more\n" in result.stderr
    assert run(*command, "-n", 2, "--quiet").output == ""


@pytest.mark.usefixtures("no_drawing")
@pytest.mark.parametrize("count", [1, 2])
def test_a_folder_that_takes_no_file_is_found_before_drawing(
    run, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    from bincodec.io import files

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files.tempfile, "TemporaryFile", refuse)
    name = "a.png" if count == 1 else "out"
    result = run("sample", *SMALL, "-n", count, "-o", name)
    assert (result.exit_code, names()) == (1, [])
    assert result.stderr == f"bincodec: error: {name}: Permission denied\n"
