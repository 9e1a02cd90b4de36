"""Pixels that are hidden or unknown: what stands in for them depends on the others, and goes on from them."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bincodec.io.filling import MIDDLE, fill, without_hidden
from bincodec.io.images import Picture

SETTINGS = settings(deadline=None, derandomize=True, max_examples=40)


@st.composite
def drawn_masks(draw: st.DrawFn) -> np.ndarray:
    """Any mask that is neither empty nor full: rectangles and single pixels, up to 70 x 70."""
    height, width = draw(st.integers(1, 70)), draw(st.integers(2, 70))
    mask = np.zeros((height, width), bool)
    for _ in range(draw(st.integers(1, 3))):
        top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        mask[top : top + draw(st.integers(1, 40)), left : left + draw(st.integers(1, 40))] = True
    if mask.all():
        mask[draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))] = False
    return mask


def picture(mask: np.ndarray, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(20, 230, (*mask.shape, 3), dtype=np.uint8)


@SETTINGS
@given(drawn_masks())
def test_filling_changes_the_hole_only_and_stays_between_what_is_known(mask: np.ndarray) -> None:
    pixels = picture(mask)
    filled = fill(pixels, mask)
    assert filled.dtype == np.uint8
    assert np.array_equal(filled[~mask], pixels[~mask])
    known = pixels[~mask]
    assert (filled[mask] >= known.min(0)).all()
    assert (filled[mask] <= known.max(0)).all()


@SETTINGS
@given(drawn_masks())
def test_what_the_mask_hides_does_not_matter(mask: np.ndarray) -> None:
    pixels = picture(mask)
    other = np.where(mask[:, :, None], picture(mask, 1), pixels)
    assert np.array_equal(fill(pixels, mask), fill(other, mask))


def test_filling_goes_on_smoothly() -> None:
    """A ramp with a hole in it stays nearly a ramp: far better than one colour for the whole hole."""
    ramp = np.repeat(np.linspace(40, 200, 96).round().astype(np.uint8)[None, :, None], 64, 0).repeat(3, 2)
    mask = np.zeros((64, 96), bool)
    mask[16:40, 30:62] = True
    filled = fill(ramp, mask).astype(float)
    error = np.abs(filled - ramp)[mask].mean()
    assert error < 0.4 * np.abs(ramp[mask] - ramp[~mask].mean()).mean()
    assert np.abs(np.diff(filled[20:36, 30:62, 0], axis=1)).max() < 12


def test_a_picture_of_which_nothing_is_known_is_flat() -> None:
    filled = fill(picture(np.ones((5, 7), bool)), np.ones((5, 7), bool))
    assert np.array_equal(filled, np.full((5, 7, 3), MIDDLE))


@SETTINGS
@given(drawn_masks())
def test_only_clear_pixels_are_replaced(mask: np.ndarray) -> None:
    pixels = picture(mask)
    alpha = np.where(mask, 0, np.random.default_rng(1).integers(1, 256, mask.shape)).astype(np.uint8)
    given = Picture(pixels, grey=False, alpha=alpha, icc=b"profile")
    found = without_hidden(given)
    assert np.array_equal(found.pixels, fill(pixels, mask))
    assert found.alpha is alpha
    assert (found.grey, found.icc) == (False, b"profile")


def test_what_is_seen_everywhere_stays_the_same_picture() -> None:
    pixels = picture(np.zeros((4, 6), bool))
    for alpha in (None, np.full((4, 6), 1, np.uint8)):
        given = Picture(pixels, grey=False, alpha=alpha)
        assert without_hidden(given) is given
