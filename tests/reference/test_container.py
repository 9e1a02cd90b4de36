"""Both decoders refuse what no writer makes and what is damaged, for the same reasons."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

import bincodec
from bincodec import Codec

from .container import read_file
from .cursor import Cursor
from .decode import Decoded
from .errors import Refused
from .integer_network import IntegerNetwork
from .payloads import raw_length
from .probability import Tables
from .tiles import parts, tiles_of
from .writing import Draft, draft_of, group_ends, pieces_of, varint

CLASSES = {
    "not a .bld file": bincodec.NotBld,
    "truncated": bincodec.Truncated,
    "corrupt": bincodec.Corrupt,
    "bits mismatch": bincodec.BitsMismatch,
    "unsupported": bincodec.Unsupported,
    "too large": bincodec.TooLarge,
    "wrong model": bincodec.WrongModel,
}
HEADER_BYTES = 36
OFFSETS = np.array([640, 0, -640], "<i2").tobytes()
POST_FILTER, LEADING, TRAILING = (0x81, OFFSETS + bytes(7)), (0xD0, b"before"), (0x90, b"behind")


@pytest.fixture(scope="module")
def draft(tiled: Callable[..., bytes], regrouped: Callable[[bytes, list[range]], Draft]) -> Draft:
    """Two tiles, two groups, three extras."""
    bare = regrouped(tiled(10, 260), [range(2), range(2, 3)])
    return dataclasses.replace(bare, extras=(LEADING, POST_FILTER, TRAILING))


@pytest.fixture(scope="module")
def file(draft: Draft) -> bytes:
    return draft.write()


@pytest.fixture
def refusal(tiny: Callable[[bytes], Decoded], codec: Codec) -> Callable[[bytes], str]:
    """Return why both decoders refuse a file."""

    def why(data: bytes) -> str:
        with pytest.raises(Refused) as ours:
            tiny(data)
        with pytest.raises(bincodec.BincodecError) as theirs:
            codec.decode(codec.unpack(data))
        assert theirs.type is CLASSES[ours.value.kind], theirs.value
        return ours.value.kind

    return why


def test_the_file_is_as_it_should_be(file: bytes, tiny: Callable[[bytes], Decoded], codec: Codec) -> None:
    taken = read_file(file)
    assert [[len(chunk.layers) for chunk in chunks] for chunks in taken.tiles] == [[2, 1], [2, 1]]
    assert len(file) < 200
    assert tiny(file).digest() == codec.unpack(file).digest()
    assert tiny(file).extras == dict((LEADING, POST_FILTER, TRAILING))


def test_no_flipped_bit_goes_unnoticed(file: bytes, tiny: Callable[[bytes], Decoded]) -> None:
    for bit in range(8 * len(file)):
        damaged = bytearray(file)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Refused):
            tiny(bytes(damaged))


def test_no_cut_goes_unnoticed(file: bytes, refusal: Callable[[bytes], str]) -> None:
    assert refusal(b"") == "not a .bld file"
    assert {refusal(file[:length]) for length in range(1, len(file))} == {"truncated"}
    assert refusal(file + b"\0") == "corrupt"


def u32(value: int) -> bytes:
    return value.to_bytes(4, "little")


@pytest.mark.parametrize(
    ("place", "value", "kind"),
    [
        (0, b"\x13", "not a .bld file"),
        (4, b"\n", "not a .bld file"),
        (8, b"\0", "unsupported"),
        (8, b"\2", "unsupported"),
        (10, b"\2", "unsupported"),
        (11, b"\x80", "unsupported"),
        (23, b"\1", "unsupported"),
        (12, u32(0), "corrupt"),
        (16, u32(0), "corrupt"),
        (20, b"\x65", "corrupt"),
        (21, b"\0", "corrupt"),
        (22, b"\x0f", "corrupt"),
        (22, b"\x41", "corrupt"),
        (12, u32(65536), "too large"),
        (16, u32(65536), "too large"),
        (12, u32(32768) + u32(2049), "too large"),
        (24, b"\0", "wrong model"),
        (9, b"\1", "bits mismatch"),
        (10, b"\1", "bits mismatch"),
        (12, u32(261), "bits mismatch"),
        (20, b"\x33", "bits mismatch"),
    ],
)
def test_headers(place: int, value: bytes, kind: str, draft: Draft, refusal: Callable[[bytes], str]) -> None:
    """Some fields are out of range. Others are forged, and only the levels' checksum shows it."""
    forged = draft.with_head(place, value)
    assert forged != draft
    assert refusal(forged.write()) == kind


def test_the_header_is_checked_in_the_order_of_the_format(
    draft: Draft, refusal: Callable[[bytes], str]
) -> None:
    wrong_crc = draft.write()[:32] + bytes(4) + draft.write()[HEADER_BYTES:]
    assert refusal(wrong_crc) == "corrupt"
    assert refusal(wrong_crc[:8] + b"\7" + wrong_crc[9:]) == "unsupported"
    assert refusal(wrong_crc[:10] + b"\2" + wrong_crc[11:]) == "corrupt"
    assert refusal(draft.with_head(10, b"\2\0" + u32(0)).write()) == "unsupported"
    assert refusal(draft.with_head(12, u32(65536) + u32(0)).write()) == "corrupt"
    assert refusal(draft.with_head(12, u32(65536)).with_head(24, b"\0").write()) == "too large"


@pytest.mark.parametrize("ends", [0b000, 0b001, 0b010, 0b011, 0b1100, 0b1000_0110])
def test_groups_that_do_not_end_with_the_last_layer(
    ends: int, draft: Draft, refusal: Callable[[bytes], str]
) -> None:
    count = ends.bit_count()
    groups = draft.groups[:1] * count
    assert refusal(dataclasses.replace(draft, ends=bytes([ends]), groups=groups).write()) == "corrupt"


def test_more_layers_than_the_model_has(draft: Draft, refusal: Callable[[bytes], str]) -> None:
    forged = dataclasses.replace(draft.with_head(21, b"\4"), ends=group_ends([range(2), range(2, 4)]))
    assert refusal(forged.write()) == "corrupt"
    assert refusal(forged.with_head(24, b"\0").write()) == "wrong model"


@pytest.mark.parametrize(
    ("extras", "kind"),
    [
        ([(0x10, b"")], "unsupported"),
        ([(0x50, b"?")], "unsupported"),
        ([(0x01, b"?")], "unsupported"),
        ([(0x00, b"?")], "unsupported"),
        ([(0x90, b"?"), (0x90, b"?")], "corrupt"),
        ([(0x91, b"?"), (0x90, b"?")], "corrupt"),
        ([(0xD1, b"?"), (0xD0, b"?")], "corrupt"),
        ([(0x90, b"?"), (0xD0, b"?")], "corrupt"),
        ([(0x81, bytes(12))], "corrupt"),
        ([(0x81, bytes(14))], "corrupt"),
        ([(0x81, bytes(6) + b"\1" + bytes(6))], "corrupt"),
    ],
)
def test_extras(
    extras: list[tuple[int, bytes]], kind: str, draft: Draft, refusal: Callable[[bytes], str]
) -> None:
    assert refusal(dataclasses.replace(draft, extras=tuple(extras)).write()) == kind


@pytest.mark.parametrize("kinds", [(), (0x80,), (0xD0, 0xFF, 0x80, 0xBF)])
def test_unknown_ancillary_extras_change_nothing(
    kinds: tuple[int, ...], draft: Draft, tiny: Callable[[bytes], Decoded], codec: Codec
) -> None:
    extras = {kind: bytes([kind] * (kind % 5)) for kind in kinds}
    file = dataclasses.replace(draft, extras=tuple(extras.items())).write()
    assert tiny(file).extras == extras
    bare = tiny(dataclasses.replace(draft, extras=()).write())
    assert np.array_equal(tiny(file).pixels, bare.pixels)
    assert codec.unpack(file).digest() == bare.digest()


def longer(number: bytes) -> bytes:
    """Return a varint with an unnecessary byte."""
    return number[:-1] + bytes([number[-1] | 128, 0])


@pytest.mark.parametrize(
    ("extras", "chunk", "kind"),
    [
        (longer(varint(0)), None, "corrupt"),
        (longer(longer(varint(0))), None, "corrupt"),
        (varint(2**42), None, "corrupt"),
        (varint(0), longer(varint(6)), "corrupt"),
        (varint(0), varint(2**32), "corrupt"),
        (varint(0), varint(2**40), "corrupt"),
        (varint(0), varint(2**32 - 2), "truncated"),
        (varint(1) + b"\x90" + varint(2**31), None, "corrupt"),
        (varint(1) + b"\x90" + varint(2**24 + 1), None, "too large"),
        (varint(2) + b"\x90" + varint(2**23) + b"\x91" + varint(2**23 + 1), None, "too large"),
        (varint(1) + b"\x90" + varint(2**24), None, "truncated"),
    ],
)
def test_numbers_of_the_index(
    extras: bytes, chunk: bytes | None, kind: str, draft: Draft, refusal: Callable[[bytes], str]
) -> None:
    """The file has no extras here. The index may say otherwise, or name another length of the last chunk."""
    bare = dataclasses.replace(draft, extras=())
    ends, chunks = bare.index()[:1], bare.index()[2:]
    index = ends + extras + (chunks if chunk is None else chunks[:-1] + chunk)
    assert refusal(bare.write(index)) == kind


def test_an_index_counts_only_if_its_checksum_holds(draft: Draft, refusal: Callable[[bytes], str]) -> None:
    for extras in (((0x10, b"?"),), ((0x90, bytes(2**24 + 1)),)):
        wrong = dataclasses.replace(draft, extras=extras)
        data, end = wrong.write(), HEADER_BYTES + len(wrong.index())
        assert refusal(data) != "corrupt"
        assert refusal(data[:end] + bytes(4) + data[end + 4 :]) == "corrupt"


def test_chunks_in_the_place_of_others(draft: Draft, refusal: Callable[[bytes], str]) -> None:
    """Both tiles hold chunks of the same lengths. The checksum of a chunk covers its group and its tile."""
    first, second = draft.groups[1]
    same = dataclasses.replace(second, payload=first.payload, bits_crc=first.bits_crc)
    data = dataclasses.replace(draft, groups=(draft.groups[0], (first, same))).write()
    size = len(first.payload) + 8
    end = len(data) - sum(len(payload) + 4 for _, payload in (POST_FILTER, TRAILING))
    one, other = data[end - 2 * size : end - size], data[end - size : end]
    assert one[:-4] == other[:-4]
    assert refusal(data[: end - size] + one + data[end:]) == "corrupt"


def test_other_levels(draft: Draft, tiny: Callable[[bytes], Decoded]) -> None:
    """Another payload has other levels, whose checksum does not hold, or a writer would end it elsewhere."""
    piece = draft.groups[0][0]
    for bit in range(8 * len(piece.payload)):
        payload = bytearray(piece.payload)
        payload[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Refused, match=r"bits mismatch|a writer ends this payload"):
            tiny(draft.with_piece(dataclasses.replace(piece, payload=bytes(payload))).write())


def test_payloads_that_no_writer_makes(
    draft: Draft, refusal: Callable[[bytes], str], network: IntegerNetwork
) -> None:
    piece, tile = draft.groups[0][0], tiles_of(260, 10, 16)[0]
    assert not piece.raw

    def why(**changes: object) -> str:
        return refusal(draft.with_piece(dataclasses.replace(piece, **changes)).write())  # type: ignore[arg-type]

    size = raw_length(network.architecture, range(2), tile.grid)
    assert why(bits_crc=piece.bits_crc ^ 1) == "bits mismatch"
    assert why(payload=piece.payload[:-1]) == "bits mismatch"
    assert why(payload=b"\xff" * (size - 1)) == "bits mismatch"
    assert why(payload=piece.payload + b"\0") == "corrupt"
    assert why(payload=piece.payload[:-1] + bytes([piece.payload[-1] + 1])) == "corrupt"
    assert why(payload=piece.payload.ljust(size, b"\0")) == "corrupt"
    assert why(raw=True) == "corrupt"
    assert why(raw=True, payload=bytes(size - 1)) == "corrupt"
    assert why(raw=True, payload=b"\xff" * size) == "corrupt"


def test_what_coding_makes_shorter_is_not_raw(
    draft: Draft,
    refusal: Callable[[bytes], str],
    network: IntegerNetwork,
    tables: Tables,
    tiny: Callable[[bytes], Decoded],
) -> None:
    file = read_file(draft.write())
    levels, groups = tiny(draft.write()).levels, [range(2), range(2, 3)]
    raw = pieces_of(network, tables, file.header, levels, groups, always_raw=True)
    assert raw[0][0].bits_crc == draft.groups[0][0].bits_crc
    assert refusal(draft.with_piece(raw[0][0]).write()) == "corrupt"


def test_raw_payloads(
    tiled: Callable[..., bytes],
    regrouped: Callable[[bytes, list[range]], Draft],
    refusal: Callable[[bytes], str],
) -> None:
    """Two levels of three bits are stored. Two zeros fill the byte, and no level is 7."""
    draft = regrouped(tiled(16, 16, quality=100), [range(1), range(1, 3)])
    piece = draft.groups[0][0]
    assert (piece.raw, len(piece.payload)) == (True, 1)
    reasons = [
        refusal(draft.with_piece(dataclasses.replace(piece, payload=bytes([value]))).write())
        for value in range(256)
        if value != piece.payload[0]
    ]
    assert reasons.count("bits mismatch") == 4 * (7 * 7 - 1)
    assert reasons.count("corrupt") == 3 + 4 * (64 - 7 * 7)


@pytest.mark.parametrize("quality", [0, 100])
def test_there_is_one_file_for_given_levels(
    quality: int,
    tiled: Callable[..., bytes],
    network: IntegerNetwork,
    tables: Tables,
    tiny: Callable[[bytes], Decoded],
) -> None:
    data = tiled(300, 280, quality=quality)
    file = read_file(data)
    assert draft_of(file).write() == data
    groups = [chunk.layers for chunk in file.tiles[0]]
    pieces = pieces_of(network, tables, file.header, tiny(data).levels, groups)
    assert dataclasses.replace(draft_of(file), groups=pieces).write() == data
    assert {piece.raw for pieces in draft_of(file).groups for piece in pieces} == {quality == 100}


@pytest.mark.parametrize(
    "groups",
    [[range(3)], [range(1), range(1, 3)], [range(2), range(2, 3)], [range(i, i + 1) for i in range(3)]],
)
def test_a_reader_takes_any_grouping(
    groups: list[range],
    tiled: Callable[..., bytes],
    regrouped: Callable[[bytes, list[range]], Draft],
    tiny: Callable[[bytes], Decoded],
    codec: Codec,
) -> None:
    data = tiled(40, 530)
    other = regrouped(data, groups).write()
    assert [chunk.layers for chunk in read_file(other).tiles[0]] == groups
    assert tiny(other).digest() == tiny(data).digest() == codec.unpack(other).digest()


@pytest.mark.parametrize("positions", [1, 15, 16, 17, 64, 65, 4096])
@pytest.mark.parametrize("side", [16, 23, 64])
def test_tiles_cover_an_axis(positions: int, side: int) -> None:
    found = parts(positions, side)
    assert [place for part in found for place in range(part.start, part.stop)] == list(range(positions))
    lengths = {part.stop - part.start for part in found}
    assert max(lengths) <= side
    assert max(lengths) - min(lengths) <= 1
    assert len(found) == -(-positions // side)


def test_tiles_come_row_by_row() -> None:
    found = [(tile.rows.start, tile.columns.start) for tile in tiles_of(16 * 33, 16 * 17, 16)]
    assert found == [(0, 0), (0, 11), (0, 22), (8, 0), (8, 11), (8, 22)]


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 16383, 16384, 2**32 - 1])
def test_varints(value: int) -> None:
    cursor = Cursor(varint(value) + b"!")
    assert cursor.varint() == value
    assert cursor.left == 1
