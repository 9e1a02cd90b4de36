"""Masks: their sizes and forms, the positions that they affect, and the blended seam."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bincodec import ImageError
from bincodec.generation import masks

SETTINGS = settings(deadline=None, derandomize=True, max_examples=40)


@st.composite
def drawn_masks(draw: st.DrawFn) -> np.ndarray:
    """Draw any mask that is neither empty nor full: rectangles and single pixels, up to 70 x 70."""
    height, width = draw(st.integers(1, 70)), draw(st.integers(2, 70))
    mask = np.zeros((height, width), bool)
    for _ in range(draw(st.integers(1, 3))):
        top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        mask[top : top + draw(st.integers(1, 40)), left : left + draw(st.integers(1, 40))] = True
    if mask.all():
        mask[draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))] = False
    return mask


def distance(mask: np.ndarray) -> np.ndarray:
    """Return the larger distance in rows and columns of each pixel to the nearest masked one."""
    rows, columns = np.indices(mask.shape)
    marked = np.argwhere(mask)
    return np.min([np.maximum(abs(rows - y), abs(columns - x)) for y, x in marked], axis=0)


@SETTINGS
@given(drawn_masks())
def test_a_position_is_known_if_the_mask_stays_clear_of_all_its_pixels(mask: np.ndarray) -> None:
    near = distance(mask) <= masks.MARGIN
    known = masks.known_positions(mask)
    height, width = mask.shape
    assert known.shape == (-(-height // 16), -(-width // 16))
    for (row, column), found in np.ndenumerate(known):
        assert found == (not near[16 * row : 16 * row + 16, 16 * column : 16 * column + 16].any())


@SETTINGS
@given(drawn_masks())
def test_the_seam(mask: np.ndarray) -> None:
    original, inpainted = np.zeros((*mask.shape, 3), np.uint8), np.full((*mask.shape, 3), 240, np.uint8)
    mixed = masks.blend(original, inpainted, mask)[:, :, 0]
    expected = 240 * (masks.RIM - distance(mask).clip(0, masks.RIM)) / masks.RIM
    assert np.array_equal(mixed, expected.round())


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P"])
def test_a_mask_is_white_in_any_image(mode: str) -> None:
    wanted = np.zeros((20, 30), bool)
    wanted[5:9, 7:29] = True
    image = Image.fromarray(np.where(wanted, 255, 0).astype(np.uint8)).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, "png")
    for source in (image, buffer.getvalue(), wanted, np.where(wanted, 128, 127).astype(np.uint8)):
        assert np.array_equal(masks.load(source, 30, 20), wanted)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.ones((20, 31), bool), "the mask has 31 x 20 pixels, but the picture has 30 x 20"),
        (np.ones((30, 20), bool), "the mask has 20 x 30 pixels, but the picture has 30 x 20"),
        (np.zeros((20, 30), bool), "the mask is empty"),
        (np.full((20, 30), 127, np.uint8), "the mask is empty"),
        (np.ones((20, 30), bool), "covers the whole picture"),
        (np.ones((20, 30)), "must be uint8"),
        (np.ones((20, 30, 3), bool), "must be uint8"),
        (b"no image", "not an image"),
    ],
)
def test_masks_that_will_not_do(mask: object, words: str) -> None:
    with pytest.raises(ImageError, match=words) as caught:
        masks.load(mask, 30, 20)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
