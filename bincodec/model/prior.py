"""The binary latent diffusion prior as a float network, for training (DESIGN §4).

One network serves every state: each bit comes with a keep k, 1 for known, 0 for hidden, between for noisy.
The network gives, for every channel, the distribution of its level from all *other* context, as a logistic
distribution: P(L >= j) = sigmoid((mu - theta_j) / exp(log_scale)). Its exact integer form is in
`bincodec.model.integer`; both follow the same steps, so what is trained here is what codes there.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bincodec.bitstream.probability import LOG_SCALE_HIGHEST, LOG_SCALE_LOWEST
from bincodec.model.architecture import Architecture
from bincodec.model.autoencoder import QUALITY_FEATURES, Pointwise, quality_features

KEEP_INPUT = 4.0
"""What the network is shown for keep = 1: levels in 1/16 and keep in 1/64 are then integers of one scale
(DESIGN §5)."""


class PriorBlock(nn.Module):
    """Depthwise 5x5, then a pointwise pair with ReLU, added to the stream."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.expand = Pointwise(width, 2 * width)
        self.contract = Pointwise(2 * width, width, scale=0.3)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape in and out."""
        # Depthwise 5x5 gains nothing from bfloat16: its gradient there is 3 times slower on a CPU.
        with torch.autocast(x.device.type, enabled=False):
            mixed = self.depthwise(x.float())
        result: Tensor = x + self.contract(functional.relu(self.expand(mixed)))
        return result


def with_nothing(table: Tensor | None, label: Tensor | None) -> Tensor | float:
    """Rows of a table of classes by label (B,), with zeros for label 0."""
    if table is None or label is None:
        return 0.0
    return functional.pad(table, (0, 0, 1, 0))[label]


class Prior(nn.Module):
    """Levels with their keep, and the quality, to the cavity distribution of every channel."""

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
        """Location and log-scale, each float32 (B, channels, h, w), in levels.

        `context` is keep times centred level, (B, channels, h, w): a hidden channel is exactly zero. `keep`
        is in
        0..1, (B, layers, h, w): the bits of one layer at one position share it. `quality` is (B,) in 0..1.
        `label` (B,) is 0 for no class, else the number of the class, from 1.
        """
        features = quality_features(quality)
        x = self.stem(torch.cat([context, KEEP_INPUT * keep], 1))
        x = x + (self.stem_quality(features) + with_nothing(self.stem_class, label))[:, :, None, None]
        added = self.head_quality(features).float() + with_nothing(self.head_class, label)
        out = self.head(self.blocks(x)).float() + added[:, :, None, None]
        mu, log_scale = out.chunk(2, 1)
        return mu, log_scale.clamp(LOG_SCALE_LOWEST, LOG_SCALE_HIGHEST)
