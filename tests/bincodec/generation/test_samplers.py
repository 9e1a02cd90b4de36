"""Sampling: the reverse step against enumeration, seeds, holes, and the coder as a sampler."""

import dataclasses
import itertools
import math
from pathlib import Path
from typing import Self

import constriction
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bincodec import Codec
from bincodec.bitstream import levels as levels_module
from bincodec.bitstream.probability import ONE
from bincodec.coding import bernoulli, passes
from bincodec.generation import guidance as steering
from bincodec.generation import samplers
from bincodec.model.architecture import Architecture
from bincodec.model.card import GuidedBy
from bincodec.model.integer import KEEP_KNOWN
from bincodec.model.kernels import IntegerPrior

MODELS = Path(__file__).resolve().parents[2] / "models"
GRID = (5, 7)
FROZEN = [0.8824668302545412, 0.3690383346754841, 0.5170696944527113]
"""The first words of seed 7, image 1, which are the same on every machine and with every NumPy."""


@pytest.fixture(scope="module")
def prior() -> IntegerPrior:
    return Codec.load(str(MODELS / "tiny-1.safetensors")).model.prior


def table_probabilities(mu: int, scale: int, maximum: int) -> np.ndarray:
    """Return the cavity, (J + 1,), from the frozen tables."""
    everything = np.arange(maximum + 1, dtype=np.uint8)
    return levels_module.probability_of(
        everything, np.full(maximum + 1, mu), np.full(maximum + 1, scale), maximum
    )


def reverse_step(cavity: np.ndarray, observed: int, earlier: int, later: int) -> np.ndarray:
    """Return p(L_s | L_t) with matrices over all levels, from the two formulas of `bernoulli`."""
    keep_t, keep_s = earlier / KEEP_KNOWN, later / KEEP_KNOWN
    seen = torch.tensor(observed)
    calibrated = bernoulli.with_own_observation(
        torch.from_numpy(np.log(cavity)), seen, torch.tensor(keep_t, dtype=torch.float64)
    )
    return bernoulli.posterior(calibrated.exp(), seen, keep_s, keep_t).numpy()


@settings(max_examples=25)
@given(
    mu=st.integers(-200, 200),
    scale=st.integers(10, 50),
    maximum=st.sampled_from([1, 2, 3, 6]),
    keep=st.tuples(st.integers(0, 62), st.integers(1, 63)).filter(lambda pair: pair[0] < pair[1]),
    data=st.data(),
)
def test_the_reverse_step_is_the_enumerated_posterior(
    mu: int, scale: int, maximum: int, keep: tuple[int, int], data: st.DataObject
) -> None:
    observed = data.draw(st.integers(0, maximum))
    expected = reverse_step(table_probabilities(mu, scale, maximum), observed, *keep)
    count = 40_000
    drawn = samplers._less_noisy(
        np.full((1, count), observed, np.uint8),
        np.full((1, count), mu),
        np.full((1, count), scale),
        maximum,
        *keep,
        samplers.Words(1, maximum),
    )
    found = np.bincount(drawn[0], minlength=maximum + 1) / count
    assert np.abs(found - expected).max() < 5 * 0.5 / math.sqrt(count)


@settings(max_examples=15)
@given(
    mu=st.integers(-200, 200),
    scale=st.integers(10, 50),
    maximum=st.sampled_from([1, 2, 6]),
    keep=st.tuples(st.integers(0, 62), st.integers(1, 64)).filter(lambda pair: pair[0] < pair[1]),
    renewal=st.sampled_from([0.0, 0.3, 1.0]),
    data=st.data(),
)
def test_renewed_levels_are_noise_upon_the_enumerated_clean_ones(
    mu: int, scale: int, maximum: int, keep: tuple[int, int], renewal: float, data: st.DataObject
) -> None:
    observed = data.draw(st.integers(0, maximum))
    cavity = table_probabilities(mu, scale, maximum)
    keep_s = keep[1] / KEEP_KNOWN
    clean = reverse_step(cavity, observed, keep[0], KEEP_KNOWN)
    anew = keep_s * clean + (1 - keep_s) / (maximum + 1)
    expected = renewal * anew + (1 - renewal) * reverse_step(cavity, observed, *keep)
    count = 40_000
    drawn = samplers._drawn(
        np.full((1, count), observed, np.uint8),
        np.full((1, count), mu),
        np.full((1, count), scale),
        maximum,
        *keep,
        samplers.Words(1, maximum),
        renewal,
    )
    found = np.bincount(drawn[0], minlength=maximum + 1) / count
    assert np.abs(found - expected).max() < 5 * 0.5 / math.sqrt(count)


@given(
    renewal=st.floats(0, 1),
    keep=st.lists(st.integers(0, KEEP_KNOWN), min_size=2, max_size=20, unique=True).map(sorted),
)
def test_many_short_steps_leave_as_many_levels_alone_as_one_long_step(
    renewal: float, keep: list[int]
) -> None:
    whole = samplers.renewed_share(renewal, keep[0], keep[-1])
    parts = [samplers.renewed_share(renewal, *step) for step in itertools.pairwise(keep)]
    assert math.prod(1 - share for share in parts) == pytest.approx(1 - whole, abs=len(keep) * 2**-16)
    assert all(0 <= share <= 1 for share in parts)


@pytest.mark.parametrize("renewal", [0, 0.25, 0.5, 1])
def test_the_renewal_is_the_share_of_each_of_16_steps(renewal: float) -> None:
    keep = samplers.keeps("linear", 16)
    assert [samplers.renewed_share(renewal, *step) for step in itertools.pairwise(keep)] == [renewal] * 16


def test_what_is_wrong_does_not_stay_where_levels_are_renewed() -> None:
    """The reverse step keeps an observed level that the prior finds unlikely, renewal does not."""
    count, mu, scale = 20_000, 400, 24  # The prior is all but sure of a 1.
    wrong = np.zeros((1, count), np.uint8)
    given = wrong, np.full((1, count), mu), np.full((1, count), scale), 1, 20, 24, samplers.Words(3)
    kept, renewed = ((samplers._drawn(*given, renewal) == 0).mean() for renewal in (0.0, 1.0))
    assert kept > 0.5
    assert renewed < 0.35


@pytest.mark.parametrize("maximum", [1, 2, 30])
@pytest.mark.parametrize("keep", [0, 13, 40, KEEP_KNOWN])
def test_forward_noise_has_the_closed_form_s_marginals(maximum: int, keep: int) -> None:
    """The distribution is k z + (1 - k) / (J + 1)."""
    count = 30_000
    kernel = bernoulli.kernel(maximum + 1, keep / KEEP_KNOWN).numpy()
    for level in {0, maximum // 2, maximum}:
        clean = np.full((1, 1, count), level, np.uint8)
        (noisy,) = samplers.add_noise((clean,), (maximum,), keep, samplers.Words(2, level))
        found = np.bincount(noisy.ravel(), minlength=maximum + 1) / count
        assert len(found) == maximum + 1
        assert np.abs(found - kernel[level]).max() < 5 * 0.5 / math.sqrt(count)
        assert keep != KEEP_KNOWN or (noisy == level).all()


def test_tables_give_probabilities_that_sum_to_one() -> None:
    for maximum in (1, 2, 30, 126):
        for mu, scale in ((0, 32), (300, 20), (-900, 45)):
            assert abs(table_probabilities(mu, scale, maximum).sum() - 1) < 1e-9


@pytest.mark.parametrize("schedule", ["linear", "cosine", "sigmoid"])
@pytest.mark.parametrize("steps", [1, 3, 16, 64, 200])
def test_keeps_rise_from_nothing_to_everything(schedule: str, steps: int) -> None:
    keep = samplers.keeps(schedule, steps)
    assert (keep[0], keep[-1], len(keep)) == (0, KEEP_KNOWN, steps + 1)
    assert keep == sorted(keep)


def uniform(prior: IntegerPrior, words: samplers.Words) -> tuple[np.ndarray, ...]:
    """The chain starts with noise in which nothing is kept."""
    maximum = prior.architecture.maximum_level
    nothing = tuple(np.zeros((channels, *GRID), np.uint8) for channels in prior.architecture.layer_channels)
    return samplers.add_noise(nothing, maximum, 0, words)


def diffusion_sample(prior: IntegerPrior, seed: int, image: int = 0) -> tuple[np.ndarray, ...]:
    words = samplers.Words(seed, image)
    start = uniform(prior, words)
    return samplers.denoise(prior, 50, start, samplers.keeps("linear", 4), words)[-1]


def same(one: tuple[np.ndarray, ...], other: tuple[np.ndarray, ...]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_seed_gives_one_code_whatever_computes_it(prior: IntegerPrior) -> None:
    expected = diffusion_sample(prior, 3)
    drawn = samplers.autoregressive(prior, 50, GRID, samplers.Words(3))
    for kernel in ("matmul", "float64", "int64"):
        assert same(diffusion_sample(prior.with_kernel(kernel), 3), expected)
        assert same(samplers.autoregressive(prior.with_kernel(kernel), 50, GRID, samplers.Words(3)), drawn)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3 - threads if threads < 3 else 1)
        assert same(diffusion_sample(prior, 3), expected)
    finally:
        torch.set_num_threads(threads)
    assert not same(diffusion_sample(prior, 4), expected)
    assert not same(diffusion_sample(prior, 3, 1), expected)


def test_words_are_those_of_philox() -> None:
    """These values are frozen: another NumPy must not change the meaning of a seed."""
    assert samplers.Words(7, 1).uniform((3,)).tolist() == FROZEN
    assert samplers.Words(7, 1, stream=1).choice(1000) == 395
    assert samplers.Words(7, 1).choice(1000) == int(1000 * FROZEN[0])


@pytest.mark.parametrize("sampler", ["diffusion", "autoregressive"])
def test_known_positions_stay_and_the_rest_is_drawn(prior: IntegerPrior, sampler: str) -> None:
    own = samplers.autoregressive(prior, 50, GRID, samplers.Words(0))
    known = np.zeros(GRID, bool)
    known[:, :4] = True
    hole = samplers.Hole(own, known)
    words = samplers.Words(5)
    if sampler == "diffusion":
        start = uniform(prior, words)
        states = samplers.denoise(prior, 50, start, samplers.keeps("linear", 5), words, hole)
        found = states[-1]
    else:
        found = samplers.autoregressive(prior, 50, GRID, words, hole=hole)
    for old, new in zip(own, found, strict=True):
        assert np.array_equal(old[:, known], new[:, known])
    assert any((old != new).any() for old, new in zip(own, found, strict=True))


@dataclasses.dataclass
class Watched:
    """A predictor that records what it receives."""

    prior: IntegerPrior
    shown: list[torch.Tensor] = dataclasses.field(default_factory=list)

    @property
    def architecture(self) -> Architecture:
        return self.prior.architecture

    def incremental(self) -> Self:
        return self

    def predict(
        self, context: torch.Tensor, quality: int, layer: int | None, positions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.shown.append(context.clone())
        return self.prior.predict(context, quality, layer, positions)


@pytest.mark.parametrize("sampler", ["diffusion", "autoregressive"])
def test_what_is_known_is_shown_at_every_step(prior: IntegerPrior, sampler: str) -> None:
    own = samplers.autoregressive(prior, 50, GRID, samplers.Words(0))
    known = np.zeros(GRID, bool)
    known[1:, :4] = True
    hole, words, watched = samplers.Hole(own, known), samplers.Words(5), Watched(prior)
    if sampler == "diffusion":
        samplers.denoise(watched, 50, uniform(prior, words), samplers.keeps("linear", 5), words, hole)
    else:
        samplers.autoregressive(watched, 50, GRID, words, hole=hole)
    everything = passes.Context(prior.architecture, *GRID)
    for layer, levels in enumerate(own):
        everything.add(layer, np.arange(known.size), levels.reshape(len(levels), -1))
    keep = slice(prior.architecture.channels, None)
    assert len(watched.shown) > 3
    for shown in watched.shown:
        assert torch.equal(shown[known], everything.values[known])
    assert (watched.shown[0][~known][:, keep] == 0).all()


@pytest.mark.parametrize("schedule", ["linear", "cosine", "sigmoid"])
def test_steps_in_which_no_noise_goes_cost_nothing(prior: IntegerPrior, schedule: str) -> None:
    watched, words = Watched(prior), samplers.Words(1)
    keeps = samplers.keeps(schedule, 300)
    states = samplers.denoise(watched, 50, uniform(prior, words), keeps, words)
    assert len(states) == 300
    assert len(watched.shown) == len(set(keeps)) - 1 <= KEEP_KNOWN


def test_keeps_start_where_they_are_asked_to() -> None:
    assert samplers.keeps("linear", 4, 0.5) == [32, 40, 48, 56, 64]
    assert samplers.keeps("linear", 2, 0.25) == [48, 56, 64]
    # Even the weakest noise counts as noise, and none at all does not.
    assert samplers.keeps("linear", 2, 0.001) == [63, 64, 64]
    assert samplers.keeps("cosine", 2, 0.0) == [64, 64, 64]


def test_given_layers_stay(prior: IntegerPrior) -> None:
    own = samplers.autoregressive(prior, 50, GRID, samplers.Words(0))
    found = samplers.autoregressive(prior, 50, GRID, samplers.Words(9), given=own[:1])
    assert np.array_equal(found[0], own[0])
    assert any((a != b).any() for a, b in zip(own[1:], found[1:], strict=True))


class Unpacked:
    """A source that decodes random words with a stack coder, as if they were a file."""

    def __init__(self, seed: int) -> None:
        words = np.random.default_rng(seed).integers(0, 2**32, 20_000, dtype=np.uint32)
        self._coder = constriction.stream.stack.AnsCoder(words)
        self._model = constriction.stream.model.Bernoulli(perfect=False)

    def take(
        self, step: object, positions: np.ndarray, mu: np.ndarray, scale: np.ndarray, maximum: int
    ) -> np.ndarray:
        def ask(where: np.ndarray, j: np.ndarray, numerators: np.ndarray) -> np.ndarray:
            return self._coder.decode(self._model, (numerators / ONE).astype(np.float32)).astype(bool)

        return levels_module.decide(mu, scale, maximum, ask)

    def end_layer(self, layer: int, levels: np.ndarray) -> None:
        pass


def test_decoding_random_words_is_sampling(prior: IntegerPrior) -> None:
    """The means and variances of levels agree by layer between the coder's samples and ours."""
    grid, count = (12, 12), 12
    layers = prior.architecture.layers
    ours = [samplers.autoregressive(prior, 50, grid, samplers.Words(seed)) for seed in range(count)]
    theirs = [passes.run(prior, 50, grid, layers, Unpacked(seed)) for seed in range(count)]
    for layer in range(layers):
        one, other = (np.stack([s[layer] for s in samples]).astype(float) for samples in (ours, theirs))
        by_image = [np.array([picture.mean() for picture in part]) for part in (one, other)]
        error = math.sqrt(sum(means.var(ddof=1) / count for means in by_image)) + 1e-9
        assert abs(by_image[0].mean() - by_image[1].mean()) < 5 * error
        assert 0.7 < (one.std() + 1e-6) / (other.std() + 1e-6) < 1.4


def test_temperature_narrows_and_widens(prior: IntegerPrior) -> None:
    spread = []
    for temperature in (0.0, 0.5, 1.0, 2.0):
        tempered = steering.Tempered(prior, temperature)
        draws = [samplers.autoregressive(tempered, 50, GRID, samplers.Words(s))[0] for s in range(6)]
        spread.append(np.stack(draws).astype(float).std(0).mean())
    assert spread[0] < spread[1] < spread[2] < spread[3]
    assert spread[0] < 0.5 * spread[2]


MIXED = Architecture(layer_channels=(2, 3), maximum_level=(1, 6), layer_phases=(1, 1))
"""The model has two channels of one bit and three of seven levels."""


@dataclasses.dataclass(frozen=True)
class Fixed:
    """A prior that always predicts the same: by label, mu and scale of all channels at one position."""

    by_label: tuple[tuple[list[int], list[int]], ...]
    architecture: Architecture = MIXED

    def predict(
        self,
        context: torch.Tensor,
        quality: int,
        layer: int | None,
        positions: torch.Tensor,
        label: int = 0,
        *,
        skipped: int | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        assert skipped is None
        mu, scale = (torch.tensor(part, dtype=torch.int32)[:, None] for part in self.by_label[label])
        channels = MIXED.channels_of(layer)
        return mu[channels], scale[channels]


def asked(predictor: passes.Predictor, layer: int | None) -> tuple[np.ndarray, np.ndarray]:
    mu, scale = predictor.predict(torch.zeros(1, 1, 7), 50, layer, torch.zeros(1, dtype=torch.long))
    return mu[:, 0].numpy(), scale[:, 0].numpy()


def odds(mu: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return the log-odds that a level is in the upper half."""
    return mu / 64 / np.exp((scale - 32) / 8)


@pytest.mark.parametrize("layer", [None, 0, 1])
@pytest.mark.parametrize("guidance", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("by", ["class", "block", "both"])
def test_guidance_goes_as_far_beyond_the_weaker_prediction_as_it_says(
    layer: int | None, guidance: float, by: GuidedBy
) -> None:
    """A model of many levels is guided by the class, whatever is asked for."""
    none = ([10, -300, 40, -90, 0], [30, 40, 32, 36, 20])
    conditioned = ([25, -350, 70, -60, 64], [30, 38, 31, 36, 20])
    prior = Fixed((none, conditioned))
    found = odds(*asked(steering.Guided(prior, 1, guidance, by), layer))  # type: ignore[arg-type]
    wanted = [odds(np.array(mu), np.array(scale)) for mu, scale in (conditioned, none)]
    expected = ((1 + guidance) * wanted[0] - guidance * wanted[1])[MIXED.channels_of(layer)]
    # For a channel with several thresholds, the scale is rounded to the table, by at most half a step of 1/8.
    bits = np.array([True, True, False, False, False])[MIXED.channels_of(layer)]
    assert found[bits] == pytest.approx(expected[bits], abs=0.02)
    assert found[~bits] == pytest.approx(expected[~bits], abs=0.02, rel=0.07)


def test_the_weaker_form_of_a_model_of_single_bits_lacks_the_last_block_but_one() -> None:
    bits = dataclasses.replace(MIXED, maximum_level=(1, 1))
    blocks = [steering.left_out(dataclasses.replace(bits, prior_blocks=n)) for n in (1, 2, 6)]
    assert blocks == [None, 0, 4]
    assert steering.left_out(MIXED) is None


@given(
    guidance=st.sampled_from([0.5, 2.0]),
    how=st.sampled_from(
        [
            (3, "both", 0, 4),
            (3, "class", 0, None),
            (3, "block", 3, 4),
            (0, "both", 0, 4),
            (0, "block", 0, 4),
        ]
    ),
    seed=st.integers(0, 99),
)
@settings(max_examples=20, deadline=None)
def test_guidance_asks_the_whole_model_and_its_weaker_form(
    guidance: float, how: tuple[int, GuidedBy, int, int | None], seed: int
) -> None:
    label, by, weaker_label, skipped = how
    prior = Codec.load("clothing-1").model.prior
    context = torch.randint(-32, 33, (4, 4, 68), generator=torch.manual_seed(seed)).float()
    where = torch.arange(16)
    guided = steering.Guided(prior, label, guidance, by).predict(context, 50, None, where)
    asked = prior.predict(context, 50, None, where, label)
    without = prior.predict(context, 50, None, where, weaker_label, skipped=skipped)
    found, whole, weaker = (odds(mu.numpy(), scale.numpy()) for mu, scale in (guided, asked, without))
    assert not np.allclose(whole, weaker)
    expected = (1 + guidance) * whole - guidance * weaker
    assert np.median(np.abs(found - expected)) < 0.02


@pytest.mark.parametrize("layer", [None, 0, 1])
@pytest.mark.parametrize("temperature", [0.3, 0.95, 1.0, 1.06, 1.2, 4.0])
def test_temperature_divides_log_odds(layer: int | None, temperature: float) -> None:
    plain = ([25, -350, 70, -60, 64], [30, 38, 31, 36, 20])
    mu, scale = asked(steering.Tempered(Fixed((plain,)), temperature), layer)
    channels = MIXED.channels_of(layer)
    before = [np.array(part)[channels] for part in plain]
    bits = np.array([True, True, False, False, False])[channels]
    step = odds(np.ones_like(mu), scale)
    assert (np.abs(odds(mu, scale) - odds(*before) / temperature) <= 0.51 * step)[bits].all()
    assert (mu == before[0])[~bits].all()
    assert (scale - before[1] == round(8 * math.log(temperature))).all()


def test_temperature_0_takes_the_likeliest_level(prior: IntegerPrior) -> None:
    mu, scale = asked(steering.Tempered(Fixed((([1, -1, 31, 33, -250], [50] * 5),)), 0.0), None)
    assert mu.tolist() == [32, -32, 0, 64, -256]
    assert (scale == 0).all()
    cold = steering.Tempered(prior, 0.0)
    one, other = (samplers.autoregressive(cold, 50, GRID, samplers.Words(seed)) for seed in (1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@settings(max_examples=60)
@given(
    conditioned=st.tuples(st.integers(-700, 700), st.integers(16, 48)),
    none=st.tuples(st.integers(-700, 700), st.integers(16, 48)),
    guidance=st.sampled_from([0.25, 1.0, 3.5]),
)
def test_guidance_mixes_log_odds(
    conditioned: tuple[int, int], none: tuple[int, int], guidance: float
) -> None:
    def log_odds(mu: float, scale: float) -> float:
        return mu / 64 / math.exp((scale - 32) / 8)

    parts = [(np.array([[mu]]), np.array([[scale]])) for mu, scale in (conditioned, none)]
    weight = round(256 * guidance)
    mu, scale = steering.mixed(parts, (256 + weight, -weight), np.array([[True]]))
    expected = (1 + guidance) * log_odds(*conditioned) - guidance * log_odds(*none)
    inverse = (1 + guidance) * math.exp((32 - conditioned[1]) / 8) - guidance * math.exp((32 - none[1]) / 8)
    found = log_odds(int(mu[0, 0]), int(scale[0, 0]))
    if inverse > math.exp(-31 / 8) and abs(mu[0, 0]) < 2**14:
        step = log_odds(1, int(scale[0, 0]))
        assert found == pytest.approx(expected, abs=0.51 * step, rel=1e-3)


def test_a_mixture_of_one_is_itself() -> None:
    mu, scale = np.arange(-64, 64)[None], (np.arange(128) % 64)[None]
    for bits in (True, False):
        found = steering.mixed([(mu, scale)], (256,), np.array([[bits]]))
        assert np.array_equal(found[0], mu)
        assert np.array_equal(found[1], scale)


def test_the_table_of_inverse_scales_is_frozen() -> None:
    assert (steering.INVERSE_SCALES[[0, 31, 32, 33, 63]] == [57250310, 1188192, 1048576, 925365, 21763]).all()
    assert steering.INVERSE_SCALES.sum() == 487060389
