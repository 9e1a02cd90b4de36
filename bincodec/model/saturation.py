"""What a kernel is tried on before it is trusted: inputs as large as can be, in the shapes of the passes."""

from __future__ import annotations

import torch
from torch import Tensor

from bincodec.model.architecture import Architecture
from bincodec.model.integer import KEEP_KNOWN, context_bits, context_from, keep_shown


def inputs_of(architecture: Architecture, layer: int) -> Tensor:
    """The inputs of the stem that one layer has: its channels, and its keep."""
    part = architecture.layer_slice(layer)
    return torch.cat([torch.arange(part.start, part.stop), torch.tensor([architecture.channels + layer])])


def pass_sizes(phases: int, height: int, width: int) -> set[int]:
    """How many positions the passes of a layer may have: all, a half or a quarter, rounded both ways."""
    rows, columns = ({-(-side // 2), side // 2} for side in (height, width))
    every = height * width  # A missing layer is expected everywhere at once.
    sizes = {
        1: {every},
        2: {-(-height * width // 2), height * width // 2},
        4: {row * column for row in rows for column in columns},
    }
    return sizes[phases] - {0} | {every}


def saturated_context(architecture: Architecture, height: int, width: int) -> Tensor:
    """Extreme levels of both signs in a fixed pattern, everything known: (h, w, channels + layers) int64."""
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
