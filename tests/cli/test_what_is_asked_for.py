"""What an option asks for is done: limits, models, names that must be free."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bincodec
from bincodec.cli import output

TINY = Path(__file__).resolve().parents[1] / "models" / "tiny-1.safetensors"
SMALL = ("--model", TINY, "--size", "40x30", "--steps", 3)
PIXELS = 73 * 50


@pytest.fixture(autouse=True)
def in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def tiny_bld(photo: Path) -> Path:
    path = photo.with_name("tiny.bld")
    path.write_bytes(bincodec.compress(photo, model=str(TINY)))
    return path


@pytest.mark.parametrize("command", ["compress", "decompress", "info", "verify"])
def test_max_pixels_is_the_limit(run, command: str, photo: Path, tiny_bld: Path) -> None:
    source = photo if command == "compress" else tiny_bld
    model = () if command == "info" else ("--model", TINY)
    out = {"compress": ["out.bld"], "decompress": ["out.png"]}.get(command, [])
    result = run(command, source, *out, *model, "--max-pixels", PIXELS - 1)
    assert result.exit_code == 1
    size = "73 x 50 pixels" if command == "compress" else "the image has 73x50 pixels"
    assert result.stderr == (
        f"bincodec: error: {source}: {size}: "
        f"{PIXELS} is over the limit pixels={PIXELS - 1} (--max-pixels raises it)\n"
    )
    assert not Path("out.bld").exists()
    assert not Path("out.png").exists()
    assert run(command, source, *out, *model, "--max-pixels", PIXELS).exit_code == 0


def test_more_pixels_than_usual_can_be_asked_for(
    run, tiny_bld: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The option raises the limit as well as it lowers it."""
    from bincodec.bitstream import limits

    monkeypatch.setattr(limits, "DEFAULT_LIMITS", bincodec.Limits(pixels=PIXELS - 1))
    assert run("decompress", tiny_bld, "out.png", "--model", TINY).exit_code == 1
    assert run("decompress", tiny_bld, "out.png", "--model", TINY, "--max-pixels", PIXELS).exit_code == 0


def test_whoever_compresses_more_pixels_than_usual_is_told_what_readers_need(
    run, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bincodec.bitstream import limits

    monkeypatch.setattr(limits, "PIXELS", PIXELS - 1)
    result = run("compress", photo, "out.bld", "--model", TINY)
    assert result.exit_code == 0
    assert f"to decompress it, the option --max-pixels {PIXELS} is needed" in result.stderr


def test_the_option_of_a_limit_is_no_matter_of_words() -> None:
    assert output.explained(bincodec.InvalidSetting("over the limit pixels=3")) == "over the limit pixels=3"
    assert output.explained(bincodec.InvalidSetting("too wide", option="side")) == "too wide"
    raised = output.explained(bincodec.InvalidSetting("too many", option="pixels"))
    assert raised == "too many (--max-pixels raises it)"


@pytest.mark.parametrize(("command", "out"), [("decompress", ["out.png"]), ("verify", [])])
def test_model_is_the_model_that_decodes(run, command: str, out: list[str], tiny_bld: Path) -> None:
    """`tiny-1` is not installed: its files can be read only by naming it, and no other model reads them."""
    result = run(command, tiny_bld, *out)
    assert result.exit_code == 1
    assert "the file needs the model with fingerprint" in result.stderr
    result = run(command, tiny_bld, *out, "--model", "photo")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"bincodec: error: {tiny_bld}: ")
    assert not Path("out.png").exists()
    assert run(command, tiny_bld, *out, "--model", TINY).exit_code == 0


def test_a_setting_that_does_not_exist_names_the_file(run, tiny_bld: Path) -> None:
    result = run("decompress", tiny_bld, "out.png", "--model", TINY, "--layers", 9)
    assert result.exit_code == 2
    assert result.stderr == f"bincodec: error: {tiny_bld}: layers 9 is not an integer in 1..3\n"


RACE = """
import os, sys, time
from bincodec.cli import places
me, other, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
for number in range(rounds):
    open(f"ready-{number}-{me}", "wb").close()
    while not os.path.exists(f"ready-{number}-{other}"):
        pass
    try:
        places.write({f"{number}.bld": me.encode() * 1000}, force=False)
    except places.Occupied as occupied:
        assert occupied.format_message() == f"{number}.bld: this file exists; --force overwrites it"
        print("lost")
    else:
        print("won")
"""


def test_of_two_commands_that_write_one_name_exactly_one_succeeds() -> None:
    rounds = 40
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, me, other, str(rounds)], stdout=subprocess.PIPE, text=True
        )
        for me, other in ("ab", "ba")
    ]
    first, second = (process.communicate(timeout=120)[0].split() for process in processes)
    assert len(first) == len(second) == rounds
    for number, pair in enumerate(zip(first, second, strict=True)):
        assert sorted(pair) == ["lost", "won"]
        winner = b"a" if pair[0] == "won" else b"b"
        assert Path(f"{number}.bld").read_bytes() == winner * 1000
    assert not list(Path().glob(".bincodec-*"))


@pytest.mark.parametrize("content", [[], ["theirs"]])
def test_a_folder_that_appears_meanwhile_is_not_taken_over(
    run, content: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty one as little as any other: a rename would replace it without a word."""
    from bincodec.io import files

    write_folder = files.write_folder

    def appear(folder: str, contents: dict[str, bytes]) -> None:
        Path("out").mkdir()
        for name in content:
            Path("out", name).write_bytes(b"precious")
        write_folder(folder, contents)

    monkeypatch.setattr(files, "write_folder", appear)
    result = run("sample", *SMALL, "-n", 2, "-o", "out")
    assert result.exit_code == 1
    assert (
        result.stderr
        == "bincodec: error: out: this folder exists; --force overwrites files of the same names in it\n"
    )
    assert sorted(path.name for path in Path().rglob("*")) == ["out", *content]


def test_with_force_pictures_go_into_a_folder_that_appears_meanwhile(
    run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bincodec.io import files

    write_folder = files.write_folder

    def appear(folder: str, contents: dict[str, bytes]) -> None:
        Path("out").mkdir()
        Path("out/theirs").write_bytes(b"precious")
        write_folder(folder, contents)

    monkeypatch.setattr(files, "write_folder", appear)
    assert run("sample", *SMALL, "-n", 2, "-o", "out", "--force").exit_code == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["000.png", "001.png", "theirs"]


def test_of_several_files_all_are_written_or_none(run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code beside the picture finds its name taken, after the picture got its own."""
    import os

    link = os.link

    def appear(source: Path, path: Path) -> None:
        if path.suffix == ".bld":
            path.write_bytes(b"precious")
        link(source, path)

    monkeypatch.setattr(os, "link", appear)
    result = run("sample", *SMALL, "-o", "out.png", "--save-codes")
    assert (result.exit_code, result.stderr) == (
        1,
        "bincodec: error: out.bld: this file exists; --force overwrites it\n",
    )
    assert [path.name for path in Path().iterdir()] == ["out.bld"]
    assert Path("out.bld").read_bytes() == b"precious"


def test_progress_is_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    from bincodec.cli import sampling

    for terminal, hidden, shown in ((False, False, False), (True, True, False), (True, False, True)):
        monkeypatch.setattr(sys.stderr, "isatty", lambda terminal=terminal: terminal)
        with sampling.progress(2, hidden=hidden) as advance:
            advance(None)
            advance(None)
        assert ("2/2" in capsys.readouterr().err) is shown


def test_the_same_picture_is_drawn_as_through_the_library(run) -> None:
    assert run("sample", *SMALL, "-o", "out.png", "--seed", 5).exit_code == 0
    codec = bincodec.Codec.load(str(TINY))
    (code,) = codec.sample(1, (40, 30), seed=5, steps=3)
    with Image.open("out.png") as image:
        assert np.array_equal(np.array(image), np.array(codec.decode(code)))
