"""The installed command as its users meet it: a process with pipes."""

import os
import subprocess
import sys
from pathlib import Path

import bincodec

COMMAND = [sys.executable, "-c", "from bincodec.cli.start import main; main()"]


def test_through_pipes_and_back(photo: Path, tmp_path: Path) -> None:
    packed = subprocess.run(
        [*COMMAND, "compress", "-", "-"],
        input=photo.read_bytes(),
        capture_output=True,
        check=True,
        cwd=tmp_path,
    )
    assert bincodec.read_header(packed.stdout).width == 73
    assert packed.stderr.startswith(b"standard output: ")
    back = subprocess.run(
        [*COMMAND, "decompress", "-", "back.png", "--quiet"],
        input=packed.stdout,
        capture_output=True,
        check=True,
        cwd=tmp_path,
    )
    assert (back.stdout, back.stderr) == (b"", b"")
    assert (tmp_path / "back.png").read_bytes().startswith(b"\x89PNG")


def test_a_failure_of_the_process(tmp_path: Path) -> None:
    done = subprocess.run([*COMMAND, "info", "nothing.bld"], capture_output=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"bincodec: error: nothing.bld: cannot be read: No such file or directory\n"


def test_a_reader_that_goes_away_is_no_traceback(tmp_path: Path) -> None:
    reader = [sys.executable, "-c", "import sys; sys.stdin.close()"]
    with subprocess.Popen(reader, stdin=subprocess.PIPE) as gone:
        gone.wait()
        done = subprocess.run([*COMMAND, "--help"], stdout=gone.stdin, stderr=subprocess.PIPE, check=False)
    assert b"Traceback" not in done.stderr


def test_a_name_that_is_no_text_is_shown_with_escapes(bld: Path, tmp_path: Path) -> None:
    os.rename(bld, os.fsencode(tmp_path) + b"/\xff.bld")
    for more in ([], ["-j", "0"]):
        done = subprocess.run(
            [*COMMAND, "info", b"\xff.bld", *more],
            capture_output=True,
            check=False,
            cwd=tmp_path,
            env=os.environ | {"PYTHONIOENCODING": "utf-8:strict"},
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(b"\\udcff.bld: BLD 73x50 RGB, ")
