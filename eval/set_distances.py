"""Distances between two sets of pictures, computed from features: float64 arrays (pictures, dimensions).

This module does not depend on pictures or networks. Large tables of distances are made in blocks of rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bincodec.errors import BincodecError

Features = NDArray[np.float64]

FEWEST = 4
"""The fewest pictures of a set. Each half of a set must hold two."""

SUBSETS = 1000
"""The number of pairs of halves from which an interval is computed."""

NEIGHBOUR = 3
"""The k of precision and recall, as in arXiv 1904.06991."""

_BLOCK = 512


class TooFew(BincodecError, ValueError):
    """A set has too few pictures for a distance."""


@dataclass(frozen=True)
class Estimate:
    """A value and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def require_enough(pictures: int, what: str) -> None:
    """Raise `TooFew` if a set is too small for distances. `what` names the set in the message."""
    if pictures < FEWEST:
        msg = f"{what}: distances need at least {FEWEST} pictures, not {pictures}"
        raise TooFew(msg)


def kernel_distance(first: Features, second: Features, *, paired: bool = False, seed: int = 0) -> Estimate:
    """Return the unbiased squared maximum mean discrepancy with the kernel (x.y / dimensions + 1)^3.

    The estimator is that of Gretton et al. 2012 (Lemma 6), and the kernel that of Binkowski et al., arXiv
    1801.01401. It is about 0 if both sets have the same distribution, and may be negative.

    The interval holds the middle 95 % of the values of `SUBSETS` pairs of random halves, one of each set,
    drawn without replacement. If the sets differ, the spread of these values is that of the value itself
    (Shao and Wu 1989, the delete-half jackknife). If they do not, the interval is up to 1.7 times too wide.

    In `paired` sets, row i of one set is made from row i of the other. Such pairs are left out, because they
    are more alike than two independent pictures, and halves are halves of pairs.

    Raises:
        TooFew: if a set has fewer than `FEWEST` pictures.
        ValueError: if `paired` sets differ in size.
    """
    if paired and len(first) != len(second):
        msg = f"sets of {len(first)} and {len(second)} pictures are not paired"
        raise ValueError(msg)
    for features in (first, second):
        require_enough(len(features), "a kernel distance")
    rng = np.random.default_rng(seed)
    chosen = _all_and_halves(len(first), rng)
    other = chosen if paired else _all_and_halves(len(second), rng)
    between = _between(first, second, chosen, other, paired)
    values = _between(first, first, chosen, chosen, True) + _between(second, second, other, other, True)
    values -= 2 * between
    low, high = np.percentile(values[1:], (2.5, 97.5))
    return Estimate(float(values[0]), float(low), float(high))


def _all_and_halves(count: int, rng: np.random.Generator) -> Features:
    """Return a row of ones, then rows with ones for random halves, (1 + SUBSETS, count)."""
    halves = np.argsort(rng.random((SUBSETS, count)), axis=1) < count // 2
    return np.vstack([np.ones(count), halves])


def _kernel(first: Features, second: Features) -> Features:
    result: Features = (first @ second.T / first.shape[1] + 1) ** 3
    return result


def _between(first: Features, second: Features, chosen: Features, other: Features, paired: bool) -> Features:
    """Return the mean kernel between the pictures of each choice. If `paired`, pairs (i, i) are left out."""
    total, count = _sums(first, second, chosen, other), chosen.sum(1) * other.sum(1)
    if paired:
        total -= chosen @ ((first * second).mean(1) + 1) ** 3
        count -= chosen.sum(1)
    mean: Features = total / count
    return mean


def _sums(first: Features, second: Features, chosen: Features, other: Features) -> Features:
    total = np.zeros(len(chosen))
    for rows in _blocks(len(first)):
        total += np.einsum("sb,sb->s", chosen[:, rows], other @ _kernel(second, first[rows]))
    return total


def frechet_distance(first: Features, second: Features) -> float:
    """Return |mean - mean'|^2 + tr(C + C' - 2 (C C')^(1/2)) with sample covariances (Dowson, Landau 1982).

    With fewer pictures than dimensions, it has a large upward bias, and sets of different sizes are not
    comparable.

    With C = A^T A and C' = B^T B, the eigenvalues of C C' are the squared singular values of A B^T. So no
    root of a matrix is needed, and covariances may be singular.
    """
    a, b = _root(first), _root(second)
    shift = float(np.square(first.mean(0) - second.mean(0)).sum())
    spread = float(np.square(a).sum() + np.square(b).sum())
    shared = float(np.linalg.svd(a @ b.T, compute_uv=False).sum())
    return max(0.0, shift + spread - 2 * shared)


def _root(features: Features) -> Features:
    """Return a matrix A with A^T A equal to the covariance. It has at most as many rows as dimensions."""
    root: Features = (features - features.mean(0)) / np.sqrt(len(features) - 1)
    if len(root) > root.shape[1]:
        _, root = np.linalg.qr(root)
    return root


def precision_and_recall(real: Features, drawn: Features) -> tuple[float, float]:
    """Return improved precision and recall (Kynkaanniemi et al., arXiv 1904.06991), each 0..1.

    Precision is the share of drawn pictures that are near a real picture. A drawn picture is near if it is
    not farther away than the k-th nearest other real picture is, with k = `NEIGHBOUR`. Recall is the same
    with the sets exchanged. Both depend on the sizes of the sets, so only sets of equal sizes are comparable.
    """
    return _covered(drawn, real), _covered(real, drawn)


def _covered(points: Features, by: Features) -> float:
    """Return the share of `points` inside the balls around `by`."""
    radii = np.concatenate(
        [np.partition(part, NEIGHBOUR, axis=1)[:, NEIGHBOUR] for _, part in _squared(by, by, itself=True)]
    )
    inside = [(part <= radii).any(1) for _, part in _squared(points, by)]
    return float(np.concatenate(inside).mean())


def nearest(queries: Features, others: Features) -> tuple[Features, NDArray[np.intp]]:
    """Return the Euclidean distance of each query to the nearest of `others`, and the index of that one."""
    distances, indices = np.empty(len(queries)), np.empty(len(queries), np.intp)
    for rows, part in _squared(queries, others):
        indices[rows] = part.argmin(1)
        distances[rows] = np.linalg.norm(queries[rows] - others[indices[rows]], axis=1)
    return distances, indices


def _squared(first: Features, second: Features, *, itself: bool = False) -> Iterator[tuple[slice, Features]]:
    """Yield squared distances for some rows of `first` at a time.

    With `itself`, both sets are the same, and the distance of each row to itself is exactly 0.
    """
    lengths = np.square(second).sum(1)
    for rows in _blocks(len(first)):
        part = first[rows]
        squared = np.square(part).sum(1)[:, None] + lengths - 2 * part @ second.T
        np.maximum(squared, 0, out=squared)
        if itself:
            squared[np.arange(len(part)), np.arange(rows.start, rows.start + len(part))] = 0
        yield rows, squared


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, start + _BLOCK) for start in range(0, count, _BLOCK))
