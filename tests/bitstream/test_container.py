import dataclasses
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bincodec.bitstream.container import (
    ANCILLARY,
    CHUNK_OVERHEAD,
    CODED,
    LAST,
    MAX_PAYLOAD,
    RAW,
    Ancillary,
    Chunk,
    Container,
    read,
    write,
)
from bincodec.bitstream.errors import BincodecError, Corrupt, TooLarge, Truncated, Unsupported
from bincodec.bitstream.header import HEADER_BYTES, Header
from bincodec.bitstream.limits import Limits

HEADER = Header(48, 32, 50, 3, bytes(8))
CHUNKS = (Chunk(CODED + 2, b"abcdef", 0x01020304), Chunk(RAW + 1, b"", 0xFFFFFFFF))
EXTRA = (Ancillary(0x80, b"profile"), Ancillary(0xBF, b""))


def packed(kind: int, payload: bytes = b"", bits_crc: int = 0xFFFFFFFF) -> bytes:
    """One chunk, laid out by hand."""
    body = bytes([kind]) + len(payload).to_bytes(3, "little") + payload + bits_crc.to_bytes(4, "little")
    return body + zlib.crc32(body).to_bytes(4, "little")


def test_layout_is_the_documented_one() -> None:
    by_hand = HEADER.pack() + packed(0x12, b"abcdef", 0x01020304) + packed(0x61)
    assert write(HEADER, CHUNKS) == by_hand
    with_extra = HEADER.pack() + packed(0x12, b"abcdef", 0x01020304) + packed(0x21)
    with_extra += packed(0x80, b"profile", zlib.crc32(b"profile", 0xFFFFFFFF)) + packed(0xFF)
    assert write(HEADER, CHUNKS, EXTRA) == with_extra
    assert CHUNK_OVERHEAD == len(packed(0x61)) == 12


@given(
    st.lists(st.tuples(st.integers(1, 15), st.booleans(), st.binary(max_size=40)), min_size=1, max_size=10),
    st.lists(st.tuples(st.integers(0x80, 0xBF), st.binary(max_size=40)), max_size=5),
)
def test_round_trip(parts: list[tuple[int, bool, bytes]], extras: list[tuple[int, bytes]]) -> None:
    chunks = tuple(Chunk((RAW if raw else CODED) + n, payload, len(payload)) for n, raw, payload in parts)
    ancillary = tuple(Ancillary(*extra) for extra in extras)
    header = Header(48, 32, 50, sum(n for n, _, _ in parts), bytes(8))
    data = write(header, chunks, ancillary)
    assert read(data) == Container(header, chunks, ancillary, intact=True)
    assert read(data, partial=True) == read(data)
    assert [chunk.layers for chunk in read(data).chunks] == [n for n, _, _ in parts]
    assert [chunk.raw for chunk in read(data).chunks] == [raw for _, raw, _ in parts]


FILE = write(HEADER, CHUNKS, EXTRA)


@pytest.mark.parametrize("length", range(len(FILE)))
def test_every_truncation_is_an_error(length: int) -> None:
    with pytest.raises(BincodecError) as caught:
        read(FILE[:length])
    assert length == 0 or type(caught.value) is Truncated


def test_every_truncation_leaves_its_intact_chunks() -> None:
    ends = [HEADER_BYTES + 18, HEADER_BYTES + 30, HEADER_BYTES + 49]
    for length in range(HEADER_BYTES, len(FILE)):
        found = read(FILE[:length], partial=True)
        assert not found.intact
        intact = sum(end <= length for end in ends)
        assert found == Container(HEADER, CHUNKS[:intact], EXTRA[: max(0, intact - 2)], intact=False)
    for length in range(HEADER_BYTES):
        with pytest.raises(BincodecError):
            read(FILE[:length], partial=True)


def test_every_flipped_bit_is_an_error() -> None:
    for bit in range(8 * len(FILE)):
        damaged = bytearray(FILE)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BincodecError):
            read(bytes(damaged))


def test_a_damaged_chunk_ends_a_partial_reading() -> None:
    damaged = bytearray(FILE)
    damaged[HEADER_BYTES + 18 + 2] ^= 1
    assert read(bytes(damaged), partial=True) == Container(HEADER, CHUNKS[:1], intact=False)


FIRST = packed(0x12, b"abcdef", 0x01020304)


@pytest.mark.parametrize(
    ("body", "error", "says"),
    [
        (packed(LAST | 0x12), Corrupt, "after 2 of 3 layers"),
        (packed(LAST | 0x14), Corrupt, "carry 4 layers"),
        (packed(0x13) + packed(LAST | 0x11), Corrupt, "carry 4 layers"),
        (packed(LAST | 0x13) + b"\0", Corrupt, "1 bytes follow"),
        (packed(LAST | 0x13) + packed(LAST | 0x80), Corrupt, "12 bytes follow"),
        (packed(0x13), Truncated, "within the chunk at byte 48"),
        (FIRST + packed(0x80) + packed(LAST | 0x11), Corrupt, "before the last layer"),
        (packed(0x13) + packed(0x80) + packed(LAST | 0x11), Corrupt, "carry 4 layers"),
        (packed(0x13, b"", 7) + packed(LAST | 0x80, b"", 8), Corrupt, "another picture"),
        (packed(LAST | ANCILLARY), Corrupt, "before the last layer"),
        (packed(LAST | 0x10), Unsupported, "0x10"),
        (packed(LAST | 0x20), Unsupported, "0x20"),
        (packed(LAST | 0x00), Unsupported, "0x00"),
        (packed(LAST | 0x03), Unsupported, "0x03"),
        (packed(LAST | 0x33), Unsupported, "0x33"),
        (b"\x53\xff\xff\xff" + bytes(20), Truncated, "file ends at byte 60"),
        (b"", Truncated, "file ends at byte 36"),
    ],
)
def test_wrong_structure_with_right_checksums(body: bytes, error: type[BincodecError], says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        read(HEADER.pack() + body)
    assert type(caught.value) is error


def test_an_ancillary_chunk_tells_what_it_takes() -> None:
    assert [extra.size for extra in EXTRA] == [19, 12]
    assert len(write(HEADER, CHUNKS, EXTRA)) == len(write(HEADER, CHUNKS)) + 19 + 12


def test_limits() -> None:
    assert read(FILE, Limits(chunks=4, ancillary_bytes=7)).intact
    with pytest.raises(TooLarge, match="chunks=3") as many:
        read(FILE, Limits(chunks=3))
    assert (many.value.option, many.value.value, many.value.limit) == ("chunks", 4, 3)
    with pytest.raises(TooLarge, match="ancillary data is 7 bytes, over the limit ancillary_bytes=6") as much:
        read(FILE, Limits(ancillary_bytes=6))
    assert (much.value.option, much.value.value, much.value.limit) == ("ancillary_bytes", 7, 6)
    with pytest.raises(TooLarge, match="pixels"):
        read(FILE, Limits(pixels=48 * 32 - 1))


def test_ancillary_bytes_are_counted_together_and_levels_are_not_among_them() -> None:
    data = write(HEADER, CHUNKS, [Ancillary(0x80, b"1234"), Ancillary(0x81, b"567")])
    assert read(data, Limits(ancillary_bytes=7)).intact
    with pytest.raises(TooLarge, match="7 bytes, over the limit ancillary_bytes=6"):
        read(data, Limits(ancillary_bytes=6))
    assert read(write(HEADER, CHUNKS), Limits(ancillary_bytes=0)).chunks == CHUNKS


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_what_was_read_does_not_change_with_the_buffer_that_it_came_from(kind: type) -> None:
    buffer = bytearray(FILE)
    found = read(kind(buffer))
    buffer[:] = bytes(len(buffer))
    assert found == Container(HEADER, CHUNKS, EXTRA)
    assert all(type(part.payload) is bytes for part in (*found.chunks, *found.ancillary))


@pytest.mark.parametrize("part", [HEADER, CHUNKS[0], EXTRA[0], read(FILE)])
def test_what_a_file_says_is_frozen(part: object) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(part, dataclasses.fields(part)[0].name, None)  # type: ignore[arg-type]


def test_a_payload_that_the_length_field_cannot_hold() -> None:
    largest = write(HEADER, [Chunk(CODED + 3, bytes(MAX_PAYLOAD), 0)])
    assert len(read(largest).chunks[0].payload) == MAX_PAYLOAD
    with pytest.raises(TooLarge, match="16777216 bytes; the format holds at most 16777215") as caught:
        write(HEADER, [Chunk(CODED + 3, bytes(MAX_PAYLOAD + 1), 0)])
    assert (caught.value.option, caught.value.value, caught.value.limit) == (None, 2**24, 2**24 - 1)


def test_what_read_would_refuse_is_not_written() -> None:
    with pytest.raises(ValueError, match="carry 2 layers, the header promises 3"):
        write(HEADER, CHUNKS[:1])
    with pytest.raises(ValueError, match="carry 5 layers, the header promises 3"):
        write(HEADER, [*CHUNKS, CHUNKS[0]])
    for kind in (0x7F, 0xC0, 0x11):
        with pytest.raises(ValueError, match="ancillary type"):
            write(HEADER, CHUNKS, [Ancillary(kind, b"")])


def test_bytes_after_the_end_leave_all_layers_to_a_partial_reading() -> None:
    data = write(HEADER, CHUNKS) + b"\n"
    with pytest.raises(Corrupt, match="1 bytes follow the last chunk"):
        read(data)
    found = read(data, partial=True)
    assert tuple(found.chunks) == tuple(CHUNKS)
    assert not found.intact
