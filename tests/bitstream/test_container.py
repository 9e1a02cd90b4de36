"""Split files into parts and join them, with payloads that have no meaning."""

import dataclasses
import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bincodec.bitstream import container
from bincodec.bitstream.container import Chunk, Chunks, Container, Extra, Memory, read, read_index, write
from bincodec.bitstream.errors import Corrupt, TooLarge, Truncated
from bincodec.bitstream.header import HEADER_BYTES, Header
from bincodec.bitstream.limits import Limits

HEADER = Header(512, 16, 50, 3, bytes(range(8)), tile_side=16)
"""Three layers of two tiles."""
GROUPS = (2, 1)
CHUNKS: Chunks = (
    (Chunk(b"abcdef", False, 0x01020304), Chunk(b"", False, 0)),
    (Chunk(b"", True, 0xFFFFFFFF), Chunk(b"gh", True, 5)),
)
EXTRAS = (Extra(0xC1, b"early"), Extra(0x80, b"profile"), Extra(0xBF, b""))
FILE = write(HEADER, GROUPS, CHUNKS, EXTRAS)

Forge = Callable[..., bytes]


class Recording(Memory):
    """A file in memory that remembers what was read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.asked: list[tuple[int, int]] = []

    def read_at(self, position: int, size: int) -> bytes:
        self.asked.append((position, size))
        return super().read_at(position, size)


class Short(Memory):
    """A file that claims to be larger than what can be read of it."""

    def __init__(self, data: bytes, most: int) -> None:
        super().__init__(data)
        self.most = most

    def read_at(self, position: int, size: int) -> bytes:
        return super().read_at(position, max(0, min(size, self.most - position)))


def layout(chunks: Chunks) -> list[list[tuple[bytes, bool, int]]]:
    """Return chunks as `forge` expects them."""
    return [[dataclasses.astuple(chunk) for chunk in row if chunk] for row in chunks]


def test_layout_is_the_documented_one(forge: Forge) -> None:
    extras = [dataclasses.astuple(extra) for extra in EXTRAS]
    assert forge(HEADER.pack(), layout(CHUNKS), extras, mask=b"\x06") == FILE


@st.composite
def containers(draw: st.DrawFn) -> Container:
    """Draw any tiles, groups and extras, with small payloads."""
    groups = tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)))
    sides = st.sampled_from([1, 255, 257, 700])
    header = Header(draw(sides), draw(sides), draw(st.integers(0, 100)), sum(groups), bytes(8), tile_side=16)
    chunk = st.builds(Chunk, st.binary(max_size=9), st.booleans(), st.integers(0, 2**32 - 1))
    row = st.tuples(*[chunk] * len(header.tiles))
    kinds = draw(st.sets(st.sampled_from([0x41, *range(0x80, 0x100)]), max_size=4))
    order = sorted(kinds, key=lambda kind: (not kind & 0x40, kind))
    extras = tuple(Extra(kind, draw(st.binary(max_size=9))) for kind in order)
    return Container(header, groups, tuple(draw(row) for _ in groups), extras)


@settings(max_examples=50)
@given(containers(), st.randoms(use_true_random=False))
def test_round_trip(file: Container, random: object) -> None:
    extras = list(file.extras)
    random.shuffle(extras)  # type: ignore[attr-defined]
    data = write(file.header, file.groups, file.chunks, extras)
    assert read(Memory(data)) == read(Memory(data), partial=True) == file
    assert file.intact
    assert file.tile_layers == (file.header.layers,) * len(file.header.tiles)
    header, index, position = read_index(Memory(data))
    assert (header, index.groups) == (file.header, file.groups)
    assert position + sum(index.sizes()) == len(data)


@settings(max_examples=50)
@given(containers(), st.data())
def test_some_tiles_are_read_alone(file: Container, data: st.DataObject) -> None:
    wanted = data.draw(st.sets(st.sampled_from(range(len(file.header.tiles)))))
    source = Recording(write(file.header, file.groups, file.chunks, file.extras))
    found = read(source, tiles=wanted)
    for row, whole in zip(found.chunks, file.chunks, strict=True):
        assert row == tuple(chunk if number in wanted else None for number, chunk in enumerate(whole))
    assert found.extras == file.extras
    assert found.intact
    layers = file.header.layers
    assert found.tile_layers == tuple(layers * (tile.number in wanted) for tile in file.header.tiles)
    # Nothing else was read: only the header, the place of the index, and what was wanted.
    _, index, position = read_index(source)
    starts = list(itertools.accumulate(index.sizes(), initial=position))
    mine = [number in wanted for _ in file.groups for number in range(len(file.header.tiles))]
    kept = [*[True] * index.leading, *mine, *[True] * (len(file.extras) - index.leading)]
    expected = [
        (start, end - start)
        for (start, end), keep in zip(itertools.pairwise(starts), kept, strict=True)
        if keep
    ]
    assert source.asked[: 2 + len(expected)] == [(0, HEADER_BYTES), (0, 2**12), *expected]


def test_a_large_index_is_read_in_growing_portions() -> None:
    header = Header(8192, 8192, 0, 5, bytes(8), tile_side=16)
    chunks = tuple(tuple(Chunk(b"", False, 0) for _ in header.tiles) for _ in range(5))
    data = write(header, (1,) * 5, chunks)
    assert len(chunks[0]) == 1024
    source = Recording(data)
    _, _, position = read_index(source)
    assert position == HEADER_BYTES + 2 + 5 * 1024 + 4
    assert source.asked == [(0, HEADER_BYTES), (0, 2**12), (0, 2**14)]
    for end in (4095, 4096, 4097, position - 1):
        with pytest.raises(Truncated, match=f"file ends at byte {end}, within the index"):
            read(Memory(data[:end]))


@pytest.mark.parametrize(("tiles", "portions"), [(4053, [2**12]), (4054, [2**12]), (4055, [2**12, 2**14])])
def test_an_index_may_end_with_the_first_portion(tiles: int, portions: list[int]) -> None:
    """There are 42 bytes around the entries, and each entry is one byte."""
    header = Header(256 * tiles, 1, 0, 1, bytes(8), tile_side=16)
    source = Recording(write(header, (1,), ((Chunk(b"", False, 0),) * tiles,)))
    limits = Limits(side=2**32)
    assert read_index(source, limits)[2] == 42 + tiles
    assert source.asked == [(0, HEADER_BYTES), *((0, portion) for portion in portions)]


@pytest.mark.parametrize("most", [1, 20, HEADER_BYTES + 3, len(FILE) - 40, len(FILE) - 1])
def test_a_source_that_gives_less_than_it_says(most: int) -> None:
    """The file ends where nothing more can be read, whatever size it claims."""
    with pytest.raises(Truncated, match="file ends"):
        read(Short(FILE, most))


def test_limits() -> None:
    assert read(Memory(FILE), Limits(ancillary_bytes=12)).intact
    with pytest.raises(TooLarge, match="ancillary data is 12 bytes, over the limit ancillary_bytes=11"):
        read(Memory(FILE), Limits(ancillary_bytes=11))
    with pytest.raises(TooLarge, match="pixels"):
        read(Memory(FILE), Limits(pixels=512 * 16 - 1))
    for partial in (False, True):
        with pytest.raises(TooLarge):
            read(Memory(FILE), Limits(side=511), partial=partial)


def test_an_extra_tells_what_it_takes() -> None:
    without = write(HEADER, GROUPS, CHUNKS)
    for extra in EXTRAS:
        takes = len(write(HEADER, GROUPS, CHUNKS, [extra])) - len(without)
        assert takes <= extra.size <= takes + 1


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_what_was_read_does_not_change_with_the_buffer_that_it_came_from(kind: type) -> None:
    buffer = bytearray(FILE)
    found = read(Memory(kind(buffer)))
    buffer[:] = bytes(len(buffer))
    assert found == Container(HEADER, GROUPS, CHUNKS, EXTRAS)
    parts = [*found.extras, *itertools.chain.from_iterable(found.chunks)]
    assert all(type(part.payload) is bytes for part in parts if part)


@pytest.mark.parametrize("part", [HEADER, CHUNKS[0][0], EXTRAS[0], read(Memory(FILE))])
def test_what_a_file_says_is_frozen(part: object) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(part, dataclasses.fields(part)[0].name, None)  # type: ignore[arg-type]


def test_a_payload_that_readers_cannot_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "MAX_LENGTH", 7)
    write(HEADER, GROUPS, CHUNKS, EXTRAS)
    monkeypatch.setattr(container, "MAX_LENGTH", 6)
    with pytest.raises(TooLarge, match="a payload is 7 bytes; the format holds at most 6") as caught:
        write(HEADER, GROUPS, CHUNKS, EXTRAS)
    assert (caught.value.option, caught.value.value, caught.value.limit) == (None, 7, 6)
    monkeypatch.setattr(container, "MAX_LENGTH", 5)
    with pytest.raises(TooLarge, match="6 bytes; the format holds at most 5"):
        write(HEADER, GROUPS, CHUNKS)


@pytest.mark.parametrize(
    ("groups", "chunks"),
    [
        ((2,), CHUNKS),
        ((2, 2), CHUNKS),
        ((2, 1), CHUNKS[:1]),
        ((2, 1, 0), (*CHUNKS, CHUNKS[0])),
        ((4, -1), CHUNKS),
        ((2, 1), (CHUNKS[0], CHUNKS[1][:1])),
        ((2, 1), (CHUNKS[0], (*CHUNKS[1], CHUNKS[1][0]))),
        ((), ()),
    ],
)
def test_groups_that_do_not_make_the_picture_are_not_written(groups: tuple[int, ...], chunks: Chunks) -> None:
    with pytest.raises(ValueError, match="do not make 3 layers of 2 tiles"):
        write(HEADER, groups, chunks)


def test_a_file_lacks_no_chunk() -> None:
    with pytest.raises(ValueError, match="a chunk is missing"):
        write(HEADER, GROUPS, (CHUNKS[0], (None, CHUNKS[1][1])))


@pytest.mark.parametrize("kinds", [(0x80, 0x80), (0x42,), (0x7F,), (0x100,), (-1,), (0x41, 0x80, 0x41)])
def test_extras_that_read_would_refuse_are_not_written(kinds: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="each kind must occur once, and be known or ancillary"):
        write(HEADER, GROUPS, CHUNKS, [Extra(kind, b"") for kind in kinds])


@pytest.mark.parametrize("tail", [b"\n", bytes(1000), FILE])
def test_bytes_after_the_end(tail: bytes) -> None:
    says = f"{len(tail)} bytes follow the end of the file"
    with pytest.raises(Corrupt, match=says):
        read(Memory(FILE + tail))
    found = read(Memory(FILE + tail), partial=True)
    assert found == Container(HEADER, GROUPS, CHUNKS, EXTRAS, (says,))
    assert not found.intact


def test_layers_of_a_tile_count_up_to_the_first_gap() -> None:
    gaps: Chunks = ((CHUNKS[0][0], None), (None, CHUNKS[1][1]))
    assert Container(HEADER, GROUPS, gaps).tile_layers == (2, 0)
    assert Container(HEADER, GROUPS, (CHUNKS[0], (None, CHUNKS[1][1]))).tile_layers == (2, 3)
    assert Container(HEADER, (1, 1, 1), (CHUNKS[0], (None, None), CHUNKS[1])).tile_layers == (1, 1)


def test_the_name_of_a_chunk() -> None:
    first, second = HEADER.tiles
    assert container.name_of(first, 0, (2, 1)) == "layers 1 to 2 of tile 0 (row 0, column 0)"
    assert container.name_of(second, 1, (2, 1)) == "layer 3 of tile 1 (row 0, column 1)"
