"""Thresholds, levels, straight-through gradients and gains."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bincodec.coding import bernoulli
from bincodec.model.architecture import Architecture
from bincodec.model.quantiser import (
    GAIN_AT_HIGHEST,
    GAIN_AT_LOWEST,
    GAIN_KNOTS,
    SATURATION_LEAK,
    Gains,
    centred_levels,
    leaky_clamp,
    logistic_noise,
    maximum_by_channel,
    straight_through,
)

PROPERTY = settings(deadline=None, derandomize=True, max_examples=100)
# Values are sixteenths, so some of them are exactly on a threshold.
VALUES = st.integers(-600, 600).map(lambda n: n / 16)


@PROPERTY
@given(st.integers(1, 62), VALUES)
def test_a_level_counts_the_thresholds_strictly_below_the_value(maximum: int, value: float) -> None:
    thresholds = [j - (maximum + 1) / 2 for j in range(1, maximum + 1)]
    level = sum(value > threshold for threshold in thresholds)
    found = centred_levels(torch.tensor(value), torch.tensor(float(maximum)))
    assert found.item() == level - maximum / 2


def test_thresholds_are_those_of_the_prior() -> None:
    like = torch.zeros(())
    for maximum in (1, 2, 3, 30):
        edges = bernoulli.thresholds(maximum, like)
        top = torch.tensor(float(maximum))
        below, above = centred_levels(edges, top), centred_levels(edges + 1e-3, top)
        assert torch.equal(above - below, torch.ones(maximum))
        assert torch.equal(below, torch.arange(maximum) - maximum / 2)


def test_nothing_is_level_zero_for_even_counts_only() -> None:
    assert centred_levels(torch.tensor(0.0), torch.tensor(6.0)) == 0
    assert abs(centred_levels(torch.tensor(0.0), torch.tensor(3.0)).item()) == 0.5


def test_maximum_by_channel_repeats_each_layer_s() -> None:
    architecture = Architecture(layer_channels=(1, 2), maximum_level=(6, 3), layer_phases=(2, 1))
    assert maximum_by_channel(architecture).flatten().tolist() == [6, 3, 3]
    assert maximum_by_channel(architecture).shape == (3, 1, 1)


@PROPERTY
@given(st.sampled_from([1.0, 6.0, 30.0]), VALUES)
def test_straight_through_shows_the_level_and_learns_from_the_value(maximum: float, value: float) -> None:
    top = torch.tensor(maximum)
    channel = torch.tensor(value, requires_grad=True)
    hard = centred_levels(channel.detach(), top)
    shown = straight_through(hard, leaky_clamp(channel, top))
    assert shown.item() == hard.item()
    (3 * shown).backward()
    limit = maximum / 2 + 0.5
    assert channel.grad is not None
    if abs(value) < limit:
        assert channel.grad.item() == pytest.approx(3)
    elif abs(value) > limit:
        assert channel.grad.item() == pytest.approx(3 * SATURATION_LEAK)
    else:  # This is a kink: any slope between those of both sides is right.
        assert 3 * SATURATION_LEAK <= channel.grad.item() <= 3 + 1e-6


def test_straight_through_is_exact_where_a_difference_would_round() -> None:
    """soft + (hard - soft) would give 0.5 - 1 ulp or worse here."""
    hard, soft = torch.tensor([0.5, 1.0]), torch.tensor([1e8, 3e-9])
    assert torch.equal(straight_through(hard, soft), hard)
    assert not torch.equal(soft + (hard - soft), hard)


def test_leaky_clamp_is_the_value_inside_and_continuous_at_the_limits() -> None:
    top = torch.tensor(6.0)
    inside = torch.tensor([-3.5, -1.0, 0.0, 3.5])
    assert torch.equal(leaky_clamp(inside, top), inside)
    assert leaky_clamp(torch.tensor(13.5), top).item() == pytest.approx(3.5 + 10 * SATURATION_LEAK)
    assert leaky_clamp(torch.tensor(-13.5), top).item() == pytest.approx(-3.5 - 10 * SATURATION_LEAK)


def random_gains(channels: int = 3) -> Gains:
    gains = Gains(channels)
    with torch.no_grad():
        gains.log_gain.copy_(torch.randn((GAIN_KNOTS, channels), generator=torch.manual_seed(3)))
    return gains


def test_gains_start_wide_and_rise_with_quality() -> None:
    found = Gains(2)(torch.tensor([0.0, 0.5, 1.0]))
    assert found.shape == (3, 2, 1, 1)
    assert torch.allclose(found[0].flatten(), torch.full((2,), GAIN_AT_LOWEST))
    assert torch.allclose(found[-1].flatten(), torch.full((2,), GAIN_AT_HIGHEST))
    assert (found[0] < found[1]).all()
    assert (found[1] < found[2]).all()


def test_gains_are_exact_at_the_knots_and_interpolate_their_logarithms() -> None:
    gains = random_gains()
    knots = torch.arange(GAIN_KNOTS) / (GAIN_KNOTS - 1)
    table = torch.exp(gains.log_gain)
    assert torch.allclose(gains(knots).flatten(1), table, rtol=1e-5)
    middle = gains((knots[:-1] + knots[1:]) / 2).flatten(1)
    assert torch.allclose(middle, (table[:-1] * table[1:]).sqrt(), rtol=1e-5)


@PROPERTY
@given(st.floats(0, 1))
def test_gains_are_positive_and_the_inverse_undoes_them(quality: float) -> None:
    at = torch.tensor([quality])
    gains, inverse = random_gains(), Gains(3, inverse=True)
    with torch.no_grad():
        inverse.log_gain.copy_(-gains.log_gain)
    assert (gains(at) > 0).all()
    assert torch.allclose(gains(at) * inverse(at), torch.ones(1, 3, 1, 1), rtol=1e-5)
    assert torch.allclose(Gains(3)(at) * Gains(3, inverse=True)(at), torch.ones(1, 3, 1, 1), rtol=1e-5)


@pytest.mark.parametrize("value", [-2.0, 0.0, 0.7])
def test_logistic_noise_makes_bernoulli_bits(value: float) -> None:
    torch.manual_seed(5)
    draws = 40_000
    noise = logistic_noise(torch.zeros(draws))
    bits = centred_levels(value + noise, torch.tensor(1.0)) + 0.5
    expected = 1 / (1 + math.exp(-value))
    assert bits.mean().item() == pytest.approx(expected, abs=5 * 0.5 / math.sqrt(draws))
    assert torch.isfinite(noise).all()
