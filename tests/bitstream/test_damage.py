"""Damage to a file: it is cut short, bits are flipped, or parts are swapped. All of this is detected."""

import itertools
import struct
from dataclasses import dataclass

import pytest

from bincodec.bitstream import repair
from bincodec.bitstream.container import Chunk, Chunks, Container, Extra, Memory, read, read_index, write
from bincodec.bitstream.errors import BincodecError, Corrupt, NotBld, Truncated
from bincodec.bitstream.header import HEADER_BYTES, MAGIC, Header
from bincodec.bitstream.index import IndexParser
from bincodec.bitstream.limits import Limits

HEADER = Header(512, 16, 50, 3, bytes(range(8)), tile_side=16)
"""Three layers of two tiles."""
GROUPS = (2, 1)
CHUNKS: Chunks = (
    (Chunk(b"abcdef", False, 0x01020304), Chunk(b"", False, 7)),
    (Chunk(b"ghijkl", True, 0xFFFFFFFF), Chunk(b"m", True, 5)),
)
EXTRAS = (Extra(0xC1, b"early"), Extra(0xC2, b"other"), Extra(0x80, b"late"), Extra(0xBF, b""))
FILE = write(HEADER, GROUPS, CHUNKS, EXTRAS)

NAMES = (
    "the colour profile",
    "the extra of kind 0xc2",
    "the chunk of layers 1 to 2 of tile 0 (row 0, column 0)",
    "the chunk of layers 1 to 2 of tile 1 (row 0, column 1)",
    "the chunk of layer 3 of tile 0 (row 0, column 0)",
    "the chunk of layer 3 of tile 1 (row 0, column 1)",
    "the extra of kind 0x80",
    "the extra of kind 0xbf",
)
"""The names of the parts of the file behind its index, in order."""


@dataclass(frozen=True)
class Part:
    """A part of a file, given by its bytes."""

    name: str
    start: int
    stop: int


def parts() -> list[Part]:
    _, index, position = read_index(Memory(FILE))
    ends = itertools.accumulate(index.sizes(), initial=position)
    return [Part(name, *ends) for name, ends in zip(NAMES, itertools.pairwise(ends), strict=True)]


PARTS = parts()
INDEX_END = PARTS[0].start


def without(lost: set[str], damage: tuple[str, ...]) -> Container:
    """Return the file without the parts with these names."""
    names = iter(NAMES)
    before = [extra for extra in EXTRAS[:2] if next(names) not in lost]
    chunks = tuple(tuple(None if next(names) in lost else chunk for chunk in row) for row in CHUNKS)
    after = [extra for extra in EXTRAS[2:] if next(names) not in lost]
    return Container(HEADER, GROUPS, chunks, (*before, *after), damage)


def test_the_parts_make_up_the_file() -> None:
    assert (PARTS[-1].stop, INDEX_END > HEADER_BYTES) == (len(FILE), True)
    assert read(Memory(FILE)) == without(set(), ())


@pytest.mark.parametrize("length", range(len(FILE)))
def test_every_truncation_is_an_error(length: int) -> None:
    with pytest.raises(Truncated if length else NotBld) as caught:
        read(Memory(FILE[:length]))
    if length >= INDEX_END:
        first = next(part for part in PARTS if part.stop > length)
        assert str(caught.value) == f"the file ends at byte {length}, within or before {first.name}"


@pytest.mark.parametrize("length", range(len(FILE)))
def test_every_truncation_leaves_what_arrived(length: int) -> None:
    if length < INDEX_END:
        with pytest.raises(Truncated if length else NotBld):
            read(Memory(FILE[:length]), partial=True)
        return
    lost = [part.name for part in PARTS if part.stop > length]
    damage = tuple(f"the file ends at byte {length}, within or before {name}" for name in lost)
    assert read(Memory(FILE[:length]), partial=True) == without(set(lost), damage)


@pytest.mark.parametrize("byte", range(len(FILE)))
def test_every_flipped_bit_shows_and_costs_only_what_it_hit(byte: int) -> None:
    hit = next((part for part in PARTS if part.start <= byte < part.stop), None)
    for bit in range(8):
        damaged = bytearray(FILE)
        damaged[byte] ^= 1 << bit
        with pytest.raises(BincodecError):
            read(Memory(bytes(damaged)))
        if byte < len(MAGIC):
            with pytest.raises(NotBld):
                read(Memory(bytes(damaged)), partial=True)
        elif hit is None:
            part = "header" if byte < HEADER_BYTES else "index"
            damage = (f"one bit of the {part} was wrong and has been corrected",)
            assert read(Memory(bytes(damaged)), partial=True) == without(set(), damage)
        else:
            damage = (f"the checksum of {hit.name} does not match",)
            assert read(Memory(bytes(damaged)), partial=True) == without({hit.name}, damage)


@pytest.mark.parametrize("places", [(12, 13), (INDEX_END - 1, INDEX_END - 2)], ids=["header", "index"])
def test_two_wrong_bits_of_header_or_index_are_too_many(places: tuple[int, int]) -> None:
    damaged = bytearray(FILE)
    for place in places:
        damaged[place] ^= 1
    with pytest.raises(Corrupt):
        read(Memory(bytes(damaged)), partial=True)


def test_a_wrong_bit_in_header_and_index_each_is_set_right() -> None:
    damaged = bytearray(FILE)
    for place in (17, INDEX_END - 5):
        damaged[place] ^= 4
    found = read(Memory(bytes(damaged)), partial=True)
    assert found == without(set(), found.damage)
    assert len(found.damage) == 2


LONG = Header(16 * 16 * 600, 16, 50, 2, bytes(range(8)), tile_side=16)
"""Two layers of 600 tiles. Their index is nearly as long as the longest one that is corrected."""
LONG_FILE = write(LONG, (1, 1), ((Chunk(b"", False, 0),) * 600, (Chunk(bytes(64), True, 0),) * 600))
HUGE = Limits(side=2**32, pixels=2**40)


@pytest.mark.parametrize("place", [0, 1, 2, 601, 602, 1000, 1801, 1802, 1805])
def test_any_one_bit_of_an_index_of_many_chunks_is_set_right(place: int) -> None:
    for bit in range(8):
        damaged = bytearray(LONG_FILE)
        damaged[HEADER_BYTES + place] ^= 1 << bit
        found = read(Memory(bytes(damaged)), HUGE, partial=True)
        assert found.damage == ("one bit of the index was wrong and has been corrected",)
        assert write(found.header, found.groups, found.chunks) == LONG_FILE


def test_an_index_that_no_one_bit_explains_is_hardly_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each attempt takes as long as the index, so trying each of its bits would take the square of that."""
    tried = []

    class Counted(IndexParser):
        def __init__(self, header: Header, data: bytes) -> None:
            tried.append(data)
            super().__init__(header, data)

    monkeypatch.setattr(repair, "IndexParser", Counted)
    damaged = bytearray(LONG_FILE)
    for place in (40, 700, 1500):
        damaged[HEADER_BYTES + place] ^= 1
    with pytest.raises(Corrupt, match="checksum of the index"):
        read(Memory(bytes(damaged)), HUGE, partial=True)
    assert len(tried) < 5


def test_a_long_index_is_not_repaired() -> None:
    """A long index has so many possible ends that some of them would fit by chance."""
    header = Header(8192, 8192, 50, 2, bytes(range(8)), tile_side=16)
    chunks = tuple((Chunk(b"", False, 0),) * len(header.tiles) for _ in range(2))
    damaged = bytearray(write(header, (1, 1), chunks))
    damaged[HEADER_BYTES + 1] ^= 1
    with pytest.raises(Corrupt):
        read(Memory(bytes(damaged)), partial=True)


@pytest.mark.parametrize("lost", [[0], [7], [2, 5], [0, 3, 6], list(range(8))])
def test_several_losses_are_told_in_the_order_of_the_file(lost: list[int]) -> None:
    damaged = bytearray(FILE)
    for number in lost:
        damaged[PARTS[number].start] ^= 0xFF
    names = [NAMES[number] for number in lost]
    damage = tuple(f"the checksum of {name} does not match" for name in names)
    assert read(Memory(bytes(damaged)), partial=True) == without(set(names), damage)


def test_damage_to_a_tile_that_is_not_wanted_is_not_noticed() -> None:
    damaged = bytearray(FILE)
    damaged[PARTS[3].start] ^= 0xFF
    assert read(Memory(bytes(damaged)), tiles=[0]).tile_layers == (3, 0)
    with pytest.raises(Corrupt, match="layers 1 to 2 of tile 1"):
        read(Memory(bytes(damaged)), tiles=[1])


SAME = (
    (Chunk(b"abcdef", False, 1), Chunk(b"ABCDEF", False, 2)),
    (Chunk(b"ghijkl", False, 3), Chunk(b"GHIJKL", False, 4)),
)
"""Chunks of the same length, so that each fits in the place of another."""
ALIKE = write(HEADER, GROUPS, SAME)


@pytest.mark.parametrize(("one", "two"), list(itertools.combinations(range(4), 2)))
def test_a_chunk_in_another_one_s_place_is_damage(one: int, two: int) -> None:
    """A chunk of another tile or another layer is intact, but is in the wrong place."""
    size = 6 + 8
    starts = [len(ALIKE) - (4 - number) * size for number in (one, two)]
    swapped = bytearray(ALIKE)
    for to, start in zip(reversed(starts), starts, strict=True):
        swapped[to : to + size] = ALIKE[start : start + size]
    with pytest.raises(Corrupt, match="checksum of the chunk"):
        read(Memory(bytes(swapped)))
    found = read(Memory(bytes(swapped)), partial=True)
    assert found.damage == tuple(
        f"the checksum of {NAMES[2 + number]} does not match" for number in (one, two)
    )
    there = [chunk for row in found.chunks for chunk in row]
    assert [number for number in range(4) if there[number] is None] == [one, two]


def test_extras_in_each_other_s_place_are_damage() -> None:
    early, other = PARTS[:2]
    swapped = FILE[: early.start] + FILE[other.start : other.stop] + FILE[early.start : early.stop]
    found = read(Memory(swapped + FILE[other.stop :]), partial=True)
    assert found == without(
        set(NAMES[:2]), tuple(f"the checksum of {name} does not match" for name in NAMES[:2])
    )


@pytest.mark.parametrize("field", ["width", "quality", "fingerprint"])
def test_nothing_of_a_file_is_taken_for_another_one_s(field: str) -> None:
    """Header and index are those of one picture, and the rest is of another one with the same lengths."""
    other = {"width": 500, "quality": 51, "fingerprint": bytes(8)}[field]
    header = Header(**{**vars(HEADER), field: other})
    mixed = write(header, GROUPS, CHUNKS, EXTRAS)[:INDEX_END] + FILE[INDEX_END:]
    assert read(Memory(mixed), partial=True).damage == tuple(
        f"the checksum of {name} does not match" for name in NAMES
    )


def test_the_crc_of_the_levels_is_under_the_checksum_of_its_chunk() -> None:
    part = PARTS[2]
    (stored,) = struct.unpack_from("<I", FILE, part.stop - 8)
    assert stored == 0x01020304
