"""What is read: anything bytes-like, any binary stream, and never more memory than there is to read."""

import array
import io
import mmap
import os
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import bincodec
from bincodec import read_header
from bincodec.bitstream import container
from bincodec.bitstream.container import Memory
from bincodec.bitstream.header import HEADER_BYTES, Header
from bincodec.io import files, images, streams

ROOT = Path(__file__).resolve().parents[3]
SMALL = ROOT / "tests" / "vectors" / "v1" / "one-pixel" / "file.bld"
PHOTO = ROOT / "examples" / "chelsea.png"


class Dripping(io.RawIOBase):
    """A raw stream that gives at most `most` bytes at once, as a pipe may; what it was asked for is kept."""

    def __init__(self, data: bytes, most: int = 7) -> None:
        self.data, self.most, self.asked = data, most, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        self.asked = max(self.asked, size)
        count = min(self.most, size if size >= 0 else self.most)
        portion, self.data = self.data[:count], self.data[count:]
        return portion


BYTES_LIKE: dict[str, Callable[[bytes], object]] = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "a view of wide items": lambda data: memoryview(np.frombuffer(data, "<u4")),
    "scattered memory": lambda data: memoryview(np.repeat(np.frombuffer(data, np.uint8), 2))[::2],
    "array": lambda data: array.array("B", data),
    "numpy": lambda data: np.frombuffer(data, np.uint8),
    "several dimensions": lambda data: np.frombuffer(data, np.uint8).reshape(4, -1),
    "BytesIO.getbuffer": lambda data: io.BytesIO(data).getbuffer(),
}


@pytest.mark.parametrize("kind", BYTES_LIKE)
def test_anything_bytes_like_is_read(kind: str) -> None:
    data = Header(451, 300, 50, 4, bytes(range(8))).pack() + bytes(range(64))
    source = BYTES_LIKE[kind](data)
    assert files.read(source) == data  # type: ignore[arg-type]
    assert files.read(source, 3) == data[:3]  # type: ignore[arg-type]
    assert read_header(source).width == 451  # type: ignore[arg-type]


def test_a_memory_map_is_read_from_its_start_wherever_it_stands() -> None:
    with SMALL.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        mapped.seek(50)
        assert files.read(mapped) == SMALL.read_bytes()
        assert read_header(mapped) == read_header(SMALL)


def test_the_bitstream_takes_bytes_like_objects_as_well() -> None:
    data = SMALL.read_bytes()
    for source in (bytearray(data), memoryview(data)):
        assert Header.parse(source) == Header.parse(data)  # type: ignore[arg-type]
        assert container.read(Memory(source)) == container.read(Memory(data))  # type: ignore[arg-type]
    ((chunk,),) = container.read(Memory(bytearray(data))).chunks
    assert chunk is not None
    assert chunk.payload.__class__ is bytes


def test_a_stream_may_read_short() -> None:
    data = SMALL.read_bytes()
    assert read_header(Dripping(data)) == read_header(data)  # type: ignore[arg-type]
    assert files.read(Dripping(data)) == data  # type: ignore[arg-type]
    assert files.read(Dripping(data), 50) == data[:50]  # type: ignore[arg-type]


def test_an_unbuffered_pipe_is_not_called_damaged() -> None:
    data = SMALL.read_bytes()
    reader, writer = os.pipe()

    def drip() -> None:
        with open(writer, "wb", buffering=0) as out:
            for start in range(0, len(data), 10):
                out.write(data[start : start + 10])
                # The reader takes what is there, so that it has to come back for the rest.
                taken.wait(0.02)

    taken = threading.Event()
    thread = threading.Thread(target=drip)
    thread.start()
    with open(reader, "rb", buffering=0) as file:
        assert read_header(file) == read_header(data)
        assert streams.read_on(file) == data[HEADER_BYTES:]  # type: ignore[arg-type]
    thread.join()


def test_a_stream_that_can_seek_is_read_from_its_start_as_pillow_does() -> None:
    data = SMALL.read_bytes()
    stream = io.BytesIO()
    stream.write(data)
    assert stream.tell() == len(data)
    assert read_header(stream) == read_header(data)
    assert stream.tell() == HEADER_BYTES
    assert files.read(stream) == data
    picture = io.BytesIO(PHOTO.read_bytes())
    picture.seek(0, io.SEEK_END)
    assert images.load(picture).pixels.shape == (300, 451, 3)


def test_a_stream_is_left_after_the_header_or_at_its_end() -> None:
    data = SMALL.read_bytes()
    stream = Dripping(data)
    read_header(stream)  # type: ignore[arg-type]
    assert stream.data == data[HEADER_BYTES:]
    short = io.BytesIO(data[:20])
    with pytest.raises(bincodec.Truncated):
        read_header(short)
    assert short.tell() == 20


def test_no_more_is_asked_for_than_a_portion_at_once() -> None:
    stream = Dripping(b"data")
    files.read(stream)  # type: ignore[arg-type]
    assert 0 < stream.asked <= 2**20
    read_header(stream := Dripping(SMALL.read_bytes()))  # type: ignore[arg-type]
    assert stream.asked <= HEADER_BYTES


def test_a_small_file_is_read_within_little_memory() -> None:
    """In a process of its own, which may have some 100 MB more than it has at first; 1 GiB does not fit."""
    code = f"""
import resource
from bincodec.io import files
import bincodec.bitstream.container
now = int(open("/proc/self/statm").read().split()[0]) * {resource.getpagesize()}
resource.setrlimit(resource.RLIMIT_AS, (now + 10**8, now + 10**8))
assert files.read({str(SMALL)!r})
assert files.read(open({str(SMALL)!r}, "rb"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_endless_input_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_BYTES", 10**5)
    with pytest.raises(bincodec.TooLarge, match="/dev/zero: it has more than 100000 bytes") as caught:
        files.read("/dev/zero")
    assert caught.value.limit == 10**5
    assert len(files.read("/dev/zero", 10**5)) == 10**5


@pytest.mark.parametrize("size", [-1, 36])
def test_text_is_a_wrong_type(size: int, tmp_path: Path) -> None:
    path = tmp_path / "text.bld"
    path.write_bytes(SMALL.read_bytes())  # no UTF-8
    with path.open(encoding="utf-8") as text, tempfile.NamedTemporaryFile("w+") as wrapped:
        for source in (text, wrapped, io.StringIO(), io.StringIO("text")):
            with pytest.raises(TypeError, match="expected a binary stream, not a text stream"):
                files.read(source, size)  # type: ignore[arg-type]


@pytest.mark.parametrize("source", [None, 3, [1, 2], object(), 2.5])
def test_other_types_are_named(source: object) -> None:
    for call in (read_header, files.read, images.load, bincodec.decompress, bincodec.compress):
        with pytest.raises(TypeError, match=f"bytes-like object .* not {type(source).__name__}"):
            call(source)  # type: ignore[operator]


def test_a_read_that_gives_something_else_is_a_wrong_type() -> None:
    class Odd:
        def read(self, size: int) -> int:
            return size

    with pytest.raises(TypeError, match=r"the Odd: its read\(\) returned int, not bytes"):
        files.read(Odd())  # type: ignore[arg-type]


def test_what_the_system_says_of_a_stream_is_an_error_of_ours(tmp_path: Path) -> None:
    closed = io.BytesIO(b"data")
    closed.close()
    with pytest.raises(bincodec.Unreadable, match="the BytesIO: cannot be read: I/O operation on closed"):
        files.read(closed)
    with (tmp_path / "new").open("wb") as written, pytest.raises(bincodec.Unreadable, match="cannot be read"):
        files.read(written)
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with (
        open(reader, "rb", buffering=0) as empty,
        open(writer, "wb"),
        pytest.raises(bincodec.Unreadable, match="it is non-blocking"),
    ):
        files.read(empty)  # type: ignore[arg-type]


def test_limits_are_no_number() -> None:
    for call in (
        lambda: read_header(SMALL, 10),  # type: ignore[arg-type]
        lambda: images.load(PHOTO, limits=None),  # type: ignore[arg-type]
        lambda: container.read(Memory(SMALL.read_bytes()), None),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError, match="limits must be a Limits, not "):
            call()
