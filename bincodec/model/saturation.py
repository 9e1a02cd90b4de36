"""The inputs that a kernel is tested with: as large as possible, and in the shapes of the passes."""

from __future__ import annotations

import torch
from torch import Tensor

from bincodec.model.architecture import Architecture
from bincodec.model.integer import KEEP_KNOWN, context_bits, context_from, keep_shown


def inputs_of(architecture: Architecture, layer: int) -> Tensor:
    """Return the indices of one layer's inputs to the stem: its channels and its keep."""
    part = architecture.layer_slice(layer)
    return torch.cat([torch.arange(part.start, part.stop), torch.tensor([architecture.channels + layer])])


def pass_sizes(phases: int, height: int, width: int) -> set[int]:
    """Return the numbers of positions that the passes of a layer may have.

    These are all positions, and half or a quarter of them, rounded up and down.
    """
    rows, columns = ({-(-side // 2), side // 2} for side in (height, width))
    every = height * width  # The expectation of a missing layer is computed at all positions at once.
    sizes = {
        1: {every},
        2: {-(-height * width // 2), height * width // 2},
        4: {row * column for row in rows for column in columns},
    }
    return sizes[phases] - {0} | {every}


def saturated_context(architecture: Architecture, height: int, width: int) -> Tensor:
    """Return a context of known, extreme levels of both signs, int64 (h, w, channels + layers)."""
    inputs = architecture.channels + architecture.layers
    index = torch.arange(height * width * inputs).reshape(height, width, inputs)
    sign = torch.where((index * 2654435761 >> 7) % 3 == 0, -1, 1)
    levels = torch.repeat_interleave(
        torch.tensor(architecture.maximum_level), torch.tensor(architecture.layer_channels)
    )
    known = torch.full((height, width, architecture.layers), KEEP_KNOWN)
    bits, sign = context_bits(architecture), sign[..., : architecture.channels]
    return torch.cat(
        [context_from(sign * levels, torch.tensor(KEEP_KNOWN), bits), keep_shown(known, bits)], -1
    )
