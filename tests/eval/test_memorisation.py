"""Nearness to training pictures: a planted copy is found, also if mirrored, and new pictures are not near."""

import numpy as np
import pytest
from numpy.typing import NDArray

from bincodec.eval import memorisation
from bincodec.eval.memorisation import PAIRS, Nearest, look, memory


def pictures(seed: int, count: int, side: int = 40) -> NDArray[np.uint8]:
    """Draw smooth random pictures. Pure noise would become grey in a thumbnail."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 5, 5, 3), np.uint8)
    return np.ascontiguousarray(coarse.repeat(side // 5, 1).repeat(side // 5, 2))


def features(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    return pixels[:, ::8, ::8].reshape(len(pixels), -1) / 255


@pytest.fixture
def training() -> memorisation.Known:
    pixels = pictures(1, 30)
    return memorisation.known(pixels, features(pixels))


@pytest.fixture
def held_out(training: memorisation.Known) -> Nearest:
    pixels = pictures(2, 20)
    return look(training, pixels, features(pixels))


def test_a_planted_copy_is_found(training: memorisation.Known, held_out: Nearest) -> None:
    drawn = pictures(3, 10)
    drawn[4] = pictures(1, 30)[17]
    found = memory(look(training, drawn, features(drawn)), held_out)
    by_features, by_pixels = found.closest[0], found.closest[PAIRS]
    assert (by_features.kind, by_features.picture, by_features.training) == ("features", 4, 17)
    assert (by_pixels.kind, by_pixels.picture, by_pixels.training) == ("pixels", 4, 17)
    assert by_features.distance == by_pixels.distance == 0
    assert len(found.closest) == 2 * PAIRS
    assert min(found.feature_share, found.pixel_share) >= 0.1


def test_a_mirrored_copy_with_noise_is_found_in_pixels(
    training: memorisation.Known, held_out: Nearest
) -> None:
    drawn = pictures(3, 10)
    noise = np.random.default_rng(4).normal(0, 8, drawn[0].shape)
    drawn[2] = np.clip(pictures(1, 30)[6][:, ::-1] + noise, 0, 255).astype(np.uint8)
    found = memory(look(training, drawn, features(drawn)), held_out)
    assert (found.closest[PAIRS].picture, found.closest[PAIRS].training) == (2, 6)
    assert found.closest[PAIRS].distance < 8 < found.closest[PAIRS + 1].distance


def test_new_pictures_are_like_held_out_ones(training: memorisation.Known, held_out: Nearest) -> None:
    itself = memory(held_out, held_out)
    assert itself.feature_share <= 0.05
    assert itself.feature_median == np.median(held_out.by_features[0])
    new = pictures(5, 20)
    found = memory(look(training, new, features(new)), held_out)
    assert found.pixel_share <= 0.1
    assert found.pixel_median == pytest.approx(itself.pixel_median, rel=0.1)
    everything = pictures(1, 30)
    assert memory(look(training, everything, features(everything)), held_out).pixel_share == 1


def test_copies_are_found_where_held_out_pictures_are_copies_too(training: memorisation.Known) -> None:
    known = pictures(1, 30)
    held_out = look(training, known[:20], features(known[:20]))
    found = memory(look(training, known[20:], features(known[20:])), held_out)
    assert found.feature_limit == found.pixel_limit == 0
    assert found.feature_share == found.pixel_share == 1


def test_pixel_distance_is_in_8_bit_steps() -> None:
    black, grey = np.zeros((4, 40, 40, 3), np.uint8), np.full((1, 40, 40, 3), 10, np.uint8)
    found = look(memorisation.known(black, features(black)), grey, features(grey))
    assert found.by_pixels[0][0] == pytest.approx(10)
