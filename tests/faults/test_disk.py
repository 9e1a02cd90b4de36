"""A disk that is full or fills up, and folders and file systems that cannot be written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

OLD = b"an older file"


class Disk:
    """A small file system of its own if this process may mount one (root on Linux), else none."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.mounted = self._mount("-t", "tmpfs", "-o", "size=64k,mode=755", "none")

    def _mount(self, *arguments: str) -> bool:
        try:
            done = subprocess.run(["mount", *arguments, str(self.folder)], capture_output=True, check=False)
        except OSError:
            return False
        return done.returncode == 0

    def fill(self, left: int) -> None:
        """Leave that many free pages of 4096 bytes."""
        free = os.statvfs(self.folder).f_bavail
        (self.folder / "filler").write_bytes(bytes(4096 * (free - left)))

    def forbid(self) -> None:
        assert self._mount("-o", "remount,ro")

    def close(self) -> None:
        if self.mounted:
            subprocess.run(["umount", str(self.folder)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "disk")
    yield disk
    disk.close()


@pytest.fixture
def quiet_pipe(place: Any) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield a standard error that no limit on files affects, and what it receives."""
    reader, writer = os.pipe()
    yield f"/proc/{os.getpid()}/fd/{writer}", lambda: os.read(reader, 2**16).decode()
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("old", [None, OLD], ids=["new", "replaced"])
@pytest.mark.parametrize("largest", [0, 1, 40])
def test_no_room_for_the_rest(
    place: Any, job: Any, old: bytes | None, largest: int, quiet_pipe: tuple[str, Callable[[], str]]
) -> None:
    """The system writes the first bytes and refuses the others, as with a full disk."""
    stderr, said = quiet_pipe
    if old:
        (place.folder / job.out).write_bytes(old)
    ended = place.run(*job.arguments, *(["--force"] if old else []), largest_file=largest, stderr=stderr)
    assert (ended.code, said()) == (1, f"bincodec: error: {job.out}: File too large\n")
    assert place.names() == ({job.out} if old else set())
    assert not old or (place.folder / job.out).read_bytes() == old


@pytest.mark.parametrize("old", [None, OLD], ids=["new", "replaced"])
@pytest.mark.parametrize("pages", [0, 1])
def test_a_full_disk(
    place: Any,
    disk: Disk,
    old: bytes | None,
    pages: int,
    quiet_pipe: tuple[str, Callable[[], str]],
) -> None:
    """No page is free, or one of the several that the picture needs; without a disk, that many bytes."""
    stderr, said = quiet_pipe
    out = disk.folder / "out.png"
    if old:
        out.write_bytes(old)
    limit = {}
    if disk.mounted:
        disk.fill(pages)
        before = {"filler"} | ({out.name} if old else set())
    else:
        limit = {"largest_file": 4096 * pages}
        before = {out.name} if old else set()
    reason = "No space left on device" if disk.mounted else "File too large"
    ended = place.run("decompress", "large.bld", out, *(["--force"] if old else []), stderr=stderr, **limit)
    assert (ended.code, said()) == (1, f"bincodec: error: {out}: {reason}\n")
    assert {path.name for path in disk.folder.iterdir()} == before
    assert not old or out.read_bytes() == old


def test_a_full_device(place: Any, job: Any) -> None:
    ended = place.run(job.arguments[0], job.arguments[1], "/dev/full", *job.arguments[3:])
    assert (ended.code, ended.said) == (1, "bincodec: error: /dev/full: No space left on device\n")


@pytest.mark.parametrize("what", ["folder", "file system"])
@pytest.mark.parametrize("old", [None, OLD], ids=["new", "replaced"])
def test_forbidden(place: Any, job: Any, disk: Disk, what: str, old: bytes | None) -> None:
    """This is noticed before any work is done. Root may write anywhere, so this run gives up that right."""
    out = disk.folder / job.out
    if old:
        out.write_bytes(old)
    if what == "file system" and disk.mounted:
        disk.forbid()
        reason = "Read-only file system"
    else:
        disk.folder.chmod(0o555)
        reason = "Permission denied"
    arguments = [*job.arguments[:2], out, *job.arguments[3:], *(["--force"] if old else [])]
    ended = place.run(*arguments, obeys=True)
    if reason == "Permission denied":
        disk.folder.chmod(0o755)
    assert (ended.code, ended.said) == (1, f"bincodec: error: {out}: {reason}\n")
    assert [path.name for path in disk.folder.iterdir()] == ([job.out] if old else [])
    assert not old or out.read_bytes() == old


def test_an_input_that_nobody_may_read(place: Any, job: Any, check: Callable[..., None]) -> None:
    (place.folder / str(job.arguments[1])).chmod(0)
    ended = place.run(*job.arguments, obeys=True)
    assert ended.said.endswith("cannot be read: Permission denied\n")
    check(place, ended, job)
