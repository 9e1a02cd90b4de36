"""An error about a missing package names it and says how to get it."""

import re
import sys
from collections.abc import Callable

import pytest

from bincodec.eval import cache, page, workers
from bincodec.eval.errors import NotInstalled, needed

HOW = re.escape("pip install 'bincodec[eval]'")


@pytest.mark.parametrize(
    ("package", "call"),
    [
        ("Jinja2", lambda: page.page({})),
        ("pebble", lambda: list(workers.run(print, [1], 1))),
        ("platformdirs", cache.default_folder),
    ],
)
def test_a_missing_package_is_named(
    package: str, call: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package.lower(), None)
    with pytest.raises(NotInstalled, match=f"needs? the package {package}: {HOW}"):
        call()


def test_other_failures_are_not_called_missing() -> None:
    with pytest.raises(ZeroDivisionError), needed("this needs", "something"):
        1 / 0  # noqa: B018


def test_without_processes_nothing_more_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pebble", None)
    assert list(workers.run(abs, [-1], 0)) == [(0, 1)]
