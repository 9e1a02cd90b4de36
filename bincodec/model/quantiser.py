"""Gains and levels: quantise the values of the encoder, and scale levels for the decoder (DESIGN §3).

The value s of a channel is compared with J thresholds theta_j = j - (J+1)/2. The number of thresholds below s
is its level L in 0..J. Levels are used in *centred* form, L - J/2, so that the middle level is zero if J is
even.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from bincodec.model.architecture import Architecture

GAIN_KNOTS = 8
GAIN_AT_LOWEST = 0.2
GAIN_AT_HIGHEST = 8.0
SATURATION_LEAK = 0.05
"""The slope of the straight-through gradient outside the range of levels. It lets saturated channels
recover."""


class Gains(nn.Module):
    """One factor for each channel: exp of a table with 8 knots over quality, linearly interpolated.

    The table starts with a wide range. Gains learn slowly, so a range that starts narrow stays narrow.
    """

    def __init__(self, channels: int, *, inverse: bool = False) -> None:
        super().__init__()
        knots = torch.linspace(math.log(GAIN_AT_LOWEST), math.log(GAIN_AT_HIGHEST), GAIN_KNOTS)
        self.log_gain = nn.Parameter((-knots if inverse else knots)[:, None].repeat(1, channels))

    def forward(self, quality: Tensor) -> Tensor:
        """Return gains (B, channels, 1, 1) for qualities (B,) in 0..1."""
        position = quality * (GAIN_KNOTS - 1)
        left = position.floor().clamp(0, GAIN_KNOTS - 2).long()
        weight = (position - left)[:, None]
        log_gain = self.log_gain[left] * (1 - weight) + self.log_gain[left + 1] * weight
        return torch.exp(log_gain)[:, :, None, None]


def maximum_by_channel(architecture: Architecture) -> Tensor:
    """Return J of every channel as float32 (channels, 1, 1), which broadcasts over (B, channels, h, w)."""
    counts = torch.tensor(architecture.layer_channels, device="cpu")
    maximum = torch.tensor(architecture.maximum_level, dtype=torch.float32, device="cpu")
    return torch.repeat_interleave(maximum, counts)[:, None, None]


def centred_levels(value: Tensor, maximum: Tensor) -> Tensor:
    """Return L - J/2, where L is the number of thresholds theta_j below `value`. There is no noise."""
    return torch.ceil(value + (maximum - 1) / 2).clamp_min(0).minimum(maximum) - maximum / 2


def leaky_clamp(value: Tensor, maximum: Tensor) -> Tensor:
    """Return `value` inside the range of levels, continued with a small slope outside it."""
    limit = maximum / 2 + 0.5
    inside = torch.maximum(torch.minimum(value, limit), -limit)
    return inside + SATURATION_LEAK * (value - inside)


class _StraightThrough(torch.autograd.Function):
    """An operation that returns the hard value exactly, and passes its gradient to the soft value."""

    @staticmethod
    def forward(ctx: Any, hard: Tensor, soft: Tensor) -> Tensor:
        return hard.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        return None, gradients[0]


def straight_through(hard: Tensor, soft: Tensor) -> Tensor:
    """Return `hard`, bit for bit, in the forward pass. The backward pass uses the gradient of `soft`."""
    result: Tensor = _StraightThrough.apply(hard, soft)  # type: ignore[no-untyped-call]
    return result


def logistic_noise(like: Tensor) -> Tensor:
    """Return standard logistic noise n. [s + n > 0] is then Bernoulli(sigmoid(s)), as in arXiv 2304.04820."""
    uniform = torch.rand_like(like, dtype=torch.float32).clamp(1e-6, 1 - 1e-6)
    return torch.log(uniform) - torch.log1p(-uniform)
