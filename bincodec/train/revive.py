"""Give silent units new weights.

A ReLU whose input is negative everywhere passes no gradient. The unit stays silent forever and is of no use
to its block. Before a stage, the silent units of the autoencoder's blocks get new weights. They are scaled to
the inputs, so that each unit is active at about half of the positions. The outputs of these units are
multiplied by zero at first, so pictures and levels do not change.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from bincodec.model.autoencoder import Block, Pointwise
from bincodec.train.data import CropSampler
from bincodec.train.objective import Objective

SILENT = 1e-4
"""A unit that is active at a smaller share of the positions counts as silent."""
_CROPS, _BATCHES = 16, 4
_LEAST_SPREAD = 0.05
"""The least spread of an input, as a share of the mean spread of a layer's inputs. Without it, inputs that
hardly vary would get very large weights."""


@dataclasses.dataclass
class _Seen:
    """Sums and squares of a layer's inputs over `count` positions, and how often outputs were positive."""

    sums: Tensor
    squares: Tensor
    active: Tensor
    count: int = 0


@torch.no_grad()
def revive(objective: Objective, sampler: CropSampler, rng: np.random.Generator) -> int:
    """Give the silent units of encoder and decoder new weights, and return their number."""
    blocks = [module for module in objective.autoencoder.modules() if isinstance(module, Block)]
    layers = [layer for block in blocks for layer in (block.spatial_in, block.expand)]
    with _watched(layers) as seen:
        for _ in range(_BATCHES):
            image = sampler.batch(_CROPS, rng).crops.float() / 255
            quality = torch.from_numpy(rng.permutation(np.linspace(0, 1, len(image)))).float()
            centred = objective.autoencoder.quantise(objective.autoencoder.analyse(image, quality))
            objective.autoencoder.synthesise(centred, quality)
    revived = 0
    for block in blocks:
        silent = _begin(block.spatial_in, seen[block.spatial_in], rng)
        _unmix(block, silent)
        revived += int(silent.sum())
        silent = _begin(block.expand, seen[block.expand], rng)
        block.contract.weight[:, silent] = 0
        revived += int(silent.sum())
    return revived


@contextmanager
def _watched(layers: list[Pointwise]) -> Iterator[dict[nn.Module, _Seen]]:
    seen: dict[nn.Module, _Seen] = {}

    def watch(layer: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        x, y = given[0], result
        if layer not in seen:
            inputs, outputs = torch.zeros(x.shape[1]), torch.zeros(y.shape[1])
            seen[layer] = _Seen(inputs, inputs.clone(), outputs)
        found = seen[layer]
        found.sums += x.sum((0, 2, 3))
        found.squares += x.square().sum((0, 2, 3))
        found.active += (y > 0).float().sum((0, 2, 3))
        found.count += x.shape[0] * x.shape[2] * x.shape[3]

    hooks = [layer.register_forward_hook(watch) for layer in layers]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _begin(layer: Pointwise, seen: _Seen, rng: np.random.Generator) -> Tensor:
    """Set new weights for the silent outputs of a layer, scaled to its inputs. Return which are silent."""
    silent = seen.active < SILENT * seen.count
    mean = seen.sums / seen.count
    spread = (seen.squares / seen.count - mean.square()).clamp_min(0).sqrt()
    spread = spread.clamp_min(_LEAST_SPREAD * spread.mean())
    shape = (int(silent.sum()), len(mean))
    fresh = torch.from_numpy(rng.standard_normal(shape)).float() / (shape[1] ** 0.5 * spread)
    layer.weight[silent] = fresh
    layer.bias[silent] = -(fresh @ mean)
    return silent


def _unmix(block: Block, silent: Tensor) -> None:
    """Reset the depthwise layer for silent units, and keep the constant that it made of them as a bias."""
    taps, bias = block.depthwise.weight, block.depthwise.bias
    assert bias is not None
    block.spatial_out.bias.add_(block.spatial_out.weight[:, silent] @ bias[silent])
    block.spatial_out.weight[:, silent] = 0
    taps[silent] = torch.empty_like(taps[silent]).uniform_(-1 / 3, 1 / 3)
    bias[silent] = 0
