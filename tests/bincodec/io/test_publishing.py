"""Names are given to finished files only; without `replace`, of several writers exactly one gets a name."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bincodec.io import files

WRITERS = 4
ROUNDS = 40


def race(write: Callable[[int], object]) -> list[int]:
    """Who succeeded, of several that write at once."""
    start, won = threading.Barrier(WRITERS), []

    def contend(number: int) -> None:
        start.wait()
        try:
            write(number)
        except FileExistsError:
            return
        won.append(number)

    threads = [threading.Thread(target=contend, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return won


def no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)


@pytest.mark.parametrize("links", [True, False])
def test_of_several_writers_of_a_name_exactly_one_gets_it(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        no_links(monkeypatch)
    for number in range(ROUNDS):
        path = tmp_path / f"{number}.bld"
        won = race(lambda mine, path=path: files.write(path, b"%d" % mine * 1000, replace=False))
        assert len(won) == 1
        assert path.read_bytes() == b"%d" % won[0] * 1000
    assert len(list(tmp_path.iterdir())) == ROUNDS


def test_of_several_makers_of_a_folder_exactly_one_makes_it(tmp_path: Path) -> None:
    for number in range(ROUNDS):
        path = tmp_path / f"{number}"
        won = race(lambda mine, path=path: files.write_folder(path, {"a": b"%d" % mine, "b": b"%d" % mine}))
        assert len(won) == 1
        assert [(path / name).read_bytes() for name in "ab"] == [b"%d" % won[0]] * 2
    assert len(list(tmp_path.iterdir())) == ROUNDS


@pytest.mark.parametrize("links", [True, False])
def test_a_name_that_is_taken_is_left_alone(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        no_links(monkeypatch)
    path, dangling = tmp_path / "file", tmp_path / "link"
    path.write_bytes(b"precious")
    dangling.symlink_to("nowhere")
    for taken in (path, dangling):
        with pytest.raises(FileExistsError) as caught:
            files.write(taken, b"new", replace=False)
        assert caught.value.filename == str(taken)
    assert (path.read_bytes(), sorted(tmp_path.iterdir())) == (b"precious", [path, dangling])
    files.write(path, b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("links", [True, False])
def test_all_names_are_given_or_none(links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not links:
        no_links(monkeypatch)
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    two.write_bytes(b"precious")
    with pytest.raises(FileExistsError) as caught:
        files.write_all({one: b"new", two: b"new", three: b"new"}, replace=False)
    assert caught.value.filename == str(two)
    assert (two.read_bytes(), list(tmp_path.iterdir())) == (b"precious", [two])
    two.unlink()
    files.write_all({one: b"1", two: b"2", three: b"3"}, replace=False)
    assert [path.read_bytes() for path in (one, two, three)] == [b"1", b"2", b"3"]
    assert len(list(tmp_path.iterdir())) == 3


def test_what_is_taken_back_is_only_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between our first name and the failure of the second, somebody else replaces the first."""
    one, two = tmp_path / "one", tmp_path / "two"
    link = os.link

    def replaced_meanwhile(source: Path, path: Path) -> None:
        if path.name == "two":
            one.unlink()
            one.write_bytes(b"somebody else's")
            raise FileExistsError(errno.EEXIST, "File exists")
        link(source, path)

    monkeypatch.setattr(os, "link", replaced_meanwhile)
    with pytest.raises(FileExistsError):
        files.write_all({one: b"new", two: b"new"}, replace=False)
    assert (one.read_bytes(), list(tmp_path.iterdir())) == (b"somebody else's", [one])


def test_an_interruption_takes_names_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def interrupted(source: Path, path: Path) -> None:
        link(source, path)
        if path.name == "two":
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "link", interrupted)
    with pytest.raises(KeyboardInterrupt):
        files.write_all({tmp_path / "one": b"new", tmp_path / "two": b"new"}, replace=False)
    assert list(tmp_path.iterdir()) == []


def test_without_links_a_failed_rename_leaves_no_empty_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    no_links(monkeypatch)
    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="Input/output error"):
        files.write(tmp_path / "file", b"data", replace=False)
    assert list(tmp_path.iterdir()) == []


def test_a_device_is_written_to_all_the_same() -> None:
    reader, writer = os.pipe()
    try:
        files.write(f"/dev/fd/{writer}", b"data", replace=False)
        assert os.read(reader, 10) == b"data"
    finally:
        os.close(reader)
        os.close(writer)


def test_a_new_file_gets_the_usual_permissions(tmp_path: Path) -> None:
    ordinary = tmp_path / "ordinary"
    ordinary.write_bytes(b"")
    files.write(tmp_path / "new", b"data", replace=False)
    assert (tmp_path / "new").stat().st_mode == ordinary.stat().st_mode
    assert (tmp_path / "new").stat().st_nlink == 1


def test_an_empty_folder_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    before = folder.stat().st_ino
    with pytest.raises(FileExistsError) as caught:
        files.write_folder(folder, {"a": b"data"})
    assert caught.value.filename == str(folder)
    assert (folder.stat().st_ino, list(tmp_path.rglob("*"))) == (before, [folder])


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fail)
        with pytest.raises(OSError, match="Input/output error") as caught:
            files.write_folder(tmp_path / "out", {"a": b"data"})
    assert caught.value.filename == str(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    files.write_folder(tmp_path / "out", {"a": b"data"})
    assert (tmp_path / "out" / "a").read_bytes() == b"data"
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]
