"""The discriminator judges each part of a picture.

One part of it sees pixels, together with the code that the picture was decoded from. Its other heads see
feature maps of the fixed network of the perceptual distance. They learn much faster, because that network
knows already what pictures are made of (arXiv 2111.01007). All are trained with the hinge loss
(arXiv 1705.02894). Spectral normalisation (arXiv 1802.05957) keeps them from changing faster than the decoder
can follow.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from bincodec.model.architecture import STRIDE
from bincodec.train.lpips import SQUEEZENET

_SLOPE = 0.2
_LEAST_SQUARE = 1e-8


@dataclasses.dataclass(frozen=True)
class AdversarialSettings:
    """The table `[adversarial]`.

    Args:
        weight: the size of the discriminator's gradient at the decoder's last matrix, as a share of the size
            of the gradient of the squared error and the perceptual distance.
        highest: the largest factor that the discriminator's loss may get for that.
        start_share: the share of a stage after which the discriminator begins. A stage that starts from
            weights beside which a discriminator lies goes on with it at once.
        ramp_share: the share of the stage, from there on, in which its weight rises from 0.
        width: the channels of its first layer for pixels; the next ones have 2, 4 and 4 times as many.
        feature_width: the channels of its heads for feature maps, or 0 for no such heads.
        code_width: the channels to which the code is reduced before the discriminator sees it.
        rate: the learning rate of Adam.
    """

    weight: float = 0.5
    highest: float = 30.0
    start_share: float = 0.2
    ramp_share: float = 0.1
    width: int = 32
    feature_width: int = 64
    code_width: int = 32
    rate: float = 8e-4

    def __post_init__(self) -> None:
        for name in ("weight", "highest", "width", "code_width", "rate"):
            if getattr(self, name) <= 0:
                msg = f"[adversarial] {name} is {getattr(self, name)}, but must be above 0"
                raise ValueError(msg)
        if self.feature_width < 0:
            msg = f"[adversarial] feature_width is {self.feature_width}, but must be at least 0"
            raise ValueError(msg)
        if not 0 <= self.start_share <= 1 or not 0 <= self.ramp_share <= 1:
            msg = f"[adversarial] start_share {self.start_share}, ramp_share {self.ramp_share}: not in 0..1"
            raise ValueError(msg)


SEEN_TAPS = (1, 2, 4, 6)
"""The feature maps of SqueezeNet that have a head: 128, 256, 384 and 512 channels, at strides 4 to 16."""


class FeatureHead(nn.Module):
    """Give each position of a feature map a score."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.enter = parametrizations.spectral_norm(nn.Conv2d(channels, width, 1))
        self.mix = parametrizations.spectral_norm(nn.Conv2d(width, width, 3, padding=1))
        self.score = nn.Conv2d(width, 1, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (B, channels, h, w) to scores (B, 1, h, w)."""
        scale = (maps.float().square().mean(1, keepdim=True) + _LEAST_SQUARE).rsqrt()
        x = functional.leaky_relu(self.enter(maps * scale), _SLOPE)
        score: Tensor = self.score(functional.leaky_relu(self.mix(x), _SLOPE)).float()
        return score


class Discriminator(nn.Module):
    """Give each part of a picture scores: high for real pictures, low for decoded ones."""

    def __init__(self, channels: int, settings: AdversarialSettings) -> None:
        super().__init__()
        widths = [3, *(settings.width * factor for factor in (1, 2, 4, 4))]
        self.layers = nn.ModuleList(
            parametrizations.spectral_norm(nn.Conv2d(inputs, outputs, 4, 2, 1))
            for inputs, outputs in itertools.pairwise(widths)
        )
        self.code = parametrizations.spectral_norm(nn.Conv2d(channels, settings.code_width, 1))
        both = widths[-1] + settings.code_width
        self.joined = parametrizations.spectral_norm(nn.Conv2d(both, widths[-1], 3, padding=1))
        # The scores are not bounded: otherwise it takes long until they are as large as the hinges ask for.
        self.score = nn.Conv2d(widths[-1], 1, 1)
        self.heads = nn.ModuleList(
            FeatureHead(SQUEEZENET.taps[tap].outputs, settings.feature_width)
            for tap in (SEEN_TAPS if settings.feature_width else ())
        )

    def forward(self, image: Tensor, code: Tensor, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return scores of images (B, 3, 16 h, 16 w) in 0..1: of pixels, (B, 1, h, w), and of each head.

        `code` holds the channel values that the decoder was given, (B, channels, h, w). `maps` are the
        feature maps of SqueezeNet.
        """
        return self._of_pixels(image, code), *(
            head(maps[tap]) for tap, head in zip(SEEN_TAPS, self.heads, strict=False)
        )

    def _of_pixels(self, image: Tensor, code: Tensor) -> Tensor:
        x = 2 * image - 1
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), _SLOPE)
        known = functional.leaky_relu(self.code(code), _SLOPE)
        x = functional.leaky_relu(self.joined(torch.cat([x, known], 1)), _SLOPE)
        score: Tensor = self.score(x).float()
        return score


def hinge_loss(real: Sequence[Tensor], decoded: Sequence[Tensor]) -> Tensor:
    """Return the loss of a discriminator whose parts gave these scores to real and to decoded pictures."""
    losses = [
        (functional.relu(1 - one) + functional.relu(1 + other)).mean()
        for one, other in zip(real, decoded, strict=True)
    ]
    return torch.stack(losses).mean()


assert 2 ** len((1, 2, 4, 4)) == STRIDE  # The scores lie on the code's own grid.
