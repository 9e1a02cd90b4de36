"""The site: every page has its place in it, and what pages point to comes along."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bincodec
from bincodec import errors as tree

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = {str(page.relative_to(DOCS)): page for page in sorted(DOCS.rglob("*.md"))}
SITE: dict[str, Any] = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]


def entries(navigation: object) -> Iterator[str]:
    """The pages of the navigation, in order."""
    if isinstance(navigation, str):
        yield navigation
    elif isinstance(navigation, dict):
        for part in navigation.values():
            yield from entries(part)
    elif isinstance(navigation, list):
        for part in navigation:
            yield from entries(part)


def test_every_page_stands_in_the_navigation_once() -> None:
    assert sorted(entries(SITE["nav"])) == sorted(PAGES)


def test_pages_link_to_nothing_that_the_site_lacks() -> None:
    """Files outside docs/ are named, not linked: the site does not hold them."""
    for name, page in PAGES.items():
        targets = re.findall(r"\]\((?![a-z]+:)([^()#\s]+)", page.read_text(encoding="utf-8"))
        targets += re.findall(r'(?:src|href)="(?![a-z]+:)([^"#]+)"', page.read_text(encoding="utf-8"))
        for target in targets:
            place = (page.parent / target).resolve()
            # What the page of a figure's caption is called in the site.
            place = place.with_suffix(".md") if place.suffix == ".html" else place
            assert place.is_relative_to(DOCS), f"{name} links to {target}, outside docs/"
            assert place.exists(), f"{name} links to {target}, which does not exist"


def test_every_public_name_has_its_place_in_the_reference() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in (DOCS / "reference").glob("*.md"))
    errors = set(tree.__all__)
    shown = {
        *re.findall(r"^::: bincodec\.(\w+)$", text, re.MULTILINE),
        *re.findall(r"`bincodec\.(\w+)`", text),
    }
    assert set(bincodec.__all__) - errors <= shown
    assert errors - {"BincodecError"} <= set(re.findall(r"`(\w+)`", text))


def test_tests_that_are_named_exist() -> None:
    """The explainer names the test behind each formula."""
    text = PAGES["explainer.md"].read_text(encoding="utf-8")
    named = re.findall(r"`(test_\w+)` in `(tests/[\w/]+\.py)`", text)
    assert len(named) >= 16
    for test, path in named:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, test
    assert set(re.findall(r"\[\^(test-\d+)\](?!:)", text)) == set(
        re.findall(r"^\[\^(test-\d+)\]:", text, re.MULTILINE)
    )


def test_nothing_is_fetched_from_elsewhere() -> None:
    assert SITE["theme"]["font"] is False
    fetched = [*SITE["extra_css"], *SITE.get("extra_javascript", [])]
    assert not [address for address in fetched if "//" in address]
    own = [*(DOCS / "explainer").glob("*.js"), *DOCS.rglob("*.css")]
    assert own
    for script in own:
        addresses = re.findall(r"https?://[^\"' ]+", script.read_text(encoding="utf-8"))
        assert set(addresses) <= {"http://www.w3.org/2000/svg"}, script
