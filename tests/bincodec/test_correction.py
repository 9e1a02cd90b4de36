"""The correction: the filter itself, what the encoder finds, and what it is willing to pay for it."""

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, special
from skimage import data as photos

from bincodec import BinaryCode, Codec, correction
from bincodec.bitstream.container import CHUNK_OVERHEAD, Ancillary
from bincodec.bitstream.errors import Corrupt
from bincodec.correction import FAR, KIND, NEAR, Correction, corrected, measure, read

Pixels = npt.NDArray[np.float32]
TOLD = (0, 3, 6, 9, 13, 16, 19, 27)
LENGTHS = (6, 15, 24, 33, 45, 54, 63, 87)
WEIGHT = 65025.0 / 3
"""A dear error: lambda = 1."""


def photo() -> npt.NDArray[np.uint8]:
    part: npt.NDArray[np.uint8] = photos.astronaut()[40:168, 150:310]
    return part


def as_floats(pixels: npt.NDArray[np.uint8]) -> Pixels:
    return pixels.astype(np.float32) / np.float32(255)


def error(original: npt.NDArray[np.uint8], shown: Pixels) -> float:
    return float(((as_floats(original) - shown.clip(0, 1)) ** 2).sum(dtype=np.float64))


def by_hand(decoded: Pixels, found: Correction) -> npt.NDArray[np.float64]:
    """The formula of the module, pixel by pixel of a padded picture."""
    a = decoded.clip(0, 1).astype(np.float64)
    height, width = a.shape[:2]
    result = a.copy()
    for channel in range(3):
        own = found.weights[channel] / 256
        curves = [*own[:9], *own[13:19]]
        taps = [*own[9:13], *own[19:]]
        for y in range(height):
            for x in range(width):
                value = found.offsets[channel] / (255 * 64)
                for index, weight in enumerate(curves):
                    degree, other = divmod(index, 3)
                    value += weight * special.eval_legendre(degree + 1, 2 * a[y, x, other] - 1) / 2
                for tap, (down, right) in zip(taps, NEAR + FAR, strict=False):
                    for sign in (1, -1):
                        row = min(max(y + sign * down, 0), height - 1)
                        column = min(max(x + sign * right, 0), width - 1)
                        value += tap * (a[row, column, channel] - a[y, x, channel])
                result[y, x, channel] += value
    return result


@st.composite
def corrections(draw: st.DrawFn) -> Correction:
    told = draw(st.sampled_from(TOLD))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return Correction(rng.integers(-(2**15), 2**15, 3), rng.integers(-128, 128, (3, told)))


@given(corrections(), st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**32))
def test_the_filter_is_the_formula(found: Correction, height: int, width: int, seed: int) -> None:
    decoded = np.random.default_rng(seed).uniform(-0.2, 1.2, (height, width, 3)).astype(np.float32)
    np.testing.assert_allclose(corrected(decoded, found), by_hand(decoded, found), atol=2e-5)


@given(corrections())
def test_what_is_stored_is_what_is_read(found: Correction) -> None:
    payload = found.payload()
    assert len(payload) == LENGTHS[TOLD.index(found.weights.shape[1])]
    again = read((Ancillary(0x80, b"profile"), Ancillary(KIND, payload)))
    assert again is not None
    assert np.array_equal(again.offsets, found.offsets)
    assert np.array_equal(again.weights, found.weights)


def test_without_a_chunk_nothing_changes() -> None:
    decoded = np.full((4, 5, 3), 1.25, np.float32)
    assert read((Ancillary(0x80, b"profile"),)) is None
    assert corrected(decoded, None) is decoded


def test_weights_of_zero_change_nothing_but_clamp() -> None:
    decoded = np.linspace(-0.5, 1.5, 75, dtype=np.float32).reshape(5, 5, 3)
    nothing = Correction(np.zeros(3, np.int64), np.zeros((3, 27), np.int64))
    np.testing.assert_allclose(corrected(decoded, nothing), decoded.clip(0, 1), atol=1e-6)


@pytest.mark.parametrize("length", [0, 5, 7, 14, 16, 27, 51, 88])
def test_other_lengths_are_corrupt(length: int) -> None:
    with pytest.raises(Corrupt, match=f"correction: 1 chunks, the first of {length} bytes"):
        read((Ancillary(KIND, bytes(length)),))


def test_two_are_corrupt() -> None:
    with pytest.raises(Corrupt, match="correction: 2 chunks"):
        read((Ancillary(KIND, bytes(6)), Ancillary(KIND, bytes(6))))


def test_a_wrong_colour_matrix_is_found() -> None:
    original = photo()
    away = np.array([[0.1, -0.03, 0.02], [0.05, -0.08, 0.0], [-0.02, 0.04, 0.06]])
    a = as_floats(original)
    decoded = (a - (a - 0.5) @ np.linalg.inv(np.eye(3) + away).T @ away.T + 0.02).astype(np.float32)
    (chunk,) = measure(original, decoded, WEIGHT)
    shown = corrected(decoded, read((chunk,)))
    assert len(chunk.payload) >= 15
    assert error(original, shown) < 0.01 * error(original, decoded)


def test_a_blur_is_undone_with_the_more_taps_the_dearer_errors_are() -> None:
    original = photo()
    rng = np.random.default_rng(1)
    soft = ndimage.gaussian_filter(as_floats(original), (0.6, 0.6, 0))
    decoded = (soft + 0.01 * rng.standard_normal(soft.shape)).astype(np.float32)
    errors, lengths = [error(original, decoded)], [0]
    for weight in (300.0, 3e4, 1e6):
        (chunk,) = measure(original, decoded, weight)
        lengths.append(len(chunk.payload))
        errors.append(error(original, corrected(decoded, read((chunk,)))))
    assert lengths == sorted(lengths)
    assert lengths[-1] == 87
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.8 * errors[0]


@given(st.integers(1, 24), st.integers(1, 24), st.floats(0, 1e5), st.floats(0, 0.3), st.integers(0, 2**32))
def test_bits_and_error_together_never_rise(
    height: int, width: int, weight: float, noise: float, seed: int
) -> None:
    """Unless a colour cast is taken away, which may cost what it costs, and never adds to the error."""
    rng = np.random.default_rng(seed)
    original = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    decoded = (as_floats(original) + noise * rng.standard_normal(original.shape)).astype(np.float32)
    before = error(original, decoded)
    found = measure(original, decoded, weight)
    after = error(original, corrected(decoded, read(found)))
    # The clamp after the filter can only help; 1e-5 is for the filter in float32.
    allowed = before * (1 + 1e-5) + 1e-6
    assert after <= allowed
    if found and len(found[0].payload) > 6:
        bits = 8 * (CHUNK_OVERHEAD + len(found[0].payload))
        assert bits + weight * after <= weight * allowed


def test_only_a_cast_is_corrected_where_errors_cost_nothing() -> None:
    original = photo()
    soft = ndimage.gaussian_filter(as_floats(original), (1, 1, 0)).astype(np.float32)
    assert measure(original, soft, 0.0) == ()
    (chunk,) = measure(original, soft + np.float32(0.2), 0.0)
    assert len(chunk.payload) == 6
    flat = np.full((9, 9, 3), 250, np.uint8)
    (chunk,) = measure(flat, as_floats(flat) - np.float32(0.03), 0.0)
    shown = corrected(as_floats(flat) - np.float32(0.03), read((chunk,)))
    assert np.array_equal(np.round(255 * shown.clip(0, 1)), flat)


def test_a_perfect_picture_needs_none() -> None:
    assert measure(photo(), as_floats(photo()), 1e9) == ()


def blurred(noise: float = 0.01) -> Pixels:
    soft = ndimage.gaussian_filter(as_floats(photo()), (0.6, 0.6, 0))
    result: Pixels = (soft + noise * np.random.default_rng(1).standard_normal(soft.shape)).astype(np.float32)
    return result


@pytest.mark.parametrize("weight", [1.0, 30.0, 100.0, 200.0, 400.0, 1e3, 4e3, 1e4, 4e4, 2e5, 1e6])
def test_the_length_is_the_cheapest(weight: float) -> None:
    moments = correction._moments(photo(), blurred())
    costs = {0: weight * moments.error(np.zeros((3, 28)))}
    for told, length in zip(TOLD, LENGTHS, strict=True):
        found, left = moments.fit(told)
        assert len(found.payload()) == length
        costs[length] = 8 * (12 + length) + weight * left
    sent = measure(photo(), blurred(), weight)
    assert (len(sent[0].payload) if sent else 0) == min(costs, key=lambda length: costs[length])


def test_later_weights_make_up_for_what_rounding_did_to_earlier_ones() -> None:
    original = photo()
    a = as_floats(original)
    decoded = (a + 0.06 * np.sin(5 * a) + 0.04 * a[..., ::-1] ** 4).astype(np.float32)
    moments = correction._moments(original, decoded)
    exact = np.linalg.solve(moments.products + 1e-3 * np.eye(28), moments.errors[..., None])[..., 0]
    by_itself = exact.copy()
    by_itself[:, :27] = np.round(256 * exact[:, :27]).clip(-128, 127) / 256
    _, left = moments.fit(27)
    assert left < 0.75 * moments.error(by_itself)


def test_a_large_picture_is_measured_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    original, decoded = photo(), blurred(0.05)
    whole = correction._moments(original, decoded)
    monkeypatch.setattr(correction, "_STRIP", 512)
    monkeypatch.setattr(correction, "_MOST_PIXELS", 4096)
    part = correction._moments(original, decoded)
    assert not np.array_equal(part.squared, whole.squared)
    assert part.squared == pytest.approx(whole.squared, rel=0.1)
    assert part.products[:, -1, -1] == pytest.approx(original.shape[0] * original.shape[1])


@pytest.mark.parametrize(("width", "every"), [(64, 4), (64, 8), (32, 2), (128, 16), (20, 7)])
def test_strips_of_a_large_picture_see_every_row_of_a_patch(
    monkeypatch: pytest.MonkeyPatch, width: int, every: int
) -> None:
    monkeypatch.setattr(correction, "_STRIP", 128)
    picture = np.zeros((800, width, 3), np.float32)
    strips = correction._strips(picture, every)
    rows = {row % 8 for top, part in strips for row in range(top, top + part.shape[1] - 4)}
    assert rows == set(range(8))


def test_what_is_no_number_is_not_corrected() -> None:
    assert measure(photo(), np.full((128, 160, 3), np.nan, np.float32), WEIGHT) == ()


def test_what_nobody_can_see_is_no_cast() -> None:
    flat = np.full((9, 9, 3), 250, np.uint8)
    assert measure(flat, as_floats(flat) - np.float32(0.3 / 255), 0.0) == ()
    assert len(measure(flat, as_floats(flat) - np.float32(0.7 / 255), 0.0)) == 1


@pytest.mark.parametrize("grey", [False, True])
def test_a_photo_gets_one_that_is_worth_its_bytes(grey: bool) -> None:
    """With the shipped model; a grey picture is measured as it is shown, the mean of its channels."""
    codec = Codec.load("photo")
    picture = photos.astronaut()[:320, 100:420]
    if grey:
        picture = picture.mean(2).round().astype(np.uint8)
    code = codec.encode(picture, 90)
    (chunk,) = code.ancillary
    assert len(chunk.payload) > 6
    bare = dataclasses.replace(code, ancillary=())
    bits = {len(one.ancillary): 8 * len(codec.pack(one)) for one in (code, bare)}
    errors = {
        len(one.ancillary): ((np.asarray(codec.decode(one)) - picture.astype(float)) ** 2).mean()
        for one in (code, bare)
    }
    # lambda of quality 90, as the model's card says it, for each of the picture's pixels
    lowest, highest = codec.model.card.card["lagrangian"]
    price = lowest * (highest / lowest) ** 0.9 * picture.shape[0] * picture.shape[1]
    assert bits[1] + price * errors[1] < bits[0] + price * errors[0]


def test_it_is_applied_where_all_layers_are_shown(codec: Codec) -> None:
    code: BinaryCode = codec.encode(photo(), 60)
    filtered = dataclasses.replace(
        code, ancillary=(Ancillary(KIND, Correction(np.array([640, 0, 0]), np.zeros((3, 0), int)).payload()),)
    )
    bare = dataclasses.replace(code, ancillary=())
    shown, plain = (np.asarray(codec.decode(one)).astype(int) for one in (filtered, bare))
    assert np.array_equal(shown[..., 1:], plain[..., 1:])
    assert np.array_equal(shown[..., 0], np.minimum(plain[..., 0] + 10, 255))
    parts = [np.asarray(codec.decode(one, layers=1)) for one in (filtered, bare)]
    assert np.array_equal(*parts)
