"""Payloads that no writer makes, and payloads that cost the reader the most."""

import dataclasses
import zlib
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from bincodec import BinaryCode, BincodecError, BitsMismatch, Codec, Corrupt, Limits
from bincodec.bitstream import container, stream
from bincodec.bitstream.container import Chunk, Container, Memory
from bincodec.bitstream.raw import pack_raw
from bincodec.bitstream.tiles import tiles_of

Forge = Callable[..., bytes]
Refuse = Callable[[bytes, type[BincodecError], str], None]

PASSES = 7
"""The passes of the tiny model's layers in a tile: four, two and one."""
FIRST = r"layers 1 to 3 of tile 0 \(row 0, column 0\)"


def with_first(honest: Container, **changes: object) -> bytes:
    """Return the honest file with another first chunk, under checksums that hold."""
    ((first, second),) = honest.chunks
    assert first is not None
    chunks = ((dataclasses.replace(first, **changes), second),)  # type: ignore[arg-type]
    return container.write(honest.header, honest.groups, chunks, honest.extras)


def payload_of(honest: Container) -> bytes:
    (first, _), *_ = honest.chunks
    assert first is not None
    return first.payload


# --- wrong lengths ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 63, 65, 1000])
@pytest.mark.usefixtures("unasked")
def test_raw_levels_of_another_length(honest: Container, refuse: Refuse, length: int) -> None:
    says = f"{FIRST}: {length} bytes of raw levels, which take 64 uncoded"
    refuse(with_first(honest, payload=bytes(length), raw=True), Corrupt, says)


@pytest.mark.parametrize("length", [64, 65, 10**6])
@pytest.mark.usefixtures("unasked")
def test_coded_levels_that_are_not_shorter_than_raw_ones(
    honest: Container, refuse: Refuse, length: int
) -> None:
    says = f"{FIRST}: {length} bytes of coded levels, which take 64 uncoded"
    refuse(with_first(honest, payload=b"\xff" * length), Corrupt, says)


@pytest.mark.usefixtures("unasked")
def test_the_length_of_the_last_chunk_tells_before_the_first_is_read(
    honest: Container, refuse: Refuse
) -> None:
    ((first, second),) = honest.chunks
    assert second is not None
    chunks = ((first, dataclasses.replace(second, raw=True)),)
    says = r"layers 1 to 3 of tile 1 \(row 0, column 1\): 60 bytes of raw levels, which take 64"
    refuse(container.write(honest.header, honest.groups, chunks), Corrupt, says)


@pytest.mark.parametrize(("width", "height"), [(8000, 8000), (65535, 1024), (2000, 2000)])
@pytest.mark.usefixtures("unasked")
def test_a_large_picture_of_empty_raw_chunks(
    header: Forge, forge: Forge, refuse: Refuse, width: int, height: int
) -> None:
    for side in (16, 64):
        lying = header(width=width, height=height, side=side)
        tiles = tiles_of(width, height, side)
        raw = 2 * tiles[0].shape[0] * tiles[0].shape[1]
        data = forge(lying, [[(b"", True, 0)] * len(tiles)])
        refuse(data, Corrupt, f"{FIRST}: 0 bytes of raw levels, which take {raw} uncoded")


# --- payloads that only a network can check ---------------------------------------------------------------


def test_a_large_picture_of_empty_coded_chunks(
    header: Forge, forge: Forge, refuse: Refuse, asked: list[tuple[int, int]]
) -> None:
    """The first tile shows it, after it was read twice. The other 63 tiles are not started."""
    data = forge(header(width=65535, height=1024, side=64), [[(b"", False, 0)] * 64])
    assert len(data) < 700
    refuse(data, BitsMismatch, rf"{FIRST}: decoded levels have CRC 0x\w+, not 0x00000000")
    assert asked == [(64, 64)] * 2 * PASSES


@pytest.mark.parametrize("length", [1, 8, 60, 8191])
def test_a_payload_of_ones(
    header: Forge, forge: Forge, refuse: Refuse, asked: list[tuple[int, int]], length: int
) -> None:
    data = forge(header(width=65535, height=1024, side=64), [[(b"\xff" * length, False, 0)] * 64])
    refuse(data, BitsMismatch, FIRST)
    assert set(asked) == {(64, 64)}
    assert len(asked) <= 2 * PASSES


@pytest.mark.parametrize("size", [(300, 250), (1, 1), (600, 1)])
def test_a_picture_of_a_few_bytes_is_a_picture(
    header: Forge, forge: Forge, codec: Codec, asked: list[tuple[int, int]], size: tuple[int, int]
) -> None:
    """Levels that are all 0 take no bytes, and such a file can be made without the model.

    Reading it takes time in proportion to its pixels, which a limit bounds, and memory for one tile.
    """
    width, height = size
    lying = header(width=width, height=height, side=16)
    crc = zlib.crc32(lying[:32])
    tiles = tiles_of(width, height, 16)
    row = []
    for tile in tiles:
        number, levels = tile.number.to_bytes(4, "little"), bytes(9 * tile.shape[0] * tile.shape[1])
        row.append((b"", False, zlib.crc32(number + levels, crc)))
    data = forge(lying, [row])
    code = codec.unpack(data)
    assert not any(levels.any() for levels in code.levels)
    assert len(asked) <= PASSES * len(tiles)
    assert max(asked) <= (16, 16)
    assert codec.decode(code).size == size
    assert codec.pack(code) == data


def test_what_is_left_of_a_forged_picture_costs_no_more_than_a_picture(
    header: Forge, forge: Forge, codec: Codec, asked: list[tuple[int, int]]
) -> None:
    """With `partial`, every tile is read, and read twice if its checksum does not hold."""
    data = forge(header(width=600, height=250, side=16), [[(b"", False, 0)] * 3])
    with pytest.raises(
        Corrupt, match="nothing of the picture decodes to what was written: layers 1 to 3 of tile 2"
    ):
        codec.unpack(data, partial=True)
    assert len(asked) == 3 * 2 * PASSES
    assert max(asked) <= (16, 16)


def test_limits_bound_what_a_picture_may_cost(header: Forge, forge: Forge, codec: Codec) -> None:
    data = forge(header(width=600, height=250, side=16), [[(b"", False, 0)] * 3])
    with pytest.raises(BincodecError, match="over the limit pixels=100000") as caught:
        codec.decompress(data, limits=Limits(pixels=100_000))
    assert caught.value.option == "pixels"  # type: ignore[attr-defined]


# --- another payload of the same levels -------------------------------------------------------------------


@pytest.mark.parametrize("tail", [b"\0", b"\0\0\0", b"\x01", b"\xff"])
def test_a_byte_more(honest: Container, refuse: Refuse, tail: bytes) -> None:
    longer = payload_of(honest) + tail
    says = f"{FIRST}: {len(longer)} bytes are not what a writer makes of its levels"
    refuse(with_first(honest, payload=longer), Corrupt, says)


def test_another_number_in_the_same_interval(honest: Container, refuse: Refuse) -> None:
    """A payload may continue within the last interval. Every such payload is refused, not only more zeros."""
    longer = payload_of(honest) + b"\0\0"
    for number in (1, 128, 255, 256):
        other = (int.from_bytes(longer, "big") + number).to_bytes(len(longer), "big")
        refuse(with_first(honest, payload=other), Corrupt, f"{FIRST}: 62 bytes are not what a writer makes")


def test_raw_where_coded_is_shorter(honest: Container, code: BinaryCode, refuse: Refuse) -> None:
    raw = raw_of(code, tile=0)
    assert len(raw) == 64
    refuse(with_first(honest, payload=raw, raw=True), Corrupt, f"{FIRST}: 64 bytes are not what a writer")


def raw_of(
    code: BinaryCode, tile: int, changed: Callable[[list[np.ndarray]], None] = lambda _: None
) -> bytes:
    """Return the raw levels of a tile in the order of the tiny model's passes."""
    levels = [part[:, *code.tiles[tile].place].copy() for part in code.levels]
    changed(levels)
    rows, columns = np.indices(levels[0].shape[1:])
    phases: Sequence[np.ndarray] = (
        np.array([[0, 2], [3, 1]])[rows % 2, columns % 2],
        (rows + columns) % 2,
        0 * rows,
    )
    return pack_raw(
        [
            (part[:, phase == number], top)
            for part, phase, top in zip(levels, phases, code.maximum, strict=True)
            for number in range(phase.max() + 1)
        ]
    )


def test_a_raw_level_beyond_its_maximum(honest: Container, code: BinaryCode, refuse: Refuse) -> None:
    """Three bits can hold 7, but the maximum is 6."""

    def beyond(levels: list[np.ndarray]) -> None:
        levels[0][0, 0, 0] = 7

    data = with_first(honest, payload=raw_of(code, 0, beyond), raw=True)
    refuse(data, Corrupt, f"{FIRST}: raw level 7 is over the maximum of 6")


def test_padding_of_a_raw_chunk(
    codec: Codec, header: Forge, forge: Forge, refuse: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One position has six bits a layer, and two more bits that must be zeros."""
    monkeypatch.setattr(stream, "GROUP_BYTES", 0)
    code = codec.encode(np.zeros((1, 1, 3), np.uint8), 50)
    levels = tuple(np.full_like(part, top) for part, top in zip(code.levels, (6, 3, 1), strict=True))
    code = dataclasses.replace(code, levels=levels, extras=())
    file = container.read(Memory(codec.pack(code)))
    assert file.groups == (1, 1, 1)
    ((first,), *others) = file.chunks
    assert first is not None
    assert first == Chunk(b"\xd8", True, first.bits_crc)
    for padding in (1, 2, 3):
        other = dataclasses.replace(first, payload=bytes([0xD8 | padding]))
        data = container.write(file.header, file.groups, ((other,), *others))
        refuse(data, Corrupt, r"layer 1 of tile 0 .*: 1 bytes are not what a writer makes of its levels")


# --- levels in another place ------------------------------------------------------------------------------


def test_tiles_that_changed_places(honest: Container, refuse: Refuse) -> None:
    """Their checksums were computed again, but the CRC of the levels covers the number of the tile."""
    ((first, second),) = honest.chunks
    data = container.write(honest.header, honest.groups, ((second, first),))
    refuse(data, BitsMismatch, FIRST)


def test_the_same_tile_twice(codec: Codec, honest: Container, refuse: Refuse) -> None:
    ((first, _),) = honest.chunks
    data = container.write(honest.header, honest.groups, ((first, first),))
    refuse(data, BitsMismatch, r"layers 1 to 3 of tile 1 \(row 0, column 1\): decoded levels have CRC")
    code = codec.unpack(data, partial=True)
    assert code.tile_layers == (3, 0)
    assert len(code.damage) == 1


@pytest.mark.parametrize("crc", [0, 2**32 - 1, None])
def test_another_crc_of_the_levels(honest: Container, refuse: Refuse, crc: int | None) -> None:
    ((first, second),) = honest.chunks
    assert first is not None
    assert second is not None
    forged = second.bits_crc if crc is None else crc
    says = f"{FIRST}: decoded levels have CRC {first.bits_crc:#010x}, not {forged:#010x}"
    refuse(with_first(honest, bits_crc=forged), BitsMismatch, says)


def test_groups_that_changed_places(
    codec: Codec, code: BinaryCode, refuse: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layers 1 and 2 have the same number of bits."""
    monkeypatch.setattr(stream, "GROUP_BYTES", 0)
    file = container.read(Memory(codec.pack(code)))
    assert file.groups == (1, 1, 1)
    one, two, three = file.chunks
    data = container.write(file.header, file.groups, (two, one, three))
    with pytest.raises(Corrupt, match="layer 1 of tile 0"):
        codec.decompress(data)


def test_a_chunk_that_is_missing_cannot_be_left_out(honest: Container, forge: Forge, refuse: Refuse) -> None:
    """The number of chunks follows from the header."""
    ((first, _),) = honest.chunks
    assert first is not None
    data = forge(honest.header.pack(), [[dataclasses.astuple(first)]])
    refuse(data, Corrupt, "index: a number at byte 43|checksum of the index does not match")
