"""The prior: a network in exact integers (MODEL, "The integer network").

Arrays are (rows, columns, channels), int64.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from .model_file import Architecture, Model

Integers = npt.NDArray[np.int64]

_STREAM_LIMIT = 2**20
_LOWEST_SCALE, _HIGHEST_SCALE = -32, 31


@dataclasses.dataclass(frozen=True, eq=False)
class Linear:
    """A linear map: its weights, its biases (by quality in stem and head), and its shifts by output."""

    weight: Integers
    bias: Integers
    shift: Integers


@dataclasses.dataclass(frozen=True, eq=False)
class Block:
    """One block. `enter` is the shift from the stream to its first activations."""

    enter: int
    depthwise: Linear
    expand: Linear
    contract: Linear


@dataclasses.dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """All integers of a prior, and the architecture that they belong to."""

    architecture: Architecture
    stem: Linear
    blocks: tuple[Block, ...]
    leave: int
    head: Linear
    activation_limit: int


def integer_network(model: Model) -> IntegerNetwork:
    """Return the network in a model file."""

    def tensor(name: str) -> npt.NDArray[Any]:
        return model.tensors[f"prior.{name}"].astype(np.int64)

    def linear(name: str) -> Linear:
        return Linear(*(tensor(f"{name}.{part}") for part in ("weight", "bias", "shift")))

    *entering, leave = tensor("enter").tolist()
    blocks = (
        Block(enter, *(linear(f"blocks.{i}.{part}") for part in ("depthwise", "expand", "contract")))
        for i, enter in enumerate(entering)
    )
    limit = int(tensor("activation_limit"))
    return IntegerNetwork(model.architecture, linear("stem"), tuple(blocks), leave, linear("head"), limit)


def empty_context(architecture: Architecture, grid: tuple[int, int]) -> Integers:
    """Return the input of the network if nothing is known, (rows, columns, channels + layers)."""
    return np.zeros((*grid, architecture.channels + architecture.layers), np.int64)


def with_known(
    architecture: Architecture,
    context: Integers,
    layer: int,
    positions: npt.NDArray[np.bool_],
    levels: Integers,
) -> Integers:
    """Return the context after the levels (channels, positions) of a layer become known at `positions`."""
    half_level = 64 if architecture.single_bits else 8
    result = context.copy()
    twice_centred = 2 * levels.T - architecture.maximum_level[layer]
    result[positions, architecture.slice_of(layer)] = half_level * twice_centred
    result[positions, architecture.channels + layer] = 8 * half_level
    return result


def predict(
    network: IntegerNetwork, context: Integers, quality: int, layer: int
) -> tuple[Integers, Integers]:
    """Return locations in 1/64 level and scale indices of a layer, each (channels, rows, columns)."""
    top, rail = network.activation_limit, _STREAM_LIMIT
    sums = _stem_sums(context, network.stem.weight) + network.stem.bias[quality]
    x = rescale(sums, network.stem.shift, -rail, rail)
    for block in network.blocks:
        y = rescale(x, block.enter, -top, top)
        y = rescale(_depthwise_sums(y, block.depthwise), block.depthwise.shift, -top, top)
        y = rescale(_pointwise_sums(y, block.expand), block.expand.shift, 0, top)
        y = rescale(_pointwise_sums(y, block.contract), block.contract.shift, -rail, rail)
        x = (x + y).clip(-rail, rail)
    x = rescale(x, network.leave, -top, top)
    return _head(network, x, quality, layer)


def _head(network: IntegerNetwork, x: Integers, quality: int, layer: int) -> tuple[Integers, Integers]:
    architecture, full = network.architecture, network.head
    own = np.arange(architecture.channels)[architecture.slice_of(layer)]
    for_mu, for_scale = (
        Linear(full.weight[rows], full.bias[quality, rows], full.shift[rows])
        for rows in (own, architecture.channels + own)
    )
    limit = mu_limit(architecture, layer)
    mu = rescale(_pointwise_sums(x, for_mu), for_mu.shift, -limit, limit)
    scale = rescale(_pointwise_sums(x, for_scale), for_scale.shift, _LOWEST_SCALE, _HIGHEST_SCALE)
    return np.moveaxis(mu, 2, 0), np.moveaxis(scale - _LOWEST_SCALE, 2, 0)


def mu_limit(architecture: Architecture, layer: int) -> int:
    """Return the largest location in 1/64 level: one level beyond the outermost, or more for single bits."""
    most = 126 if architecture.single_bits else architecture.maximum_level[layer]
    return 32 * (most + 2)


def rescale(total: Integers, shift: Integers | int, low: int, high: int) -> Integers:
    """Divide by 2^shift with rounding, halves upwards, then clamp. A shift below 0 multiplies."""
    right, left = np.maximum(shift, 0), np.maximum(np.negative(shift), 0)
    half = (1 << right) >> 1
    # A shift to the right rounds down for both signs.
    return (((total + half) >> right) << left).clip(low, high)


def _stem_sums(context: Integers, weight: Integers) -> Integers:
    taps = weight.reshape(*weight.shape[:2], 9)
    return sum(
        (_product(part, taps[:, :, i]) for i, part in enumerate(_neighbours(context, 3))),
        start=np.zeros((*context.shape[:2], len(weight)), np.int64),
    )


def _depthwise_sums(x: Integers, linear: Linear) -> Integers:
    taps = linear.weight.reshape(-1, 25)
    return sum((part * taps[:, i] for i, part in enumerate(_neighbours(x, 5))), start=linear.bias)


def _pointwise_sums(x: Integers, linear: Linear) -> Integers:
    return _product(x, linear.weight) + linear.bias


def _neighbours(x: Integers, size: int) -> Iterator[Integers]:
    """Yield the values at each of the size x size places around, row by row, with zeros outside the grid."""
    rows, columns, reach = *x.shape[:2], size // 2
    padded = np.pad(x, ((reach, reach), (reach, reach), (0, 0)))
    for down in range(size):
        for right in range(size):
            yield padded[down : down + rows, right : right + columns]


def _product(x: Integers, weight: Integers) -> Integers:
    """Sum over inputs in doubles. They represent every integer up to 2^53, and are fast."""
    return (x.astype(np.float64) @ weight.T.astype(np.float64)).astype(np.int64)
