"""The coding order: layer by layer, and inside a layer by phases (DESIGN §4).

A *phase* is a subset of the positions of the grid. With one phase all positions come at once, two phases are
a checkerboard, four a quadtree: two diagonal quarters first, then the other two. A *pass* is one (layer,
phase) step. Everything here is deterministic, part of the format, and knows no network.
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
    """All passes of a file in coding order."""
    return tuple(Pass(layer, phase) for layer, count in enumerate(layer_phases) for phase in range(count))


def merged(layer_phases: tuple[int, ...], count: int) -> tuple[tuple[Pass, ...], ...]:
    """All passes in coding order, in `count` groups of consecutive ones that differ by at most one pass.

    Group i holds the passes floor(i P / count) to floor((i + 1) P / count) of P. Files know no groups: they
    are for asking what fewer passes would cost.

    Raises:
        ValueError: if there are fewer passes than groups, or no group.
    """
    steps = passes(layer_phases)
    if not 1 <= count <= len(steps):
        msg = f"{len(steps)} passes cannot be merged into {count} groups"
        raise ValueError(msg)
    ends = [index * len(steps) // count for index in range(count + 1)]
    return tuple(steps[start:end] for start, end in itertools.pairwise(ends))


@functools.lru_cache(maxsize=64)
def phase_map(height: int, width: int, phases: int) -> npt.NDArray[np.int64]:
    """The phase of each position of a grid, (height, width), values 0..phases-1. Read-only."""
    if phases not in _PHASE_PATTERNS:
        msg = f"{phases} phases in a layer; only {sorted(_PHASE_PATTERNS)} are defined"
        raise ValueError(msg)
    pattern = np.array(_PHASE_PATTERNS[phases], dtype=np.int64)
    result = np.tile(pattern, ((height + 1) // 2, (width + 1) // 2))[:height, :width].copy()
    result.flags.writeable = False
    return result


def known_map(step: Pass, layer_phases: tuple[int, ...], height: int, width: int) -> npt.NDArray[np.bool_]:
    """Which positions are known in each layer when `step` begins: (layers, height, width)."""
    known = np.zeros((len(layer_phases), height, width), dtype=np.bool_)
    known[: step.layer] = True
    known[step.layer] = phase_map(height, width, layer_phases[step.layer]) < step.phase
    return known
