import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bincodec.bitstream.coder import BitDecoder, BitEncoder
from bincodec.bitstream.levels import decide, decode_levels, encode_levels, level_bits, probability_of
from bincodec.bitstream.probability import ONE, SCALES, first, onward, threshold

maxima = st.sampled_from([1, 2, 3, 5, 6, 14, 30, 62, 63, 254, 255])


@st.composite
def passes(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Draw any levels with any prediction."""
    maximum = draw(maxima)
    shape = draw(st.integers(0, 5)), draw(st.integers(0, 7))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spread = draw(st.sampled_from([1, 100, 10000, 2**20]))
    levels = random.integers(0, maximum + 1, shape).astype(np.uint8)
    return levels, random.integers(-spread, spread, shape), random.integers(0, SCALES, shape), maximum


def reference_decisions(
    levels: np.ndarray, mu: np.ndarray, scale: np.ndarray, maximum: int
) -> list[tuple[int, int, int, int]]:
    """Return (round, position, j, numerator), level by level as FORMAT.md describes them, then sorted."""
    table = []
    rows = zip(*(x.ravel().tolist() for x in (levels, mu, scale)), strict=True)
    for position, (level, m, s) in enumerate(rows):
        middle = maximum // 2 if maximum % 2 == 0 else (maximum + 1) // 2
        m, s = np.array([m]), np.array([s])
        table.append((0, position, middle, int(first(m - threshold(middle, maximum), s)[0])))
        if level >= middle:
            asked = range(middle + 1, min(level + 1, maximum) + 1)
            numerators = [int(onward(m - threshold(j - 1, maximum), s)[0]) for j in asked]
        else:
            asked = range(middle - 1, max(level, 1) - 1, -1)
            numerators = [ONE - int(onward(threshold(j + 1, maximum) - m, s)[0]) for j in asked]
        table += [(r, position, j, n) for r, (j, n) in enumerate(zip(asked, numerators, strict=True), 1)]
    return sorted(table)


@given(passes())
def test_order_and_probabilities_are_the_documented_ones(given_pass: tuple) -> None:
    levels, mu, scale, maximum = given_pass
    asked: list[tuple[int, int, int, int]] = []
    rounds = iter(range(1000))

    def ask(where: np.ndarray, j: np.ndarray, numerators: np.ndarray) -> np.ndarray:
        turn = next(rounds)
        asked.extend(
            (turn, *row) for row in zip(*map(np.ndarray.tolist, (where, j, numerators)), strict=True)
        )
        return levels.flat[where] >= j

    found = decide(mu, scale, maximum, ask)
    assert found.dtype == np.uint8
    assert np.array_equal(found, levels)
    assert asked == reference_decisions(levels, mu, scale, maximum)


@given(st.lists(passes(), max_size=4))
def test_round_trip(several: list[tuple]) -> None:
    encoder = BitEncoder()
    for levels, mu, scale, maximum in several:
        encode_levels(encoder, levels, mu, scale, maximum)
    decoder, again = BitDecoder(encoder.finish()), BitEncoder()
    for levels, mu, scale, maximum in several:
        decoded = decode_levels(decoder, again, mu, scale, maximum)
        assert np.array_equal(decoded, levels)
        assert decoded.shape == levels.shape
    assert again.finish() == encoder.finish()


@given(passes())
def test_cost_is_the_coded_size(given_pass: tuple) -> None:
    levels, mu, scale, maximum = given_pass
    encoder = BitEncoder()
    encode_levels(encoder, *given_pass)
    cost = level_bits(levels, mu, scale, maximum)
    assert cost.shape == levels.shape
    assert (cost > 0).all()
    # There is no lower bound: bits whose interval contains a round number take fewer bytes, or even none.
    assert encoder.size <= 2 + cost.sum() / 8 * 1.001


@given(passes())
def test_a_probability_is_the_product_of_the_decisions_in_coding_order(given_pass: tuple) -> None:
    levels, mu, scale, maximum = given_pass
    expected = np.ones(levels.size)
    for _, position, j, numerator in reference_decisions(levels, mu, scale, maximum):
        expected[position] *= (numerator if levels.flat[position] >= j else ONE - numerator) / ONE
    found = probability_of(levels, mu, scale, maximum)
    # They are equal to the last bit, so a sampler draws the same on every machine.
    assert np.array_equal(found, expected.reshape(levels.shape))


@given(maxima, st.integers(-(2**13), 2**13), st.integers(0, SCALES - 1))
def test_level_probabilities_sum_to_one(maximum: int, mu: int, scale: int) -> None:
    levels = np.arange(maximum + 1, dtype=np.uint8)
    cost = level_bits(levels, np.full(levels.shape, mu), np.full(levels.shape, scale), maximum)
    assert np.exp2(-cost).sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("maximum", [1, 2, 7, 14])
def test_level_probabilities_are_logistic(maximum: int) -> None:
    levels = np.arange(maximum + 1, dtype=np.uint8)
    for mu, scale in [(0, 32), (100, 24), (-170, 40), (33, 48)]:
        cost = level_bits(levels, np.full(levels.shape, mu), np.full(levels.shape, scale), maximum)
        theta = np.array([threshold(j, maximum) for j in range(1, maximum + 1)])
        above = 1 / (1 + np.exp(-(mu - theta) / 64 / np.exp((scale - 32) / 8)))
        expected = -np.diff(above, prepend=1, append=0)
        assert np.exp2(-cost) == pytest.approx(expected, abs=4 / ONE)


def test_the_middle_is_cheap_where_it_is_expected() -> None:
    for maximum in (2, 6, 14, 62):
        middle = np.full((1, 1), maximum // 2, np.uint8)
        assert level_bits(middle, np.zeros((1, 1), int), np.zeros((1, 1), int), maximum).item() < 1e-4


def test_drawing_follows_the_probabilities() -> None:
    random = np.random.default_rng(0)
    mu, scale = np.full(20000, 40), np.full(20000, 36)

    def draw(where: np.ndarray, j: np.ndarray, numerators: np.ndarray) -> np.ndarray:
        return random.integers(0, ONE, where.size) < numerators

    drawn = np.bincount(decide(mu, scale, 6, draw), minlength=7) / 20000
    levels = np.arange(7, dtype=np.uint8)
    assert drawn == pytest.approx(np.exp2(-level_bits(levels, mu[:7], scale[:7], 6)), abs=0.015)


def test_narrow_integer_types_do_not_overflow() -> None:
    mu, scale = np.array([[-32768, 32767, 0]]), np.array([[0, 63, 32]])
    levels = np.array([[0, 255, 7]], np.uint8)
    wide = level_bits(levels, mu, scale, 255)
    assert np.array_equal(level_bits(levels, mu.astype(np.int16), scale.astype(np.uint8), 255), wide)


ZEROS = np.zeros((2, 3), int)


@pytest.mark.parametrize(
    ("levels", "mu", "scale", "maximum", "says"),
    [
        (ZEROS.astype(np.uint8), ZEROS, ZEROS, 0, "maximum level is 0"),
        (ZEROS.astype(np.uint8), ZEROS, ZEROS, 256, "maximum level is 256"),
        (ZEROS.astype(np.uint8), ZEROS, ZEROS[:1], 6, "differ in shape"),
        (ZEROS[:1].astype(np.uint8), ZEROS[:1], ZEROS, 6, "differ in shape"),
        (ZEROS.astype(np.uint8), ZEROS, ZEROS + 64, 6, "scales reach from 64"),
        (ZEROS.astype(np.uint8), ZEROS, ZEROS + 65, 6, "scales reach from 65 to 65, not within 0..63"),
        (ZEROS.astype(np.uint8), ZEROS, ZEROS - 1, 6, "scales reach from -1"),
        (ZEROS.astype(np.uint8), ZEROS, np.arange(6).reshape(2, 3) - 1, 6, "scales reach from -1 to 4"),
        (ZEROS.astype(np.uint8) + 7, ZEROS, ZEROS, 6, "level 7 is over the maximum of 6"),
        (ZEROS, ZEROS, ZEROS, 6, "levels are int64"),
        (ZEROS.astype(np.int8), ZEROS, ZEROS, 6, "levels are int8"),
        (ZEROS[:1].astype(np.uint8), ZEROS, ZEROS, 6, r"uint8 \(1, 3\), not"),
        (ZEROS.astype(np.uint8), ZEROS[:1], ZEROS[:1], 6, r"uint8 \(2, 3\), not"),
    ],
)
def test_arguments_out_of_range(
    levels: np.ndarray, mu: np.ndarray, scale: np.ndarray, maximum: int, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        encode_levels(BitEncoder(), levels, mu, scale, maximum)
    with pytest.raises(ValueError, match=says):
        level_bits(levels, mu, scale, maximum)
    with pytest.raises(ValueError, match=says):
        probability_of(levels, mu, scale, maximum)


@pytest.mark.parametrize(("highest", "most"), [(52, 0.04), (SCALES - 1, 0.2)])
def test_locations_beyond_the_tables_cost_little(highest: int, most: float) -> None:
    """With J = 254, thresholds may be farther away than the tables reach, and decisions are then less sure.

    The bits that this costs are counted for a level that is drawn from its logistic distribution.
    """
    maximum = 254
    levels = np.arange(maximum + 1, dtype=np.uint8)[None]
    edges = np.array([threshold(j, maximum) for j in range(1, maximum + 1)]) / 64
    for mu in (0, 64 * 64, 96 * 64, 32 * (maximum + 2)):
        for scale in range(0, highest + 1, 4):
            argument = np.clip((mu / 64 - edges) / np.exp((scale - 32) / 8), -500, 500)
            at_least = np.concatenate([[1.0], 1 / (1 + np.exp(-argument)), [0.0]])
            probability = at_least[:-1] - at_least[1:]
            likely = probability > 1e-12
            least = -(probability[likely] * np.log2(probability[likely])).sum()
            given_mu, given_scale = np.full(levels.shape, mu), np.full(levels.shape, scale)
            bits = level_bits(levels, given_mu, given_scale, maximum)[0]
            assert least - 1e-6 <= (probability * bits).sum() <= least + most
