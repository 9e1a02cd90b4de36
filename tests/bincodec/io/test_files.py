"""Reading whole files and headers, and atomic writing."""

import os
from pathlib import Path

import pytest

import bincodec
from bincodec import read_header
from bincodec.bitstream.header import Header
from bincodec.bitstream.limits import Limits
from bincodec.io import files


def test_a_new_file_gets_the_usual_permissions(tmp_path: Path) -> None:
    ordinary = tmp_path / "ordinary"
    ordinary.write_bytes(b"")
    files.write(tmp_path / "new", b"data")
    assert (tmp_path / "new").read_bytes() == b"data"
    assert (tmp_path / "new").stat().st_mode == ordinary.stat().st_mode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "ordinary"]


def test_a_replaced_file_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o600)
    files.write(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    files.write(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_leaves_everything_as_it_was(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "file"
    path.write_bytes(b"old")
    if step == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        files.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_is_never_seen_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    seen = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.append(path.read_bytes()))
    files.write(path, b"new")
    assert seen == [b"old"]


def test_a_device_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        files.write(pipe, b"data")
        assert os.read(reader, 10) == b"data"
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_a_pipe_without_a_path_is_written_to() -> None:
    """As /dev/stdout is, where standard output goes into a pipe."""
    reader, writer = os.pipe()
    try:
        files.write(f"/dev/fd/{writer}", b"data")
        assert os.read(reader, 10) == b"data"
    finally:
        os.close(reader)
        os.close(writer)


def test_of_several_files_none_appears_before_all_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"old")
    synced = []

    def fail_at_the_second(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) == 2:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail_at_the_second)
        with pytest.raises(OSError, match="No space left") as failure:
            files.write_all({one: b"new", two: b"new"})
    assert failure.value.filename == str(two)
    assert (one.read_bytes(), list(tmp_path.iterdir())) == (b"old", [one])
    with pytest.raises(IsADirectoryError):
        files.write_all({one: b"new", tmp_path: b"new"})
    assert (one.read_bytes(), list(tmp_path.iterdir())) == (b"old", [one])
    files.write_all({one: b"new", two: b"too"})
    assert (one.read_bytes(), two.read_bytes()) == (b"new", b"too")


def test_errors_name_the_destination(tmp_path: Path) -> None:
    path = tmp_path / "no" / "file"
    with pytest.raises(FileNotFoundError) as failure:
        files.write(path, b"data")
    assert failure.value.filename == str(path)


def test_a_folder_that_takes_no_file_is_found_before(tmp_path: Path) -> None:
    files.check_folder(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError) as failure:
        files.check_folder(tmp_path / "no")
    assert failure.value.filename == str(tmp_path / "no")
    with pytest.raises(FileNotFoundError) as failure:
        files.check_folder(tmp_path / "no", blamed="no/a.png")
    assert failure.value.filename == "no/a.png"


def test_a_folder_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        files.write(tmp_path, b"data")


HEADER = Header(451, 300, 50, 4, bytes(range(8)), grey=True)


def test_every_kind_of_source_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    for source in (path, str(path), b"content", bytearray(b"content"), memoryview(b"content")):
        assert files.read(source) == b"content"
        assert files.read(source, 3) == b"con"
    with path.open("rb") as file:
        assert files.read(file, 3) == b"con"
        assert files.read(file) == b"content", "a stream that can be rewound is read from its start"


def test_a_header_is_read_from_a_path_bytes_and_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file.bld"
    data = HEADER.pack() + b"chunks that nobody looks at"
    path.write_bytes(data)
    assert read_header(path) == read_header(data) == HEADER
    with path.open("rb") as file:
        assert read_header(file) == HEADER


def test_a_header_beyond_the_limits_is_refused() -> None:
    with pytest.raises(bincodec.TooLarge, match="pixels=135299"):
        read_header(HEADER.pack(), Limits(pixels=135299))


def test_what_cannot_be_read_is_an_error_of_ours(tmp_path: Path) -> None:
    for path, words in ((tmp_path, "directory"), (tmp_path / "missing", "No such file"), ("a\0b", "null")):
        with pytest.raises(bincodec.Unreadable, match=words):
            read_header(path)
    with pytest.raises(TypeError, match="not int"):
        read_header(7)  # type: ignore[arg-type]
