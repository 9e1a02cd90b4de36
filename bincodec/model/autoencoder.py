"""The Bernoulli autoencoder: float networks that turn an image into channel values, and back (DESIGN §3).

The encoder cuts an image into patches of 8x8 pixels. Blocks of pointwise and depthwise 3x3 convolutions
follow at stride 8 and at stride 16, as in other real-time learned codecs. A feature at stride 16 can carry
one channel. Channels beyond the number of features have a shortcut, a matrix between them and patches of
16x16 pixels (docs/decisions/0013). The networks do not depend on the image's size. They do not decide
probabilities either, so rounding differences between machines can change pixels slightly, but never bits.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from bincodec.model.architecture import STRIDE, Architecture
from bincodec.model.quantiser import Gains, centred_levels, maximum_by_channel

QUALITY_FEATURES = 8
PATCH = 3 * STRIDE**2
"""The number of samples in the pixels of one position."""


def quality_features(quality: Tensor) -> Tensor:
    """Return cosines of quality, (B, 8), for quality (B,) in 0..1. They are smooth over the whole scale."""
    orders = torch.arange(QUALITY_FEATURES, device=quality.device, dtype=torch.float32)
    return torch.cos(math.pi * orders * quality[:, None])


class Pointwise(nn.Module):
    """A 1x1 convolution. Its weight is a matrix (outputs, inputs), as matrix optimisers need it."""

    def __init__(self, inputs: int, outputs: int, *, scale: float = 1.0) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-bound, bound) * scale)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, outputs, h, w)."""
        return functional.conv2d(x, self.weight[:, :, None, None], self.bias)


class Modulation(nn.Module):
    """Scale and shift feature maps depending on quality."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(QUALITY_FEATURES, 2 * channels)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        """Return `x` (B, channels, h, w), modulated. `features` come from `quality_features`."""
        scale, shift = self.linear(features)[:, :, None, None].chunk(2, 1)
        result: Tensor = x * (1 + scale) + shift
        return result


class Block(nn.Module):
    """Two residual steps: the first mixes neighbouring positions (depthwise 3x3), the second channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.spatial_in = Pointwise(channels, channels)
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.spatial_out = Pointwise(channels, channels, scale=0.3)
        self.expand = Pointwise(channels, 2 * channels)
        self.contract = Pointwise(2 * channels, channels, scale=0.3)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, h, w) to the same shape."""
        x = x + self.spatial_out(self.depthwise(functional.relu(self.spatial_in(x))))
        result: Tensor = x + self.contract(functional.relu(self.expand(x)))
        return result


class Encoder(nn.Module):
    """Turn an image into channel values.

    The image is (B, 3, H, W) in 0..1, and its sides are multiples of 16. The values are
    (B, channels, H/16, W/16).
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        self.stem = Pointwise(3 * 64, a.width_8)
        self.modulation_8 = Modulation(a.width_8)
        self.blocks_8 = nn.Sequential(*(Block(a.width_8) for _ in range(a.blocks_8 + a.extra_encoder_blocks)))
        self.down = Pointwise(4 * a.width_8, a.width_16)
        self.modulation_16 = Modulation(a.width_16)
        self.blocks_16 = nn.Sequential(*(Block(a.width_16) for _ in range(a.blocks_16)))
        self.head = Pointwise(a.width_16, a.channels)
        self.shortcut = Pointwise(PATCH, a.channels_beyond) if a.channels_beyond else None

    def forward(self, image: Tensor, features: Tensor) -> Tensor:
        """Return the channel values before their gains."""
        centred = image - 0.5
        x = self.stem(functional.pixel_unshuffle(centred, 8))
        x = self.blocks_8(self.modulation_8(x, features))
        x = self.down(functional.pixel_unshuffle(x, 2))
        x = self.blocks_16(self.modulation_16(x, features))
        # In training, bfloat16 would round a value of 100 levels to half a level.
        with torch.autocast(x.device.type, enabled=False):
            channels: Tensor = self.head(x.float())
            if self.shortcut is None:
                return channels
            beyond = self.shortcut(functional.pixel_unshuffle(centred, STRIDE))
            return channels + functional.pad(beyond, (0, 0, 0, 0, channels.shape[1] - beyond.shape[1], 0))


class Decoder(nn.Module):
    """Turn channel values (B, channels, h, w) into an image (B, 3, 16 h, 16 w), not clamped to 0..1."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        self.stem = Pointwise(a.channels, a.width_16)
        self.modulation_16 = Modulation(a.width_16)
        self.blocks_16 = nn.Sequential(*(Block(a.width_16) for _ in range(a.blocks_16)))
        self.up = Pointwise(a.width_16, 4 * a.width_8)
        self.modulation_8 = Modulation(a.width_8)
        self.blocks_8 = nn.Sequential(*(Block(a.width_8) for _ in range(a.blocks_8)))
        self.head = Pointwise(a.width_8, 3 * 64)
        self.shortcut = Pointwise(a.channels_beyond, PATCH) if a.channels_beyond else None

    def forward(self, values: Tensor, features: Tensor) -> Tensor:
        """Return the picture that the channel values describe."""
        # Convolutions keep the memory format of their input. The other format is far slower on a CPU.
        values = values.contiguous(memory_format=torch.channels_last)
        x = self.blocks_16(self.modulation_16(self.stem(values), features))
        x = functional.pixel_shuffle(self.up(x), 2)
        x = self.blocks_8(self.modulation_8(x, features))
        image = functional.pixel_shuffle(self.head(x), 8).float() + 0.5
        if self.shortcut is None:
            return image
        beyond = self.shortcut(values[:, -self.shortcut.weight.shape[1] :])
        return image + functional.pixel_shuffle(beyond, STRIDE).float()


class Autoencoder(nn.Module):
    """Encoder, gains, levels, inverse gains and decoder. One model serves all qualities."""

    maximum: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.encoder = Encoder(architecture)
        self.decoder = Decoder(architecture)
        self.gains = Gains(architecture.channels)
        self.inverse_gains = Gains(architecture.channels, inverse=True)
        self.register_buffer("maximum", maximum_by_channel(architecture), persistent=False)

    def analyse(self, image: Tensor, quality: Tensor) -> Tensor:
        """Return channel values (B, channels, h, w), gains applied, of images in 0..1.

        `quality` is (B,) in 0..1.
        """
        value: Tensor = self.encoder(image, quality_features(quality)).float() * self.gains(quality)
        return value

    def synthesise(self, centred: Tensor, quality: Tensor) -> Tensor:
        """Return the image of centred levels, or of their expectations. `quality` is (B,) in 0..1."""
        image: Tensor = self.decoder(centred * self.inverse_gains(quality), quality_features(quality))
        return image

    def quantise(self, value: Tensor) -> Tensor:
        """Return the centred hard levels of channel values."""
        return centred_levels(value, self.maximum)

    def levels_of(self, centred: Tensor) -> tuple[npt.NDArray[np.uint8], ...]:
        """Return levels by layer, as files hold them, given centred hard levels (1, channels, h, w)."""
        levels = (centred + self.maximum / 2).round()[0].to("cpu", torch.uint8).numpy()
        layers = range(self.architecture.layers)
        return tuple(np.ascontiguousarray(levels[self.architecture.layer_slice(layer)]) for layer in layers)
