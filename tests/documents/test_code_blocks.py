"""Run every block of code in the documents, page by page, each page in a folder of its own.

A reader is expected to have some pictures and the folder packaging/ (`stage`). A page has to make everything
else itself. Blocks that cannot be run are listed in not_run.toml. All blocks are fenced, so none of them is
missed. The Python blocks of a page share their names. `console` blocks, and those without a language, are
commands (`Console`).
"""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import tomllib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sybil import Document, Example, Region
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

ROOT = Path(__file__).resolve().parents[2]
PATTERNS = ("README.md", "docs/**/*.md")
"""The pages whose blocks are run."""

EVERYDAY = "docs/howto/everyday.md"
"""The page each of whose calls has a test of its own, in test_everyday.py."""

PAGES = sorted(
    {str(page.relative_to(ROOT)) for pattern in PATTERNS for page in ROOT.glob(pattern)} - {EVERYDAY}
)
LISTED = tomllib.loads(Path(__file__).with_name("not_run.toml").read_text(encoding="utf-8"))
PROGRAMS = {"docs/packaging.md": ("file", "man", "update-mime-database", "xdg-mime")}
"""The programs that the commands of a page need and that a system may lack."""

SHELL = ("", "console")
NO_CODE = ("bibtex", "hex", "text")
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


PYTHON = PythonEvaluator()


def evaluate(console: Any, example: Example) -> None:
    """Run one block."""
    language, source = example.region.lexemes["language"], str(example.parsed)
    page = str(Path(example.path).relative_to(ROOT))
    if language in NO_CODE or reason_not_to_run(page, source) is not None:
        return
    if language in SHELL:
        console.run_block(source)
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
def test_the_code_of_a_page_runs(page: str, console: Any) -> None:
    lacking = [program for program in PROGRAMS.get(page, ()) if shutil.which(program) is None]
    if lacking:
        pytest.skip(f"{page} needs {', '.join(lacking)}")
    for example in Document.parse(str(ROOT / page), parser(partial(evaluate, console))).examples():
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


@pytest.mark.parametrize("page", [*PAGES, EVERYDAY])
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


def test_a_block_that_is_wrong_fails(console: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong output, a failing command, one that should fail and does not, and a wrong line of Python."""
    monkeypatch.chdir(tmp_path)
    console.check(
        "bincodec --version", "bincodec 99.1, format ..., models: clothing-7 (0123456789abcdef), ..."
    )
    for command, printed in (
        ("bincodec --version", "bincodec, version 0.1"),
        ("bincodec info nothing.bld", ""),
        ("bincodec models", "bincodec: error: ..."),
        ("false", ""),
        ("echo one two", "one three"),
    ):
        with pytest.raises(AssertionError):
            console.check(command, printed)
    page = tmp_path / "page.md"
    page.write_text("```python\nassert 1 == 2\n```\n", encoding="utf-8")
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    with pytest.raises(AssertionError):
        next(iter(Document.parse(str(page), parser(partial(evaluate, console))).examples())).evaluate()


def test_commands_are_told_from_what_they_print(console: Any) -> None:
    assert list(console.commands("$ a b\nc\nd\n$ e\n")) == [("a b", "c\nd\n"), ("e", "")]
    assert list(console.commands("a b   # why\nc \\\n  d\n")) == [("a b   # why", ""), ("c d", "")]
