"""The coding order: layer by layer, and phase by phase inside a layer (DESIGN §4).

A *phase* is a subset of the positions of the grid. One phase holds all positions. Two phases form a
checkerboard. Four phases form a quadtree: first the two quarters of one diagonal, then those of the other. A
*pass* is one (layer, phase) step. Everything in this module is deterministic and part of the format.
"""

from __future__ import annotations

import functools
import itertools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_PHASE_PATTERNS: dict[int, tuple[tuple[int, int], tuple[int, int]]] = {
    1: ((0, 0), (0, 0)),
    2: ((0, 1), (1, 0)),
    4: ((0, 2), (3, 1)),
}


class Pass(NamedTuple):
    """One step of the coding order: the channels of `layer` at the positions of `phase`."""

    layer: int
    phase: int


def passes(layer_phases: tuple[int, ...]) -> tuple[Pass, ...]:
    """Return all passes of a file in coding order."""
    return tuple(Pass(layer, phase) for layer, count in enumerate(layer_phases) for phase in range(count))


def merged(layer_phases: tuple[int, ...], count: int) -> tuple[tuple[Pass, ...], ...]:
    """Return all passes in coding order, in `count` groups whose lengths differ by at most one pass.

    Of P passes, group i holds those from floor(i P / count) up to, but not including,
    floor((i + 1) P / count). Files do not use such groups. They serve to measure the cost of fewer passes.

    Raises:
        ValueError: if `count` is below 1 or above the number of passes.
    """
    steps = passes(layer_phases)
    if not 1 <= count <= len(steps):
        msg = f"{len(steps)} passes cannot be merged into {count} groups"
        raise ValueError(msg)
    ends = [index * len(steps) // count for index in range(count + 1)]
    return tuple(steps[start:end] for start, end in itertools.pairwise(ends))


@functools.lru_cache(maxsize=64)
def phase_map(height: int, width: int, phases: int) -> npt.NDArray[np.int64]:
    """Return the phase of each position of a grid: int64 (height, width), 0..phases-1, read-only."""
    if phases not in _PHASE_PATTERNS:
        msg = f"a layer has {phases} phases; only {sorted(_PHASE_PATTERNS)} are defined"
        raise ValueError(msg)
    pattern = np.array(_PHASE_PATTERNS[phases], dtype=np.int64)
    result = np.tile(pattern, ((height + 1) // 2, (width + 1) // 2))[:height, :width].copy()
    result.flags.writeable = False
    return result


def known_map(step: Pass, layer_phases: tuple[int, ...], height: int, width: int) -> npt.NDArray[np.bool_]:
    """Return which positions of each layer are known when `step` begins: bool (layers, height, width)."""
    known = np.zeros((len(layer_phases), height, width), dtype=np.bool_)
    known[: step.layer] = True
    known[step.layer] = phase_map(height, width, layer_phases[step.layer]) < step.phase
    return known
