"""The manual pages are those of the commands as they are."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def made(packaging: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("man")
    (folder / "bincodec-gone.1").write_text("of a command that is gone")
    script = packaging / "make_man_pages.py"
    done = subprocess.run(
        [sys.executable, str(script), str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_the_pages_are_current(packaging: Path, made: Path) -> None:
    again = "run: python packaging/make_man_pages.py"
    assert texts(made).keys() == texts(packaging / "man").keys(), again
    for name, text in texts(made).items():
        assert (packaging / "man" / name).read_text(encoding="utf-8") == text, f"{name}: {again}"


def test_a_page_has_what_the_help_has(made: Path) -> None:
    page = texts(made)["bincodec-compress.1"]
    headings = re.findall(r"^\.SH (.+)$", page, re.MULTILINE)
    assert headings == ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES", "EXIT STATUS"]
    assert "\\fB\\-f, \\-\\-force\\fP\nOverwrite the output if it exists.\n" in page
    assert "\nbincodec compress photo.jpg\n" in page
    assert "\\fBbincodec\\-eval\\-rd\\fP" in texts(made)["bincodec-eval.1"]


@pytest.mark.skipif(shutil.which("man") is None, reason="this test needs the program man")
def test_man_shows_every_page_without_a_warning(made: Path) -> None:
    for path in sorted(made.iterdir()):
        done = subprocess.run(
            ["man", "--warnings", "-P", "cat", "-l", str(path)], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "EXIT STATUS" in done.stdout
