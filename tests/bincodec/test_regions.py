"""A region has the same pixels as in the whole picture, and only the needed part of a file is read."""

import dataclasses
import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from skimage import data as photos

import bincodec
from bincodec import BinaryCode, Codec, InvalidSetting, Truncated, arguments
from bincodec.bitstream import container, stream
from bincodec.bitstream.container import Extra, Memory
from bincodec.bitstream.header import HEADER_BYTES
from bincodec.bitstream.index import POST_FILTER
from bincodec.io import files
from bincodec.postfilter.features import SIZE
from bincodec.postfilter.filter import PostFilter

MODELS = Path(__file__).resolve().parents[1] / "models"
WIDTH, HEIGHT = 530, 300
"""34 x 19 positions: three columns and two rows of the smallest tiles."""
INDEX = 2**12
"""The bytes that are read at once to find the index."""


@pytest.fixture(scope="module")
def code(codec: Codec) -> BinaryCode:
    """Return a photo in six tiles. Its post-filter reads far around, and depends on the place of a pixel."""
    pixels = np.tile(photos.astronaut()[100 : 100 + HEIGHT, :], (1, 2, 1))[:, :WIDTH]
    found = codec.encode(np.ascontiguousarray(pixels), 60)
    weights = np.random.default_rng(0).integers(-20, 20, (3, SIZE))
    post_filter = PostFilter(np.array([300, -200, 100]), tuple(range(SIZE)), weights, 6)
    return dataclasses.replace(found, tile_side=16, extras=(Extra(POST_FILTER, post_filter.payload()),))


@pytest.fixture(scope="module")
def file(codec: Codec, code: BinaryCode) -> bytes:
    return codec.pack(code)


@pytest.fixture(scope="module")
def wholes(codec: Codec, code: BinaryCode) -> dict[int, np.ndarray]:
    """Return the whole picture by number of layers."""
    return {layers: np.asarray(codec.decode(code, layers)).astype(int) for layers in (1, 2, 3)}


def away(image: Any, whole: np.ndarray, region: tuple[int, int, int, int]) -> int:
    """Return the largest difference between the pixels of a region and those of the whole picture."""
    left, top, width, height = region
    assert image.size == (width, height)
    part = whole[top : top + height, left : left + width]
    return int(np.abs(np.asarray(image).astype(int) - part).max())


regions = st.tuples(st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1)).flatmap(
    lambda corner: st.tuples(
        st.just(corner[0]),
        st.just(corner[1]),
        st.integers(1, WIDTH - corner[0]),
        st.integers(1, HEIGHT - corner[1]),
    )
)


# --- the same pixels --------------------------------------------------------------------------------------


@settings(deadline=None, derandomize=True, max_examples=40)
@given(regions, st.sampled_from([1, 2, 3]))
@example((0, 0, WIDTH, HEIGHT), 3)
@example((0, 0, 1, 1), 3)
@example((WIDTH - 1, HEIGHT - 1, 1, 1), 3)
@example((175, 143, 2, 2), 3)  # The region is in four tiles.
@example((176, 144, 1, 1), 2)
def test_a_region_is_that_part_of_the_picture(
    codec: Codec,
    code: BinaryCode,
    wholes: dict[int, np.ndarray],
    region: tuple[int, int, int, int],
    layers: int,
) -> None:
    """The code is complete, whatever part of it is shown."""
    image = codec.decode(code, layers, region=region)
    assert away(image, wholes[layers], region) <= 1
    assert (image.mode, image.info["bld"]["layers"], image.info["bld"]["intact"]) == ("RGB", layers, True)


@settings(deadline=None, derandomize=True, max_examples=25)
@given(regions)
@example((0, 0, WIDTH, HEIGHT))
@example((175, 143, 2, 2))
@example((40, 40, 30, 30))
def test_a_region_of_a_file_is_that_part_of_the_picture(
    codec: Codec, file: bytes, wholes: dict[int, np.ndarray], region: tuple[int, int, int, int]
) -> None:
    """The pixels are the same although only some of the tiles were read."""
    image = codec.decompress(file, region=region)
    assert away(image, wholes[3], region) <= 1
    assert image.info["bld"] == {
        "model": "tiny-1",
        "quality": 60,
        "layers": 3,
        "decoder": "fidelity",
        "realism": 0.0,
        "intact": True,
        "damage": (),
        "real_layers": 3,
        "real_share": 1.0,
    }


@pytest.mark.parametrize("layers", [1, 2])
def test_a_region_of_fewer_layers_is_nearly_that_part(
    codec: Codec, file: bytes, wholes: dict[int, np.ndarray], layers: int
) -> None:
    """The expectation of other tiles then does not depend on the tiles that were not read."""
    for region in ((0, 0, 100, 90), (190, 160, 60, 60), (400, 200, 130, 100)):
        image = codec.decompress(file, layers=layers, region=region)
        assert away(image, wholes[layers], region) <= 3


def test_a_grey_region_is_grey(codec: Codec, code: BinaryCode) -> None:
    grey = dataclasses.replace(code, grey=True)
    whole = np.asarray(codec.decode(grey)).astype(int)
    image = codec.decompress(codec.pack(grey), region=(150, 100, 77, 60))
    assert image.mode == "L"
    assert away(image, whole, (150, 100, 77, 60)) <= 1


def test_the_module_s_function_takes_regions(
    monkeypatch: pytest.MonkeyPatch, file: bytes, wholes: dict[int, np.ndarray], tmp_path: Path
) -> None:
    monkeypatch.setenv("BINCODEC_MODELS", str(MODELS))
    (tmp_path / "file.bld").write_bytes(file)
    region = (300, 17, 64, 48)
    for source in (file, tmp_path / "file.bld", str(tmp_path / "file.bld"), io.BytesIO(file)):
        assert away(bincodec.decompress(source, region=region), wholes[3], region) <= 1
        whole = bincodec.decompress(source)
        assert away(whole, wholes[3], (0, 0, WIDTH, HEIGHT)) <= 1


# --- the same code ----------------------------------------------------------------------------------------


def test_the_tiles_that_a_region_needs_are_unpacked_and_no_others(
    codec: Codec, code: BinaryCode, file: bytes
) -> None:
    # There are three positions more on each side: those that the decoder sees, and one for the post-filter.
    assert code.tiles[0].bounds == (0, 0, 9, 11)
    for region, expected in (
        ((0, 0, 1, 1), {0}),
        ((0, 0, 16 * 8, 16 * 6), {0}),
        ((0, 0, 16 * 8 + 1, 16 * 6), {0, 1}),
        ((0, 0, 16 * 8, 16 * 6 + 1), {0, 3}),
        ((16 * 14, 16 * 12, 16, 1), {4}),
        ((16 * 14 - 1, 16 * 12, 16, 1), {3, 4}),
        ((16 * 14, 16 * 12 - 1, 16, 1), {1, 4}),
        ((0, 0, WIDTH, HEIGHT), set(range(6))),
    ):
        found = codec.unpack(file, region=region)
        assert found.intact
        there = {tile.number for tile in found.tiles if found.layers_of(tile)}
        assert there == expected, region
        for tile in found.tiles:
            own = zip(found.levels_of(tile), code.levels, strict=False)
            assert all(np.array_equal(levels, whole[:, *tile.place]) for levels, whole in own)
        assert (found.tile_layers is None) == (len(expected) == 6)


def test_a_part_of_a_code_is_no_file(codec: Codec, file: bytes) -> None:
    found = codec.unpack(file, region=(0, 0, 10, 10))
    with pytest.raises(InvalidSetting, match="parts of its file were damaged or not read"):
        codec.pack(found)


def test_all_of_it_is_a_file_again(codec: Codec, file: bytes) -> None:
    assert codec.pack(codec.unpack(file, region=(0, 0, WIDTH, HEIGHT))) == file


# --- reading only what is needed --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def noise(codec: Codec) -> bytes:
    """Return a file of 22 kB: 16 x 8 positions by 8 x 4 tiles, of levels that cannot be compressed."""
    rng, architecture = np.random.default_rng(0), codec.model.card.architecture
    levels = tuple(
        rng.integers(0, top + 1, (channels, 64, 160), np.uint8)
        for channels, top in zip(architecture.layer_channels, architecture.maximum_level, strict=True)
    )
    card = codec.model.card
    code = BinaryCode(
        levels, architecture.maximum_level, 2560, 1024, 50, card.name, card.fingerprint, tile_side=16
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "GROUP_BYTES", 100)
        return codec.pack(code)


class Counting(io.BytesIO):
    """A file that remembers which of its bytes were read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.seen = np.zeros(len(data), bool)

    def read(self, size: int | None = -1) -> bytes:
        start = self.tell()
        found = super().read(size)
        self.seen[start : start + len(found)] = True
        return found


def needed(data: bytes, tiles: set[int]) -> np.ndarray:
    """Return the bytes of some tiles: their chunks, and everything before the chunks."""
    header, index, position = container.read_index(Memory(data))
    result = np.zeros(len(data), bool)
    result[: max(position, INDEX)] = True
    assert not index.extras
    sizes = iter(index.sizes())
    for _ in index.groups:
        for tile in header.tiles:
            size = next(sizes)
            result[position : position + size] |= tile.number in tiles
            position += size
    return result


REGION, TILES = (1000, 400, 100, 90), {13, 14, 23, 24}
"""The region is in the middle: rows 22 to 33 and columns 59 to 71 of positions. Tiles are 16 x 16."""


def test_of_a_stream_that_can_seek_only_what_is_needed_is_read(codec: Codec, noise: bytes) -> None:
    file = Counting(noise)
    image = codec.decompress(file, region=REGION)
    assert np.array_equal(file.seen, needed(noise, TILES))
    assert file.seen.sum() < len(noise) / 3
    whole = np.asarray(codec.decompress(noise)).astype(int)
    assert away(image, whole, REGION) <= 1


def test_of_a_path_only_what_is_needed_is_read(
    codec: Codec, noise: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BINCODEC_MODELS", str(MODELS))
    opened: list[Counting] = []

    def open_path(path: str) -> Counting:
        opened.append(Counting(Path(path).read_bytes()))
        return opened[-1]

    monkeypatch.setattr(files, "_open_path", open_path)
    (tmp_path / "noise.bld").write_bytes(noise)
    bincodec.decompress(tmp_path / "noise.bld", region=REGION)
    (file,) = opened
    assert np.array_equal(file.seen, needed(noise, TILES))
    assert file.closed


def test_without_a_region_all_is_read_at_once(codec: Codec, noise: bytes) -> None:
    file = Counting(noise)
    codec.unpack(file)
    assert file.seen.all()


def test_a_region_does_not_care_for_damage_elsewhere(
    codec: Codec, noise: bytes, chunk_place: Callable[..., slice]
) -> None:
    data = bytearray(noise)
    for tile in set(range(40)) - TILES:
        data[chunk_place(noise, 0, tile).start] ^= 1
    found = codec.unpack(bytes(data), region=REGION)
    assert found.intact
    assert np.array_equal(
        np.asarray(codec.decode(found, region=REGION)), np.asarray(codec.decompress(noise, region=REGION))
    )
    data[chunk_place(noise, 0, 14).start] ^= 1
    with pytest.raises(bincodec.Corrupt, match="tile 14 "):
        codec.unpack(bytes(data), region=REGION)
    found = codec.unpack(bytes(data), region=REGION, partial=True)
    assert [found.layers_of(tile) for tile in found.tiles if tile.number in TILES] == [3, 0, 3, 3]
    assert len(found.damage) == 1


def test_a_region_that_did_not_arrive_is_refused(
    codec: Codec, noise: bytes, chunk_place: Callable[..., slice]
) -> None:
    cut = noise[: chunk_place(noise, 0, 20).start]
    assert codec.unpack(cut, region=(0, 0, 100, 90), partial=True).layers == 1
    with pytest.raises(Truncated, match="nothing arrived intact"):
        codec.unpack(cut, region=(2000, 900, 100, 90), partial=True)


class Pipe:
    """A stream that cannot seek."""

    def __init__(self, data: bytes) -> None:
        self._stream = io.BytesIO(data)
        self.taken = 0

    def read(self, size: int, /) -> bytes:
        found = self._stream.read(min(size, 1000))
        self.taken += len(found)
        return found


def test_of_a_stream_that_cannot_seek_everything_is_read(codec: Codec, noise: bytes) -> None:
    expected = np.asarray(codec.decompress(noise, region=REGION))
    pipe = Pipe(noise)
    assert np.array_equal(np.asarray(codec.decompress(pipe, region=REGION)), expected)
    assert pipe.taken == len(noise)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with a name")
def test_of_a_pipe_everything_is_read(
    codec: Codec, noise: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The pipe may have a name or not. The function reads the header before it has a codec."""
    monkeypatch.setenv("BINCODEC_MODELS", str(MODELS))
    expected = np.asarray(codec.decompress(noise, region=REGION))
    os.mkfifo(tmp_path / "named")
    reader, writer = os.pipe()

    def write(end: Path | int) -> None:
        with open(end, "wb") as file:
            file.write(noise)

    with open(reader, "rb") as nameless:
        for source, end in ((tmp_path / "named", tmp_path / "named"), (nameless, writer)):
            thread = threading.Thread(target=write, args=(end,))
            thread.start()
            assert np.array_equal(np.asarray(bincodec.decompress(source, region=REGION)), expected)
            thread.join()


def test_a_stream_is_read_from_its_start_wherever_it_stands(codec: Codec, noise: bytes) -> None:
    file = io.BytesIO(noise)
    file.seek(777)
    assert codec.unpack(file, region=REGION).same_as(codec.unpack(noise, region=REGION))


def test_a_file_that_is_no_file_is_not_read_far(codec: Codec) -> None:
    file = Counting(bytes(10**6))
    with pytest.raises(bincodec.NotBld):
        codec.unpack(file, region=(0, 0, 1, 1))
    assert file.seen.sum() == HEADER_BYTES


def test_a_closed_file_is_unreadable(codec: Codec, noise: bytes) -> None:
    file = io.BytesIO(noise)
    file.close()
    with pytest.raises(bincodec.Unreadable):
        codec.unpack(file, region=REGION)


# --- refusals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("region", "words"),
    [
        ((0, 0, 0, 1), r"width of the region 0 is not an integer in 1\.\.530"),
        ((529, 0, 2, 1), r"width of the region 2 is not an integer in 1\.\.1"),
        ((0, 299, 1, 2), r"height of the region 2 is not an integer in 1\.\.1"),
        ((530, 0, 1, 1), r"left of the region 530 is not an integer in 0\.\.529"),
        ((0, -1, 1, 1), r"top of the region -1 is not an integer in 0\.\.299"),
        ((1, 2, 3), r"region \(1, 2, 3\) is not a left, a top, a width and a height"),
    ],
)
def test_regions_that_do_not_exist(
    codec: Codec, code: BinaryCode, file: bytes, region: Any, words: str
) -> None:
    calls: tuple[Callable[[], object], ...] = (
        lambda: codec.unpack(file, region=region),
        lambda: codec.decode(code, region=region),
        lambda: codec.decompress(file, region=region),
    )
    for call in calls:
        with pytest.raises(InvalidSetting, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("region", [5, (0, 0, 1.0, 1), ("0", 0, 1, 1), (True, 0, 1, 1)])
def test_regions_of_another_type(codec: Codec, code: BinaryCode, file: bytes, region: Any) -> None:
    for call in (lambda: codec.unpack(file, region=region), lambda: codec.decode(code, region=region)):
        with pytest.raises(TypeError, match="region"):
            call()


def test_numpy_s_integers_are_regions_too() -> None:
    found = arguments.checked_region(tuple(np.array([1, 2, 3, 4])), 10, 10)
    assert found == (1, 2, 3, 4)
    assert {type(number) for number in found} == {int}


def test_a_region_is_not_sampled(codec: Codec, file: bytes) -> None:
    with pytest.raises(InvalidSetting, match="a region cannot be sampled"):
        codec.decompress(file, region=(0, 0, 1, 1), missing="sample")


def test_limits_hold_for_the_whole_picture(codec: Codec, file: bytes) -> None:
    with pytest.raises(bincodec.TooLarge, match="pixels=1000"):
        codec.unpack(file, region=(0, 0, 1, 1), limits=bincodec.Limits(pixels=1000))
