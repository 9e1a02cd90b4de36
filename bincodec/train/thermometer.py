"""Start single bits as thermometers: a principal component that varies much gets several bits.

One bit tells on which side of a threshold a number lies. The bits of n thresholds, like the marks of a
thermometer, tell in which of n + 1 intervals it lies. Each interval has one value that stands for all numbers
in it. The sum of the bits, each times the difference of the two values beside its threshold, is that value.
A matrix can compute this sum, so the decoder reads thermometers before its first step of training. When noise
flips a bit, the others still tell most.
"""

from __future__ import annotations

import heapq

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from bincodec.train.objective import Objective

Numbers = npt.NDArray[np.float64]

SLOPE = 4.0
"""The log-odds of a bit, per distance of the two values beside its threshold. The logistic noise then moves a
number by about half of this distance."""

_ROUNDS = 30


def interval_values(numbers: Numbers, thresholds: int) -> Numbers:
    """Return the values, rising, that stand for `thresholds` + 1 intervals of `numbers` (N,) best.

    A threshold lies in the middle between two values, and a value is the mean of its interval (Lloyd 1982,
    Max 1960). Both are improved in turn, beginning with quantiles.
    """
    ordered = np.sort(numbers)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    values: Numbers = np.quantile(ordered, (np.arange(thresholds + 1) + 0.5) / (thresholds + 1))
    for _ in range(_ROUNDS):
        ends = np.concatenate([[0], np.searchsorted(ordered, _between(values)), [len(ordered)]])
        count = np.diff(ends)
        # An interval without numbers keeps its value.
        values = np.sort(np.where(count > 0, np.diff(sums[ends]) / np.maximum(count, 1), values))
    return values


def allot(components: Numbers, bits: int) -> list[int]:
    """Return which of `components` (components, N) gets each of `bits` bits, the most useful bits first.

    Each bit goes to the component whose squared error it lowers most.
    """
    thresholds = [0] * len(components)
    errors = [_error(numbers, interval_values(numbers, 0)) for numbers in components]

    def offer(k: int) -> tuple[float, int, float]:
        error = _error(components[k], interval_values(components[k], thresholds[k] + 1))
        return error - errors[k], k, error

    offers = [offer(k) for k in range(len(components))]
    heapq.heapify(offers)
    owners = []
    for _ in range(bits):
        _, k, error = offers[0]
        owners.append(k)
        thresholds[k], errors[k] = thresholds[k] + 1, error
        heapq.heapreplace(offers, offer(k))
    return owners


def middle_first(count: int) -> list[int]:
    """Return 0..count - 1 in an order in which each number halves a gap between earlier ones."""
    result, gaps = [], [(0, count)]
    while gaps:
        low, high = gaps.pop(0)
        if low < high:
            middle = (low + high) // 2
            result.append(middle)
            gaps += [(low, middle), (middle + 1, high)]
    return result


@torch.no_grad()
def start_thermometers(objective: Objective, coefficients: Tensor, scales: Tensor) -> None:
    """Write thermometers of coefficients into the networks of a new objective, in place.

    `coefficients` are (width_16, N). The features at stride 16 are coefficients divided by `scales`
    (width_16,).
    """
    model, width = objective.autoencoder, len(coefficients)
    numbers = coefficients.double().numpy()
    owners = np.array(allot(numbers, objective.architecture.channels))
    written = [model.encoder.head.weight, model.encoder.head.bias, model.decoder.stem.weight]
    for shortcut in (model.encoder.shortcut, model.decoder.shortcut):
        written += [] if shortcut is None else [shortcut.weight, shortcut.bias]
    for weights in written:
        weights.zero_()
    for k in range(width):
        bits = np.flatnonzero(owners == k)
        values = interval_values(numbers[k], len(bits))
        # Bits are halves, positive or negative, so the middle of the range has the sum 0.
        middle = float(values[0] + values[-1]) / 2
        feature = functional.one_hot(torch.tensor(k), width) / scales[k]
        model.decoder.stem.bias.add_(middle * feature)
        for bit, j in zip(bits.tolist(), middle_first(len(bits)), strict=True):
            gap = max(float(values[j + 1] - values[j]), 1e-6)
            model.encoder.head.weight[bit, k] = scales[k]
            model.encoder.head.bias[bit] = -float(values[j + 1] + values[j]) / 2
            model.gains.log_gain[:, bit] = float(np.log(SLOPE / gap))
            model.decoder.stem.weight[:, bit] = feature
            model.inverse_gains.log_gain[:, bit] = float(np.log(gap))


def _between(values: Numbers) -> Numbers:
    return (values[1:] + values[:-1]) / 2


def _error(numbers: Numbers, values: Numbers) -> float:
    return float(np.square(numbers - values[np.searchsorted(_between(values), numbers)]).mean())
