"""The post-filter: how it is applied, what the encoder finds, and which cost it accepts."""

import dataclasses
import functools
import operator

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from skimage import data as photos

from bincodec import BinaryCode, Codec
from bincodec.bitstream import rice
from bincodec.bitstream.container import Extra
from bincodec.bitstream.index import POST_FILTER
from bincodec.errors import Corrupt
from bincodec.postfilter import features, fit
from bincodec.postfilter.features import REACH, SHARED, SIZE, View
from bincodec.postfilter.filter import PostFilter, apply_filter, read_filter
from bincodec.postfilter.fit import fit_filter, fit_moments, moments_of

Pixels = npt.NDArray[np.float32]
WEIGHT = 65025.0 / 3
"""An error with a high cost: lambda = 1."""
OFFSETS_ALONE = 13
"""The bytes of a payload without weights."""
AROUND = Extra(POST_FILTER, b"").size
"""The bytes that a file takes for an extra beside its payload."""


def photo() -> npt.NDArray[np.uint8]:
    part: npt.NDArray[np.uint8] = photos.astronaut()[40:168, 150:310]
    return part


def as_floats(pixels: npt.NDArray[np.uint8]) -> Pixels:
    return pixels.astype(np.float32) / np.float32(255)


def error(original: npt.NDArray[np.uint8], shown: Pixels) -> float:
    return float(((as_floats(original) - shown.clip(0, 1)) ** 2).sum(dtype=np.float64))


@st.composite
def post_filters(draw: st.DrawFn) -> PostFilter:
    chosen = tuple(sorted(draw(st.sets(st.integers(0, SIZE - 1)))))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    largest = draw(st.sampled_from([1, 60, rice.LARGEST]))
    weights = rng.integers(-largest, largest + 1, (3, len(chosen)))
    steps = draw(st.integers(0, 15)) if chosen else 0
    return PostFilter(rng.integers(-(2**15), 2**15, 3), chosen, weights, steps)


@given(post_filters(), st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**32))
def test_the_filter_is_the_formula(found: PostFilter, height: int, width: int, seed: int) -> None:
    decoded = np.random.default_rng(seed).uniform(-0.2, 1.2, (height, width, 3)).astype(np.float32)
    (tile,) = features.tiles(decoded)
    shared, own = features.compute(tile)
    expected = decoded.clip(0, 1).astype(np.float64)
    for channel in range(3):
        expected[..., channel] += found.offsets[channel] / (64 * 255)
        for index, feature in enumerate(found.chosen):
            values = shared[feature] if feature < SHARED else own[channel, feature - SHARED]
            weight = found.weights[channel, index] / 2**found.steps
            expected[..., channel] += weight * values.numpy().reshape(height, width)
    size = 1 + np.abs(found.weights).sum() / 2**found.steps
    np.testing.assert_allclose(apply_filter(decoded, found), expected, atol=1e-6 * size)


@given(post_filters())
def test_what_is_stored_is_what_is_read(found: PostFilter) -> None:
    again = read_filter((Extra(0x80, b"profile"), Extra(POST_FILTER, found.payload())))
    assert again is not None
    assert np.array_equal(again.offsets, found.offsets)
    assert np.array_equal(again.weights, found.weights)
    assert (again.chosen, again.steps) == (found.chosen, found.steps)


def test_a_payload_byte_by_byte() -> None:
    weights = np.array([[3, 0], [-1, 1], [0, -2]])
    found = PostFilter(np.array([1, -1, 256]), (0, 55), weights, 6)
    # The folded values are 6, 1, 0 and 0, 2, 3. With k = 1: 111 0 0, 0 1, 0 0; 0 0, 10 0, 10 1.
    bits = "11100" + "01" + "00" + "00" + "100" + "101"
    assert found.payload() == (
        bytes([1, 0, 255, 255, 0, 1, 1, 0, 0, 0, 0, 0, 128, 6 << 4 | 1])
        + int(bits.ljust(24, "0"), 2).to_bytes(3, "big")
    )


@given(st.binary(max_size=40))
def test_any_payload_is_corrupt_or_what_an_encoder_writes_of_it(payload: bytes) -> None:
    try:
        found = read_filter((Extra(POST_FILTER, payload),))
    except Corrupt:
        return
    assert found is not None
    again = read_filter((Extra(POST_FILTER, found.payload()),))
    assert again is not None
    assert np.array_equal(again.weights, found.weights)
    assert len(found.payload()) <= len(payload)


def test_without_a_chunk_nothing_changes() -> None:
    decoded = np.full((4, 5, 3), 1.25, np.float32)
    assert read_filter((Extra(0x80, b"profile"),)) is None
    assert np.array_equal(apply_filter(decoded, None), decoded)


def test_weights_of_zero_change_nothing_but_clamp() -> None:
    decoded = np.linspace(-0.5, 1.5, 75, dtype=np.float32).reshape(5, 5, 3)
    nothing = PostFilter(np.zeros(3, np.int64), tuple(range(56)), np.zeros((3, 56), np.int64), 5)
    np.testing.assert_allclose(apply_filter(decoded, nothing), decoded.clip(0, 1), atol=1e-6)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (bytes(12), "it has 12 bytes, but needs at least 13"),
        (bytes(14), "its 14 bytes do not fit its 0 features"),
        (bytes(6) + b"\x01" + bytes(6), "its 13 bytes do not fit its 1 features"),
        (bytes(6) + b"\x01" + bytes(7), "post-filter: Rice codes: number 0 of 3 is cut short"),
        (bytes(6) + b"\x01" + bytes(9), "post-filter: Rice codes: 3 numbers end after 3 bits"),
    ],
)
def test_what_does_not_read_is_corrupt(payload: bytes, message: str) -> None:
    with pytest.raises(Corrupt, match=message):
        read_filter((Extra(POST_FILTER, payload),))


def test_two_are_corrupt() -> None:
    with pytest.raises(Corrupt, match="post-filter: the file has 2 of them, but only one is allowed"):
        read_filter((Extra(POST_FILTER, bytes(13)), Extra(POST_FILTER, bytes(13))))


def test_other_extras_are_ignored() -> None:
    assert all(read_filter((Extra(kind, b"anything"),)) is None for kind in range(256) if kind != POST_FILTER)


def test_a_wrong_colour_matrix_is_found() -> None:
    original = photo()
    away = np.array([[0.1, -0.03, 0.02], [0.05, -0.08, 0.0], [-0.02, 0.04, 0.06]])
    a = as_floats(original)
    decoded = (a - (a - 0.5) @ np.linalg.inv(np.eye(3) + away).T @ away.T + 0.02).astype(np.float32)
    (chunk,) = fit_filter(original, decoded, WEIGHT)
    shown = apply_filter(decoded, read_filter((chunk,)))
    assert len(chunk.payload) >= 15
    assert error(original, shown) < 0.01 * error(original, decoded)


def test_a_blur_is_undone_with_the_more_features_the_dearer_errors_are() -> None:
    original = photo()
    errors, counts = [error(original, blurred())], [0]
    for weight in (300.0, 3e4, 1e6):
        (chunk,) = fit_filter(original, blurred(), weight)
        found = read_filter((chunk,))
        assert found is not None
        counts.append(len(found.chosen))
        errors.append(error(original, apply_filter(blurred(), found)))
    assert counts == sorted(counts)
    assert 0 < counts[1] < counts[-1] >= 40
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.7 * errors[0]


@given(st.integers(1, 24), st.integers(1, 24), st.floats(0, 1e5), st.floats(0, 0.3), st.integers(0, 2**32))
def test_bits_and_error_together_never_rise(
    height: int, width: int, weight: float, noise: float, seed: int
) -> None:
    """An exception is a colour cast. It is removed at any cost, and this never increases the error."""
    rng = np.random.default_rng(seed)
    original = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    decoded = (as_floats(original) + noise * rng.standard_normal(original.shape)).astype(np.float32)
    before = error(original, decoded)
    found = fit_filter(original, decoded, weight)
    after = error(original, apply_filter(decoded, read_filter(found)))
    # The clamp after the filter can only help. 1e-5 allows for the filter in float32.
    allowed = before * (1 + 1e-5) + 1e-6
    assert after <= allowed
    if found and len(found[0].payload) > OFFSETS_ALONE:
        bits = 8 * (AROUND + len(found[0].payload))
        assert bits + weight * after <= weight * allowed


def test_only_a_cast_is_filtered_where_errors_cost_nothing() -> None:
    original = photo()
    soft = ndimage.gaussian_filter(as_floats(original), (1, 1, 0)).astype(np.float32)
    assert fit_filter(original, soft, 0.0) == ()
    (chunk,) = fit_filter(original, soft + np.float32(0.2), 0.0)
    assert len(chunk.payload) == OFFSETS_ALONE
    flat = np.full((9, 9, 3), 250, np.uint8)
    (chunk,) = fit_filter(flat, as_floats(flat) - np.float32(0.03), 0.0)
    shown = apply_filter(as_floats(flat) - np.float32(0.03), read_filter((chunk,)))
    assert np.array_equal(np.round(255 * shown.clip(0, 1)), flat)


def test_a_perfect_picture_needs_none() -> None:
    assert fit_filter(photo(), as_floats(photo()), 1e9) == ()


def blurred(noise: float = 0.01) -> Pixels:
    soft = ndimage.gaussian_filter(as_floats(photo()), (0.6, 0.6, 0))
    result: Pixels = (soft + noise * np.random.default_rng(1).standard_normal(soft.shape)).astype(np.float32)
    return result


@pytest.mark.parametrize("weight", [1.0, 30.0, 100.0, 200.0, 400.0, 1e3, 4e3, 1e4, 4e4, 2e5, 1e6])
def test_what_is_sent_is_the_cheapest(weight: float) -> None:
    moments = moments_of(photo(), blurred())
    chosen = moments.choose(weight)
    costs = {b"": weight * float(moments.squared.sum())}
    for features_, steps in [((), 0), *((chosen, steps) for steps in range(2, 13) if chosen)]:
        found, left = moments.fit(features_, steps)
        costs[found.payload()] = 8 * (AROUND + len(found.payload())) + weight * left
    sent = fit_filter(photo(), blurred(), weight)
    assert (sent[0].payload if sent else b"") == min(costs, key=lambda payload: costs[payload])


def test_a_dear_filter_does_not_take_the_place_of_a_cheaper_one() -> None:
    """A colour cast is stored at any cost. Everything beyond it must reduce the total cost."""
    original = photo()
    cast = as_floats(original) + np.float32(0.03) + (blurred() - as_floats(original))
    for weight in np.geomspace(0.1, 1e3, 25):
        before, sent = error(original, cast), fit_filter(original, cast, weight)
        assert sent
        left = error(original, apply_filter(cast, read_filter(sent)))
        cost = 8 * (AROUND + len(sent[0].payload)) + weight * left
        assert cost <= weight * before * (1 + 1e-5) or len(sent[0].payload) == OFFSETS_ALONE


def test_weights_beyond_what_codes_hold_are_no_crash() -> None:
    original = photo()
    grey_fog = (0.5 + (as_floats(original) - 0.5) / 20).astype(np.float32)
    (chunk,) = fit_filter(original, grey_fog, 2e4)
    assert error(original, apply_filter(grey_fog, read_filter((chunk,)))) < 0.1 * error(original, grey_fog)


@pytest.mark.parametrize("shape", [(2, 1), (1, 2), (1, 1), (3, 3)])
def test_pictures_of_few_tones_are_no_crash(shape: tuple[int, int]) -> None:
    """On such pictures, features are equal or zero."""
    for seed in range(40):
        rng = np.random.default_rng(seed)
        original = (255 * rng.integers(0, 2, (*shape, 3))).astype(np.uint8)
        ramp = np.broadcast_to(np.linspace(0, 1, shape[0], dtype=np.float32)[:, None, None], (*shape, 3))
        for decoded in (ramp.copy(), np.zeros((*shape, 3), np.float32), rng.random((*shape, 3), np.float32)):
            found = read_filter(fit_filter(original, decoded, 21675.0))
            assert error(original, apply_filter(decoded, found)) <= error(original, decoded) * (1 + 1e-5)


def test_the_error_of_moments_is_the_error_of_pixels() -> None:
    moments = moments_of(photo(), blurred())
    for chosen, steps in (((), 0), ((0, 30, 53), 7), (tuple(range(56)), 9)):
        found, left = moments.fit(chosen, steps)
        shown = apply_filter(blurred(), found).astype(np.float64)
        assert left == pytest.approx(((shown - photo() / 255) ** 2).sum(), rel=1e-4)


def test_features_are_chosen_by_what_they_take_away() -> None:
    """The result is that of trying all features: the first alone, the second with the first, and so on."""
    moments = moments_of(photo(), blurred() + np.float32(0.05))

    def left(some: tuple[int, ...]) -> float:
        index = [*some, 56]
        weights = np.zeros((3, 57))
        weights[:, index] = np.linalg.solve(
            moments.ridged()[:, index][:, :, index], moments.errors[:, index, None]
        )[..., 0]
        ridge = moments.ridged() - moments.products
        return moments.error(weights) + float(np.einsum("ci,cij,cj->", weights, ridge, weights))

    chosen = moments.choose(3e4)
    assert len(set(chosen)) == len(chosen) >= 8
    for count in range(5):
        rest = set(range(56)) - set(chosen[:count])
        best = min(rest, key=lambda feature: left((*chosen[:count], feature)))
        assert chosen[count] == best
    gains = [left(chosen[:count]) - left(chosen[: count + 1]) for count in range(len(chosen))]
    assert 3e4 * sum(gains) > 19 * len(chosen)
    assert moments.choose(0.0) == ()


def test_later_weights_make_up_for_what_rounding_did_to_earlier_ones() -> None:
    original = photo()
    a = as_floats(original)
    decoded = (a + 0.06 * np.sin(5 * a) + 0.04 * a[..., ::-1] ** 4).astype(np.float32)
    moments = moments_of(original, decoded)
    exact = np.linalg.solve(moments.ridged(), moments.errors[..., None])[..., 0]
    by_itself = exact.copy()
    by_itself[:, :56] = np.round(64 * exact[:, :56]) / 64
    _, left = moments.fit(tuple(range(56)), 6)
    assert left < 0.75 * moments.error(by_itself)


@pytest.mark.parametrize("steps", [0, 3, 8, 12])
def test_rounding_goes_one_by_one_with_the_rest_solved_anew(steps: int) -> None:
    moments = moments_of(photo(), blurred())
    chosen = (29, 3, 44, 17, 53)
    index = [*chosen, 56]
    products, left = moments.ridged()[:, index][:, :, index], moments.errors[:, index].copy()
    expected = np.zeros((3, 5), np.int64)
    for place in range(5):
        free = np.linalg.solve(products[:, place:, place:], left[:, place:, None])[:, 0, 0]
        expected[:, place] = np.round(free * 2**steps)
        left -= products[:, :, place] * (expected[:, place] / 2**steps)[:, None]
    found, _ = moments.fit(chosen, steps)
    assert found.chosen == (3, 17, 29, 44, 53)
    assert np.array_equal(found.weights, expected[:, [1, 3, 0, 2, 4]])


def part_of(decoded: Pixels, rows: range, columns: range) -> tuple[Pixels, View]:
    """A part of a picture, and the pixels around it that the filter reads."""
    height, width = decoded.shape[:2]
    top, left = max(0, rows.start - REACH), max(0, columns.start - REACH)
    part = decoded[top : rows.stop + REACH, left : columns.stop + REACH]
    return np.ascontiguousarray(part), View(top, left, height, width, rows, columns)


def of_parts(original: npt.NDArray[np.uint8], parts: list[tuple[Pixels, View]]) -> fit.Moments:
    return functools.reduce(operator.add, (moments_of(original, *part) for part in parts))


def test_a_large_picture_is_measured_in_part() -> None:
    original, decoded = photo(), blurred(0.05)
    whole = moments_of(original, decoded)
    spread = [part_of(decoded, range(top, top + 32), range(70, 110)) for top in (0, 48, 96)]
    part = of_parts(original, spread)
    assert part.pixels == 3 * 32 * 40
    part = part.extrapolated(128 * 160)
    assert not np.array_equal(part.squared, whole.squared)
    assert part.squared == pytest.approx(whole.squared, rel=0.2)
    assert part.products[:, -1, -1] == pytest.approx(original.shape[0] * original.shape[1])


def test_parts_that_make_up_a_picture_say_what_the_whole_says() -> None:
    original, decoded = photo(), blurred()
    assert decoded.shape == (128, 160, 3)
    cuts = [(range(50), range(90)), (range(50), range(90, 160)), (range(50, 128), range(160))]
    parts = [part_of(decoded, *cut) for cut in cuts]
    whole, found = moments_of(original, decoded), of_parts(original, parts)
    np.testing.assert_allclose(found.products, whole.products, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found.errors, whole.errors, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.squared, whole.squared, rtol=1e-9)
    assert [chunk.payload for chunk in fit_moments(found, 3e4)] == [
        chunk.payload for chunk in fit_filter(original, decoded, 3e4)
    ]


@pytest.mark.parametrize("filtered", [False, True])
@pytest.mark.parametrize(
    ("rows", "columns"),
    [(range(3, 60), range(41)), (range(100, 128), range(150, 160)), (range(64, 65), range(9, 150))],
)
def test_a_part_is_filtered_as_the_whole_picture_is(rows: range, columns: range, filtered: bool) -> None:
    chunks = fit_filter(photo(), blurred(), 1e6) if filtered else ()
    found = read_filter(chunks)
    assert (found is not None and len(found.chosen) > 30) == filtered
    whole = apply_filter(blurred(), found)[rows.start : rows.stop, columns.start : columns.stop]
    part, view = part_of(blurred(), rows, columns)
    np.testing.assert_allclose(apply_filter(part, found, view), whole, atol=1e-5)


def test_what_is_no_number_is_not_filtered() -> None:
    assert fit_filter(photo(), np.full((128, 160, 3), np.nan, np.float32), WEIGHT) == ()


def test_what_nobody_can_see_is_no_cast() -> None:
    flat = np.full((9, 9, 3), 250, np.uint8)
    assert fit_filter(flat, as_floats(flat) - np.float32(0.3 / 255), 0.0) == ()
    assert len(fit_filter(flat, as_floats(flat) - np.float32(0.7 / 255), 0.0)) == 1


@pytest.mark.parametrize("grey", [False, True])
def test_a_photo_gets_one_that_is_worth_its_bytes(grey: bool) -> None:
    """This uses the shipped model. A grey picture is measured as it is shown, as the mean of the colours."""
    codec = Codec.load("photo")
    picture = photos.astronaut()[:320, 100:420]
    if grey:
        picture = picture.mean(2).round().astype(np.uint8)
    code = codec.encode(picture, 90)
    (chunk,) = code.extras
    assert len(chunk.payload) > OFFSETS_ALONE
    bare = dataclasses.replace(code, extras=())
    bits = {len(one.extras): 8 * len(codec.pack(one)) for one in (code, bare)}
    errors = {
        len(one.extras): ((np.asarray(codec.decode(one)) - picture.astype(float)) ** 2).mean()
        for one in (code, bare)
    }
    # This is lambda of quality 90 from the model's card, for each of the picture's pixels.
    lowest, highest = codec.model.card.card["lambda_range"]
    weight = lowest * (highest / lowest) ** 0.9 * picture.shape[0] * picture.shape[1]
    assert bits[1] + weight * errors[1] < bits[0] + weight * errors[0]


def test_it_is_applied_where_all_layers_are_shown(codec: Codec) -> None:
    code: BinaryCode = codec.encode(photo(), 60)
    filtered = dataclasses.replace(
        code,
        extras=(
            Extra(POST_FILTER, PostFilter(np.array([640, 0, 0]), (), np.zeros((3, 0), int), 0).payload()),
        ),
    )
    bare = dataclasses.replace(code, extras=())
    shown, plain = (np.asarray(codec.decode(one)).astype(int) for one in (filtered, bare))
    assert np.array_equal(shown[..., 1:], plain[..., 1:])
    assert np.array_equal(shown[..., 0], np.minimum(plain[..., 0] + 10, 255))
    parts = [np.asarray(codec.decode(one, layers=1)) for one in (filtered, bare)]
    assert np.array_equal(*parts)
