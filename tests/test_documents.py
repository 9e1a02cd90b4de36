"""The targets of links in the documents exist, and several documents agree with each other."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import bincodec

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")])
FOLDERS = "benchmarks|bincodec|bitstream|cli|configs|docs|eval|examples|packaging|tests"


def without_code(text: str) -> str:
    """Fenced blocks and code in a line, which may contain brackets that are not links."""
    return re.sub(r"`[^`\n]*`", "``", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def links(page: Path) -> Iterator[tuple[str, str]]:
    """Yield the path and the anchor of every link and picture that does not lead to another site."""
    for target in re.findall(r"\]\(([^()\s]+)\)", without_code(page.read_text(encoding="utf-8"))):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            yield path, anchor


def anchors(page: Path) -> set[str]:
    """Return the anchors of headings: small letters, hyphens for spaces, no other marks."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for path, anchor in links(page):
        place = (page.parent / path).resolve() if path else page
        assert place.is_relative_to(ROOT), path
        assert place.exists(), f"{page.name} links to {path}, which does not exist"
        assert not anchor or anchor in anchors(place), f"{page.name} links to {path}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_named_exist(page: Path) -> None:
    # Links are relative to their page, and these to the repository.
    text = re.sub(r"\]\([^()\s]+\)", "]", page.read_text(encoding="utf-8"))
    named = re.findall(rf"(?<![\w/.-])(?:{FOLDERS})/[\w./-]*\w", text)
    missing = [name for name in named if "." in Path(name).name and not (ROOT / name).exists()]
    assert not missing


def test_links_are_found_at_all(tmp_path: Path) -> None:
    """This tests the search: the checks above would prove nothing if it saw no links."""
    page = tmp_path / "page.md"
    page.write_text(
        "# A b-c: (d)\n[x](y.md#z) ![p](q/r.webp) [far](https://example.org) `[a](b)`\n```\n[c](d)\n```\n"
    )
    assert list(links(page)) == [("y.md", "z"), ("q/r.webp", "")]
    assert anchors(page) == {"a-b-c-d"}
    assert sum(1 for page in PAGES for _ in links(page)) > 100


def changelog_versions() -> list[str]:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    return re.findall(r"^## \[?([^\]\s]+)\]?(?: - \d{4}-\d\d-\d\d)?$", text, re.MULTILINE)


def test_the_version_is_the_same_everywhere() -> None:
    """The newest version in the changelog, which is dated once it is released, is that of the package."""
    unreleased, newest, *_ = changelog_versions()
    assert unreleased == "Unreleased"
    assert newest == bincodec.__version__
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.+)$", citation, re.MULTILINE) == [bincodec.__version__]


def test_the_citation_names_the_project_s_licence() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^license: (.+)$", citation, re.MULTILINE) == ["Apache-2.0"]
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_the_pages_of_the_models_are_about_these_models() -> None:
    cards = {card.name: card for card in bincodec.models()}
    assert set(cards) == {page.stem for page in (ROOT / "docs" / "models").glob("*.md")}
    for name, card in cards.items():
        page = (ROOT / "docs" / "models" / f"{name}.md").read_text(encoding="utf-8")
        assert set(re.findall(r"`([0-9a-f]{16})`", page)) <= {card.fingerprint.hex()}
        assert f"`bincodec/weights/{name}.safetensors`" in page
