"""Streams that are closed, full, left or interrupted: one line, the right exit code, nothing half-written."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import pytest
from PIL import Image

import bincodec
from bincodec.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "tests" / "models" / "tiny-1.safetensors"
COMMAND = "from bincodec.cli.start import main; main()"
HEEDING = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
"""What starts the tests may have told its children to ignore Ctrl-C."""
ONE_PIXEL = ROOT / "tests" / "vectors" / "v1" / "one-pixel" / "file.bld"
FULL = "No space left on device"
CLOSED = "it is closed"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A folder to work in, with a photo and a file of the tiny model in it."""
    with Image.open(ROOT / "examples" / "chelsea.png") as image:
        image.crop((150, 60, 190, 90)).save(tmp_path / "photo.png")
    (tmp_path / "small.bld").write_bytes(bincodec.compress(tmp_path / "photo.png", model=str(TINY)))
    return tmp_path


def shell(redirection: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command in a shell that redirects its streams first; torch takes one thread."""
    return subprocess.run(
        ["bash", "-c", f'exec "$@" {redirection}', "bash", sys.executable, "-c", COMMAND]
        + [str(argument) for argument in arguments],
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def assert_one_line(done: subprocess.CompletedProcess[str], words: str, code: int = 1) -> None:
    assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
    assert done.stderr.startswith("bincodec: error: ")
    assert words in done.stderr


LIGHT = (["info", ONE_PIXEL], ["info", ONE_PIXEL, "--json"], ["models"], ["--help"], ["--version"])


@pytest.mark.parametrize("arguments", LIGHT)
@pytest.mark.parametrize("redirection", [">/dev/full", ">&-", "1</dev/null"])
def test_a_result_that_cannot_be_printed_is_an_error(
    arguments: Sequence[object], redirection: str, tmp_path: Path
) -> None:
    done = shell(redirection, *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("bincodec: error: ")
    assert done.stderr.count("\n") == 1, done.stderr


def left_alone(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command with a standard output that nobody reads any more."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as gone:
        return subprocess.run(
            [sys.executable, "-c", COMMAND, *map(str, arguments)],
            cwd=cwd,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=gone,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )


@pytest.mark.parametrize("arguments", LIGHT)
def test_a_reader_that_goes_away_is_an_error(arguments: Sequence[object], tmp_path: Path) -> None:
    assert_one_line(left_alone(*arguments, cwd=tmp_path), "standard output: Broken pipe")


@pytest.mark.parametrize(
    "arguments",
    [["info", "-"], ["verify", "-"], ["decompress", "-", "out.png"], ["compress", "-", "out.bld"]],
)
def test_a_closed_standard_input(arguments: list[str], tmp_path: Path) -> None:
    assert_one_line(shell("<&-", *arguments, cwd=tmp_path), f"standard input: cannot be read: {CLOSED}")
    assert list(tmp_path.iterdir()) == []


def test_talk_that_nobody_hears_is_no_error(small: Path) -> None:
    for number, redirection in enumerate(("2>&-", "2>/dev/full", "<&- >&- 2>&-")):
        out = small / f"{number}.bld"
        done = shell(redirection, "compress", "photo.png", out, "--model", TINY, cwd=small)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert out.read_bytes() == (small / "small.bld").read_bytes()
    assert shell("2>&-", "info", "missing.bld", cwd=small).returncode == 1
    assert shell("2>/dev/full", "frobnicate", cwd=small).returncode == 2


def test_nothing_that_is_said_lands_in_a_file(small: Path) -> None:
    """With standard error closed its number is free, and would go to the next file that is opened."""
    code = """
import os, sys
from bincodec.cli import standard
standard.open_closed()
with open("out", "wb") as file:
    assert file.fileno() > 2
    os.write(2, b"what a library says")
print("talk", file=sys.stderr)
"""
    done = subprocess.run(
        ["bash", "-c", 'exec "$@" 2>&- >&- <&-', "bash", sys.executable, "-c", code], cwd=small, check=False
    )
    assert done.returncode == 0
    assert (small / "out").read_bytes() == b""


def test_data_that_finds_no_place(small: Path) -> None:
    for arguments in (["decompress", "small.bld", "-"], ["compress", "photo.png", "-"]):
        for redirection, words in ((">/dev/full", FULL), (">&-", CLOSED)):
            done = shell(redirection, *arguments, "--model", TINY, cwd=small)
            assert_one_line(done, f"standard output: {words}")
        done = left_alone(*arguments, "--model", TINY, cwd=small)
        assert_one_line(done, "standard output: Broken pipe")
    assert sorted(path.name for path in small.iterdir()) == ["photo.png", "small.bld"]


def test_a_report_that_cannot_be_printed_leaves_the_file_and_says_so(small: Path) -> None:
    done = left_alone("compress", "photo.png", "out.bld", "--json", "--model", TINY, cwd=small)
    assert_one_line(done, "standard output: Broken pipe (out.bld is written, and whole)")
    assert (small / "out.bld").read_bytes() == (small / "small.bld").read_bytes()


@pytest.mark.parametrize(
    "arguments",
    [
        ["compress", "photo.png", "out.bld", "--json"],
        ["decompress", "small.bld", "out.png", "--json"],
        ["sample", "-o", "out.png", "--json"],
        ["vary", "photo.png", "--strength", "0.5", "-o", "out.png", "--json"],
        ["inpaint", "photo.png", "--mask", "photo.png", "-o", "out.png", "--json"],
        ["eval", "rd", "photo.png", "-o", "out"],
        ["eval", "prior", "photo.png", "-o", "out"],
        ["eval", "speed", "photo.png", "-o", "out"],
        ["eval", "generation", "photo.png", "-o", "out"],
    ],
)
@pytest.mark.parametrize(("redirection", "words"), [(">&-", CLOSED), (">/dev/full", FULL)])
def test_nobody_works_for_a_report_that_cannot_be_printed(
    arguments: list[str], redirection: str, words: str, small: Path
) -> None:
    assert_one_line(shell(redirection, *arguments, cwd=small), f"standard output: {words}")
    assert sorted(path.name for path in small.iterdir()) == ["photo.png", "small.bld"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["sample", "-o", "out.png", "--size", "800x800", "--model", TINY],
        ["decompress", "small.bld", "out.png", "--model", TINY],
    ],
)
@pytest.mark.parametrize("moment", ["drawn", "published"])
def test_an_interruption_is_one_line_and_130(arguments: list[object], moment: str, small: Path) -> None:
    """Interrupted where the model is loaded, and where the finished file gets its name."""
    place = {"drawn": "bincodec.model.weights:load", "published": "os:link"}[moment]
    module, name = place.split(":")
    code = f"""
{HEEDING}
import importlib, os, sys
module = importlib.import_module({module!r})
before = module.{name}
def interrupted(*given, **named):
    result = before(*given, **named)
    signal.raise_signal(signal.SIGINT)
    return result
module.{name} = interrupted
{COMMAND}
"""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=small,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "bincodec: error: interrupted\n")
    assert sorted(path.name for path in small.iterdir()) == ["photo.png", "small.bld"]


def test_a_signal_from_outside_is_one_line_and_130(small: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", f"{HEEDING}{COMMAND}", "inpaint", "-", "--mask", "photo.png", "-o", "out.png"],
        cwd=small,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        # It waits for standard input when it reads from there; before, it ignores nothing either.
        assert process.stdin is not None
        process.stdin.write("x" * 2**17)  # More than a pipe holds: it is reading when this comes back.
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        process.wait(60)
        assert process.stderr is not None
        assert (process.returncode, process.stderr.read()) == (130, "bincodec: error: interrupted\n")
    assert sorted(path.name for path in small.iterdir()) == ["photo.png", "small.bld"]


def test_standard_input_is_read_from_where_it_stands(small: Path) -> None:
    (small / "led").write_bytes(b"a line before\n" + ONE_PIXEL.read_bytes())
    done = subprocess.run(
        ["bash", "-c", f'{{ head -c 14 >&2; "{sys.executable}" -c "{COMMAND}" info - --json; }} <led'],
        cwd=small,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["width"] == 1


def test_info_of_a_damaged_file_says_what_holds_and_fails(run, bld: Path, compressed: bytes) -> None:
    bld.write_bytes(compressed[:-20])
    for arguments in ([bld], [bld, "--json"]):
        result = run("info", *arguments)
        assert result.exit_code == 1
        assert "73" in result.stdout
        assert result.stderr.startswith(
            f"bincodec: error: {bld}: the file ends at byte {len(compressed) - 20}"
        )
        assert result.stderr.count("\n") == 1
    assert all(line.startswith("the file ends at byte") for line in json.loads(result.stdout)["damage"])


def test_info_of_a_file_whose_model_is_not_at_hand(run) -> None:
    result = run("info", ONE_PIXEL)
    assert (result.exit_code, result.stderr) == (0, "")
    assert " (not installed)" in result.stdout


@pytest.mark.parametrize("detail", ["", "640 bytes"])
def test_too_little_memory_is_one_line(run, monkeypatch: pytest.MonkeyPatch, detail: str) -> None:
    @click.command()
    def command() -> None:
        raise MemoryError(detail)

    monkeypatch.setattr(main, "get_command", lambda *_: command)
    result = run("info")
    expected = f"bincodec: error: out of memory{': ' + detail if detail else ''}\n"
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", expected)


def test_an_input_that_ends_too_early_is_no_interruption(run, monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def command() -> None:
        raise EOFError

    monkeypatch.setattr(main, "get_command", lambda *_: command)
    result = run("info")
    assert (result.exit_code, result.stderr) == (1, "bincodec: error: the input ends too early\n")
