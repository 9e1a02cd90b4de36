import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bincodec.bitstream.container import read_header
from bincodec.bitstream.errors import BincodecError, Corrupt, NotBld, TooLarge, Truncated, Unsupported
from bincodec.bitstream.header import HEADER_BYTES, MAGIC, Header
from bincodec.bitstream.limits import Limits

HEADER = Header(768, 512, 50, 4, b"\x00\x01\x02\x03\x04\x05\x06\x07", grey=True)


def forge(**changes: int | bytes) -> bytes:
    """A header with any fields and a right checksum, laid out by hand."""
    fields: dict[str, int | bytes] = {
        "magic": MAGIC,
        "major": 0,
        "minor": 1,
        "flags": 1,
        "width": 768,
        "height": 512,
        "quality": 50,
        "layers": 4,
        "tile": 0,
        "fingerprint": HEADER.fingerprint,
    }
    packed = struct.pack("<8sBBHIIBBH8s", *(fields | changes).values())
    return packed + struct.pack("<I", zlib.crc32(packed))


@given(
    width=st.integers(1, 65535),
    height=st.integers(1, 1024),
    quality=st.integers(0, 100),
    layers=st.integers(1, 255),
    fingerprint=st.binary(min_size=8, max_size=8),
    grey=st.booleans(),
)
def test_round_trip(
    width: int, height: int, quality: int, layers: int, fingerprint: bytes, grey: bool
) -> None:
    header = Header(width, height, quality, layers, fingerprint, grey)
    data = header.pack()
    assert len(data) == HEADER_BYTES == 36
    assert Header.parse(data) == header
    assert Header.parse(data).pack() == data
    assert read_header(data + b"anything") == header


def test_layout_is_the_documented_one() -> None:
    assert HEADER.pack() == forge()


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"magic": b"\x93BLD\n\x1a\n\0"}, NotBld, "magic"),
        ({"major": 1}, Unsupported, "1.1"),
        ({"minor": 2}, Unsupported, "0.2"),
        ({"flags": 2}, Unsupported, "0x0002"),
        ({"flags": 0x8001}, Unsupported, "0x8001"),
        ({"tile": 256}, Unsupported, "tile size is 256"),
        ({"width": 0}, Corrupt, "width is 0"),
        ({"height": 0}, Corrupt, "height is 0"),
        ({"quality": 101}, Corrupt, "quality is 101"),
        ({"layers": 0}, Corrupt, "layers is 0"),
        ({"width": 2**32 - 1, "height": 1}, TooLarge, "side=65535"),
        ({"width": 1, "height": 65536}, TooLarge, "side=65535"),
        ({"width": 65535, "height": 65535}, TooLarge, "pixels=67108864"),
        ({"width": 2**32 - 1, "height": 2**32 - 1}, TooLarge, "4294967295x4294967295"),
    ],
)
def test_hostile_fields(changes: dict[str, int | bytes], error: type[BincodecError], says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        Header.parse(forge(**changes))
    assert type(caught.value) is error


def test_limits_can_be_raised_and_lowered() -> None:
    wide = forge(width=70000, height=1000)
    assert Header.parse(wide, Limits(pixels=70_000_000, side=70000)).width == 70000
    assert Header.parse(forge(), Limits(pixels=768 * 512, side=768)) == HEADER
    with pytest.raises(TooLarge):
        Header.parse(forge(), Limits(pixels=768 * 512 - 1))
    with pytest.raises(TooLarge):
        Header.parse(forge(), Limits(side=767))


@pytest.mark.parametrize("length", range(HEADER_BYTES))
def test_every_truncation(length: int) -> None:
    with pytest.raises(Truncated if length else NotBld):
        Header.parse(HEADER.pack()[:length])


def test_every_flipped_bit() -> None:
    data = HEADER.pack()
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        expected = NotBld if bit < 64 else Unsupported if bit < 80 else Corrupt
        with pytest.raises(expected):
            Header.parse(bytes(damaged))


@pytest.mark.parametrize("damage", [(b"\r\n", b"\n"), (b"\n", b"\r\n"), (b"\x93", b"\x13"), (b"\x1a", b"")])
def test_text_transfers_show_at_once(damage: tuple[bytes, bytes]) -> None:
    with pytest.raises(NotBld):
        Header.parse(HEADER.pack().replace(*damage))


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n" + bytes(99), b"BLD", bytes(1000)])
def test_other_files(data: bytes) -> None:
    with pytest.raises(NotBld):
        Header.parse(data)


@pytest.mark.parametrize(
    "fields",
    [
        {"width": 0},
        {"height": 2**32},
        {"quality": 101},
        {"quality": -1},
        {"layers": 256},
        {"fingerprint": b"short"},
        {"tile_size": 64},
        {"version": (1, 0)},
    ],
)
def test_a_header_out_of_range_cannot_be_made(fields: dict[str, int]) -> None:
    valid = {"width": 1, "height": 1, "quality": 0, "layers": 1, "fingerprint": bytes(8)}
    with pytest.raises(ValueError, match="not"):
        Header(**(valid | fields))  # type: ignore[arg-type]


RANGES = {
    "width": (1, 2**32 - 1),
    "height": (1, 2**32 - 1),
    "quality": (0, 100),
    "layers": (1, 255),
    "tile_size": (0, 0),
}


@pytest.mark.parametrize(("name", "ends"), RANGES.items())
def test_both_ends_of_a_range_are_within_and_their_neighbours_are_not(
    name: str, ends: tuple[int, int]
) -> None:
    valid = {"width": 1, "height": 1, "quality": 0, "layers": 1, "fingerprint": bytes(8)}
    for value in ends:
        header = Header(**(valid | {name: value}))  # type: ignore[arg-type]
        assert Header.parse(header.pack(), Limits(pixels=2**64, side=2**32)) == header
    for value in (ends[0] - 1, ends[1] + 1):
        says = f"{name.replace('_', ' ')} is {value}, not within {ends[0]}..{ends[1]}"
        with pytest.raises(ValueError, match=says):
            Header(**(valid | {name: value}))  # type: ignore[arg-type]


@pytest.mark.parametrize("length", [0, 7, 9])
def test_a_fingerprint_has_eight_bytes(length: int) -> None:
    with pytest.raises(ValueError, match=f"fingerprint length is {length}, not within 8..8"):
        Header(1, 1, 0, 1, bytes(length))


@pytest.mark.parametrize("version", [(0, 0), (0, 2), (1, 0), (1, 1)])
def test_another_version_cannot_be_written(version: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"format version is \(., .\), not \(0, 1\)"):
        Header(1, 1, 0, 1, bytes(8), version=version)
