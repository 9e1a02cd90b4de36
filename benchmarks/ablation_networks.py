"""What `ablation.py` compares beyond settings: other networks, other distributions, other ways to train.

Each is an `Objective` of the training loop with one thing changed. They train and validate as the codec's own
does, with the float prior; none of them can write a file.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bincodec.bitstream.probability import LOG_SCALE_HIGHEST, LOG_SCALE_LOWEST
from bincodec.coding import bernoulli
from bincodec.coding.order import known_map, passes, phase_map
from bincodec.model.architecture import STRIDE, Architecture
from bincodec.model.autoencoder import (
    QUALITY_FEATURES,
    Autoencoder,
    Block,
    Modulation,
    Pointwise,
    quality_features,
)
from bincodec.model.prior import KEEP_INPUT, Prior
from bincodec.train import principal
from bincodec.train.data import CropSampler
from bincodec.train.objective import Objective
from bincodec.train.settings import RunSettings
from bincodec.train.states import CodingStates, coding_states

# --- how the rate is estimated, and what the autoencoder is trained against --------------------------------


class RateFromDraws(Objective):
    """The rate of a crop is the mean of what several states say, here three passes drawn at random."""

    def __init__(self, settings: RunSettings) -> None:
        super().__init__(settings.architecture, settings.objective)

    def draw(self, crops: int, height: int, width: int, rng: np.random.Generator) -> list[CodingStates]:
        """The states of a step."""
        return [coding_states(self.architecture, crops, height, width, rng) for _ in range(3)]

    def _rate(
        self,
        value: Tensor,
        centred: Tensor,
        level: Tensor,
        rate_weight: float,
        quality: Tensor,
        rng: np.random.Generator,
        label: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """As `Objective._rate`, for uniform noise."""
        height, width = value.shape[2:]
        share = torch.where(self.fresh, rate_weight, 1.0)[:, None, None]
        maximum = self.autoencoder.maximum
        rates = []
        for drawn in self.draw(len(value), height, width, rng):
            mu, log_scale = self.prior(
                drawn.keep[:, self.channel_layer] * centred, drawn.keep, quality, label
            )
            cost = bernoulli.level_cost(level, mu, log_scale, maximum, tails=False)
            cost = cost * drawn.counted[:, self.channel_layer]
            scale = drawn.weight / (height * width * STRIDE**2)
            rates.append(torch.stack([scale * cost.sum((1, 2, 3)), scale * (share * cost).sum((1, 2, 3))]))
        rate, charged = torch.stack(rates).mean(0)
        return rate, charged


class RateFromAllLayers(RateFromDraws):
    """Every layer of a crop is counted, at one of its phases each."""

    def draw(self, crops: int, height: int, width: int, rng: np.random.Generator) -> list[CodingStates]:
        """One state a layer."""
        phases = self.architecture.layer_phases
        result = []
        for layer, count in enumerate(phases):
            steps = [step for step in passes(phases) if step.layer == layer]
            drawn = [steps[index] for index in rng.integers(0, count, crops)]
            keep = np.stack([known_map(step, phases, height, width) for step in drawn])
            counted = np.zeros_like(keep)
            counted[:, layer] = [phase_map(height, width, count) == step.phase for step in drawn]
            weight = torch.full((crops,), float(count * len(phases)))
            result.append(
                CodingStates(torch.from_numpy(keep).float(), torch.from_numpy(counted).float(), weight)
            )
        return result


class RateWithoutContext(RateFromDraws):
    """The first of two stages: the prior is shown nothing, so each channel has one distribution a quality."""

    def draw(self, crops: int, height: int, width: int, rng: np.random.Generator) -> list[CodingStates]:
        """All channels at once, everything hidden."""
        shape = (crops, self.architecture.layers, height, width)
        return [CodingStates(torch.zeros(shape), torch.ones(shape), torch.ones(crops))]

    def _other_states(
        self, hard: Tensor, quality: Tensor, rng: np.random.Generator, label: Tensor | None = None
    ) -> Tensor:
        return torch.zeros(1)

    def expectation(self, context: Tensor, keep: Tensor, quality: Tensor) -> Tensor:
        """The mean of every channel, whatever is known."""
        return super().expectation(0 * context, 0 * keep, quality)


def prior_alone(settings: RunSettings) -> Objective:
    """The second of two stages: the autoencoder stays, the prior learns the coding order."""
    objective = Objective(settings.architecture, settings.objective)
    objective.learn_prior_only()
    return objective


# --- a mixture of two logistics ----------------------------------------------------------------------------

SECOND = (0.0, 0.3, -2.0)
"""Where the second logistic begins: at the first, a third wider, with a share of 0.12 (as log-odds)."""


class MixturePrior(Prior):
    """Five numbers a channel. Both locations (B, channels, h, w, 2); both log-scales and the second's
    log-odds (B, channels, h, w, 3)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        channels = architecture.channels
        self.head_second = Pointwise(architecture.prior_width, 3 * channels, scale=0.1)
        self.head_second_quality = nn.Linear(QUALITY_FEATURES, 3 * channels)
        nn.init.zeros_(self.head_second_quality.weight)
        with torch.no_grad():
            self.head_second_quality.bias.copy_(torch.tensor(SECOND).repeat_interleave(channels))

    def forward(
        self, context: Tensor, keep: Tensor, quality: Tensor, label: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """As `Prior.forward`; the second logistic is given relative to the first."""
        features = quality_features(quality)
        x = self.stem(torch.cat([context, KEEP_INPUT * keep], 1))
        x = self.blocks(x + self.stem_quality(features)[:, :, None, None])
        first = self.head(x).float() + self.head_quality(features).float()[:, :, None, None]
        second = self.head_second(x).float() + self.head_second_quality(features).float()[:, :, None, None]
        mu, log_scale = first.chunk(2, 1)
        distance, wider, log_odds = second.chunk(3, 1)
        scales = [
            scale.clamp(LOG_SCALE_LOWEST, LOG_SCALE_HIGHEST) for scale in (log_scale, log_scale + wider)
        ]
        return torch.stack([mu, mu + distance], -1), torch.stack([*scales, log_odds], -1)


def _mixture_cost(
    centred: Tensor, mu: Tensor, log_scale: Tensor, maximum: Tensor, *, tails: bool = True
) -> Tensor:
    costs = _level_cost(centred[..., None], mu, log_scale[..., :2], maximum[..., None], tails=tails)
    log_odds = log_scale[..., 2]
    shares = functional.logsigmoid(torch.stack([-log_odds, log_odds], -1))
    return -torch.logsumexp(shares - math.log(2) * costs, -1) / math.log(2)


def _mixture_mean(mu: Tensor, log_scale: Tensor, maximum: int) -> Tensor:
    means = _expected_centred(mu, log_scale[..., :2], maximum)
    return torch.lerp(means[..., 0], means[..., 1], torch.sigmoid(log_scale[..., 2]))


_level_cost, _expected_centred = bernoulli.level_cost, bernoulli.expected_centred


@contextlib.contextmanager
def mixture_costs() -> Iterator[None]:
    """Levels have mixtures as distributions. Training and validation ask `bernoulli`: it is changed there,
    once."""
    with mock.patch.multiple(bernoulli, level_cost=_mixture_cost, expected_centred=_mixture_mean):
        yield


def with_mixtures(settings: RunSettings) -> Objective:
    """The codec's autoencoder and a prior of mixtures: for use within `mixture_costs`."""
    objective = Objective(settings.architecture, settings.objective)
    objective.prior = MixturePrior(settings.architecture)
    return objective


# --- stride 8 ----------------------------------------------------------------------------------------------


class EncoderAt8(nn.Module):
    """`Encoder` without what comes after stride 8."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.stem = Pointwise(3 * 64, a.width_8)
        self.modulation = Modulation(a.width_8)
        self.blocks = nn.Sequential(*(Block(a.width_8) for _ in range(a.blocks_8)))
        self.head = Pointwise(a.width_8, a.channels)

    def forward(self, image: Tensor, features: Tensor) -> Tensor:
        """Channels before their gains, (B, channels, H/8, W/8)."""
        x = self.stem(functional.pixel_unshuffle(image - 0.5, 8))
        result: Tensor = self.head(self.blocks(self.modulation(x, features)))
        return result


class DecoderAt8(nn.Module):
    """`Decoder` without what comes before stride 8."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.stem = Pointwise(a.channels, a.width_8)
        self.modulation = Modulation(a.width_8)
        self.blocks = nn.Sequential(*(Block(a.width_8) for _ in range(a.blocks_8)))
        self.head = Pointwise(a.width_8, 3 * 64)

    def forward(self, values: Tensor, features: Tensor) -> Tensor:
        """The picture, (B, 3, 8 h, 8 w)."""
        x = self.blocks(self.modulation(self.stem(values), features))
        return functional.pixel_shuffle(self.head(x), 8).float() + 0.5


class AutoencoderAt8(Autoencoder):
    """A quarter of the channels at four times the positions."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        self.encoder: nn.Module = EncoderAt8(architecture)
        self.decoder: nn.Module = DecoderAt8(architecture)


class StrideEight(Objective):
    """`Objective` divides by the pixels of positions of 16x16: four times too many here."""

    _SITES = 4

    def __init__(self, settings: RunSettings) -> None:
        super().__init__(settings.architecture, settings.objective)
        self.autoencoder = AutoencoderAt8(settings.architecture)

    @functools.wraps(Objective._rate)
    def _rate(self, *given: object) -> tuple[Tensor, Tensor]:
        rate, charged = super()._rate(*given)  # type: ignore[arg-type]
        return self._SITES * rate, self._SITES * charged

    @functools.wraps(Objective._other_states)
    def _other_states(self, *given: object) -> Tensor:
        return self._SITES * super()._other_states(*given)  # type: ignore[arg-type]


@torch.no_grad()
def start_at_8(objective: Objective, sampler: CropSampler, rng: np.random.Generator) -> None:
    """`principal.start_from_components` with its first step alone."""
    architecture, model = objective.architecture, objective.autoencoder
    encoder, decoder = model.encoder, model.decoder
    assert isinstance(encoder, EncoderAt8)
    assert isinstance(decoder, DecoderAt8)
    patches = functional.pixel_unshuffle(sampler.batch(512, rng).crops.float() / 255 - 0.5, 8)
    basis, size = principal.components(patches, architecture.width_8)
    scale, channels = size.rsqrt(), architecture.channels
    encoder.stem.weight.copy_(scale[:, None] * basis)
    encoder.head.weight.copy_(torch.eye(architecture.width_8)[:channels] / scale)
    decoder.stem.weight.copy_(torch.eye(architecture.width_8)[:, :channels] * scale[:, None])
    decoder.head.weight.copy_((basis / scale[:, None]).T)
    for block in (*encoder.modules(), *decoder.modules()):
        if isinstance(block, Block):
            block.spatial_out.weight.mul_(principal.BLOCK_SCALE)
            block.contract.weight.mul_(principal.BLOCK_SCALE)
    coefficients = functional.conv2d(patches, basis[:channels, :, None, None])
    principal._set_gains(objective, slice(0, channels), coefficients.movedim(1, 0).flatten(1))
