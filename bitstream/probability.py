"""The frozen integer tables of the probabilities of decisions (FORMAT, "Probabilities").

A level L has a logistic distribution with location `mu`. With d = mu - theta_j in levels and the scale s:

    F[s][d] = sigmoid(d / s)                           = P(L >= j)
    U[s][d] = sigmoid((d - 1) / s) / sigmoid(d / s)    = P(L >= j + 1 | L >= j)

and, by symmetry, U[s][theta_{j+1} - mu] = P(L < j | L < j + 1). Locations and thresholds are integers in
1/64 level. A scale is an index i that stands for e^((i - 32) / 8) levels. A probability is an integer n,
1 <= n <= 65535, that stands for n / 65536. This module does not compute with floats: `make_tables` computed
the tables once, with 60 decimal digits.
"""

import functools
import hashlib
import os
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bincodec.bitstream.errors import Corrupt

ONE = 65536
"""The numerator of a probability of 1. No decision has it: numerators are 1..65535."""

MU_BITS = 6
STEPS = 1 << MU_BITS
"""The steps of a location in one level."""

SCALES = 64
"""The number of scale indices."""

SCALE_BITS = 3
SCALE_OFFSET = 32
LOG_SCALE_STEP = 2.0**-SCALE_BITS
LOG_SCALE_LOWEST = -SCALE_OFFSET * LOG_SCALE_STEP
LOG_SCALE_HIGHEST = (SCALES - 1 - SCALE_OFFSET) * LOG_SCALE_STEP
"""Scale index i stands for e^((i - 32) / 8) levels. The logarithms are evenly spaced from -4 to 3.875."""

REACH = 64 * STEPS
"""Distances are limited to -REACH..REACH steps."""

SPAN = 2 * REACH + 1
TABLES_PATH = Path(__file__).with_name("probability_tables.zlib")
TABLES_SHA256 = "d3889427c24bdf49032e460fe9867e4954f92e41eac652da043dff09703ba1a5"
"""The SHA-256 of F, then U, row by row as little-endian 16-bit integers. Every fingerprint includes it."""

Integers = npt.NDArray[np.integer[Any]]
Numerators = npt.NDArray[np.int32]

_LOADING = threading.Lock()
# If a process forks while another thread holds the lock, the child would wait for it forever.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_LOADING.acquire, after_in_parent=_LOADING.release, after_in_child=_LOADING.release
    )


def threshold(j: int, maximum: int) -> int:
    """Return theta_j = j - (J + 1) / 2 in 1/64 level, where J is `maximum` and j counts from 1."""
    return STEPS * j - STEPS // 2 * (maximum + 1)


def first(distance: Integers, scale: Integers) -> Numerators:
    """Return P(L >= j) in 1/65536.

    `distance` is mu - theta_j in 1/64 level, and `scale` an index 0..63.
    """
    return _look_up(0, distance, scale)


def onward(distance: Integers, scale: Integers) -> Numerators:
    """Return P(L >= j + 1 | L >= j) in 1/65536, given the `distance` mu - theta_j (see `first`).

    By symmetry, this is also P(L < j | L < j + 1) if the distance is theta_{j+1} - mu.
    """
    return _look_up(1, distance, scale)


def tables() -> npt.NDArray[np.uint16]:
    """Return F and U, shape (2, SCALES, SPAN), indexed by table, scale and distance + REACH.

    Raises:
        Corrupt: if the file of the tables is damaged.
    """
    with _LOADING:
        return _load()


@functools.cache
def _load() -> npt.NDArray[np.uint16]:
    """Read the tables and undo the two rounds of differences along the distance."""
    differences = np.frombuffer(zlib.decompress(TABLES_PATH.read_bytes()), "<u2").reshape(2, SCALES, SPAN)
    values = differences.cumsum(axis=-1, dtype=np.uint16).cumsum(axis=-1, dtype=np.uint16)
    if hashlib.sha256(values.astype("<u2").tobytes()).hexdigest() != TABLES_SHA256:
        msg = f"{TABLES_PATH.name} is damaged: its checksum does not match; reinstall bincodec"
        raise Corrupt(msg)
    values.setflags(write=False)
    return values


def _look_up(table: int, distance: Integers, scale: Integers) -> Numerators:
    index = scale.astype(np.intp, copy=False) * SPAN + REACH + np.clip(distance, -REACH, REACH)
    return np.take(tables()[table].ravel(), index).astype(np.int32)
