"""Run every block of code in the documents, page by page, each page in a folder of its own.

A reader is expected to have some pictures and the folder packaging/ (`stage`). A page has to make everything
else itself. Blocks that cannot be run are listed in not_run.toml. All blocks are fenced, so none of them is
missed. The Python blocks of a page share their names. In `console` blocks, and in those without a language, a
line that starts with "$ " is a command, and the lines after it are what it prints: "..." stands for anything,
and every number for any other. In a block without "$ ", every line is a command.
"""

from __future__ import annotations

import contextlib
import doctest
import glob
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import ExifTags, Image
from sybil import Document, Example, Region
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

from bincodec.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
PATTERNS = ("README.md", "docs/**/*.md")
"""The pages whose blocks are run."""

PAGES = sorted(str(page.relative_to(ROOT)) for pattern in PATTERNS for page in ROOT.glob(pattern))
LISTED = tomllib.loads(Path(__file__).with_name("not_run.toml").read_text(encoding="utf-8"))
SHELL = ("", "console")
NO_CODE = ("bibtex", "hex", "text")
SMALLER = (
    (r"(?<=bincodec sample )(.*--class all.*)-n \d+", r"\1--steps 2 -n 1"),
    (r"(?<=bincodec train )(.*)--steps \d+", r"\1--steps 3"),
    (r"bincodec eval rd .*", r"\g<0> --quality 50 --jobs 0 --no-page"),
    (r"--codec (jpeg|webp)(?!:)", r"--codec \1:settings=50"),
)
"""What is made smaller when a command is run: pattern, and what takes its place."""

PROGRAMS = {"docs/packaging.md": ("file", "man", "update-mime-database", "xdg-mime")}
"""The programs that the commands of a page need and that a system may lack."""

MOST_FILES = 2
"""So many files a pattern such as photos/*.png stands for, at the most."""

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
LEXER = RawFencedCodeBlockLexer(
    re.compile(r'(?P<language>[a-z]*)(?: title="(?P<title>[^"]*)")?$\n', re.MULTILINE)
)


def reason_not_to_run(page: str, source: str) -> str | None:
    """What not_run.toml says of a block."""
    for block in LISTED["block"]:
        if block["page"] == page and source.startswith(block["begins"]):
            return str(block["reason"])
    return None


def parser(evaluate: Callable[[Example], None]) -> Callable[[Document], Iterable[Region]]:
    """All fenced blocks of a page."""

    def parse(document: Document) -> Iterator[Region]:
        for region in LEXER(document):
            region.parsed, region.evaluator = region.lexemes["source"], evaluate
            yield region

    return parse


def blocks(page: str) -> list[tuple[str, str]]:
    """Language and source of every fenced block of a page."""
    document = Document.parse(str(ROOT / page), parser(lambda _: None))
    return [(region.lexemes["language"], str(region.parsed)) for _, region in document.regions]


def with_code(page: str) -> bool:
    """Whether there is anything to run in a page."""
    return any(
        language not in NO_CODE and reason_not_to_run(page, source) is None
        for language, source in blocks(page)
    )


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


# --- running ----------------------------------------------------------------------------------------------


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


def run(command: str) -> tuple[int, str]:
    """Exit code and output. `bincodec` is run in this process, unless the line needs a shell."""
    for pattern, smaller in SMALLER:
        command = re.sub(pattern, smaller, command)
    words = shlex.split(command, comments=True)
    settings = {}
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        name, _, settings[name] = words.pop(0).partition("=")
    if words[:1] != ["bincodec"] or re.search(r"[|;&<>]", command.partition(" #")[0]):
        shell = ["bash", "-euo", "pipefail", "-c", command]
        done = subprocess.run(shell, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr
    arguments = [found for word in words[1:] for found in sorted(glob.glob(word))[:MOST_FILES] or [word]]
    result = CliRunner().invoke(main, arguments, env=settings)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def without_numbers(text: str) -> str:
    """Marks for fingerprints and numbers: they change with a model, and the sentence around them stays."""
    return re.sub(r"\d+(?:[.,]\d+)*", "#", re.sub(r"\b[0-9a-f]{16}\b", "@", text))


def check(command: str, printed: str) -> None:
    """Run a command; it fails exactly if the page says so, and prints what the page says it prints."""
    code, output = run(command)
    fails = "bincodec: error: " in printed
    assert (code != 0) == fails, f"$ {command}\nexit code {code}\n{output}"
    matches = doctest.OutputChecker().check_output(without_numbers(printed), without_numbers(output), FLAGS)
    assert matches or not printed, f"$ {command}\nprints\n{output}\nwhere the page says\n{printed}"


PYTHON = PythonEvaluator()


def evaluate(example: Example) -> None:
    """Run one block."""
    language, source = example.region.lexemes["language"], str(example.parsed)
    page = str(Path(example.path).relative_to(ROOT))
    if language in NO_CODE or reason_not_to_run(page, source) is not None:
        return
    if language in SHELL:
        for command, printed in commands(source):
            check(command, printed)
    elif language == "python":
        with contextlib.redirect_stdout(io.StringIO()):
            PYTHON(example)
    elif example.region.lexemes["title"]:
        Path(example.region.lexemes["title"]).write_text(source, encoding="utf-8")
    else:
        msg = f"{example.path}:{example.line}: a block of {language!r} is neither run nor named as a file"
        raise AssertionError(msg)


@pytest.mark.parametrize("page", [page for page in PAGES if with_code(page)])
@pytest.mark.usefixtures("stage")
def test_the_code_of_a_page_runs(page: str) -> None:
    lacking = [program for program in PROGRAMS.get(page, ()) if shutil.which(program) is None]
    if lacking:
        pytest.skip(f"{page} needs {', '.join(lacking)}")
    for example in Document.parse(str(ROOT / page), parser(evaluate)).examples():
        example.evaluate()


# --- what is not run, and the machinery itself ------------------------------------------------------------


def test_what_is_not_run_is_counted_and_there() -> None:
    """So many blocks, each of them listed with a reason; nothing is listed that is not there."""
    skipped = [
        (page, source)
        for page in PAGES
        for _, source in blocks(page)
        if reason_not_to_run(page, source) is not None
    ]
    assert len(skipped) == LISTED["count"]
    for block in LISTED["block"]:
        found = [page for page, source in skipped if source.startswith(block["begins"])]
        assert block["page"] not in PAGES or found == [block["page"]], block["begins"]
        assert block["reason"]


@pytest.mark.parametrize("page", PAGES)
def test_no_block_is_indented(page: str) -> None:
    """An indented block would look like code, but would not be run."""
    prose = re.sub(r"^ *```.*?^ *```$", "", (ROOT / page).read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert re.findall(r"\n\n( {4}.*)", prose) == []


def test_blocks_are_found_at_all() -> None:
    """The search itself: nothing would fail if it found no blocks."""
    found = blocks("docs/howto/own-model.md")
    assert [language for language, _ in found].count("console") >= 5
    assert {"python", "toml"} < {language for language, _ in found}
    assert sum(with_code(page) for page in PAGES) >= 8


def test_a_block_that_is_wrong_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong output, a failing command, one that should fail and does not, and a wrong line of Python."""
    monkeypatch.chdir(tmp_path)
    check("bincodec --version", "bincodec 99.1, format ..., models: clothing-7 (0123456789abcdef), ...")
    for command, printed in (
        ("bincodec --version", "bincodec, version 0.1"),
        ("bincodec info nothing.bld", ""),
        ("bincodec models", "bincodec: error: ..."),
        ("false", ""),
        ("echo one two", "one three"),
    ):
        with pytest.raises(AssertionError):
            check(command, printed)
    page = tmp_path / "page.md"
    page.write_text("```python\nassert 1 == 2\n```\n", encoding="utf-8")
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    with pytest.raises(AssertionError):
        next(iter(Document.parse(str(page), parser(evaluate)).examples())).evaluate()


def test_commands_are_told_from_what_they_print() -> None:
    assert list(commands("$ a b\nc\nd\n$ e\n")) == [("a b", "c\nd\n"), ("e", "")]
    assert list(commands("a b   # why\nc \\\n  d\n")) == [("a b   # why", ""), ("c d", "")]
