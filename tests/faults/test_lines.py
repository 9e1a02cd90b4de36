"""Something happens before each line of the code that writes files."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

FILES = [
    "bincodec/io/files.py",
    "bincodec/io/interruption.py",
    "/pathlib.py",
    "/pathlib/_local.py",
    "/shutil.py",
]
"""Of Python's own code, only the lines that our code calls count."""
NEW, OLD, OTHER = b"new " * 5000, b"old", b"somebody else's"
FEW = 12
Choose = Callable[[int, int], list[int]]
State = dict[str, bytes | None]
"""The contents of a folder: files by name, and None for each folder in it."""


@dataclass(frozen=True)
class Kind:
    """A way to write: the function and its request, what is there before, and what is there afterwards.

    `killed` holds further states in which a kill may leave the folder, as docs/cli.md says.
    """

    request: dict[str, Any]
    before: State
    after: State
    killed: tuple[State, ...] = ()

    @property
    def replaces(self) -> bool:
        return bool(self.before)


def writing(*names: str, replace: bool = False, **more: Any) -> dict[str, Any]:
    contents = {name: NEW.decode() for name in names}
    return {"call": "write_all", "contents": contents, "options": {"replace": replace}, **more}


BOTH: State = {"out": NEW, "too": NEW}
FOLDER: State = {"out": None, "out/a": NEW, "out/b": NEW}
KINDS = {
    "new": Kind(writing("out"), {}, {"out": NEW}),
    "new, without links": Kind(writing("out", no_links=True), {}, {"out": NEW}, ({"out": b""},)),
    "replaced": Kind(writing("out", replace=True), {"out": OLD}, {"out": NEW}),
    "several": Kind(writing("out", "too"), {}, BOTH, ({"out": NEW},)),
    "several, replaced": Kind(
        writing("out", "too", replace=True), {"out": OLD, "too": OLD}, BOTH, ({"out": NEW, "too": OLD},)
    ),
    "folder": Kind(
        {**writing("a", "b"), "call": "write_folder", "place": ["out"], "options": {}},
        {},
        FOLDER,
        ({"out": None},),
    ),
}
SINGLE = ("new", "new, without links", "replaced")


def is_temporary(name: str) -> bool:
    return name.startswith(".bincodec-") and name.endswith(".tmp")


def state_of(folder: Path) -> State:
    """Return the contents without temporary files."""
    names = {path: str(path.relative_to(folder)) for path in sorted(folder.rglob("*"))}
    return {
        name: path.read_bytes() if path.is_file() else None
        for path, name in names.items()
        if not is_temporary(name.split("/")[0])
    }


def prepare(place: Any, kind: Kind) -> None:
    place.clear()
    for name, content in kind.before.items():
        (place.folder / name).write_bytes(content or b"")


def befallen(place: Any, choose: Choose, kind: Kind, action: str, path: str = "out") -> Iterator[Any]:
    """For every chosen line, start a run in which `action` happens before the line."""
    prepare(place, kind)
    for line in choose(place.count(FILES, **kind.request), FEW):
        prepare(place, kind)
        fault = {"files": FILES, "line": line, "action": action, "path": path}
        yield place.start(**kind.request, fault=fault)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_seen_meanwhile(light_place: Any, kind: Kind) -> None:
    """Before any line, a reader sees the old or the new file, and the instant that docs/cli.md describes."""
    prepare(light_place, kind)
    ended = light_place.run(**kind.request, fault={"files": FILES, "line": -1, "action": "look"})
    assert ended.code == 0
    seen = []
    for line in ended.said.splitlines():
        found = {name: crc for name, crc in json.loads(line).items() if not is_temporary(name.split("/")[0])}
        if found not in seen:
            seen.append(found)
    allowed = [
        {name: None if content is None else zlib.crc32(content) for name, content in state.items()}
        for state in (kind.before, *kind.killed, kind.after)
    ]
    assert seen == allowed


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_killed(light_place: Any, chosen: Choose, rounds: int, kind: Kind) -> None:
    """Every file is the old or the new one, and whole. Leftovers are temporary and in nobody's way."""
    seen: list[State] = []
    for run in befallen(light_place, chosen, kind, "SIGKILL"):
        assert run.end().code == -9
        seen.append(state_of(light_place.folder))
        assert seen[-1] in (kind.before, kind.after, *kind.killed)
        left = {name for name in light_place.names() if is_temporary(name)}
        assert light_place.run(**writing("more")).code == 0
        assert left <= light_place.names()
    assert rounds == 1 or all(state in seen for state in (kind.before, kind.after, *kind.killed))


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_interrupted(light_place: Any, chosen: Choose, rounds: int, kind: Kind) -> None:
    """All files are written or none, and nothing is left over. A late interruption is still reported."""
    seen: list[State] = []
    for run in befallen(light_place, chosen, kind, "SIGINT"):
        ended = run.end()
        seen.append(state_of(light_place.folder))
        assert seen[-1] in (kind.before, kind.after)
        assert (ended.code, ended.said) == (130, "")
        assert light_place.names() == {name for name in seen[-1] if "/" not in name}
    assert rounds == 1 or (kind.before in seen and kind.after in seen)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_somebody_takes_the_name(light_place: Any, chosen: Choose, kind: Kind) -> None:
    """A file that appears meanwhile is kept, unless ours was there first or was to replace it."""
    last = sorted(kind.after)[-1].split("/")[0]
    for run in befallen(light_place, chosen, kind, "take", last):
        ended, state = run.end(), state_of(light_place.folder)
        if "taken" in ended.said and not kind.replaces:
            assert (ended.code, ended.said, state) == (1, "taken\nFileExistsError\n", {last: OTHER})
        else:
            assert (ended.code, state) == (0, kind.after)
        assert not any(map(is_temporary, light_place.names()))


@pytest.mark.parametrize("kind", ["replaced", "several, replaced"])
def test_somebody_removes_what_is_to_be_replaced(light_place: Any, chosen: Choose, kind: str) -> None:
    for run in befallen(light_place, chosen, KINDS[kind], "remove"):
        assert run.end().code == 0
        without = {name: content for name, content in KINDS[kind].after.items() if name != "out"}
        assert state_of(light_place.folder) in (KINDS[kind].after, without)


@pytest.mark.parametrize("kind", SINGLE)
def test_another_writer_comes_and_goes(light_place: Any, chosen: Choose, rounds: int, kind: str) -> None:
    """One run stops before a line, another one writes from beginning to end, and then the first continues."""
    writes = KINDS[kind]
    other = writes.request | {"contents": {"out": OTHER.decode()}}
    winners = set()
    for run in befallen(light_place, chosen, writes, "SIGSTOP"):
        assert run.stops()
        codes = [light_place.run(**other).code]
        run.go_on()
        codes.append(run.end().code)
        state = state_of(light_place.folder)
        winners.add(state["out"])
        assert light_place.names() == {"out"}
        if writes.replaces:
            assert codes == [0, 0]
            assert state["out"] in (NEW, OTHER)
        else:
            assert sorted(codes) == [0, 1]
            assert state == {"out": NEW if codes[0] else OTHER}
    assert rounds == 1 or winners == {NEW, OTHER}
