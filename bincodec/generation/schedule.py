"""Noise schedules: how much of a bit is left at a given time (DESIGN §4; arXiv 2304.04820 §3).

A schedule is a pure function from time in 0..1 (step divided by the *trained* number of steps, always) to
keep, falling from 1 to 0. From time s to a later time t the keep is k_t / k_s, whatever lies between: steps
are skipped exactly and without a loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable

Schedule = Callable[[float], float]

_SIGMOID_START, _SIGMOID_END = -3.0, 3.0


def linear(time: float) -> float:
    """k = 1 - t."""
    return 1.0 - _checked(time)


def cosine(time: float) -> float:
    """k = cos(pi t / 2) squared."""
    # The endpoints are exact so that "all of it" and "nothing" are.
    time = _checked(time)
    return 0.0 if time == 1.0 else math.cos(math.pi * time / 2) ** 2


def sigmoid(time: float) -> float:
    """A logistic fall between -3 and 3, rescaled so that k(0) = 1 and k(1) = 0."""
    start, end = _logistic(-_SIGMOID_START), _logistic(-_SIGMOID_END)
    position = _SIGMOID_START + (_SIGMOID_END - _SIGMOID_START) * _checked(time)
    return (_logistic(-position) - end) / (start - end)


SCHEDULES: dict[str, Schedule] = {"linear": linear, "cosine": cosine, "sigmoid": sigmoid}


def keep_between(schedule: Schedule, earlier: float, later: float) -> float:
    """The keep of the noise added from time `earlier` to time `later`: k_later / k_earlier."""
    if not earlier <= later:
        msg = f"time {earlier} is not before time {later}"
        raise ValueError(msg)
    kept = schedule(earlier)
    return schedule(later) / kept if kept > 0 else 0.0


def _logistic(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


def _checked(time: float) -> float:
    if not 0.0 <= time <= 1.0:
        msg = f"time {time} lies outside 0..1"
        raise ValueError(msg)
    return time
