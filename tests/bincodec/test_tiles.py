"""Several tiles: the same bytes on any number of threads, local damage, and the picture that is shown."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from skimage import data as photos

from bincodec import BinaryCode, Codec, Corrupt, InvalidSetting, Truncated, decoder, windows
from bincodec.bitstream import container, stream
from bincodec.bitstream.container import Extra, Memory
from bincodec.bitstream.index import POST_FILTER
from bincodec.coding import packing
from bincodec.encoder import analysis
from bincodec.postfilter.filter import PostFilter
from bincodec.windows import Window

WIDTH, HEIGHT = 290, 270
TILES = 4
LAYERS = 3
FILTER = Extra(POST_FILTER, PostFilter(np.array([640, -640, 0]), (), np.zeros((3, 0), np.int64), 0).payload())


@contextlib.contextmanager
def threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.ascontiguousarray(photos.astronaut()[60 : 60 + HEIGHT, 130 : 130 + WIDTH])


@pytest.fixture(scope="module")
def code(codec: Codec, pixels: np.ndarray) -> BinaryCode:
    """17 x 19 positions in two rows and two columns of tiles."""
    return dataclasses.replace(codec.encode(pixels, 60), tile_side=16, extras=(FILTER,))


@pytest.fixture(scope="module")
def data(codec: Codec, code: BinaryCode) -> bytes:
    """Return a file with a chunk for each layer of each tile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "GROUP_BYTES", 0)
        found = codec.pack(code, verify=True)
    assert container.read(Memory(found)).groups == (1, 1, 1)
    return found


@pytest.fixture
def damage(data: bytes, chunk_place: Callable[..., slice]) -> Callable[..., bytes]:
    """Return the file with a bit flipped in each chunk of some (group, tile)."""

    def damaged(*chunks: tuple[int, int]) -> bytes:
        result = bytearray(data)
        for group, tile in chunks:
            result[chunk_place(data, group, tile).start] ^= 8
        return bytes(result)

    return damaged


def shown(codec: Codec, code: BinaryCode, layers: int | None = None) -> np.ndarray:
    return np.asarray(codec.decode(code, layers)).astype(int)


# --- fewer layers -------------------------------------------------------------------------------------------


def test_no_more_layers_are_unpacked_than_are_shown(
    codec: Codec, code: BinaryCode, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked: list[int] = []
    honest = packing.passes.run

    def run(prior: Any, quality: int, shape: tuple[int, int], layers: int, source: Any) -> Any:
        unpacked.append(layers)
        return honest(prior, quality, shape, layers, source)

    monkeypatch.setattr(packing.passes, "run", run)
    for layers in (1, 2, 3):
        unpacked.clear()
        found = codec.decompress(data, layers=layers)
        assert unpacked[:4] == [layers] * 4
        assert np.array_equal(np.asarray(found).astype(int), shown(codec, code, layers))
    for wrong in (0, 4):
        with pytest.raises(InvalidSetting, match=rf"layers {wrong} is not an integer in 1\.\.3"):
            codec.decompress(data, layers=wrong)


# --- several at once --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 2, 4])
def test_any_number_of_threads_writes_the_same_bytes(codec: Codec, data: bytes, number: int) -> None:
    with threads(number):
        code = codec.unpack(data)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stream, "GROUP_BYTES", 0)
            assert codec.pack(code, verify=True) == data


@pytest.mark.parametrize("number", [2, 4])
def test_any_number_of_threads_reads_and_shows_the_same(
    codec: Codec, code: BinaryCode, data: bytes, pixels: np.ndarray, number: int
) -> None:
    alone, part = shown(codec, code), shown(codec, code, 1)
    cost = codec.cost(code)
    with threads(number):
        found = codec.unpack(data)
        assert found.same_as(code)
        assert codec.cost(found).tobytes() == cost.tobytes()
        assert np.abs(shown(codec, found) - alone).max() <= 1
        assert np.abs(shown(codec, found, 1) - part).max() <= 1
        again = codec.encode(pixels, 60)
    assert all(
        np.abs(one.astype(int) - other).max() <= 1
        for one, other in zip(again.levels, code.levels, strict=True)
    )


def test_windows_on_threads_are_those_in_turn(
    codec: Codec, code: BinaryCode, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = shown(codec, code)
    for module in (analysis, decoder):
        monkeypatch.setattr(module, "covering", lambda area: windows.covering(area, 5))
    with threads(3):
        assert np.abs(shown(codec, code) - alone).max() <= 1
        again = codec.encode(pixels, 60)
    assert again.digest() == code.digest()


def test_a_file_of_tiles_is_hardly_larger_than_its_bits_cost(codec: Codec, code: BinaryCode) -> None:
    plain = dataclasses.replace(code, extras=())
    cost = codec.cost(plain)
    assert cost.shape == (LAYERS, 17, 19)
    assert (cost > 0).all()
    size = len(codec.pack(plain))
    assert cost.sum() / 8 < size <= cost.sum() / 8 * 1.001 + 48 + TILES * 20


def test_each_tile_is_coded_by_itself(codec: Codec, code: BinaryCode) -> None:
    """The levels of a tile only influence its own chunks."""
    tile = code.tiles[2]
    first = code.levels[0].copy()
    first[0, tile.top, tile.left] = (first[0, tile.top, tile.left] + 3) % 7
    other = dataclasses.replace(code, levels=(first, *code.levels[1:]))
    before, after = (container.read(Memory(codec.pack(one))).chunks for one in (code, other))
    changed = [one != two for rows in zip(before, after, strict=True) for one, two in zip(*rows, strict=True)]
    assert changed == [False, False, True, False]


# --- damage that stays in its tile ------------------------------------------------------------------------


@pytest.mark.parametrize("group", range(LAYERS))
@pytest.mark.parametrize("tile", range(TILES))
def test_damage_costs_its_own_tile_its_later_layers(
    codec: Codec, code: BinaryCode, damage: Callable[..., bytes], group: int, tile: int
) -> None:
    damaged = damage((group, tile))
    with pytest.raises(Corrupt, match=f"the chunk of layer {group + 1} of tile {tile} "):
        codec.unpack(damaged)
    found = codec.unpack(damaged, partial=True)
    expected = tuple(group if number == tile else LAYERS for number in range(TILES))
    assert (found.tile_layers, found.layers, found.intact) == (expected, LAYERS, False)
    row, column = divmod(tile, 2)
    (line,) = found.damage
    place = f"layer {group + 1} of tile {tile} (row {row}, column {column})"
    assert line == f"the checksum of the chunk of {place} does not match"
    for part in found.tiles:
        own = found.levels_of(part)
        assert len(own) == expected[part.number]
        assert all(
            np.array_equal(levels, whole[:, *part.place])
            for levels, whole in zip(own, code.levels, strict=False)
        )
    assert found.extras == code.extras


def test_each_damaged_tile_is_named(codec: Codec, damage: Callable[..., bytes]) -> None:
    found = codec.unpack(damage((2, 0), (0, 1), (1, 3), (2, 3)), partial=True)
    assert found.tile_layers == (2, 0, 3, 1)
    assert [line.partition(" of tile ")[2][0] for line in found.damage] == ["1", "3", "0", "3"]


def test_layers_that_no_tile_has_are_not_there(codec: Codec, damage: Callable[..., bytes]) -> None:
    last = [(2, tile) for tile in range(TILES)]
    found = codec.unpack(damage(*last), partial=True)
    assert (found.layers, found.tile_layers, len(found.damage)) == (2, None, TILES)
    found = codec.unpack(damage(*last, (1, 1)), partial=True)
    assert (found.layers, found.tile_layers) == (2, (2, 1, 2, 2))


@pytest.mark.parametrize("layers", [1, 2])
def test_of_layers_that_are_not_decoded_only_the_checksums_are_compared(
    codec: Codec, data: bytes, damage: Callable[..., bytes], repair: Callable[..., bytes], layers: int
) -> None:
    damaged = damage((2, 0))
    with pytest.raises(Corrupt, match="layer 3 of tile 0"):
        codec.decompress(damaged, layers=layers)
    shown, whole = (codec.decompress(file, layers=layers) for file in (repair(damaged), data))
    assert np.array_equal(np.asarray(shown), np.asarray(whole))


def test_damage_to_every_first_chunk_leaves_nothing(codec: Codec, damage: Callable[..., bytes]) -> None:
    with pytest.raises(Truncated, match="nothing arrived intact"):
        codec.unpack(damage(*((0, tile) for tile in range(TILES))), partial=True)


@pytest.mark.parametrize("group", range(LAYERS))
def test_a_forged_chunk_costs_its_own_tile_its_later_layers(
    codec: Codec, damage: Callable[..., bytes], repair: Callable[..., bytes], group: int
) -> None:
    """The checksum holds, but the levels are others than those that were written. Only decoding shows it."""
    forged = repair(damage((group, 1)))
    assert container.read(Memory(forged)).intact
    with pytest.raises(Corrupt, match=rf"layer {group + 1} of tile 1 \(row 0, column 1\): "):
        codec.unpack(forged)
    found = codec.unpack(forged, partial=True)
    assert found.tile_layers == (3, group, 3, 3)
    (line,) = found.damage
    assert line.startswith(f"layer {group + 1} of tile 1 (row 0, column 1): ")


def test_a_chunk_that_no_writer_makes_is_missing(codec: Codec, data: bytes) -> None:
    """Its checksums hold, but it is too long for its levels. Everything before it is shown."""
    whole = container.read(Memory(data))
    rows = [list(row) for row in whole.chunks]
    chunk = rows[1][2]
    assert chunk is not None
    rows[1][2] = dataclasses.replace(chunk, payload=bytes(10**5))
    forged = container.write(whole.header, whole.groups, rows, whole.extras)
    with pytest.raises(Corrupt, match=r"tile 2 .*: 100000 bytes of raw levels"):
        codec.unpack(forged)
    found = codec.unpack(forged, partial=True)
    assert found.tile_layers == (3, 3, 1, 3)
    (line,) = found.damage
    assert "100000 bytes of raw levels" in line


def test_a_raw_chunk_is_compared_with_what_the_safest_kernel_makes(
    codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raw levels do not depend on predictions, so their checksum holds with wrong ones."""
    rng, card = np.random.default_rng(0), codec.model.card
    maximum = card.architecture.maximum_level
    channels = zip(card.architecture.layer_channels, maximum, strict=True)
    levels = tuple(rng.integers(0, top + 1, (count, 2, 2), np.uint8) for count, top in channels)
    code = BinaryCode(levels, maximum, 32, 32, 50, card.name, card.fingerprint)
    data = codec.pack(code)
    chunks = container.read(Memory(data)).chunks
    assert any(chunk is not None and chunk.raw for row in chunks for chunk in row)
    honest = packing._attempt

    def differing(prior: packing.IntegerPrior, *rest: Any) -> Any:
        """Stand for an inexact library, with whose predictions a writer would not have stored raw levels."""
        found = honest(prior, *rest)
        if prior.kernel is packing.SAFEST_KERNEL:
            return found
        return dataclasses.replace(found, levels=[], error=Corrupt("not what a writer makes"), doubtful=True)

    monkeypatch.setattr(packing, "_attempt", differing)
    assert codec.unpack(data).digest() == code.digest()


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("partial", [False, True])
def test_wrong_tiles_are_read_again_one_at_a_time(
    codec: Codec, data: bytes, monkeypatch: pytest.MonkeyPatch, number: int, partial: bool
) -> None:
    """The second attempt takes much time and memory. For a whole file, the first wrong tile decides."""
    whole = container.read(Memory(data))
    forged = [
        [dataclasses.replace(chunk, bits_crc=chunk.bits_crc ^ 1) for chunk in row if chunk is not None]
        for row in whole.chunks
    ]
    file = container.write(whole.header, whole.groups, forged, whole.extras)
    attempt, kernels, at_work, most = packing._attempt, [], [0], [0]

    def watched(prior: packing.IntegerPrior, *rest: Any) -> Any:
        kernels.append(prior.kernel is packing.SAFEST_KERNEL)
        at_work[0] += kernels[-1]
        most[0] = max(most[0], at_work[0])
        found = attempt(prior, *rest)
        at_work[0] -= prior.kernel is packing.SAFEST_KERNEL
        return found

    monkeypatch.setattr(packing, "_attempt", watched)
    with threads(number), pytest.raises(Corrupt):
        codec.unpack(file, partial=partial)
    assert (sum(kernels), most[0]) == (TILES if partial else 1, 1)


def test_chunks_that_changed_places_are_damaged(codec: Codec, chunk_place: Callable[..., slice]) -> None:
    """The chunks are raw and the tiles have one size, so the index and the checksums behind it still hold."""
    rng, card = np.random.default_rng(0), codec.model.card
    maximum = card.architecture.maximum_level
    channels = zip(card.architecture.layer_channels, maximum, strict=True)
    levels = tuple(rng.integers(0, top + 1, (count, 32, 32), np.uint8) for count, top in channels)
    data = codec.pack(BinaryCode(levels, maximum, 512, 512, 50, card.name, card.fingerprint, tile_side=16))
    ((first, *_),) = container.read(Memory(data)).chunks
    assert first is not None
    assert first.raw
    changed = bytearray(data)
    for here, there in ((1, 2), (2, 1)):
        to, source = (chunk_place(data, 0, tile) for tile in (here, there))
        changed[to.start : to.stop + 8] = data[source.start : source.stop + 8]
    assert len(changed) == len(data)
    found = codec.unpack(bytes(changed), partial=True)
    assert found.tile_layers == (3, 0, 0, 3)
    assert [line.partition(" (")[0] for line in found.damage] == [
        f"the checksum of the chunk of layers 1 to 3 of tile {tile}" for tile in (1, 2)
    ]


def test_a_file_that_ends_early_keeps_what_came_before(
    codec: Codec, code: BinaryCode, data: bytes, chunk_place: Callable[..., slice]
) -> None:
    found = codec.unpack(data[: chunk_place(data, 1, 2).start + 1], partial=True)
    assert found.tile_layers == (2, 2, 1, 1)
    assert found.layers == 2
    # These are two chunks of the second layer, four of the third, and the post-filter.
    assert len(found.damage) == 7
    assert all(line.startswith("the file ends at byte ") for line in found.damage)
    assert found.extras == ()
    assert np.array_equal(found.levels[0], code.levels[0])


def test_a_damaged_post_filter_is_named_and_left_out(codec: Codec, code: BinaryCode, data: bytes) -> None:
    damaged = data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]
    with pytest.raises(Corrupt, match="checksum of the post-filter does not match"):
        codec.unpack(damaged)
    found = codec.unpack(damaged, partial=True)
    assert (found.tile_layers, found.extras) == (None, ())
    assert found.damage == ("the checksum of the post-filter does not match",)
    assert found.digest() == code.digest()
    bare = dataclasses.replace(code, extras=())
    assert np.array_equal(shown(codec, found), shown(codec, bare))


# --- the shown picture ------------------------------------------------------------------------------------


def test_what_is_missing_of_a_tile_is_expected(
    codec: Codec, code: BinaryCode, damage: Callable[..., bytes]
) -> None:
    """The expectation depends on the tile's own layers, and on what is known of the tiles around it."""
    found = codec.unpack(damage((1, 1)), partial=True)
    architecture, whole = codec.model.card.architecture, Window(0, 0, *code.grid)
    own, lost = (decoder.Shown(codec.model, one, LAYERS).centred(whole) for one in (code, found))
    tile = found.tiles[1]
    outside = np.ones(code.grid, bool)
    outside[tile.place] = False
    first = architecture.layer_slice(0)
    assert torch.equal(lost[:, outside], own[:, outside])
    assert torch.equal(lost[first], own[first])
    rest = slice(first.stop, None)
    inside = lost[rest][:, *tile.place]
    assert not torch.equal(inside, own[rest][:, *tile.place])
    # An expectation is not an integer level.
    assert (inside * 2 != (inside * 2).round()).float().mean() > 0.9
    # That of a tile without neighbours is not one either.
    lonely = dataclasses.replace(found, tile_layers=(0, 1, 0, 0))
    alone = decoder.Shown(codec.model, lonely, LAYERS).centred(whole)[rest][:, *tile.place]
    assert torch.allclose(alone, inside, atol=0.5)
    assert not torch.equal(alone, inside)
    reach = architecture.prior_reach
    assert torch.allclose(alone[:, :-reach, reach:], inside[:, :-reach, reach:], atol=1e-6)


@pytest.mark.parametrize("layers", [1, 2])
def test_what_is_expected_knows_nothing_of_tiles(codec: Codec, code: BinaryCode, layers: int) -> None:
    """If all tiles have the same layers, the expectation of each depends on what is near, across borders."""
    whole = dataclasses.replace(code, tile_side=64)
    area = Window(0, 0, *code.grid)
    one, other = (decoder.Shown(codec.model, each, layers).centred(area) for each in (code, whole))
    assert torch.allclose(one, other, atol=1e-6)
    assert np.abs(shown(codec, code, layers) - shown(codec, whole, layers)).max() <= 1


@pytest.mark.parametrize("group", range(LAYERS))
def test_a_damaged_file_is_shown_whole_but_for_its_tile(
    codec: Codec, code: BinaryCode, damage: Callable[..., bytes], group: int
) -> None:
    damaged = damage((group, 0))
    image = codec.decompress(damaged, missing="expect")
    info = image.info["bld"]
    assert (info["layers"], info["intact"], len(info["damage"])) == (LAYERS, False, 1)
    difference = np.abs(np.asarray(image).astype(int) - shown(codec, code)).max(2)
    tile, reach = code.tiles[0], codec.model.card.architecture.decoder_reach
    near = slice(0, 16 * (tile.bottom + reach)), slice(0, 16 * (tile.right + reach))
    assert difference[near].max() > 0
    difference[near] = 0
    assert difference.max() == 0


def test_fewer_layers_of_a_damaged_file(codec: Codec, code: BinaryCode, damage: Callable[..., bytes]) -> None:
    """If everything that is asked for is there, the picture is that of the undamaged file."""
    damaged = damage((2, 0))
    image = codec.decompress(damaged, missing="expect", layers=2)
    assert np.array_equal(np.asarray(image), shown(codec, code, 2))
    assert image.info["bld"]["layers"] == 2
    image = codec.decompress(damage((1, 0)), missing="expect", layers=2)
    assert not np.array_equal(np.asarray(image), shown(codec, code, 2))


def test_a_tile_without_any_layer_is_shown_too(
    codec: Codec, code: BinaryCode, damage: Callable[..., bytes]
) -> None:
    found = codec.unpack(damage((0, 3)), partial=True)
    (bare,) = (tile for tile in found.tiles if not found.layers_of(tile))
    picture = shown(codec, found)
    inside = picture[16 * bare.top + 48 :, 16 * bare.left + 48 :]
    assert inside.size > 0
    # Unknown parts are smooth.
    assert (
        inside.std((0, 1)).max()
        < shown(codec, code)[16 * bare.top + 48 :, 16 * bare.left + 48 :].std((0, 1)).max()
    )


# --- completion -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunks", [((1, 1),), ((0, 0), (2, 3)), ((0, 0), (0, 1), (0, 2))])
def test_what_is_missing_is_drawn_and_the_rest_stays(
    codec: Codec, code: BinaryCode, damage: Callable[..., bytes], chunks: tuple[tuple[int, int], ...]
) -> None:
    found = codec.unpack(damage(*chunks), partial=True)
    done = codec.complete(found, seed=3)
    assert (done.code.layers, done.code.tile_layers, done.code.damage) == (LAYERS, None, found.damage)
    for tile in found.tiles:
        for own, whole in zip(found.levels_of(tile), done.code.levels, strict=False):
            assert np.array_equal(own, whole[:, *tile.place])
    assert done.code.digest() != code.digest()
    assert codec.complete(found, seed=3).code.digest() == done.code.digest()
    assert codec.complete(found, seed=4).code.digest() != done.code.digest()
    assert done.real_layers == min(group for group, _ in chunks)
    # The filter was fitted to other levels.
    assert done.code.extras == ()


def test_the_share_of_real_bits_counts_tiles(codec: Codec, damage: Callable[..., bytes]) -> None:
    found = codec.unpack(damage((1, 1), (0, 2)), partial=True)
    # If levels are lost, those drawn at temperature 1 provide their cost.
    bits = codec.cost(codec.complete(found, seed=3).code)
    real = 0.0
    for tile in found.tiles:
        real += bits[: found.layers_of(tile), *tile.place].sum()
    for temperature in (1.0, 0.5):
        done = codec.complete(found, seed=3, temperature=temperature)
        assert done.real_share == pytest.approx(real / bits.sum())
    assert 0.5 < done.real_share < 1


def test_what_a_tile_lacks_costs_nothing(
    codec: Codec, code: BinaryCode, damage: Callable[..., bytes]
) -> None:
    found = codec.unpack(damage((1, 1)), partial=True)
    whole, cost = codec.cost(code), codec.cost(found)
    missing = np.zeros(whole.shape, bool)
    missing[1:, *found.tiles[1].place] = True
    assert not cost[missing].any()
    assert np.array_equal(cost[~missing], whole[~missing])


def test_fewer_layers_of_a_damaged_file_are_completed(codec: Codec, damage: Callable[..., bytes]) -> None:
    damaged = damage((1, 1))
    found = codec.unpack(damaged, partial=True)
    done = codec.complete(found, 2, seed=3)
    assert done.real_layers == 1
    tile = found.tiles[0]
    assert all(
        np.array_equal(done.code.levels[layer][:, *tile.place], found.levels[layer][:, *tile.place])
        for layer in (0, 1)
    )
    assert not np.array_equal(done.code.levels[2][:, *tile.place], found.levels[2][:, *tile.place])


def test_a_damaged_file_is_sampled_in_one_call(
    codec: Codec, code: BinaryCode, damage: Callable[..., bytes]
) -> None:
    damaged = damage((1, 1))
    image = codec.decompress(damaged, missing="sample", seed=3)
    done = codec.complete(codec.unpack(damaged, partial=True), seed=3)
    assert np.array_equal(np.asarray(image), shown(codec, done.code))
    info = image.info["bld"]
    assert (info["layers"], info["real_layers"], info["real_share"]) == (LAYERS, 1, done.real_share)
    assert (info["intact"], info["damage"]) == (False, done.code.damage)
    smooth = codec.decompress(damaged, missing="expect")
    assert not np.array_equal(np.asarray(image), np.asarray(smooth))
    bare = dataclasses.replace(code, extras=())
    reach = codec.model.card.architecture.decoder_reach
    left = slice(0, 16 * (code.tiles[1].left - reach))
    assert np.array_equal(np.asarray(image)[:, left], shown(codec, bare)[:, left])


# --- refusals ---------------------------------------------------------------------------------------------


def test_a_code_that_lacks_something_makes_no_file(
    codec: Codec, code: BinaryCode, data: bytes, damage: Callable[..., bytes]
) -> None:
    whole = codec.unpack(damage(*((2, tile) for tile in range(TILES))), partial=True)
    assert whole.tile_layers is None
    for lacking in (
        codec.unpack(damage((1, 1)), partial=True),
        whole,
        codec.unpack(data, region=(0, 0, 1, 1)),
        codec.complete(codec.unpack(damage((1, 1)), partial=True)).code,
        dataclasses.replace(code, tile_layers=(3, 3, 3, 2)),
        dataclasses.replace(code, damage=("something",)),
    ):
        with pytest.raises(InvalidSetting, match="parts of its file were damaged or not read") as caught:
            codec.pack(lacking)
        assert "\n" not in str(caught.value)


def test_a_code_that_lacks_layers_is_not_varied_or_inpainted(
    codec: Codec, data: bytes, damage: Callable[..., bytes]
) -> None:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[100:120, 100:130] = True
    fewer = codec.unpack(damage(*((2, tile) for tile in range(TILES))), partial=True)
    for lacking, words in (
        (codec.unpack(damage((1, 1)), partial=True), "the code lacks layers in some of its tiles"),
        (codec.unpack(data, region=(0, 0, 1, 1)), "the code lacks layers in some of its tiles"),
        (fewer, "the code has 2 of the model's 3 layers"),
    ):
        calls: tuple[Callable[[BinaryCode], Any], ...] = (
            lambda code: codec.inpaint(code, mask),
            lambda code: codec.vary(code, 0.5),
        )
        for call in calls:
            with pytest.raises(InvalidSetting, match=f"^{words}: complete it first$"):
                call(lacking)
        done = codec.complete(lacking).code
        assert codec.vary(done, 0.0)[0].digest() == done.digest()


@pytest.mark.parametrize("side", [15, 65, 0, -16, 10**30])
def test_sides_of_tiles_that_do_not_exist(code: BinaryCode, side: int) -> None:
    with pytest.raises(InvalidSetting, match=r"tile_side .* is not an integer in 16\.\.64"):
        dataclasses.replace(code, tile_side=side)


@pytest.mark.parametrize(
    ("minor", "error"), [(-1, InvalidSetting), (256, InvalidSetting), (True, TypeError), (1.5, TypeError)]
)
def test_minor_versions_that_do_not_exist(code: BinaryCode, minor: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"minor_version .* an integer in 0\.\.255"):
        dataclasses.replace(code, minor_version=minor)


@pytest.mark.parametrize("side", [16.0, "16", None, True])
def test_sides_of_tiles_of_another_type(code: BinaryCode, side: Any) -> None:
    with pytest.raises(TypeError, match=r"tile_side must be an integer in 16\.\.64, not"):
        dataclasses.replace(code, tile_side=side)


@pytest.mark.parametrize(
    ("tile_layers", "words"),
    [
        ((), "0 numbers of layers do not go with 4 tiles"),
        ((3, 3, 3), "3 numbers of layers do not go with 4 tiles"),
        ((3, 3, 3, 3, 2), "5 numbers of layers do not go with 4 tiles"),
        ((3, 3, 4, 3), r"layers of tile 2 \(row 1, column 0\) 4 is not an integer in 0\.\.3"),
        ((3, -1, 3, 3), r"layers of tile 1 \(row 0, column 1\) -1 is not an integer in 0\.\.3"),
    ],
)
def test_layers_of_tiles_that_do_not_exist(
    code: BinaryCode, tile_layers: tuple[int, ...], words: str
) -> None:
    with pytest.raises(InvalidSetting, match=words):
        dataclasses.replace(code, tile_layers=tile_layers)


@pytest.mark.parametrize("tile_layers", [3, [3, 3, 3, 2], (3, 3, 3, 2.0), (3, 3, 3, None), "3332"])
def test_layers_of_tiles_of_another_type(code: BinaryCode, tile_layers: Any) -> None:
    with pytest.raises(TypeError, match="tile"):
        dataclasses.replace(code, tile_layers=tile_layers)


def test_layers_of_tiles_that_have_all_are_nothing_to_tell(codec: Codec, code: BinaryCode) -> None:
    numbers = tuple(np.array([3, 3, 3, 3]))
    found = dataclasses.replace(code, tile_layers=numbers, tile_side=np.int64(16))
    assert found.tile_layers is None
    assert type(found.tile_side) is int
    assert codec.pack(found) == codec.pack(code)
    some = dataclasses.replace(code, tile_layers=tuple(np.array([3, 3, 3, 1])))
    assert some.tile_layers == (3, 3, 3, 1)
    assert [some.layers_of(tile) for tile in some.tiles] == [3, 3, 3, 1]


@pytest.mark.parametrize("damage", ["one sentence", ["one"], (1,), None])
def test_damage_of_another_type(code: BinaryCode, damage: Any) -> None:
    with pytest.raises(TypeError, match="damage must be a tuple of str, not"):
        dataclasses.replace(code, damage=damage)


def test_codes_of_other_tiles_are_other_files(codec: Codec, code: BinaryCode) -> None:
    whole = dataclasses.replace(code, tile_side=64)
    assert whole.digest() == code.digest()
    assert not whole.same_as(code)
    assert len(whole.tiles) == 1
    assert codec.unpack(codec.pack(whole)).same_as(whole)
    assert len(codec.pack(whole)) < len(codec.pack(code))


# --- extras -----------------------------------------------------------------------------------------------


def test_extras_stand_as_in_a_file_whatever_their_order(codec: Codec, code: BinaryCode) -> None:
    extras = (Extra(0xC0, b"before the levels"), Extra(0x90, b""), FILTER)
    found = codec.unpack(codec.pack(dataclasses.replace(code, extras=extras), verify=True))
    assert [extra.kind for extra in found.extras] == [0xC0, POST_FILTER, 0x90]
    assert set(found.extras) == set(extras)


def test_a_kind_of_extra_stands_once(code: BinaryCode) -> None:
    with pytest.raises(InvalidSetting, match="2 extras are of kind 0x81; a file holds one of each"):
        dataclasses.replace(code, extras=(FILTER, Extra(0x90, b""), FILTER))
