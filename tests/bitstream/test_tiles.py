"""The grid and its tiles: every position is in exactly one tile, and sides are as equal as possible."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bincodec.bitstream import tiles
from bincodec.bitstream.tiles import Tile, count_tiles, cuts, grid_of, tiles_of

pixels = st.integers(1, 5000)
sides = st.integers(16, 64)


@given(pixels, pixels, sides)
@example(1, 1, 16)
@example(1024, 1025, 64)
@example(65535, 1, 16)
def test_tiles_cover_the_grid_exactly_once_row_by_row(width: int, height: int, side: int) -> None:
    grid = np.zeros(grid_of(width, height), int)
    found = tiles_of(width, height, side)
    for tile in found:
        grid[tile.place] += 1
        assert grid[tile.place].shape == tile.shape
        assert tile.bounds == (tile.top, tile.left, tile.bottom, tile.right)
    assert (grid == 1).all()
    assert (
        [tile.number for tile in found]
        == list(range(len(found)))
        == list(range(count_tiles(width, height, side)))
    )
    columns = max(tile.column for tile in found) + 1
    assert all(tile.number == tile.row * columns + tile.column for tile in found)
    assert [(tile.top, tile.left) for tile in found] == sorted((tile.top, tile.left) for tile in found)


@given(st.integers(1, 10**6), sides)
@example(64, 64)
@example(65, 64)
def test_an_axis_is_cut_as_evenly_as_the_fewest_parts_allow(length: int, side: int) -> None:
    found = cuts(length, side)
    sizes = np.diff(found)
    assert (found[0], found[-1]) == (0, length)
    assert len(sizes) == math.ceil(length / side)
    assert set(sizes) <= {length // len(sizes), math.ceil(length / len(sizes))}
    assert sizes.max() <= side
    # This is the smallest possible side of a tile: there are no slivers in a picture of several tiles.
    assert len(sizes) == 1 or sizes.min() >= side // 2


def test_by_hand() -> None:
    """1100 x 600 pixels are 69 x 38 positions: with at most 32 a side, 3 columns of 23 and 2 rows of 19."""
    assert grid_of(1100, 600) == (38, 69)
    assert cuts(69, 32) == [0, 23, 46, 69]
    assert cuts(70, 32) == [0, 23, 46, 70]
    found = tiles_of(1100, 600, 32)
    assert len(found) == count_tiles(1100, 600, 32) == 6
    assert found[4] == Tile(4, 1, 1, top=19, left=23, bottom=38, right=46)
    assert str(found[4]) == "tile 4 (row 1, column 1)"


@pytest.mark.parametrize(
    ("size", "grid"), [((1, 1), (1, 1)), ((16, 16), (1, 1)), ((17, 16), (1, 2)), ((160, 161), (11, 10))]
)
def test_a_position_stands_for_16_pixels_a_side(size: tuple[int, int], grid: tuple[int, int]) -> None:
    assert tiles.POSITION == 16
    assert grid_of(*size) == grid


def test_counting_makes_no_tiles() -> None:
    """A file can promise more tiles than memory can hold."""
    assert count_tiles(2**32 - 1, 2**32 - 1, 16) == 2**48


def test_a_tile_is_frozen() -> None:
    (tile,) = tiles_of(1, 1, 16)
    with pytest.raises(dataclasses.FrozenInstanceError):
        tile.number = 1  # type: ignore[misc]
