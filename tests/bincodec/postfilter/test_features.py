"""The features of post-filters against the tables of FORMAT, computed one by one in float64."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from bincodec.postfilter import features
from bincodec.postfilter.features import OWN, REACH, SHARED, SIZE, View

Picture = npt.NDArray[np.float64]
NEAR = [(0, 1), (1, -1), (1, 0), (1, 1)]


def computed(decoded: npt.NDArray[np.float32], view: View | None = None) -> Picture:
    """Return features (features, H, W, 3) of a whole picture. Those outside `view` are nan."""
    height, width = decoded.shape[:2] if view is None else (view.height, view.width)
    result = np.full((SIZE, height, width, 3), np.nan)
    for tile in features.tiles(decoded, view):
        shared, own = features.compute(tile)
        assert (len(shared), own.shape[1]) == (SHARED, OWN)
        both = torch.cat([shared.expand(3, -1, -1), own], 1)
        rows, columns = tile.place
        height, width = rows.stop - rows.start, columns.stop - columns.start
        result[:, rows, columns] = both.reshape(3, SIZE, height, width).permute(1, 2, 3, 0).numpy()
    return result


class ByHand:
    """A picture with its border repeated without end, (rows, columns, channels)."""

    def __init__(self, decoded: npt.NDArray[np.float32]) -> None:
        self.a = decoded.astype(np.float64).clip(0, 1)
        self.height, self.width = self.a.shape[:2]

    def at(self, down: int, right: int) -> Picture:
        rows = (np.arange(self.height) + down).clip(0, self.height - 1)
        columns = (np.arange(self.width) + right).clip(0, self.width - 1)
        return self.a[rows][:, columns]

    def tap(self, k: tuple[int, int], down: int = 0, right: int = 0) -> Picture:
        there = self.at(down + k[0], right + k[1]) + self.at(down - k[0], right - k[1])
        return there - 2 * self.at(down, right)

    def window(self, side: int) -> list[tuple[int, int]]:
        reach = range(-(side // 2), side // 2 + 1)
        return [(down, right) for down in reach for right in reach]

    def mean(self, side: int) -> Picture:
        return np.mean([self.at(*k) for k in self.window(side)], 0)

    def texture(self, side: int) -> Picture:
        there = [np.mean([abs(self.tap(k, *at).mean(2)) for k in NEAR], 0) for at in self.window(side)]
        t = np.mean(there, 0)
        return (t / (t + 0.02))[..., None]

    def guided(self, side: int, v: float) -> tuple[Picture, Picture]:
        around = np.stack([self.at(*k) for k in self.window(side)])
        y = around.mean(3, keepdims=True)
        m, own = y.mean(0), around.mean(0)
        s = (y**2).mean(0) - m**2 + v
        slope = ((y * around).mean(0) - m * own) / s
        away = self.a.mean(2, keepdims=True) - m
        return -v * away / s, own + slope * away - self.a

    def features(self) -> list[Picture]:
        a, x = self.a, 2 * self.a - 1
        r, g, b = (x[..., c : c + 1] for c in range(3))
        y = x.mean(2, keepdims=True)
        big_x = ((2 * np.arange(self.width) + 1) / self.width - 1)[None, :, None]
        z = ((2 * np.arange(self.height) + 1) / self.height - 1)[:, None, None]
        own = -np.mean([self.tap(k) for k in NEAR], 0)
        detail = own.mean(2, keepdims=True)
        fine, wide = self.texture(3), self.texture(15)
        surround = (2 * self.mean(9) - 1).mean(2, keepdims=True)
        coarse = self.mean(9) - a
        bulge = coarse.mean(2, keepdims=True)
        h, v = (self.tap(k).mean(2, keepdims=True) for k in ((0, 1), (1, 0)))
        window = np.stack([self.at(*k) for k in self.window(3)])
        smooth, chroma = self.guided(5, 1e-4)
        factors = (1, 1, 1 / 2, 1 / 8, 1 / 8)
        return [
            *(
                factors[n - 1] * special.eval_legendre(n, x[..., d : d + 1]) / 2
                for n in range(1, 6)
                for d in range(3)
            ),
            *(pair / 2 for pair in (r * g, g * b, r * b)),
            *(three / 2 for three in (r * r * g, r * r * b, g * g * r, g * g * b, b * b * r, b * b * g)),
            *(special.eval_legendre(n, surround) / 16 for n in (2, 3)),
            *(detail, detail * y, detail * y**2, 4 * detail * fine, 4 * detail * wide),
            *(np.maximum(detail, 0) / 2, (h + v) / 2, v / 8, detail * big_x**2 / 2),
            *(bulge, np.maximum(bulge, 0), (self.mean(5) - a).mean(2, keepdims=True)),
            (window.max(0) - a).mean(2, keepdims=True),
            (a - window.min(0)).mean(2, keepdims=True),
            *(smooth, self.guided(9, 1e-3)[0]),
            *(big_x / 128 + 0 * y, z / 128 + 0 * y),
            *(own * x, own * x**2, own * (a.max(2, keepdims=True) - a.min(2, keepdims=True))),
            *(4 * own * fine, 4 * own * wide, np.maximum(own, 0) / 2, own * big_x / 8, own * z / 8),
            *(coarse, chroma, self.tap((0, 2)) / 8, self.tap((2, 0)) / 8),
        ]


@settings(deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**32), st.floats(0.001, 1))
def test_the_features_are_the_table(height: int, width: int, seed: int, contrast: float) -> None:
    noise = np.random.default_rng(seed).uniform(-0.7, 0.7, (height, width, 3))
    decoded = (0.5 + contrast * noise).astype(np.float32)
    found, expected = computed(decoded), ByHand(decoded).features()
    assert len(found) == len(expected) == 56
    for index, (one, other) in enumerate(zip(found, expected, strict=True)):
        # A slope divides by a variance that float32 represents to about 1e-7, and 1e-4 counts as flat.
        away = 2e-3 if index in (40, 41, 53) else 2e-5
        np.testing.assert_allclose(one, np.broadcast_to(other, one.shape), atol=away, err_msg=str(index))


def test_tiles_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = np.random.default_rng(0).uniform(-0.2, 1.2, (50, 30, 3)).astype(np.float32)
    whole = computed(decoded)
    monkeypatch.setattr(features, "_TILE", 12 * 7)
    monkeypatch.setattr(features, "_MAX_COLUMNS", 12)
    places = [(tile.top, tile.left) for tile in features.tiles(decoded)]
    assert places == [(top, left) for top in range(0, 50, 7) for left in (0, 12, 24)]
    np.testing.assert_allclose(computed(decoded), whole, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 65535), (65535, 2), (300, 2000), (1, 1)])
def test_tiles_are_small_whatever_the_shape(shape: tuple[int, int]) -> None:
    picture = np.zeros((*shape, 3), np.float32)
    seen = np.zeros(shape, int)
    for tile in features.tiles(picture):
        seen[tile.place] += 1
        assert tile.here[0].numel() <= 2**15
        assert tile.part.shape[1] * tile.part.shape[2] <= 10 * 2**15
    assert (seen == 1).all()


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        (range(50), range(30)),
        (range(20), range(11, 30)),
        (range(20, 21), range(7, 9)),
        (range(31, 50), range(12)),
    ],
)
def test_a_part_has_the_features_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, rows: range, columns: range
) -> None:
    """The border is repeated only where it is that of the picture, and the place is that in the picture."""
    decoded = np.random.default_rng(0).uniform(-0.2, 1.2, (50, 30, 3)).astype(np.float32)
    whole = computed(decoded)
    monkeypatch.setattr(features, "_TILE", 12 * 7)
    monkeypatch.setattr(features, "_MAX_COLUMNS", 12)
    top, left = max(0, rows.start - REACH), max(0, columns.start - REACH)
    part = decoded[top : rows.stop + REACH, left : columns.stop + REACH]
    found = computed(part, View(top, left, 50, 30, rows, columns))
    meant = (slice(None), slice(rows.start, rows.stop), slice(columns.start, columns.stop))
    np.testing.assert_allclose(found[meant], whole[meant], atol=1e-5)
    assert np.isfinite(found).sum() == found[meant].size
