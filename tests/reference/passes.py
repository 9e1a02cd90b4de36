"""The levels of a grid, layer by layer and pass by pass (MODEL, "Passes" and "Missing layers")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from .integer_network import IntegerNetwork, empty_context, predict, with_known
from .levels import Levels
from .order import passes_of
from .probability import Integers

Floats = npt.NDArray[np.float64]


class LevelReader(Protocol):
    """A reader of the levels of one or more layers: `CodedLevels` or `RawLevels`."""

    def read(self, mu: Integers, scale: Integers, maximum: int) -> Levels:
        """Return the levels of the next pass. Locations, scales and levels are (channels, positions)."""


def decode_passes(
    network: IntegerNetwork, readers: Sequence[LevelReader], quality: int, grid: tuple[int, int]
) -> list[Levels]:
    """Return the levels of the first layers, each (channels, rows, columns), with one of `readers` for each.

    Layers that share a payload share a reader.
    """
    architecture = network.architecture
    context = empty_context(architecture, grid)
    result = []
    for layer, reader in enumerate(readers):
        levels = np.zeros((architecture.layer_channels[layer], *grid), np.int64)
        for positions in passes_of(architecture.layer_phases[layer], grid):
            if positions.any():
                mu, scale = (part[:, positions] for part in predict(network, context, quality, layer))
                levels[:, positions] = reader.read(mu, scale, architecture.maximum_level[layer])
                context = with_known(architecture, context, layer, positions, levels[:, positions])
        result.append(levels)
    return result


def centred_levels(network: IntegerNetwork, known: Sequence[Levels], quality: int) -> Floats:
    """Return L - J/2 of the known layers, and its expectation for the others, (channels, rows, columns)."""
    architecture, grid = network.architecture, known[0].shape[1:]
    context = empty_context(architecture, (grid[0], grid[1]))
    everywhere = np.ones(grid, np.bool_)
    result = []
    for layer, levels in enumerate(known):
        result.append(levels - architecture.maximum_level[layer] / 2)
        context = with_known(architecture, context, layer, everywhere, levels[:, everywhere])
    for layer in range(len(known), architecture.layers):
        mu, scale = predict(network, context, quality, layer)
        result.append(expectation(mu, scale, architecture.maximum_level[layer]))
    return np.concatenate(result)


def expectation(mu: Integers, scale: Integers, maximum: int) -> Floats:
    """Return the mean of L - J/2 under the predicted distribution."""
    width = np.exp((scale - 32) / 8)
    mean = np.full(mu.shape, -maximum / 2)
    for j in range(1, maximum + 1):
        theta = j - (maximum + 1) / 2
        mean += _sigmoid((mu / 64 - theta) / width)
    return mean


def _sigmoid(x: Floats) -> Floats:
    return 0.5 + 0.5 * np.tanh(x / 2)
