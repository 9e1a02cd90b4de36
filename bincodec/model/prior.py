"""The binary latent diffusion prior as a float network, for training (DESIGN §4).

One network serves every state. Each level comes with a keep k: 1 for known, 0 for hidden, values between for
noisy. For every channel, the network predicts a logistic distribution of the level from all *other* context:
P(L >= j) = sigmoid((mu - theta_j) / exp(log_scale)). `bincodec.model.integer` holds the exact integer form of
the network. Both follow the same steps, so the trained network predicts what the integer one codes with.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bincodec.bitstream.probability import LOG_SCALE_HIGHEST, LOG_SCALE_LOWEST
from bincodec.model.architecture import Architecture
from bincodec.model.autoencoder import QUALITY_FEATURES, Pointwise, quality_features
from bincodec.model.depthwise import Depthwise

KEEP_INPUT = 4.0
"""The network's input for keep = 1. With this factor, levels in units of 1/16 and keeps in units of 1/64 are
integers of the same scale (DESIGN §5)."""


class PriorBlock(nn.Module):
    """A residual block: a depthwise 5x5 convolution, then two pointwise ones with a ReLU between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = Depthwise(width, 5)
        self.expand = Pointwise(width, 2 * width)
        self.contract = Pointwise(2 * width, width, scale=0.3)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, h, w) to the same shape."""
        # bfloat16 does not help a depthwise 5x5 convolution: its gradient is 3 times slower on a CPU.
        with torch.autocast(x.device.type, enabled=False):
            mixed = self.depthwise(x.float())
        result: Tensor = x + self.contract(functional.relu(self.expand(mixed)))
        return result


def with_nothing(table: Tensor | None, label: Tensor | None) -> Tensor | float:
    """Return the row of a table of classes for each label (B,), and zeros for label 0."""
    if table is None or label is None:
        return 0.0
    return functional.pad(table, (0, 0, 1, 0))[label]


class Prior(nn.Module):
    """Predict the cavity distribution of every channel from levels with their keep, and the quality."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        self.stem = nn.Conv2d(a.channels + a.layers, a.prior_width, 3, padding=1)
        self.stem_quality = nn.Linear(QUALITY_FEATURES, a.prior_width)
        self.blocks = nn.Sequential(*(PriorBlock(a.prior_width) for _ in range(a.prior_blocks)))
        self.head = Pointwise(a.prior_width, 2 * a.channels, scale=0.1)
        self.head_quality = nn.Linear(QUALITY_FEATURES, 2 * a.channels)
        # Label 0 is "no class" and adds nothing.
        self.stem_class = nn.Parameter(torch.zeros(a.classes, a.prior_width)) if a.classes else None
        self.head_class = nn.Parameter(torch.zeros(a.classes, 2 * a.channels)) if a.classes else None
        for linear in (self.stem_quality, self.head_quality):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(
        self, context: Tensor, keep: Tensor, quality: Tensor, label: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return location and log-scale in levels, each float32 (B, channels, h, w).

        Args:
            context: keep times centred level, (B, channels, h, w); a hidden channel is exactly zero.
            keep: (B, layers, h, w) in 0..1; the levels of one layer at one position share it.
            quality: (B,) in 0..1.
            label: (B,), 0 for no class, else the number of the class, from 1.
        """
        features = quality_features(quality)
        x = self.stem(torch.cat([context, KEEP_INPUT * keep], 1))
        x = x + (self.stem_quality(features) + with_nothing(self.stem_class, label))[:, :, None, None]
        added = self.head_quality(features).float() + with_nothing(self.head_class, label)
        x = self.blocks(x)
        # bfloat16 would round a location of 100 levels to half a level.
        with torch.autocast(x.device.type, enabled=False):
            out = self.head(x.float()) + added[:, :, None, None]
        mu, log_scale = out.chunk(2, 1)
        return mu, log_scale.clamp(LOG_SCALE_LOWEST, LOG_SCALE_HIGHEST)
