import dataclasses
import random

import numpy as np
import pytest

from bincodec.bitstream import stream
from bincodec.bitstream.container import CODED, RAW, Ancillary, Chunk, Container, read, write
from bincodec.bitstream.errors import BincodecError, BitsMismatch, Corrupt, Truncated
from bincodec.bitstream.levels import level_bits
from bincodec.bitstream.stream import CHUNK_BYTES, LayerReader

EXTRA = (Ancillary(0x81, b"kept verbatim"),)


def test_round_trip(small, mixed) -> None:
    for toy in (small, mixed):
        for ancillary in ((), EXTRA):
            data = toy.pack(ancillary)
            again = toy.unpack(data)
            assert again.levels() == toy.levels()
            assert again.pack(read(data).ancillary) == data


def test_grouping_is_canonical(mixed) -> None:
    kinds = [chunk.kind for chunk in read(mixed.pack()).chunks]
    assert kinds == [CODED + 2, CODED + 1, RAW + 1]


def test_no_more_than_fifteen_layers_share_a_chunk(make_layer, make_toy) -> None:
    toy = make_toy(*(make_layer((1, 1, 4), 6, 20, seed=i) for i in range(32)))
    data = toy.pack()
    assert [chunk.layers for chunk in read(data).chunks] == [15, 15, 2]
    assert toy.unpack(data).levels() == toy.levels()


def test_the_chunks_of_a_file_grow(make_layer, make_toy) -> None:
    """FORMAT, "Grouping": the n-th closes at n times `CHUNK_BYTES`; a layer here has about 1900 bytes."""
    toy = make_toy(*(make_layer((24, 12, 24), 14, 28, seed=i) for i in range(12)))
    data = toy.pack()
    chunks = read(data).chunks
    assert [chunk.layers for chunk in chunks] == [2, 3, 4, 3]
    assert all(len(chunk.payload) >= n * CHUNK_BYTES for n, chunk in enumerate(chunks[:-1], 1))
    assert toy.unpack(data).levels() == toy.levels()


@pytest.mark.parametrize("seed", range(3))
def test_overhead_stays_within_the_budget(make_layer, make_toy, seed: int) -> None:
    """FORMAT, "Overhead": 96 bytes and 0.1 % over the coded probabilities, with five layers of any size."""
    for channels in (1, 6, 12, 16, 24, 48):
        layers = [make_layer((channels, 16, 24), 14, 24 + 3 * i, seed=seed) for i in range(5)]
        toy = make_toy(*layers)
        cost = sum(level_bits(x.levels, x.mu, x.scale, x.maximum).sum() for x in layers) / 8
        assert len(toy.pack()) <= cost * 1.001 + 96


def test_noise_costs_no_more_than_raw_bits(make_layer, make_toy) -> None:
    toy = make_toy(make_layer((8, 16, 16), 6, 4, surprise=60.0))
    data = toy.pack()
    assert len(data) == 36 + 12 + 8 * 16 * 16 * 3 // 8
    assert toy.unpack(data).levels() == toy.levels()


def test_every_truncation(small) -> None:
    data = small.pack(EXTRA)
    for length in range(len(data)):
        with pytest.raises(BincodecError):
            small.unpack(data[:length])


def test_every_flipped_bit(small) -> None:
    data = small.pack(EXTRA)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BincodecError):
            small.unpack(bytes(damaged))


@pytest.mark.parametrize("seed", range(8))
def test_random_damage_with_repaired_checksums(small, mixed, repair, seed: int) -> None:
    """Whatever gets past the checksums is refused, or is a file that the writer could have made."""
    draw = random.Random(seed)
    refused = 0
    for toy, rounds in ((small, 150), (mixed, 8)):
        original = toy.pack(EXTRA)
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
                assert found.pack(read(damaged).ancillary) == damaged
    assert refused > 100


def test_partial_reading_gives_the_layers_that_arrived(mixed) -> None:
    data = mixed.pack()
    whole = read(data)
    end = 36
    for count, chunk in enumerate(whole.chunks):
        cut = read(data[: end + 11 + len(chunk.payload)], partial=True)
        assert not cut.intact
        layers = [0, 2, 3][count]
        assert LayerReader(cut).layers_available == layers
        assert mixed.decode(cut).levels() == mixed.levels()[:layers]
        end += 12 + len(chunk.payload)


def test_reading_beyond_the_available_layers(mixed) -> None:
    cut = read(mixed.pack()[:200], partial=True)
    mu = np.zeros((1, 1), int)
    with pytest.raises(Truncated, match="only 0 intact layers"):
        LayerReader(cut).get(mu, mu, 6)


def with_chunks(toy, *chunks: Chunk) -> Container:
    """The toy's container with other chunks, through bytes so that every checksum is right."""
    return read(write(toy.header, chunks))


def test_wrong_levels_are_a_mismatch(small) -> None:
    (chunk,) = small.writer().chunks
    for crc in (chunk.bits_crc ^ 1, 0, 2**32 - 1):
        says = f"decoded levels have CRC {chunk.bits_crc:#010x}, not {crc:#010x}"
        with pytest.raises(BitsMismatch, match=says):
            small.decode(with_chunks(small, dataclasses.replace(chunk, bits_crc=crc)))


@pytest.mark.parametrize("shift", [1, -1, 64])
def test_other_probabilities_are_a_mismatch(mixed, shift: int) -> None:
    """One step in one location of the first layer, and the reader knows."""
    data = mixed.pack()
    first = mixed.layers[0]
    mu = first.mu.copy()
    mu[0, 0, 0] += shift
    other = dataclasses.replace(
        mixed, layers=(dataclasses.replace(first, mu=mu, scale=first.scale + 1), *mixed.layers[1:])
    )
    with pytest.raises(BitsMismatch):
        other.unpack(data)


@pytest.mark.parametrize("tail", [b"\0", b"\0\0\0\0", b"\x01", bytes(40)])
def test_a_longer_payload_is_refused(small, tail: bytes) -> None:
    (chunk,) = small.writer().chunks
    longer = dataclasses.replace(chunk, payload=chunk.payload + tail)
    with pytest.raises(Corrupt, match="is not the one that its levels make"):
        small.decode(with_chunks(small, longer))


def test_a_coded_chunk_stored_raw_is_refused(small) -> None:
    (chunk,) = small.writer().chunks
    with pytest.raises(Corrupt, match="is not the one that its levels make"):
        small.decode(with_chunks(small, Chunk(RAW + 2, small.raw(), chunk.bits_crc)))


def test_a_raw_chunk_stored_coded_is_refused(make_layer, make_toy) -> None:
    toy = make_toy(make_layer((4, 4, 4), 3, 8, surprise=40.0))
    (chunk,) = toy.writer().chunks
    assert chunk == Chunk(RAW + 1, toy.raw(), chunk.bits_crc)
    with pytest.raises(Corrupt, match="is not the one that its levels make"):
        toy.decode(with_chunks(toy, Chunk(CODED + 1, toy.coded(), chunk.bits_crc)))


def test_a_chunk_ends_with_the_byte_that_makes_it_large_enough(
    small, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FORMAT, "Grouping": n times `CHUNK_BYTES` or more."""
    size = len(small.only(0, 1).coded())
    for enough, layers in ((size, [1, 1]), (size + 1, [2])):
        monkeypatch.setattr(stream, "CHUNK_BYTES", enough)
        assert [chunk.layers for chunk in small.writer().chunks] == layers


def test_a_reader_takes_layers_apart_that_a_writer_puts_together(small) -> None:
    (whole,) = small.writer().chunks
    start = dataclasses.replace(small.only(0, 1), header=small.header).writer()
    first = Chunk(CODED + 1, small.only(0, 1).coded(), start.bits_crc)
    second = Chunk(CODED + 1, small.only(1, 2).coded(), whole.bits_crc)
    found = small.decode(with_chunks(small, first, second))
    assert found.levels() == small.levels()
    assert found.pack() == small.pack()


def test_a_reader_takes_layers_together_that_a_writer_puts_apart(mixed) -> None:
    first, second, last = mixed.writer().chunks
    assert len(first.payload) >= CHUNK_BYTES
    joined = Chunk(CODED + 3, mixed.only(0, 3).coded(), second.bits_crc)
    found = mixed.decode(with_chunks(mixed, joined, last))
    assert found.levels() == mixed.levels()
    assert found.pack() == mixed.pack()


def test_padding_bits_of_a_raw_chunk(make_layer, make_toy) -> None:
    toy = make_toy(make_layer((1, 3, 3), 6, 4, surprise=60.0))
    (chunk,) = toy.writer().chunks
    assert chunk.raw
    assert len(chunk.payload) == 4
    padded = dataclasses.replace(chunk, payload=chunk.payload[:-1] + bytes([chunk.payload[-1] | 1]))
    with pytest.raises(Corrupt, match="is not the one that its levels make"):
        toy.decode(with_chunks(toy, padded))


def test_a_file_lacks_no_layer(small) -> None:
    writer = small.writer()
    writer.header = dataclasses.replace(small.header, layers=3)
    with pytest.raises(ValueError, match="carry 2 layers, the header promises 3"):
        writer.finish()


@pytest.mark.parametrize("kind", ["int64", "int8", "bool"])
def test_layers_are_bytes(small, kind: str) -> None:
    with pytest.raises(ValueError, match=f"{kind}, not uint8"):
        small.writer().end_layer(np.zeros((1, 1, 1), kind))


def test_what_is_no_smaller_coded_is_stored_raw(make_layer, make_toy) -> None:
    """FORMAT, "Raw chunks": coded only if that takes fewer bytes, so one of the two is right at a tie."""
    toys = [make_toy(make_layer((1, 2, 3), 6, 28, seed=seed, surprise=2.0)) for seed in range(60)]
    differences = [len(toy.coded()) - len(toy.raw()) for toy in toys]
    assert {-1, 0, 1} <= set(differences)
    for toy, difference in zip(toys, differences, strict=True):
        (chunk,) = toy.writer().chunks
        assert chunk.raw == (difference >= 0)
