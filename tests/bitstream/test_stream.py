"""Levels of tiles to chunks and back, with a toy model whose predictions both sides know."""

import dataclasses
import random
import zlib

import numpy as np
import pytest

from bincodec.bitstream.container import Chunk, Container, Extra, Memory, read, write
from bincodec.bitstream.errors import BincodecError, BitsMismatch, Corrupt, Truncated
from bincodec.bitstream.header import Header
from bincodec.bitstream.levels import level_bits
from bincodec.bitstream.stream import TileReader, TileWriter, group_layers

EXTRAS = (Extra(0xC1, b"early"), Extra(0x81, b"kept verbatim"))


def test_round_trip(small, mixed) -> None:
    for toy in (small, mixed):
        for extras in ((), EXTRAS):
            data = toy.pack(extras)
            again = toy.unpack(data)
            assert again.levels() == toy.levels()
            assert again.pack(read(Memory(data)).extras) == data


def test_the_toys_show_what_they_should(small, mixed) -> None:
    assert len(small.header.tiles) == 1
    assert len(mixed.header.tiles) == 2
    kinds = [[chunk.raw for chunk in row] for row in read(Memory(mixed.pack())).chunks]
    assert kinds == [[False, False], [False, False], [True, True]]


@pytest.mark.parametrize("groups", [(4,), (1, 3), (3, 1), (1, 1, 1, 1)])
def test_layers_may_be_grouped_in_any_way(mixed, groups: tuple[int, ...]) -> None:
    other = dataclasses.replace(mixed, groups=groups)
    data = other.pack()
    file = read(Memory(data))
    assert (file.groups, len(file.chunks)) == (groups, len(groups))
    again = mixed.unpack(data)
    assert again.levels() == mixed.levels()
    assert again.pack() == data


@pytest.mark.parametrize("seed", range(3))
def test_overhead_stays_small(make_layer, make_toy, seed: int) -> None:
    """A file takes at most 96 bytes and 0.1 % more than its coded probabilities, for one tile."""
    for channels in (1, 6, 12, 16, 24, 48):
        layers = [make_layer((channels, 16, 24), 14, 24 + 3 * i, seed=seed) for i in range(5)]
        cost = [float(level_bits(x.levels, x.mu, x.scale, x.maximum).sum()) for x in layers]
        groups = group_layers([int(bits) for bits in cost], 1)
        toy = make_toy(*layers, groups=groups, side=64)
        assert len(toy.pack()) <= sum(cost) / 8 * 1.001 + 96


def test_noise_costs_no_more_than_raw_bits(make_layer, make_toy) -> None:
    """There are a header, an index with a length of two bytes, and checksums of index, levels and chunk."""
    toy = make_toy(make_layer((8, 16, 16), 6, 4, surprise=60.0))
    data = toy.pack()
    assert len(data) == 36 + (1 + 1 + 2 + 4) + 8 * 16 * 16 * 3 // 8 + 8
    assert toy.unpack(data).levels() == toy.levels()


@pytest.mark.parametrize("seed", range(8))
def test_random_damage_with_repaired_checksums(small, mixed, repair, seed: int) -> None:
    """Whatever passes the checksums is refused, or is a file that the writer could have made."""
    draw = random.Random(seed)
    refused = 0
    for toy, rounds in ((small, 150), (mixed, 8)):
        original = toy.pack(EXTRAS)
        for _ in range(rounds):
            data = bytearray(original)
            for _ in range(draw.randint(1, 3)):
                at = draw.randrange(len(data))
                action = draw.random()
                if action < 0.7:
                    data[at] = draw.randrange(256)
                elif action < 0.85:
                    del data[at : at + draw.randint(1, 4)]
                else:
                    data[at:at] = draw.randbytes(draw.randint(1, 4))
            damaged = repair(bytes(data))
            try:
                found = toy.unpack(damaged)
            except BincodecError:
                refused += 1
            else:
                assert found.pack(read(Memory(damaged)).extras) == damaged
    assert refused > 100


def complaint(data: bytes) -> str:
    """Return what is wrong with a file before any level is decoded."""
    try:
        read(Memory(data))
    except BincodecError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("at", [12, 16, 20, 21, 22, 24, 38, 44, 45, 60])
def test_repaired_damage_fails_no_checksum_but_that_of_the_levels(small, repair, at: int) -> None:
    """This checks that the test above tests what it should."""
    data = bytearray(small.pack(EXTRAS))
    assert repair(bytes(data)) == data
    for value in {*range(256)} - {data[at]}:
        damaged = bytearray(data)
        damaged[at] = value
        assert complaint(bytes(damaged))
        assert "checksum" not in complaint(repair(bytes(damaged)))


def test_a_reader_stops_where_a_tile_has_no_more_chunks(mixed) -> None:
    """The chunks of a tile that arrived can be read, however much of the other tiles arrived."""
    file = read(Memory(mixed.pack()))
    rows = [list(row) for row in file.chunks]
    rows[1][0] = rows[2][1] = None
    cut = dataclasses.replace(file, chunks=tuple(map(tuple, rows)))
    assert cut.tile_layers == (2, 3)
    found = mixed.decode(cut)
    for layer, (whole, part) in enumerate(zip(mixed.layers, found.layers, strict=True)):
        for tile, there in zip(mixed.header.tiles, (layer < 2, layer < 3), strict=True):
            expected = whole.levels[:, *tile.place] * there
            assert np.array_equal(part.levels[:, *tile.place], expected)


def test_reading_beyond_the_chunks_that_are_there(mixed) -> None:
    tile = mixed.header.tiles[1]
    mu = np.zeros((1, 1), int)
    reader = TileReader(mixed.header, tile, mixed.groups, [None] * 3)
    with pytest.raises(Truncated, match=r"the chunk after 0 of tile 1 \(row 0, column 1\) is missing"):
        reader.get(mu, mu, 6)
    assert reader.confirmed == 0
    reader = TileReader(mixed.header, tile, (), [])
    with pytest.raises(Truncated, match="the chunk after 0 of tile 1"):
        reader.get(mu, mu, 6)


def test_layers_are_confirmed_group_by_group(mixed) -> None:
    file, tile = read(Memory(mixed.pack())), mixed.header.tiles[1]
    reader = mixed.reader(file, tile)
    counts = []
    for layer in mixed.layers:
        own = layer.of(tile)
        for start in (0, 1):
            flat = (x.reshape(len(x), -1)[:, start::2] for x in (own.mu, own.scale))
            reader.get(*flat, own.maximum)
        reader.end_layer(own.levels)
        counts.append(reader.confirmed)
    assert counts == [0, 2, 3, 4]


def with_chunk(toy, chunk: Chunk) -> Container:
    """Return the toy of one tile and one group with another chunk, with all checksums computed again."""
    return read(Memory(write(toy.header, toy.groups, ((chunk,),))))


NAME = r"layers 1 to 2 of tile 0 \(row 0, column 0\): "


def test_wrong_levels_are_a_mismatch(small) -> None:
    ((chunk,),) = small.chunks()
    for crc in (chunk.bits_crc ^ 1, 0, 2**32 - 1):
        says = f"{NAME}decoded levels have CRC {chunk.bits_crc:#010x}, not {crc:#010x}"
        with pytest.raises(BitsMismatch, match=says):
            small.decode(with_chunk(small, dataclasses.replace(chunk, bits_crc=crc)))


def test_a_tile_is_not_another_one_s() -> None:
    """Two tiles have the same predictions and levels. Only the CRC of the levels distinguishes them."""
    header = Header(512, 16, 50, 1, bytes(8), tile_side=16)
    one, two = (unlikely_chunk(header, [0, 6] * 8, number) for number in (0, 1))
    assert one.payload == two.payload
    assert one.bits_crc == zlib.crc32(header.pack()[:32] + bytes(4) + bytes([0, 6] * 8))
    assert two.bits_crc == zlib.crc32(header.pack()[:32] + b"\1\0\0\0" + bytes([0, 6] * 8))


@pytest.mark.parametrize("shift", [1, -1, 64])
def test_other_probabilities_are_a_mismatch(mixed, shift: int) -> None:
    """The reader notices one step in one location of the first layer."""
    data = mixed.pack()
    first = mixed.layers[0]
    mu = first.mu.copy()
    mu[0, 0, 0] += shift
    other = dataclasses.replace(
        mixed, layers=(dataclasses.replace(first, mu=mu, scale=first.scale + 1), *mixed.layers[1:])
    )
    with pytest.raises(BitsMismatch, match=NAME):
        other.unpack(data)


@pytest.mark.parametrize(
    "change", [{"quality": 51}, {"grey": True}, {"tile_side": 17}, {"fingerprint": b"87654321"}]
)
def test_a_forged_header_is_noticed_with_the_first_levels(small, change: dict[str, object]) -> None:
    """Everything decodes as it was written. Only the CRC of the levels covers the header."""
    header = dataclasses.replace(small.header, **change)
    file = read(Memory(write(header, small.groups, small.chunks())))
    with pytest.raises(BitsMismatch):
        small.decode(file)


@pytest.mark.parametrize("tail", [b"\0", b"\0\0\0\0", b"\x01", bytes(40)])
def test_a_longer_payload_is_refused(small, tail: bytes) -> None:
    ((chunk,),) = small.chunks()
    longer = dataclasses.replace(chunk, payload=chunk.payload + tail)
    says = f"{NAME}{len(longer.payload)} bytes are not what a writer makes of its levels"
    with pytest.raises(Corrupt, match=says):
        small.decode(with_chunk(small, longer))


def test_a_coded_chunk_stored_raw_is_refused(small) -> None:
    ((chunk,),) = small.chunks()
    with pytest.raises(Corrupt, match="bytes are not what a writer makes of its levels"):
        small.decode(with_chunk(small, Chunk(small.raw(), True, chunk.bits_crc)))


def test_a_reader_tells_whether_predictions_may_be_the_reason(small, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is so if the levels are right, but a writer with these predictions would store them otherwise."""
    ((chunk,),) = small.chunks()
    made, honest = [], type(small).reader
    monkeypatch.setattr(type(small), "reader", lambda *args: made.append(honest(*args)) or made[-1])
    for changed, doubted in (
        (Chunk(small.raw(), True, chunk.bits_crc), True),
        (dataclasses.replace(chunk, bits_crc=chunk.bits_crc ^ 1), False),
    ):
        with pytest.raises(Corrupt):
            small.decode(with_chunk(small, changed))
        assert made[-1].rewritten_differs is doubted


def test_a_raw_chunk_stored_coded_is_refused(make_layer, make_toy) -> None:
    toy = make_toy(make_layer((4, 4, 4), 3, 8, surprise=40.0))
    ((chunk,),) = toy.chunks()
    assert chunk == Chunk(toy.raw(), True, chunk.bits_crc)
    with pytest.raises(Corrupt, match="bytes are not what a writer makes of its levels"):
        toy.decode(with_chunk(toy, Chunk(toy.coded(), False, chunk.bits_crc)))


def test_padding_bits_of_a_raw_chunk(make_layer, make_toy) -> None:
    toy = make_toy(make_layer((1, 3, 3), 6, 4, surprise=60.0))
    ((chunk,),) = toy.chunks()
    assert chunk.raw
    assert len(chunk.payload) == 4
    padded = dataclasses.replace(chunk, payload=chunk.payload[:-1] + bytes([chunk.payload[-1] | 1]))
    with pytest.raises(Corrupt, match=r"layer 1 of tile 0 .*: 4 bytes are not what a writer makes"):
        toy.decode(with_chunk(toy, padded))


def test_a_raw_chunk_that_is_cut_or_too_large_says_which_it_is(make_layer, make_toy) -> None:
    toy = make_toy(make_layer((1, 3, 3), 6, 4, surprise=60.0))
    ((chunk,),) = toy.chunks()
    for payload, says in (
        (b"\xff" * 4, "raw level 7 is over the maximum of 6"),
        (b"\0\0", "raw chunk has 16 bits"),
    ):
        with pytest.raises(Corrupt, match=rf"layer 1 of tile 0 \(row 0, column 0\): {says}") as caught:
            toy.decode(with_chunk(toy, dataclasses.replace(chunk, payload=payload)))
        assert type(caught.value) is Corrupt


@pytest.mark.parametrize("kind", ["int64", "int8", "bool"])
def test_layers_are_bytes(small, kind: str) -> None:
    with pytest.raises(ValueError, match=f"{kind}, not uint8"):
        small.writer(small.header.tiles[0]).end_layer(np.zeros((1, 1, 1), kind))


def test_what_is_no_smaller_coded_is_stored_raw(make_layer, make_toy) -> None:
    """FORMAT, "Raw chunks": a chunk is coded only if that takes fewer bytes, so a tie has one valid form."""
    toys = [make_toy(make_layer((1, 2, 3), 6, 28, seed=seed, surprise=2.0)) for seed in range(60)]
    differences = [len(toy.coded()) - len(toy.raw()) for toy in toys]
    assert {-1, 0, 1} <= set(differences)
    for toy, difference in zip(toys, differences, strict=True):
        ((chunk,),) = toy.chunks()
        assert chunk.raw == (difference >= 0)


def test_the_crc_of_the_levels_goes_on_from_group_to_group(make_layer, make_toy) -> None:
    """FORMAT: the CRC covers the header's fields, the tile's number, and the tile's levels up to here."""
    toy = make_toy(*(make_layer((2, 2, 3), 30, 32, seed=seed) for seed in range(3)), groups=(2, 1))
    (first,), (second,) = toy.chunks()
    parts = [toy.header.pack()[:32], bytes(4), *(layer.levels.tobytes() for layer in toy.layers)]
    assert first.bits_crc == zlib.crc32(b"".join(parts[:-1]))
    assert second.bits_crc == zlib.crc32(b"".join(parts))


def writing(header: Header, levels: np.ndarray, number: int) -> TileWriter:
    """Return a writer that has received a pass (1, positions) of levels up to 6, all predicted to be 3."""
    writer = TileWriter(header, header.tiles[number], (1,))
    zeros = np.zeros(levels.shape, int)
    writer.put(levels, zeros, zeros, 6)
    return writer


def unlikely_chunk(header: Header, levels: list[int], number: int = 0) -> Chunk:
    """Return a tile's chunk of a layer with one channel, one row and one pass."""
    array = np.array([levels], np.uint8)
    writer = writing(header, array, number)
    writer.end_layer(array[:, None])
    (chunk,) = writer.chunks
    assert chunk.raw
    return chunk


def test_a_writer_keeps_its_own_copy_of_what_it_was_given() -> None:
    """The passes of a layer may be views of an array that the caller continues to use."""
    header = Header(64, 16, 0, 1, bytes(8))
    levels = np.array([[0, 6, 6, 0]], np.uint8)
    writer = writing(header, levels, 0)
    levels[:] = 3
    writer.end_layer(np.array([[[0, 6, 6, 0]]], np.uint8))
    assert writer.chunks == [unlikely_chunk(header, [0, 6, 6, 0])]
