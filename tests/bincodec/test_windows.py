"""Windows of the float networks: where they are, and that they leave no seams in levels or pixels."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage import data as photos
from torch import Tensor

from bincodec import BinaryCode, Codec, decoder, windows
from bincodec.bitstream.tiles import tiles_of
from bincodec.encoder import analysis
from bincodec.model.architecture import Architecture
from bincodec.model.autoencoder import Autoencoder
from bincodec.model.prior import Prior
from bincodec.postfilter import features
from bincodec.windows import Window

MODELS = Path(__file__).resolve().parents[1] / "models"
SIZES = [(105, 70), (33, 250), (113, 83), (16, 160), (1, 64), (96, 96)]
"""Widths and heights, with sides that are multiples of 16 or not, and with one row of positions."""
ROUNDING = 2e-6
"""The largest change of a float of the decoder if the library adds in another order."""


def photo(width: int, height: int) -> np.ndarray:
    return np.ascontiguousarray(photos.astronaut()[60 : 60 + height, 130 : 130 + width])


def in_windows(monkeypatch: pytest.MonkeyPatch, side: int) -> None:
    """Let encoder and decoder process at most that many positions a side at once."""
    for module in (analysis, decoder):
        monkeypatch.setattr(module, "covering", functools.partial(windows.covering, side=side))


def without_reach(monkeypatch: pytest.MonkeyPatch, part: str, less: int) -> None:
    """Let windows see `less` positions fewer around them than they need."""
    own: Callable[[Architecture], int] = getattr(Architecture, part).fget
    monkeypatch.setattr(Architecture, part, property(lambda architecture: own(architecture) - less))


def shown(codec: Codec, code: BinaryCode, layers: int | None = None) -> np.ndarray:
    return np.asarray(codec.decode(code, layers)).astype(int)


# --- where windows are ------------------------------------------------------------------------------------

rectangles = st.tuples(*[st.integers(0, 40)] * 2, *[st.integers(1, 40)] * 2).map(
    lambda four: Window(four[0], four[1], four[0] + four[2], four[1] + four[3])
)


@given(rectangles, st.integers(1, 50))
def test_windows_cover_an_area_and_each_position_once(area: Window, side: int) -> None:
    seen = np.zeros((90, 90), int)
    found = windows.covering(area, side)
    for window in found:
        assert window.bottom - window.top <= side
        assert window.right - window.left <= side
        seen[window.place] += 1
    assert (seen[area.place] == 1).all()
    assert seen.sum() == seen[area.place].size
    assert len(found) == -(-(area.bottom - area.top) // side) * -(-(area.right - area.left) // side)
    assert found == sorted(found, key=lambda window: (window.top, window.left))


@given(rectangles, st.integers(0, 12))
def test_a_window_grows_as_far_as_the_grid_goes(window: Window, reach: int) -> None:
    grid = (window.bottom + 3, window.right + 5)
    grown = window.grown(reach, grid)
    assert (grown.top, grown.left) == (max(0, window.top - reach), max(0, window.left - reach))
    assert (grown.bottom, grown.right) == (window.bottom + min(reach, 3), window.right + min(reach, 5))
    positions = np.arange(grid[0] * grid[1]).reshape(grid)
    assert np.array_equal(positions[grown.place][window.within(grown)], positions[window.place])


@given(st.integers(1, 300), st.integers(1, 300), st.data())
def test_the_positions_of_pixels_are_those_that_have_some(
    width: int, height: int, draw: st.DataObject
) -> None:
    left, top = draw.draw(st.integers(0, width - 1)), draw.draw(st.integers(0, height - 1))
    across, down = draw.draw(st.integers(1, width - left)), draw.draw(st.integers(1, height - top))
    pixels = np.zeros((-(-height // 16) * 16, -(-width // 16) * 16), bool)
    pixels[top : top + down, left : left + across] = True
    grid = pixels.reshape(-(-height // 16), 16, -(-width // 16), 16).any((1, 3))
    expected = np.zeros_like(grid)
    window = windows.of_pixels(left, top, across, down)
    expected[window.place] = True
    assert np.array_equal(grid, expected)
    rows, columns = window.pixels(height, width)
    assert rows.start <= top < top + down <= rows.stop <= height
    assert columns.start <= left < left + across <= columns.stop <= width


def test_tiles_under_a_window_are_those_that_share_a_position() -> None:
    tiles = tiles_of(16 * 40, 16 * 20, 16)
    assert [tile.bounds for tile in tiles] == [
        (top, left, top + 10, right) for top in (0, 10) for left, right in ((0, 13), (13, 26), (26, 40))
    ]
    for window, expected in (
        (Window(0, 0, 1, 1), {0}),
        (Window(0, 0, 10, 13), {0}),
        (Window(0, 0, 10, 14), {0, 1}),
        (Window(9, 25, 11, 27), {1, 2, 4, 5}),
        (Window(10, 26, 20, 40), {5}),
        (Window(0, 0, 20, 40), set(range(6))),
    ):
        assert windows.tiles_under(window, tiles) == expected
    common = windows.overlap(tiles[4], Window(5, 20, 12, 30))
    assert common == Window(10, 20, 12, 26)
    assert windows.overlap(tiles[0], Window(5, 20, 12, 30)) is None


# --- how far the networks see -----------------------------------------------------------------------------


def seen_from(inside: Tensor, given: Tensor, side: int) -> int:
    """Return how many positions of `side` numbers, around the middle one of `given`, a tensor depends on."""
    inside.square().sum().backward()
    assert given.grad is not None
    rows, columns = (given.grad[0] != 0).any(0).nonzero().T // side
    middle = given.shape[-1] // side // 2
    assert rows.min() + rows.max() == columns.min() + columns.max() == 2 * middle
    assert rows.max() == columns.max()
    return int(rows.max()) - middle


@pytest.mark.parametrize(
    ("blocks_8", "extra", "blocks_16"),
    [(1, 0, 1), (2, 0, 1), (3, 0, 3), (1, 1, 2), (2, 3, 1)],
)
def test_what_reaches_a_position(blocks_8: int, extra: int, blocks_16: int) -> None:
    """With a smaller reach there would be seams, and a larger reach would cost time."""
    # There are more channels than features at stride 16, so some of them come straight from the pixels.
    architecture = Architecture(
        (6, 8), (3, 1), (2, 1), "uniform", "value", 6, 12, blocks_8, blocks_16, 16, 1, 0, extra
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        autoencoder = Autoencoder(architecture)
        image = torch.rand(1, 3, 16 * 13, 16 * 13, requires_grad=True)
        levels = torch.rand(1, 14, 13, 13, requires_grad=True)
    half = torch.tensor([0.5])
    value = autoencoder.analyse(image, half)[..., 6, 6]
    assert seen_from(value, image, 16) == architecture.encoder_reach
    pixels = autoencoder.synthesise(levels, half)[..., 96:112, 96:112]
    assert seen_from(pixels, levels, 1) == architecture.decoder_reach


@pytest.mark.parametrize("blocks", [1, 2, 4])
def test_what_the_prior_sees_of_a_position_s_neighbours(blocks: int) -> None:
    architecture = Architecture((6, 8), (3, 1), (2, 1), "uniform", "value", 6, 12, 1, 1, 16, blocks)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        prior = Prior(architecture)
        for parameter in prior.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        centred = torch.rand(1, 14, 21, 21, requires_grad=True)
    mu, scale = prior(centred, torch.ones(1, 2, 21, 21), torch.tensor([0.5]))
    assert seen_from(torch.cat([mu, scale])[..., 10, 10], centred, 1) == architecture.prior_reach


# --- levels -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [1, 2, 3])
@pytest.mark.parametrize("size", SIZES)
def test_levels_know_nothing_of_windows(
    codec: Codec, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], side: int
) -> None:
    whole = codec.encode(photo(*size), 60)
    in_windows(monkeypatch, side)
    found = codec.encode(photo(*size), 60)
    assert found.digest() == whole.digest()


def test_levels_of_a_grey_picture_know_nothing_of_windows(
    codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = codec.encode(photo(105, 70)[..., 0].copy(), 60)
    in_windows(monkeypatch, 2)
    found = codec.encode(photo(105, 70)[..., 0].copy(), 60)
    assert found.grey
    assert found.digest() == whole.digest()


def test_a_window_that_sees_too_little_would_show(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without this, the tests of levels would prove nothing."""
    whole = codec.encode(photo(113, 83), 100)
    in_windows(monkeypatch, 2)
    without_reach(monkeypatch, "encoder_reach", codec.model.card.architecture.encoder_reach)
    assert codec.encode(photo(113, 83), 100).digest() != whole.digest()


# --- pixels -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [1, 2, 3])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_pixels_know_nothing_of_windows(
    codec: Codec, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], side: int, layers: int
) -> None:
    """This holds also with missing layers, and with all layers through the post-filter."""
    code = codec.encode(photo(*size), 60)
    whole = shown(codec, code, layers)
    in_windows(monkeypatch, side)
    difference = np.abs(shown(codec, code, layers) - whole)
    assert difference.max() <= 1
    assert difference.mean() < 1e-3


@pytest.mark.parametrize("layers", [1, 3])
def test_floats_of_a_window_are_those_of_the_picture(codec: Codec, layers: int) -> None:
    code = codec.encode(photo(113, 83), 60)
    parts = decoder.Shown(codec.model, code, layers)
    whole, _ = decoder.synthesise(parts, Window(0, 0, *code.grid))
    assert whole.shape == (83, 113, 3)
    for window in windows.covering(Window(0, 0, *code.grid), 2):
        part, view = decoder.synthesise(parts, window)
        assert (view.rows, view.columns) == window.pixels(83, 113)
        assert (view.top, view.left) == (max(0, 16 * (window.top - 1)), max(0, 16 * (window.left - 1)))
        there = whole[view.top : view.top + part.shape[0], view.left : view.left + part.shape[1]]
        np.testing.assert_allclose(part, there, atol=ROUNDING)


@pytest.mark.parametrize("size", [(105, 70), (113, 83)])
def test_the_post_filter_has_no_seams(monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]) -> None:
    """This uses the shipped model, whose filters have many features. Some of them read far around a pixel."""
    codec = Codec.load("photo")
    code = codec.encode(photo(*size), 95)
    assert len(code.extras) == 1
    assert len(code.extras[0].payload) > 20
    whole = shown(codec, code)
    assert not np.array_equal(whole, shown(codec, dataclasses.replace(code, extras=())))
    in_windows(monkeypatch, 2)
    assert np.abs(shown(codec, code) - whole).max() <= 1


def test_a_window_of_the_decoder_that_sees_too_little_would_show(
    codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = codec.encode(photo(113, 83), 100)
    parts = decoder.Shown(codec.model, code, 3)
    whole, _ = decoder.synthesise(parts, Window(0, 0, *code.grid))
    without_reach(monkeypatch, "decoder_reach", 1)
    part, view = decoder.synthesise(parts, Window(2, 2, 3, 3))
    there = whole[view.top : view.top + len(part), view.left : view.left + part.shape[1]]
    assert np.abs(part - there).max() > 5 * ROUNDING


def test_a_large_picture_s_filter_is_fitted_to_strips_all_over_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The filter is fitted to a fifth of the picture, and is nearly as good as one fitted to all of it."""
    codec, pixels = Codec.load("photo"), photo(320, 256)
    whole = codec.encode(pixels, 90)
    monkeypatch.setattr(analysis, "FITTED_PIXELS", pixels.size // 3 // 5)
    monkeypatch.setattr(features, "_TILE", 320 * 4)
    found = codec.encode(pixels, 90)
    assert found.digest() == whole.digest()
    assert found.extras != whole.extras
    bare = dataclasses.replace(whole, extras=())
    best, some, none = (float(((shown(codec, one) - pixels) ** 2).mean()) for one in (whole, found, bare))
    assert best < some < 0.5 * (best + none)
    # It is worth as many bits as the whole picture makes it worth, and not those of a fifth.
    spent, own = (len(one.extras[0].payload) for one in (found, whole))
    assert spent > 0.8 * own
