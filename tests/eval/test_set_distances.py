"""Distances between sets against naive loops, closed forms, random splits, and sets made by hand."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bincodec.eval import set_distances
from bincodec.eval.set_distances import TooFew, frechet_distance, kernel_distance, precision_and_recall

Floats = NDArray[np.float64]


def normal(seed: int, count: int, dimensions: int, shift: float = 0.0) -> Floats:
    return np.random.default_rng(seed).normal(shift, 1, (count, dimensions))


def naive_kernel_distance(first: Floats, second: Floats) -> float:
    """Compute the estimator pair by pair."""

    def kernel(a: Floats, b: Floats) -> float:
        return (float(sum(x * y for x, y in zip(a, b, strict=True))) / len(a) + 1) ** 3

    def within(features: Floats) -> float:
        n = len(features)
        pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
        return sum(kernel(features[i], features[j]) for i, j in pairs) / (n * (n - 1))

    between = sum(kernel(a, b) for a in first for b in second) / (len(first) * len(second))
    return within(first) + within(second) - 2 * between


@pytest.mark.parametrize(("n", "m", "block"), [(7, 11, 512), (11, 7, 3), (4, 4, 1)])
def test_kernel_distance_is_the_double_loop(
    n: int, m: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_distances, "_BLOCK", block)
    first, second = normal(1, n, 5), normal(2, m, 5, 0.7)
    assert kernel_distance(first, second).value == pytest.approx(
        naive_kernel_distance(first, second), rel=1e-9
    )


def test_the_interval_is_that_of_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four pictures have six halves, so the values of all pairs of halves are known."""
    first, second = normal(1, 4, 3), normal(2, 4, 3, 1)
    halves = [[i, j] for i in range(4) for j in range(i)]
    values = [naive_kernel_distance(first[a], second[b]) for a in halves for b in halves]
    found = kernel_distance(first, second)
    assert min(values) - 1e-9 <= found.low < found.value < found.high <= max(values) + 1e-9
    low, high = np.percentile(values, (2.5, 97.5))
    spread = max(values) - min(values)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.1 * spread)
    assert kernel_distance(first, second) == found
    assert kernel_distance(first, second, seed=1).value == found.value


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.sampled_from([8, 11, 16]))
def test_kernel_distance_is_unbiased_over_splits_of_one_set(seed: int, count: int) -> None:
    """The mean over all splits is exactly 0, and that of a biased estimator is far above."""
    rng = np.random.default_rng(seed)
    features = rng.gamma(1, 1, (count, 3))
    values = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(set_distances, "SUBSETS", 1)
        for _ in range(400):
            order = rng.permutation(count)
            first, second = features[order[: count // 2]], features[order[count // 2 :]]
            values.append(kernel_distance(first, second).value)
    assert abs(np.mean(values)) < 5 * np.std(values) / np.sqrt(len(values))


def test_pairs_are_left_out() -> None:
    """The distance of a set to itself is exactly 0, as that of each half. Unpaired, it would be negative."""
    features = normal(1, 12, 3)
    found = kernel_distance(features, features, paired=True)
    assert (found.value, found.low, found.high) == pytest.approx((0, 0, 0), abs=1e-12)
    assert kernel_distance(features, features).value < -0.01
    other = features + normal(2, 12, 3, 0.1)
    pairs = [(i, j) for i in range(12) for j in range(12) if i != j]

    def kernel(a: Floats, b: Floats) -> float:
        return (float(a @ b) / 3 + 1) ** 3

    expected = np.mean(
        [
            kernel(features[i], features[j]) + kernel(other[i], other[j]) - 2 * kernel(features[i], other[j])
            for i, j in pairs
        ]
    )
    assert kernel_distance(features, other, paired=True).value == pytest.approx(expected)
    with pytest.raises(ValueError, match="sets of 12 and 11 pictures are not paired"):
        kernel_distance(features, other[:11], paired=True)


def test_intervals_hold_the_truth() -> None:
    """With different means, about 95 % of the intervals of 60 draws contain the mean of a far larger draw."""
    truth = kernel_distance(normal(1000, 1500, 2), normal(1001, 1500, 2, 0.8)).value
    found = [kernel_distance(normal(s, 60, 2), normal(s + 500, 60, 2, 0.8)) for s in range(60)]
    covered = sum(one.low <= truth <= one.high for one in found)
    assert 51 <= covered <= 60
    assert np.mean([one.value for one in found]) == pytest.approx(truth, rel=0.2)


def with_moments(mean: Floats, covariance: Floats, count: int, seed: int) -> Floats:
    """Draw numbers whose sample mean and covariance are exactly these."""
    drawn = normal(seed, count, len(mean))
    drawn -= drawn.mean(0)
    root = np.linalg.cholesky(np.cov(drawn, rowvar=False))
    white = drawn @ np.linalg.inv(root).T
    return white @ np.linalg.cholesky(covariance).T + mean


@pytest.mark.parametrize(("n", "m"), [(50, 80), (9, 9)])
def test_frechet_distance_of_diagonal_gaussians(n: int, m: int) -> None:
    first, second = np.array([1.0, 4.0, 0.25]), np.array([9.0, 1.0, 0.25])
    shift = np.array([0.5, -2.0, 0.0])
    a = with_moments(np.zeros(3), np.diag(first), n, 1)
    b = with_moments(shift, np.diag(second), m, 2)
    expected = (shift**2).sum() + ((np.sqrt(first) - np.sqrt(second)) ** 2).sum()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_of_any_gaussians() -> None:
    a, b = normal(1, 40, 4) @ normal(2, 4, 4), normal(3, 50, 4) @ normal(4, 4, 4) + 1
    one, other = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(one @ other).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(one + other - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-8)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(("count", "dimensions"), [(30, 5), (5, 30)])
def test_frechet_distance_of_equal_sets_is_zero(count: int, dimensions: int) -> None:
    """This also holds if the covariance is singular."""
    features = normal(5, count, dimensions)
    assert frechet_distance(features, features[::-1]) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(features, features + 2) == pytest.approx(4 * dimensions)


def test_precision_and_recall_of_built_sets() -> None:
    """The features are on a line: real pictures in two clumps, and drawn ones in one of them and far away."""
    clump = np.arange(6.0)[:, None]
    real = np.vstack([clump, clump + 1000])
    drawn = np.vstack([clump + 0.1, clump + 5000])
    precision, recall = precision_and_recall(real, drawn)
    assert precision == 0.5
    # The balls of each clump of drawn pictures reach the real ones near it, and none reaches that at 1000.
    assert recall == 0.5
    assert precision_and_recall(drawn, real) == (recall, precision)
    assert precision_and_recall(real, real) == (1, 1)
    assert precision_and_recall(real, real + 100_000) == (0, 0)


def test_the_third_neighbour_sets_the_radius() -> None:
    """The real picture at 0 has others at distances 1, 2 and 4, so its ball ends at 4."""
    real = np.array([[0.0], [1.0], [2.0], [4.0]])
    # To the right, the ball around 4 ends at 8, because it has others at distances 2, 3 and 4.
    for place, inside in ((-3.99, 1.0), (-4.01, 0.0), (7.99, 1.0), (8.01, 0.0)):
        drawn = np.full((4, 1), place)
        assert precision_and_recall(real, drawn)[0] == inside


@pytest.mark.parametrize("block", [1, 4, 512])
def test_nearest_is_the_loop(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(set_distances, "_BLOCK", block)
    queries, others = normal(1, 9, 4), normal(2, 13, 4)
    others[7] = queries[3]
    table = np.sqrt(((queries[:, None] - others) ** 2).sum(2))
    distances, indices = set_distances.nearest(queries, others)
    assert np.array_equal(indices, table.argmin(1))
    assert distances == pytest.approx(table.min(1))
    assert (distances[3], indices[3]) == (0, 7)


@pytest.mark.parametrize("counts", [(3, 10), (10, 3)])
def test_too_few_pictures_are_refused(counts: tuple[int, int]) -> None:
    first, second = (normal(1, count, 2) for count in counts)
    with pytest.raises(TooFew, match="at least 4 pictures, not 3"):
        kernel_distance(first, second)
