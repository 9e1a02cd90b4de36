"""The states that the prior is trained on: which levels are known, hidden or noisy (DESIGN §4).

A state is a keep map (B, layers, h, w). States of the coding order belong to one pass and serve to estimate
the rate. The other states (random masks, noise, known positions beside noisy ones) train the same network for
sampling and inpainting. The default mix is 60 % coding order, 15 % random masks, 15 % noise and
10 % inpainting: for each 12 crops, there are 12 coding states and 3, 3 and 2 others.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from bincodec.coding.order import Pass, known_map, passes, phase_map
from bincodec.model.architecture import Architecture

KINDS = ("masked", "noise", "inpaint")
OTHER_STATES = (3, 3, 2)
_CODING_SHARE = 12
_HIGHEST_KEEP = 0.98


@dataclasses.dataclass(frozen=True)
class CodingStates:
    """One pass for each crop.

    Args:
        keep: the keep map of the pass, (B, layers, h, w).
        counted: where bits are coded in the pass, (B, layers, h, w).
        weight: 1 / the probability of the pass, (B,).
    """

    keep: Tensor
    counted: Tensor
    weight: Tensor


def pass_probabilities(architecture: Architecture) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the probability of each pass: half of it uniform, half proportional to its share of levels."""
    steps = passes(architecture.layer_phases)
    share = np.array(
        [architecture.layer_channels[s.layer] / architecture.layer_phases[s.layer] for s in steps]
    )
    result: np.ndarray[tuple[int], np.dtype[np.float64]] = 0.5 * share / share.sum() + 0.5 / len(steps)
    return result


def coding_states(
    architecture: Architecture, crops: int, height: int, width: int, rng: np.random.Generator
) -> CodingStates:
    """Draw a random pass of the coding order for each crop."""
    steps = passes(architecture.layer_phases)
    probabilities = pass_probabilities(architecture)
    drawn = rng.choice(len(steps), size=crops, p=probabilities)
    keep = np.stack([known_map(steps[i], architecture.layer_phases, height, width) for i in drawn])
    counted = np.stack([_counted_map(steps[i], architecture, height, width) for i in drawn])
    return CodingStates(
        torch.from_numpy(keep).float(),
        torch.from_numpy(counted).float(),
        torch.from_numpy(1.0 / probabilities[drawn]).float(),
    )


def layer_start(architecture: Architecture, layer: int, height: int, width: int) -> Tensor:
    """Return the keep map (layers, h, w) of a file that is cut before `layer`."""
    return torch.from_numpy(known_map(Pass(layer, 0), architecture.layer_phases, height, width)).float()


def other_kinds(crops: int, shares: tuple[int, ...] = OTHER_STATES) -> list[str]:
    """Return the kinds of the other states for `crops` coding states.

    `shares` holds how many there are of each kind for 12 coding states. There is at most one state a crop.
    Of each kind there is at least one, unless its share is 0.
    """
    counts = [max(share > 0, round(crops * share / _CODING_SHARE)) for share in shares]
    return [kind for kind, count in zip(KINDS, counts, strict=True) for _ in range(count)][:crops]


def other_state(kind: str, layers: int, height: int, width: int, rng: np.random.Generator) -> Tensor:
    """Draw a keep map (layers, h, w) of `kind`."""
    if kind == "masked":
        return torch.from_numpy((rng.random((layers, height, width)) < rng.random()).astype(np.float32))
    # Low keeps are drawn more often: even then, many bits together say much, and the content of a picture is
    # decided there.
    keep = np.full((layers, height, width), _HIGHEST_KEEP * rng.random() ** 2, dtype=np.float32)
    if kind == "inpaint":
        known = np.ones((height, width), dtype=np.bool_)
        rows, columns = (np.sort(rng.integers(0, side + 1, 2)) for side in (height, width))
        known[rows[0] : rows[1], columns[0] : columns[1]] = False
        keep[:, known] = 1.0
    elif kind != "noise":
        msg = f"unknown kind of state {kind!r}"
        raise ValueError(msg)
    return torch.from_numpy(keep)


def _counted_map(
    step: Pass, architecture: Architecture, height: int, width: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    counted = np.zeros((architecture.layers, height, width), dtype=np.bool_)
    counted[step.layer] = phase_map(height, width, architecture.layer_phases[step.layer]) == step.phase
    return counted
