"""The index: how layers are grouped, and how long each part is."""

import dataclasses
import itertools
import zlib
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bincodec.bitstream.errors import BincodecError, Corrupt, TooLarge, Truncated, Unsupported
from bincodec.bitstream.header import HEADER_BYTES, Header
from bincodec.bitstream.index import MAX_LENGTH, Index, IndexParser, varint
from bincodec.bitstream.limits import Limits

HEADER = Header(512, 16, 50, 10, bytes(8), tile_side=16)
"""Ten layers of two tiles."""
INDEX = Index(
    (1, 7, 2), ((0x81, 300), (0xBF, 0)), (((5, False), (0, True)), ((1, False),) * 2, ((64, True),) * 2)
)
BY_HAND = bytes.fromhex("8102 02 81ac02 bf00 0a 01 02 02 8101 8101")

lengths = st.one_of(st.integers(0, 300), st.integers(0, MAX_LENGTH))
kinds = st.sampled_from([0x41, *range(0x80, 0x100)])


def parse(body: bytes, header: Header = HEADER, limits: Limits | None = None) -> Index:
    """Return the index with that content and its checksum."""
    data = header.pack() + body + zlib.crc32(body, header.crc).to_bytes(4, "little")
    parser = IndexParser(header, data + b"what follows")
    found = parser.parse(limits or Limits(ancillary_bytes=2**40))
    assert parser.position == len(data)
    return found


@st.composite
def indices(draw: st.DrawFn) -> tuple[Header, Index]:
    """Draw any number of layers in any groups, any tiles, and any extras of any length."""
    layers = draw(st.integers(1, 255))
    ends = sorted({*draw(st.lists(st.integers(1, layers), max_size=6)), layers})
    groups = tuple(end - start for start, end in itertools.pairwise([0, *ends]))
    header = Header(draw(st.integers(1, 600)), draw(st.integers(1, 600)), 0, layers, bytes(8), tile_side=16)
    order = sorted(draw(st.sets(kinds, max_size=5)), key=lambda kind: (not kind & 0x40, kind))
    extras = tuple((kind, draw(lengths)) for kind in order)
    entry = st.tuples(lengths, st.booleans())
    row = st.tuples(*[entry] * len(header.tiles))
    return header, Index(groups, extras, tuple(draw(row) for _ in groups))


@given(indices())
def test_round_trip(drawn: tuple[Header, Index]) -> None:
    header, index = drawn
    packed = index.pack(header)
    parser = IndexParser(header, header.pack() + packed + b"more")
    assert parser.parse(Limits(ancillary_bytes=2**40)) == index
    assert parser.position == HEADER_BYTES + len(packed)
    assert index.leading == sum(kind & 0x40 == 0x40 for kind, _ in index.extras)
    chunks = list(itertools.chain.from_iterable(index.entries))
    assert sum(index.sizes()) == (
        sum(length + 4 for _, length in index.extras) + sum(length + 8 for length, _ in chunks)
    )


def test_layout_is_the_documented_one() -> None:
    assert INDEX.pack(HEADER) == BY_HAND + zlib.crc32(HEADER.pack()[:32] + BY_HAND).to_bytes(4, "little")
    assert parse(BY_HAND) == INDEX
    assert list(INDEX.sizes()) == [13, 8, 9, 9, 72, 72, 304, 4]


def test_extras_before_the_levels_come_first() -> None:
    index = dataclasses.replace(INDEX, extras=((0x41, 9), (0xC5, 1), (0x80, 2)))
    assert index.leading == 2
    assert list(index.sizes()) == [13, 5, 13, 8, 9, 9, 72, 72, 6]
    assert parse(index.pack(HEADER)[:-4]) == index


@given(st.integers(0, 2**40))
@example(127)
@example(128)
@example(16383)
@example(16384)
def test_a_number_has_the_lowest_seven_bits_first(value: int) -> None:
    found = varint(value)
    assert sum((byte & 127) << 7 * place for place, byte in enumerate(found)) == value
    assert [byte >> 7 for byte in found] == [1] * (len(found) - 1) + [0]
    assert len(found) == max(1, -(-value.bit_length() // 7))


ONE_LAYER = Header(1, 1, 0, 1, bytes(8))


def test_the_largest_numbers_that_an_index_may_hold() -> None:
    chunk, extra = ((2**31 - 1, True),), (0x80, 2**31 - 1)
    assert parse(b"\1\1\x80\xff\xff\xff\xff\7\xff\xff\xff\xff\x0f", ONE_LAYER) == Index(
        (1,), (extra,), (chunk,)
    )


@pytest.mark.parametrize(
    ("body", "at"),
    [
        (b"\1\0\x80\x80\x80\x80\x10", "number at byte 42 is over 4294967295 or longer"),
        (b"\1\0\xff\xff\xff\xff\xff", "number at byte 42 is over 4294967295"),
        (b"\1\1\x80\x80\x80\x80\x80\x08\0", "number at byte 43 is over 2147483647"),
        (b"\1\x80\x02", "number at byte 38 is over 255"),
        (b"\1\x80\0\0", "number at byte 38 is over 255 or longer than it has to be"),
        (b"\1\0\x85\0", "number at byte 39 is over 4294967295 or longer than it has to be"),
        (b"\1\0\x80\x80\x80\x80\0", "number at byte 42"),
        (b"\1\0" + b"\x80" * 100, "number at byte 42 is over 4294967295 or longer than it has to be"),
        (b"\1" + b"\x80" * 100, "number at byte 38 is over 255 or longer than it has to be"),
    ],
)
def test_a_number_that_is_too_large_or_too_long(body: bytes, at: str) -> None:
    """The error comes at the first byte that shows it. The file does not decide how long a number may be."""
    with pytest.raises(Corrupt, match=at):
        parse(body, ONE_LAYER)


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        ("0000", "the last group ends with layer 0 of 10"),
        ("ff01", "ends with layer 9 of 10"),
        ("0006", "ends with layer 11 of 10"),
        ("0080", "ends with layer 16 of 10"),
        ("ffff", "ends with layer 16 of 10"),
    ],
)
def test_the_last_group_ends_with_the_last_layer(mask: str, says: str) -> None:
    with pytest.raises(Corrupt, match=says):
        parse(bytes.fromhex(mask) + bytes(50))


@given(st.sets(st.integers(1, 10)))
def test_any_other_layer_may_end_a_group(ends: set[int]) -> None:
    ends |= {10}
    mask = sum(1 << end - 1 for end in ends).to_bytes(2, "little")
    found = parse(mask + bytes(1 + 2 * len(ends)))
    assert list(itertools.accumulate(found.groups)) == sorted(ends)


@pytest.mark.parametrize("length", range(len(BY_HAND) + 4))
def test_every_truncation(length: int) -> None:
    data = HEADER.pack() + INDEX.pack(HEADER)[:length]
    with pytest.raises(Truncated, match=f"file ends at byte {HEADER_BYTES + length}, within the index"):
        IndexParser(HEADER, data).parse()


def test_every_flipped_bit() -> None:
    """A length may then reach beyond the data, so some damage looks like a missing end."""
    data = bytearray(HEADER.pack() + INDEX.pack(HEADER))
    for bit in range(8 * HEADER_BYTES, 8 * len(data)):
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises((Corrupt, Truncated)):
            IndexParser(HEADER, bytes(data)).parse()
        data[bit // 8] ^= 1 << bit % 8


def test_an_index_belongs_to_its_header() -> None:
    other = dataclasses.replace(HEADER, quality=51)
    with pytest.raises(Corrupt, match="checksum of the index does not match"):
        IndexParser(other, other.pack() + INDEX.pack(HEADER)).parse()


@pytest.mark.parametrize(
    ("order", "error", "says"),
    [
        ([0x81, 0x80], Corrupt, "extras 0x81, 0x80 are not in order or not unique"),
        ([0x80, 0x80], Corrupt, "extras 0x80, 0x80 are not in order or not unique"),
        ([0x80, 0xC0], Corrupt, "not in order"),
        ([0x80, 0x41], Corrupt, "not in order"),
        ([0xC0, 0x41], Corrupt, "not in order"),
        ([0x01], Unsupported, "critical data of kind 0x01 is not known"),
        ([0x40], Unsupported, "critical data of kind 0x40 is not known"),
        ([0x41, 0x42], Unsupported, "critical data of kind 0x42 is not known"),
        ([0x7F, 0x00, 0x80], Unsupported, "critical data of kind 0x7f is not known"),
    ],
)
def test_extras_that_no_reader_takes(order: list[int], error: type[BincodecError], says: str) -> None:
    extras = b"".join(bytes([kind, 0]) for kind in order)
    with pytest.raises(error, match=says) as caught:
        parse(b"\1" + bytes([len(order)]) + extras + b"\0", ONE_LAYER)
    assert type(caught.value) is error


def test_ancillary_bytes_are_counted_together_and_nothing_else_is() -> None:
    index = Index((1,), ((0x41, 1000), (0xC0, 3), (0x80, 4)), (((1000, True),),))
    data = ONE_LAYER.pack() + index.pack(ONE_LAYER)
    assert IndexParser(ONE_LAYER, data).parse(Limits(ancillary_bytes=7)) == index
    with pytest.raises(
        TooLarge, match="ancillary data is 7 bytes, over the limit ancillary_bytes=6"
    ) as caught:
        IndexParser(ONE_LAYER, data).parse(Limits(ancillary_bytes=6))
    assert (caught.value.option, caught.value.value, caught.value.limit) == ("ancillary_bytes", 7, 6)


def test_a_short_file_cannot_ask_for_many_entries(forge_header: Callable[..., bytes]) -> None:
    """There are 2^48 tiles, whose entries are neither read nor allocated."""
    limits = Limits(pixels=2**64, side=2**32)
    header = Header.parse(forge_header(width=2**32 - 1, height=2**32 - 1, side=16), limits)
    with pytest.raises(Truncated, match="file ends at byte 1038, within the index"):
        IndexParser(header, header.pack() + b"\1\0" + bytes(1000)).parse(limits)
