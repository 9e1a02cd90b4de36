"""Noise schedules: how likely a bit is kept until a given time (DESIGN §4; arXiv 2304.04820 §3).

A schedule is a pure function from time in 0..1 to keep, which falls from 1 to 0. From time s to a later time
t, the keep is k_t / k_s, whatever is between them. A sampler can therefore skip steps exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable

Schedule = Callable[[float], float]

_SIGMOID_START, _SIGMOID_END = -3.0, 3.0


def linear(time: float) -> float:
    """Return k = 1 - t."""
    return 1.0 - _checked(time)


def cosine(time: float) -> float:
    """Return k = cos(pi t / 2) squared."""
    # The result at time 1 is exactly 0, because pi / 2 in floating point would leave a small rest.
    time = _checked(time)
    return 0.0 if time == 1.0 else math.cos(math.pi * time / 2) ** 2


def sigmoid(time: float) -> float:
    """Return a logistic function that falls between -3 and 3, rescaled so that k(0) = 1 and k(1) = 0."""
    start, end = _logistic(-_SIGMOID_START), _logistic(-_SIGMOID_END)
    position = _SIGMOID_START + (_SIGMOID_END - _SIGMOID_START) * _checked(time)
    return (_logistic(-position) - end) / (start - end)


SCHEDULES: dict[str, Schedule] = {"linear": linear, "cosine": cosine, "sigmoid": sigmoid}


def keep_between(schedule: Schedule, earlier: float, later: float) -> float:
    """Return the keep of the noise from time `earlier` to time `later`: k_later / k_earlier."""
    if not earlier <= later:
        msg = f"time {earlier} is after time {later}"
        raise ValueError(msg)
    kept = schedule(earlier)
    return schedule(later) / kept if kept > 0 else 0.0


def _logistic(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


def _checked(time: float) -> float:
    if not 0.0 <= time <= 1.0:
        msg = f"time {time} is outside 0..1"
        raise ValueError(msg)
    return time
