"""The pictures that a reader of the documents has, and the console into which blocks are typed."""

from __future__ import annotations

import doctest
import glob
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from click.testing import CliRunner
from PIL import ExifTags, Image

from bincodec.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
SMALLER = (
    (r"(?<=bincodec sample )(.*--class all.*)-n \d+", r"\1--steps 2 -n 1"),
    (r"(?<=bincodec train )(.*)--steps \d+", r"\1--steps 3"),
    (r"bincodec eval rd .*", r"\g<0> --quality 50 --jobs 0 --no-page"),
    (r"--codec (jpeg|webp)(?!:)", r"--codec \1:settings=50"),
)
"""What is made smaller when a command is run: pattern, and what takes its place."""

MOST_FILES = 2
"""So many files a pattern such as photos/*.png stands for, at the most."""

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Done(NamedTuple):
    """What a command did."""

    code: int
    stdout: str
    stderr: str


class Console:
    """Runs the commands of a block, and compares what each prints with what the block shows.

    A line that starts with "$ " is a command, and what follows it is what it prints: "..." stands for
    anything, and every number for any other. In a block without "$ ", every line is a command.
    """

    def run_block(self, source: str) -> list[Done]:
        """Run all commands of a block."""
        return [self.check(command, printed) for command, printed in self.commands(source)]

    @staticmethod
    def commands(source: str) -> Iterator[tuple[str, str]]:
        """The commands of a block, and what each prints; nothing where the block does not show it."""
        lines = re.sub(r"\\\n\s*", "", source).splitlines()
        if not any(line.startswith("$ ") for line in lines):
            yield from ((line, "") for line in lines if line.strip())
            return
        command, printed = "", ""
        for line in lines:
            if line.startswith("$ "):
                if command:
                    yield command, printed
                command, printed = line[2:], ""
            else:
                printed += line + "\n"
        yield command, printed

    @classmethod
    def check(cls, command: str, printed: str) -> Done:
        """Run a command; it fails exactly if the page says so, and prints what the page says it prints."""
        done = cls.run(command)
        output = done.stdout + done.stderr
        fails = "bincodec: error: " in printed
        assert (done.code != 0) == fails, f"$ {command}\nexit code {done.code}\n{output}"
        matches = doctest.OutputChecker().check_output(
            cls.without_numbers(printed), cls.without_numbers(output), FLAGS
        )
        assert matches or not printed, f"$ {command}\nprints\n{output}\nwhere the page says\n{printed}"
        return done

    @staticmethod
    def run(command: str) -> Done:
        """Run a command. `bincodec` is run in this process, unless the line needs a shell."""
        for pattern, smaller in SMALLER:
            command = re.sub(pattern, smaller, command)
        words = shlex.split(command, comments=True)
        settings = {}
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            name, _, settings[name] = words.pop(0).partition("=")
        if words[:1] != ["bincodec"] or re.search(r"[|;&<>]", command.partition(" #")[0]):
            shell = ["bash", "-euo", "pipefail", "-c", command]
            done = subprocess.run(shell, capture_output=True, text=True, check=False)
            return Done(done.returncode, done.stdout, done.stderr)
        arguments = []
        for word in words[1:]:
            quoted = f"'{word}'" in command
            arguments += [word] if quoted else sorted(glob.glob(word))[:MOST_FILES] or [word]
        result = CliRunner().invoke(main, arguments, env=settings)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Done(result.exit_code, result.stdout, result.stderr)

    @staticmethod
    def without_numbers(text: str) -> str:
        """Marks for fingerprints and numbers, which change with a model; the sentence around them stays."""
        return re.sub(r"\d+(?:[.,]\d+)*", "#", re.sub(r"\b[0-9a-f]{16}\b", "@", text))


@pytest.fixture(scope="session")
def console() -> Console:
    return Console()


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make a folder with what a reader has: the example photo, photo.jpg, photos/ and packaging/."""
    (tmp_path / "examples").mkdir()
    shutil.copytree(ROOT / "packaging", tmp_path / "packaging")
    shutil.copy(ROOT / "examples" / "chelsea.png", tmp_path / "examples")
    (tmp_path / "photos").mkdir()
    with Image.open(ROOT / "examples" / "chelsea.png") as image:
        photo = image.convert("RGB")
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "a cat"
    photo.crop((120, 60, 320, 210)).save(tmp_path / "photo.jpg", quality=95, exif=exif)
    for number in (1, 2):
        photo.crop((100 * number, 60, 100 * number + 96, 124)).save(tmp_path / "photos" / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    threads = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(threads)
