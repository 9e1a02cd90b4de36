"""Channels, levels and gains: from what the encoder says to levels, and from levels to what the decoder sees.

A channel's value s is compared with J thresholds theta_j = j - (J+1)/2; the number of thresholds below s is
its level L in 0..J. Levels are handled *centred*, as L - J/2, so that "nothing" is zero when J is even
(DESIGN §3).
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
"""Slope of the straight-through gradient outside the outermost thresholds, so that saturated channels
recover."""


class Gains(nn.Module):
    """exp of a table of 8 knots over quality, interpolated: one factor for each channel.

    The table starts wide: gains learn slowly, and a range that starts narrow stays narrow (DESIGN §3).
    """

    def __init__(self, channels: int, *, inverse: bool = False) -> None:
        super().__init__()
        knots = torch.linspace(math.log(GAIN_AT_LOWEST), math.log(GAIN_AT_HIGHEST), GAIN_KNOTS)
        self.log_gain = nn.Parameter((-knots if inverse else knots)[:, None].repeat(1, channels))

    def forward(self, quality: Tensor) -> Tensor:
        """Gains (B, channels, 1, 1) for qualities (B,) in 0..1."""
        position = quality * (GAIN_KNOTS - 1)
        left = position.floor().clamp(0, GAIN_KNOTS - 2).long()
        weight = (position - left)[:, None]
        log_gain = self.log_gain[left] * (1 - weight) + self.log_gain[left + 1] * weight
        return torch.exp(log_gain)[:, :, None, None]


def maximum_by_channel(architecture: Architecture) -> Tensor:
    """J of every channel as float32 (channels, 1, 1), ready to broadcast over (B, channels, h, w)."""
    counts = torch.tensor(architecture.layer_channels, device="cpu")
    maximum = torch.tensor(architecture.maximum_level, dtype=torch.float32, device="cpu")
    return torch.repeat_interleave(maximum, counts)[:, None, None]


def centred_levels(value: Tensor, maximum: Tensor) -> Tensor:
    """L - J/2 with L = #{j : value > theta_j}, the hard decision without noise."""
    return torch.ceil(value + (maximum - 1) / 2).clamp_min(0).minimum(maximum) - maximum / 2


def leaky_clamp(value: Tensor, maximum: Tensor) -> Tensor:
    """`value` inside the levels' range, continued with a small slope outside it."""
    limit = maximum / 2 + 0.5
    inside = torch.maximum(torch.minimum(value, limit), -limit)
    return inside + SATURATION_LEAK * (value - inside)


class _StraightThrough(torch.autograd.Function):
    """Hard value forward, exactly; the gradient goes to the soft one, unchanged."""

    @staticmethod
    def forward(ctx: Any, hard: Tensor, soft: Tensor) -> Tensor:
        return hard.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        return None, gradients[0]


def straight_through(hard: Tensor, soft: Tensor) -> Tensor:
    """`hard` in the forward pass, bit for bit, and the gradient of `soft` in the backward pass."""
    result: Tensor = _StraightThrough.apply(hard, soft)  # type: ignore[no-untyped-call]
    return result


def logistic_noise(like: Tensor) -> Tensor:
    """Standard logistic noise: [s + n > 0] is then Bernoulli(sigmoid(s)), the paper's binariser."""
    uniform = torch.rand_like(like, dtype=torch.float32).clamp(1e-6, 1 - 1e-6)
    return torch.log(uniform) - torch.log1p(-uniform)
