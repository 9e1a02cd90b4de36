"""Schedules fall from 1 to 0, and skip steps exactly."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bincodec.generation.schedule import SCHEDULES, cosine, keep_between, linear, sigmoid

PROPERTY = settings(deadline=None, derandomize=True, max_examples=50)
TIMES = st.floats(0, 1)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_starts_with_everything_and_ends_with_nothing(name: str) -> None:
    assert SCHEDULES[name](0.0) == 1.0
    assert SCHEDULES[name](1.0) == 0.0


@pytest.mark.parametrize("name", sorted(SCHEDULES))
@PROPERTY
@given(times=st.tuples(TIMES, TIMES))
def test_falls(name: str, times: tuple[float, float]) -> None:
    earlier, later = sorted(times)
    keep = SCHEDULES[name]
    assert 0.0 <= keep(later) <= keep(earlier) <= 1.0


@PROPERTY
@given(TIMES)
def test_closed_forms(time: float) -> None:
    assert linear(time) == 1 - time
    assert cosine(time) == pytest.approx((1 + math.cos(math.pi * time)) / 2, abs=1e-12)
    # A logistic function is symmetric around its middle.
    assert sigmoid(time) + sigmoid(1 - time) == pytest.approx(1, abs=1e-12)


def test_sigmoid_is_the_rescaled_logistic_between_minus_three_and_three() -> None:
    def logistic(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    expected = (logistic(1.5) - logistic(-3)) / (logistic(3) - logistic(-3))
    assert sigmoid(0.25) == pytest.approx(expected)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
@pytest.mark.parametrize("steps", [1, 4, 16, 64])
def test_the_product_over_any_subset_of_steps_is_the_keep_at_the_end(name: str, steps: int) -> None:
    """Time is a share of the trained steps, so fewer steps end at the same noise."""
    keep, end, product = SCHEDULES[name], 0.75, 1.0
    for step in range(steps):
        product *= keep_between(keep, end * step / steps, end * (step + 1) / steps)
    assert product == pytest.approx(keep(end), rel=1e-9)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_noise_from_the_end_on_keeps_nothing(name: str) -> None:
    assert keep_between(SCHEDULES[name], 0.3, 1.0) == 0.0
    assert keep_between(SCHEDULES[name], 1.0, 1.0) == 0.0


@pytest.mark.parametrize("time", [-0.01, 1.01, math.nan, math.inf])
@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_refuses_times_outside_the_scale(name: str, time: float) -> None:
    with pytest.raises(ValueError, match="outside"):
        SCHEDULES[name](time)


def test_refuses_to_go_back() -> None:
    with pytest.raises(ValueError, match="is after time"):
        keep_between(linear, 0.5, 0.4)
