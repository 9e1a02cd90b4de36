"""The mathematics of the diffusion: claims of exactness are checked on cases small enough to enumerate."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bincodec.coding import bernoulli
from bincodec.generation import schedule

PROPERTY = settings(deadline=None, derandomize=True, max_examples=40)
KEEPS = st.floats(0.0, 0.99)
PROPER_KEEPS = st.floats(0.01, 0.99)
MAXIMA = st.integers(1, 6)
SEEDS = st.integers(0, 1000)


def joint_of(first: int, second: int, seed: int) -> Tensor:
    """Return a correlated joint distribution, (first + 1, second + 1), of two channels' levels."""
    weights = torch.randn((first + 1, second + 1), generator=torch.manual_seed(seed), dtype=torch.float64)
    return (1.5 * weights).flatten().softmax(0).reshape(first + 1, second + 1)


def cavity_of(joint: Tensor, observed_second: int, keep: float) -> Tensor:
    """Return p(first clean level | second noisy level), by enumeration."""
    likelihood = bernoulli.kernel(joint.shape[1], keep)[:, observed_second]
    cavity = (joint * likelihood).sum(1)
    return cavity / cavity.sum()


def calibrated_of(joint: Tensor, observed: tuple[int, int], keep: float) -> Tensor:
    """Return p(first clean level | both noisy levels), by enumeration."""
    first = bernoulli.kernel(joint.shape[0], keep)[:, observed[0]]
    second = bernoulli.kernel(joint.shape[1], keep)[:, observed[1]]
    result = (joint * first[:, None] * second).sum(1)
    return result / result.sum()


def earlier_of(joint: Tensor, observed: tuple[int, int], keep_s: float, keep_t: float) -> Tensor:
    """Return p(first level at time s | both levels at time t), over all clean levels and paths through s."""
    start = bernoulli.kernel(joint.shape[0], keep_s)
    step = bernoulli.kernel(joint.shape[0], keep_t / keep_s)[:, observed[0]]
    second = bernoulli.kernel(joint.shape[1], keep_t)[:, observed[1]]
    result = torch.einsum("ab,b,as,s->s", joint, second, start, step)
    return result / result.sum()


def logistic_levels(mu: float, log_scale: float, maximum: int) -> Tensor:
    """Return the levels' probabilities as plain float64 differences."""
    edges = [j - (maximum + 1) / 2 for j in range(1, maximum + 1)]
    at_least = [1.0, *(1 / (1 + math.exp((edge - mu) / math.exp(log_scale))) for edge in edges), 0.0]
    return torch.tensor([a - b for a, b in itertools.pairwise(at_least)], dtype=torch.float64)


# --- forward process --------------------------------------------------------------------------------------


@PROPERTY
@given(KEEPS)
def test_one_threshold_gives_the_paper_s_kernel(keep: float) -> None:
    kernel = bernoulli.kernel(2, keep)
    for clean in (0, 1):
        assert kernel[clean, 1].item() == pytest.approx(keep * clean + (1 - keep) / 2, abs=1e-15)


@PROPERTY
@given(st.integers(2, 63), KEEPS)
def test_kernel_rows_are_distributions_that_keep_or_draw_evenly(levels: int, keep: float) -> None:
    kernel = bernoulli.kernel(levels, keep)
    assert torch.allclose(kernel.sum(1), torch.ones(levels, dtype=torch.float64))
    assert kernel[0, 1].item() == pytest.approx((1 - keep) / levels)
    assert kernel[1, 1].item() == pytest.approx(keep + (1 - keep) / levels)


@pytest.mark.parametrize("name", sorted(schedule.SCHEDULES))
@PROPERTY
@given(maximum=MAXIMA, times=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_noise_to_an_earlier_time_and_on_from_there_is_noise_to_the_later(
    name: str, maximum: int, times: tuple[float, float]
) -> None:
    keep_at = schedule.SCHEDULES[name]
    earlier, later = sorted(times)
    onward = schedule.keep_between(keep_at, earlier, later)
    composed = bernoulli.kernel(maximum + 1, keep_at(earlier)) @ bernoulli.kernel(maximum + 1, onward)
    assert torch.allclose(composed, bernoulli.kernel(maximum + 1, keep_at(later)), atol=1e-14)


@pytest.mark.parametrize(("maximum", "keep"), [(1, 0.3), (1, 0.0), (2, 0.8), (6, 0.5)])
def test_drawn_noise_has_the_kernel_s_frequencies(maximum: int, keep: float) -> None:
    draws, kernel = 40_000, bernoulli.kernel(maximum + 1, keep)
    generator = torch.Generator().manual_seed(7)
    for clean in range(maximum + 1):
        levels = torch.full((draws,), float(clean))
        noisy = bernoulli.add_noise(levels, torch.tensor(keep), torch.tensor(float(maximum)), generator)
        counts = torch.bincount(noisy.long(), minlength=maximum + 1)
        # Five standard deviations of the widest binomial.
        assert torch.allclose(counts / draws, kernel[clean].float(), atol=5 * 0.5 / math.sqrt(draws))


@PROPERTY
@given(KEEPS)
def test_a_bit_flips_as_often_as_the_kernel_says(keep: float) -> None:
    torch.manual_seed(3)
    draws, kernel = 20_000, bernoulli.kernel(2, keep)
    for clean in (0, 1):
        flipped = bernoulli.flip_bits(torch.full((draws,), clean - 0.5), torch.tensor(keep))
        assert set(flipped.tolist()) <= {-0.5, 0.5}
        share = (flipped != clean - 0.5).double().mean().item()
        assert share == pytest.approx(kernel[clean, 1 - clean].item(), abs=5 * 0.5 / math.sqrt(draws))


def test_noise_leaves_known_levels_alone_and_stays_in_range() -> None:
    maximum = torch.tensor([1.0, 6.0, 62.0])[:, None]
    levels = (torch.rand((3, 5000), generator=torch.manual_seed(1)) * (maximum + 1)).floor()
    known = bernoulli.add_noise(levels, torch.ones(3, 1), maximum)
    assert torch.equal(known, levels)
    hidden = bernoulli.add_noise(levels, torch.zeros(3, 1), maximum)
    assert torch.equal(hidden, hidden.floor())
    assert (hidden.amin(1) == 0).all()
    assert torch.equal(hidden.amax(1), maximum[:, 0])


# --- own observation --------------------------------------------------------------------------------------


@PROPERTY
@given(MAXIMA, MAXIMA, SEEDS, KEEPS)
def test_cavity_with_own_observation_is_the_exact_posterior(
    first: int, second: int, seed: int, keep: float
) -> None:
    joint = joint_of(first, second, seed)
    for a in range(first + 1):
        log_cavity = cavity_of(joint, seed % (second + 1), keep).log()
        found = bernoulli.with_own_observation(
            log_cavity, torch.tensor(a), torch.tensor(keep, dtype=torch.float64)
        )
        exact = calibrated_of(joint, (a, seed % (second + 1)), keep)
        assert torch.allclose(found.exp(), exact, atol=1e-12)


@PROPERTY
@given(st.floats(-4, 4), PROPER_KEEPS)
def test_with_one_threshold_the_observed_bit_gains_the_flip_s_log_odds(log_odds: float, keep: float) -> None:
    cavity = torch.tensor([0.0, log_odds], dtype=torch.float64).log_softmax(0)
    for observed, sign in ((0, -1), (1, 1)):
        found = bernoulli.with_own_observation(cavity, torch.tensor(observed), torch.tensor(keep).double())
        gain = (found[1] - found[0]).item() - log_odds
        assert gain == pytest.approx(sign * math.log((1 + keep) / (1 - keep)), abs=1e-5)


def per_threshold(cavity: Tensor, observed: int, keep: float) -> Tensor:
    """This is a tempting mistake: the bit's observation is added to the log-odds of each threshold."""
    at_least = cavity.flip(0).cumsum(0).flip(0)[1:]
    sign = torch.tensor([1.0 if observed >= j else -1.0 for j in range(1, len(cavity))])
    boosted = torch.sigmoid(at_least.logit() + sign * math.log((1 + keep) / (1 - keep)))
    edges = torch.cat([torch.ones(1), boosted, torch.zeros(1)])
    return edges[:-1] - edges[1:]


def test_observation_by_threshold_is_right_for_one_threshold_only() -> None:
    for maximum, right in ((1, True), (2, False), (5, False)):
        joint = joint_of(maximum, 2, 3)
        cavity = cavity_of(joint, 1, 0.6)
        exact = calibrated_of(joint, (0, 1), 0.6)
        wrong = per_threshold(cavity, 0, 0.6).double()
        assert torch.allclose(wrong, exact, atol=1e-6) == right
        found = bernoulli.with_own_observation(cavity.log(), torch.tensor(0), torch.tensor(0.6).double())
        assert torch.allclose(found.exp(), exact, atol=1e-6)


@PROPERTY
@given(MAXIMA, st.floats(-3, 3), st.floats(-1, 2), KEEPS)
def test_cost_with_own_observation_is_that_of_the_whole_distribution(
    maximum: int, mu: float, log_scale: float, keep: float
) -> None:
    at, scale = torch.full((1,), mu), torch.full((1,), log_scale)
    log_cavity = bernoulli.level_log_probabilities(at, scale, maximum)
    top, kept = torch.tensor(float(maximum)), torch.tensor(keep)
    for observed in range(maximum + 1):
        exact = bernoulli.with_own_observation(log_cavity, torch.tensor([observed]), kept)
        observed_cost = bernoulli.level_cost(torch.tensor(observed - maximum / 2), at, scale, top)
        for clean in range(maximum + 1):
            cost = bernoulli.level_cost(torch.tensor(clean - maximum / 2), at, scale, top)
            agree = torch.tensor(clean == observed)
            found = bernoulli.cost_with_own_observation(cost, observed_cost, agree, kept, top)
            assert found.item() == pytest.approx(-exact[0, clean].item() / math.log(2), rel=1e-3, abs=1e-3)


@PROPERTY
@given(st.floats(-3, 3), st.floats(-1, 2), KEEPS)
def test_single_bits_cost_the_same_in_a_shorter_way(mu: float, log_scale: float, keep: float) -> None:
    at, scale, one, kept = torch.tensor(mu), torch.tensor(log_scale), torch.tensor(1.0), torch.tensor(keep)
    for noisy in (-0.5, 0.5):
        observed = bernoulli.level_cost(torch.tensor(noisy), at, scale, one)
        for clean in (-0.5, 0.5):
            cost = bernoulli.level_cost(torch.tensor(clean), at, scale, one)
            whole = bernoulli.cost_with_own_observation(
                cost, observed, torch.tensor(clean == noisy), kept, one
            )
            found = bernoulli.bit_cost_with_own_observation(
                torch.tensor(clean), at, scale, torch.tensor(noisy), kept
            )
            assert found.item() == pytest.approx(whole.item(), rel=1e-3, abs=1e-3)


def test_known_single_bits_have_a_finite_cost() -> None:
    for noisy in (-0.5, 0.5):
        cost = bernoulli.bit_cost_with_own_observation(
            torch.tensor(0.5), torch.tensor(0.0), torch.tensor(0.0), torch.tensor(noisy), torch.tensor(1.0)
        )
        assert torch.isfinite(cost)


def test_hidden_channels_cost_what_the_cavity_says_and_known_ones_stay_finite() -> None:
    cost, observed = torch.tensor([3.0, 0.5]), torch.tensor([7.0, 0.5])
    agree, maximum = torch.tensor([False, True]), torch.tensor(4.0)
    hidden = bernoulli.cost_with_own_observation(cost, observed, agree, torch.zeros(2), maximum)
    assert torch.allclose(hidden, cost)
    known = bernoulli.cost_with_own_observation(cost, observed, agree, torch.ones(2), maximum)
    assert torch.isfinite(known).all()
    assert known[1] < 1e-3


# --- reverse steps ----------------------------------------------------------------------------------------


@PROPERTY
@given(MAXIMA, MAXIMA, SEEDS, st.tuples(PROPER_KEEPS, PROPER_KEEPS))
def test_posterior_mixed_over_calibrated_predictions_is_exact(
    first: int, second: int, seed: int, keeps: tuple[float, float]
) -> None:
    keep_t, keep_s = sorted(keeps)
    joint, other = joint_of(first, second, seed), seed % (second + 1)
    observed = torch.arange(first + 1)
    calibrated = torch.stack([calibrated_of(joint, (int(a), other), keep_t) for a in observed])
    found = bernoulli.posterior(calibrated, observed, keep_s, keep_t)
    exact = torch.stack([earlier_of(joint, (int(a), other), keep_s, keep_t) for a in observed])
    assert torch.allclose(found, exact, atol=1e-10)
    assert torch.allclose(found.sum(-1), torch.ones(first + 1, dtype=torch.float64))


def brute_force(joint: Tensor, keeps: list[float], observed: tuple[int, int], earlier: int) -> Tensor:
    """Return p(first bit after `earlier` steps | both bits after the last), over every path of both bits.

    `keeps` are those of the single steps, so this does not rely on skipping steps.
    """
    result, start = [0.0, 0.0], joint.tolist()
    bits = list(itertools.product((0, 1), repeat=2))
    for path in itertools.product(bits, repeat=len(keeps)):
        weight = start[path[0][0]][path[0][1]]
        for keep, before, after in zip(keeps, path, (*path[1:], observed), strict=True):
            for a, b in zip(before, after, strict=True):
                weight *= keep * (a == b) + (1 - keep) / 2
        result[path[earlier][0]] += weight
    return torch.tensor(result, dtype=torch.float64) / sum(result)


@settings(PROPERTY, max_examples=10)
@given(SEEDS, st.lists(st.floats(0.2, 0.95), min_size=4, max_size=4))
def test_any_number_of_steps_back_at_once_is_what_enumeration_says(seed: int, keeps: list[float]) -> None:
    """Two correlated bits take four steps forwards and one to three back: closed form against all paths."""
    joint = joint_of(1, 1, seed)
    for observed in itertools.product((0, 1), repeat=2):
        calibrated = calibrated_of(joint, observed, math.prod(keeps))
        for earlier in (1, 2, 3):
            found = bernoulli.posterior(
                calibrated, torch.tensor(observed[0]), math.prod(keeps[:earlier]), math.prod(keeps)
            )
            assert torch.allclose(found, brute_force(joint, keeps, observed, earlier), atol=1e-12)


@PROPERTY
@given(MAXIMA, st.lists(PROPER_KEEPS, min_size=3, max_size=3))
def test_two_short_steps_back_are_one_long_one(maximum: int, keeps: list[float]) -> None:
    """q(L_s | L_t, L_0) is the sum over L_u of q(L_s | L_u, L_0) q(L_u | L_t, L_0), for every u between."""
    keep_t, keep_u, keep_s = sorted(keeps)
    everything = torch.arange(maximum + 1)
    for clean in everything:
        certain = torch.eye(maximum + 1, dtype=torch.float64)[clean].expand(maximum + 1, -1)
        late = bernoulli.posterior(certain, everything, keep_u, keep_t)  # (L_t, L_u)
        early = bernoulli.posterior(certain, everything, keep_s, keep_u)  # (L_u, L_s)
        assert torch.allclose(
            late @ early, bernoulli.posterior(certain, everything, keep_s, keep_t), atol=1e-10
        )


def divergence(one: Tensor, other: Tensor) -> float:
    """Return the KL divergence of two distributions in nats."""
    return float((torch.xlogy(one, one) - torch.xlogy(one, other)).sum())


@PROPERTY
@given(MAXIMA, MAXIMA, SEEDS, st.tuples(PROPER_KEEPS, PROPER_KEEPS))
def test_the_divergence_of_a_reverse_step_vanishes_for_a_perfect_predictor_only(
    first: int, second: int, seed: int, keeps: tuple[float, float]
) -> None:
    keep_t, keep_s = sorted(keeps)
    joint, other = joint_of(first, second, seed), seed % (second + 1)
    for a in range(first + 1):
        exact = earlier_of(joint, (a, other), keep_s, keep_t)
        perfect = calibrated_of(joint, (a, other), keep_t)
        wrong = torch.roll(perfect, 1)
        found, worse = (
            divergence(exact, bernoulli.posterior(p, torch.tensor(a), keep_s, keep_t))
            for p in (perfect, wrong)
        )
        assert abs(found) < 1e-10
        # The earlier time asks for nothing that the later one does not give, so a step of length 0 is free.
        if keep_s - keep_t > 0.1 and (perfect - wrong).abs().max() > 0.1:
            assert worse > 1e-6


def test_posterior_down_to_time_zero_is_the_prediction() -> None:
    prediction = torch.tensor([[0.2, 0.5, 0.3]])
    found = bernoulli.posterior(prediction, torch.tensor([2]), 1.0, 0.4)
    assert torch.allclose(found.float(), prediction)


def product(probability: Tensor, observed: int, keep_s: float, keep_t: float) -> Tensor:
    """Return the paper's reverse step: the noisy prediction at s times the likelihood at t."""
    likelihood = bernoulli.kernel(len(probability), keep_t / keep_s)[:, observed]
    result = (probability @ bernoulli.kernel(len(probability), keep_s)) * likelihood
    return result / result.sum()


@pytest.mark.parametrize(
    ("step", "observed", "exact", "with_calibrated"),
    [
        ((3, 4), (0, 1), 0.024166, 0.001049),
        ((10, 40), (0, 1), 0.375200, 0.236522),
        ((1, 2), (1, 0), 0.986618, 0.999720),
    ],
)
def test_each_reverse_formula_belongs_to_its_own_kind_of_prediction(
    step: tuple[int, int], observed: tuple[int, int], exact: float, with_calibrated: float
) -> None:
    """Calibrated predictions need the mixture, and cavities the product. The other combinations are wrong."""
    joint = torch.tensor([[0.35, 0.10], [0.20, 0.35]], dtype=torch.float64)
    keep_s, keep_t = (schedule.linear(t / 64) for t in step)
    cavity = cavity_of(joint, observed[1], keep_t)
    own = torch.tensor(observed[0])
    calibrated = bernoulli.with_own_observation(cavity.log(), own, torch.tensor(keep_t).double()).exp()
    mixture = bernoulli.posterior(calibrated, own, keep_s, keep_t)
    assert earlier_of(joint, observed, keep_s, keep_t)[1].item() == pytest.approx(exact, abs=1e-6)
    assert mixture[1].item() == pytest.approx(exact, abs=1e-6)
    assert product(cavity, observed[0], keep_s, keep_t)[1].item() == pytest.approx(exact, abs=1e-6)
    # In the wrong combinations, the bit's own observation counts twice, or not at all.
    assert product(calibrated, observed[0], keep_s, keep_t)[1].item() == pytest.approx(
        with_calibrated, abs=1e-6
    )
    crossed = bernoulli.posterior(cavity, own, keep_s, keep_t)[1].item()
    assert abs(crossed - exact) > 1e-3


def test_a_flip_is_the_value_with_the_noisy_bit_s_sign() -> None:
    flip = torch.tensor([2.0, -0.5, 3.0])
    observed = torch.tensor([0, 1, 1])
    found = torch.sigmoid(bernoulli.flip_to_value(flip, observed))
    chance = torch.sigmoid(flip)
    expected = torch.where(observed == 0, chance, 1 - chance)
    assert torch.allclose(found, expected)


# --- the logistic over levels -----------------------------------------------------------------------------


@PROPERTY
@given(st.integers(1, 62), st.floats(-35, 35), st.floats(-4, 3.875))
def test_level_probabilities_sum_to_one(maximum: int, mu: float, log_scale: float) -> None:
    found = bernoulli.level_log_probabilities(torch.tensor([mu]), torch.tensor([log_scale]), maximum)
    assert found.shape == (1, maximum + 1)
    assert found.exp().sum().item() == pytest.approx(1, abs=1e-5)


@PROPERTY
@given(MAXIMA, st.floats(-3, 3), st.floats(-1.5, 3.875))
def test_level_probabilities_costs_and_means_are_the_logistic_s(
    maximum: int, mu: float, log_scale: float
) -> None:
    at, scale = torch.tensor([mu]), torch.tensor([log_scale])
    exact = logistic_levels(at.item(), scale.item(), maximum)
    found = bernoulli.level_log_probabilities(at, scale, maximum)[0]
    assert torch.allclose(found.exp().double(), exact, rtol=1e-3, atol=1e-6)
    centred = torch.arange(maximum + 1) - maximum / 2
    cost = bernoulli.level_cost(centred, at, scale, torch.tensor(float(maximum)))
    assert torch.allclose(cost.double(), -exact.log2().clamp(min=math.log2(1e-9)), rtol=2e-3, atol=2e-3)
    mean = bernoulli.expected_centred(at, scale, maximum).item()
    assert mean == pytest.approx((exact * centred).sum().item(), abs=1e-4)


def test_cost_without_tails_is_the_density_s_integral_over_one_level() -> None:
    found = bernoulli.level_cost(
        torch.tensor(0.3), torch.tensor(-0.2), torch.tensor(0.5), torch.tensor(1.0), tails=False
    )
    upper, lower = ((0.3 + half + 0.2) / math.exp(0.5) for half in (0.5, -0.5))
    probability = 1 / (1 + math.exp(-upper)) - 1 / (1 + math.exp(-lower))
    assert found.item() == pytest.approx(-math.log2(probability), rel=1e-5)


@pytest.mark.parametrize("tails", [True, False])
def test_cost_and_gradients_stay_finite_at_the_ends_of_every_range(tails: bool) -> None:
    mu = torch.tensor([-1e4, -33.0, -0.0, 0.0, 33.0, 1e4], requires_grad=True)
    log_scale = torch.tensor([-4.0, -4.0, 3.875, -4.0, 3.875, 3.875], requires_grad=True)
    for maximum in (1.0, 6.0, 62.0):
        for centred in (-maximum / 2, maximum / 2, 0.0 if maximum > 1 else 0.5):
            cost = bernoulli.level_cost(
                torch.tensor(centred), mu, log_scale, torch.tensor(maximum), tails=tails
            )
            assert torch.isfinite(cost).all()
            assert (cost >= 0).all()
            for gradient in torch.autograd.grad(cost.sum(), (mu, log_scale)):
                assert torch.isfinite(gradient).all()


def test_log_probabilities_gradients_stay_finite_at_the_ends_of_every_range() -> None:
    mu = torch.tensor([-1e3, -33.0, 0.0, 33.0, 1e3], requires_grad=True)
    log_scale = torch.tensor([-4.0, 3.875, -4.0, -4.0, 3.875], requires_grad=True)
    for maximum in (1, 6, 62):
        found = bernoulli.level_log_probabilities(mu, log_scale, maximum)
        assert torch.isfinite(found).all()
        for gradient in torch.autograd.grad(found.sum(), (mu, log_scale)):
            assert torch.isfinite(gradient).all()


def test_a_wrong_location_is_pulled_towards_the_level() -> None:
    mu = torch.tensor([-3.0, 3.0], requires_grad=True)
    cost = bernoulli.level_cost(torch.zeros(2), mu, torch.zeros(2), torch.tensor(6.0))
    (gradient,) = torch.autograd.grad(cost.sum(), mu)
    assert gradient[0] < 0 < gradient[1]
