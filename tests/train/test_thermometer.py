"""Thermometers: thresholds where they help most, and bits where they help most."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bincodec.train.thermometer import allot, interval_values, middle_first


def error(numbers: np.ndarray, values: np.ndarray) -> float:
    return float(np.abs(numbers[:, None] - values[None]).min(1).__pow__(2).mean())


def test_one_threshold_is_where_no_other_is_better() -> None:
    numbers = np.random.default_rng(0).gamma(2.0, size=400)
    values = interval_values(numbers, 1)
    ordered = np.sort(numbers)
    best = min((np.var(ordered[:i]) * i + np.var(ordered[i:]) * (400 - i)) / 400 for i in range(1, 400))
    assert error(numbers, values) == pytest.approx(best, rel=0.02)


def test_even_numbers_get_even_intervals() -> None:
    values = interval_values(np.linspace(0, 1, 3001), 4)
    np.testing.assert_allclose(values, [0.1, 0.3, 0.5, 0.7, 0.9], atol=2e-3)


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=30), st.integers(0, 12))
def test_there_is_a_rising_value_for_each_interval(numbers: list[float], thresholds: int) -> None:
    values = interval_values(np.array(numbers), thresholds)
    assert len(values) == thresholds + 1
    assert (np.diff(values) >= 0).all()
    assert min(numbers) - 1e-6 <= values[0] <= values[-1] <= max(numbers) + 1e-6


def test_bits_go_where_they_lower_the_error_most() -> None:
    rng = np.random.default_rng(1)
    components = rng.normal(size=(3, 3000)) * np.array([[8.0], [2.0], [0.1]])
    owners = allot(components, 9)
    assert owners[0] == 0
    assert 2 not in owners
    counts = [owners.count(k) for k in range(3)]
    assert counts[0] > counts[1] > 0
    lowered = []
    for i, k in enumerate(owners):
        before = owners[:i].count(k)
        one, two = (error(components[k], interval_values(components[k], n)) for n in (before, before + 1))
        lowered.append(one - two)
    assert lowered == sorted(lowered, reverse=True)


@given(st.integers(0, 40))
def test_the_middle_comes_first(count: int) -> None:
    order = middle_first(count)
    assert sorted(order) == list(range(count))
    if count > 2:
        assert order[0] == count // 2
        assert order[1] < order[0] < order[2]
