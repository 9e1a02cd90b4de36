import dataclasses
import re
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bincodec.bitstream.errors import BincodecError, Corrupt, NotBld, TooLarge, Truncated, Unsupported
from bincodec.bitstream.header import HEADER_BYTES, Header
from bincodec.bitstream.limits import Limits
from bincodec.bitstream.tiles import tiles_of

HEADER = Header(768, 512, 50, 4, b"\x00\x01\x02\x03\x04\x05\x06\x07", grey=True, tile_side=32)
FIELDS: dict[str, int | bytes] = {"width": 768, "height": 512, "layers": 4, "flags": 1, "side": 32}
"""The arguments with which `forge_header` makes the same header."""

Forge = Callable[..., bytes]


@given(
    width=st.integers(1, 65535),
    height=st.integers(1, 1024),
    quality=st.integers(0, 100),
    layers=st.integers(1, 255),
    fingerprint=st.binary(min_size=8, max_size=8),
    grey=st.booleans(),
    side=st.integers(16, 64),
)
def test_round_trip(
    width: int, height: int, quality: int, layers: int, fingerprint: bytes, grey: bool, side: int
) -> None:
    header = Header(width, height, quality, layers, fingerprint, grey, side)
    data = header.pack()
    assert len(data) == HEADER_BYTES == 36
    assert Header.parse(data) == header
    assert Header.parse(data).pack() == data
    assert Header.parse(data + b"anything") == header
    assert header.crc == zlib.crc32(data[:32]) == int.from_bytes(data[32:], "little")
    assert header.tiles == tiles_of(width, height, side)


def test_layout_is_the_documented_one(forge_header: Forge) -> None:
    assert HEADER.pack() == forge_header(**FIELDS)
    assert HEADER.pack()[20:24] == bytes([50, 4, 32, 0])


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"magic": b"\x93BLD\n\x1a\n\0"}, NotBld, "magic"),
        (
            {"major": 9},
            Unsupported,
            r"of the file is 9\.0, but this reader only knows 1\.0 and later 1\.x$",
        ),
        (
            {"major": 0, "minor": 2},
            Unsupported,
            r"has the draft version 0\.2 of the format, or it is damaged; only the program that wrote a",
        ),
        ({"flags": 2}, Unsupported, "0x0002 and 0x00; only 0x0001 and 0 are known, up to version 1.0"),
        ({"minor": 9, "flags": 2}, Unsupported, r"known, up to version 1\.0; the file has 1\.9$"),
        ({"flags": 0x8001}, Unsupported, "0x8001"),
        ({"reserved": 1}, Unsupported, "0x0000 and 0x01"),
        ({"side": 0}, Corrupt, "tile side is 0"),
        ({"side": 15}, Corrupt, "tile side is 15"),
        ({"side": 65}, Corrupt, r"tile side is 65, not within 16\.\.64"),
        ({"side": 255}, Corrupt, "tile side is 255"),
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
def test_hostile_fields(
    forge_header: Forge, changes: dict[str, int | bytes], error: type[BincodecError], says: str
) -> None:
    with pytest.raises(error, match=says) as caught:
        Header.parse(forge_header(**changes))
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)


@given(st.integers(0, 255))
def test_every_minor_version_is_read(minor: int) -> None:
    later = dataclasses.replace(HEADER, version=(1, minor))
    assert Header.parse(later.pack()) == later
    assert later.crc == zlib.crc32(later.pack()[:32])
    assert (later == HEADER) == (minor == 0)


def test_limits_can_be_raised_and_lowered(forge_header: Forge) -> None:
    wide = forge_header(width=70000, height=1000)
    assert Header.parse(wide, Limits(pixels=70_000_000, side=70000)).width == 70000
    assert Header.parse(HEADER.pack(), Limits(pixels=768 * 512, side=768)) == HEADER
    with pytest.raises(TooLarge) as caught:
        Header.parse(HEADER.pack(), Limits(pixels=768 * 512 - 1))
    assert (caught.value.option, caught.value.value, caught.value.limit) == ("pixels", 393216, 393215)
    with pytest.raises(TooLarge) as caught:
        Header.parse(HEADER.pack(), Limits(side=767))
    assert (caught.value.option, caught.value.value, caught.value.limit) == ("side", 768, 767)


@pytest.mark.parametrize("length", range(HEADER_BYTES))
def test_every_truncation(length: int) -> None:
    with pytest.raises(Truncated if length else NotBld):
        Header.parse(HEADER.pack()[:length])


def test_every_flipped_bit() -> None:
    data = HEADER.pack()
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        expected = NotBld if bit < 64 else Unsupported if bit < 72 else Corrupt
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
        {"tile_side": 8},
        {"version": (9, 0)},
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
    "tile_side": (16, 64),
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


@pytest.mark.parametrize("version", [(0, 2), (0, 0), (2, 0), (1, -1), (1, 256)])
def test_another_version_cannot_be_written(version: tuple[int, int]) -> None:
    says = "format version is {}.{}, not within 1.0..255".format(*version)
    with pytest.raises(ValueError, match=re.escape(says)):
        Header(1, 1, 0, 1, bytes(8), version=version)


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_any_bytes_will_do(kind: type) -> None:
    assert Header.parse(kind(HEADER.pack())) == HEADER
