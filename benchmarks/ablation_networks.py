"""The variants of `ablation.py` that need code: other networks, other distributions, other ways to train.

Each is an `Objective` of the training loop with one change. They are trained and validated like the codec's
own objective, with the float prior. None of them can write a file.
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
    """Estimate the rate of a crop by the mean over several states, here three passes drawn at random."""

    def __init__(self, settings: RunSettings) -> None:
        super().__init__(settings.architecture, settings.objective)

    def draw(self, crops: int, height: int, width: int, rng: np.random.Generator) -> list[CodingStates]:
        """Return the states of a step."""
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
        """Estimate the rate as `Objective._rate` does, for uniform noise."""
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
    """Count every layer of a crop, each at one of its phases."""

    def draw(self, crops: int, height: int, width: int, rng: np.random.Generator) -> list[CodingStates]:
        """Return one state for each layer."""
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
    """The first of two stages: the prior gets no context, so each channel has one distribution a quality."""

    def draw(self, crops: int, height: int, width: int, rng: np.random.Generator) -> list[CodingStates]:
        """Return one state in which everything is hidden and all channels count."""
        shape = (crops, self.architecture.layers, height, width)
        return [CodingStates(torch.zeros(shape), torch.ones(shape), torch.ones(crops))]

    def _other_states(
        self, hard: Tensor, quality: Tensor, rng: np.random.Generator, label: Tensor | None = None
    ) -> Tensor:
        return torch.zeros(1)

    def expectation(self, context: Tensor, keep: Tensor, quality: Tensor) -> Tensor:
        """Return the mean of every channel, independent of what is known."""
        return super().expectation(0 * context, 0 * keep, quality)


def prior_alone(settings: RunSettings) -> Objective:
    """Return the second of two stages: the autoencoder is fixed, and the prior learns the coding order."""
    objective = Objective(settings.architecture, settings.objective)
    objective.learn_prior_only()
    return objective


# --- a mixture of two logistics ----------------------------------------------------------------------------

SECOND = (0.0, 0.3, -2.0)
"""The start of the second logistic: at the first one, a third wider, with a share of 0.12 (as log-odds)."""


class MixturePrior(Prior):
    """A prior that predicts five numbers for each channel.

    They are both locations, (B, channels, h, w, 2), and both log-scales and the log-odds of the second
    logistic, (B, channels, h, w, 3).
    """

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
        """Predict as `Prior.forward` does. The second logistic is predicted relative to the first."""
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
    """Use mixtures as the distributions of levels inside this block.

    Training and validation compute costs with `bernoulli`, so its functions are replaced.
    """
    with mock.patch.multiple(bernoulli, level_cost=_mixture_cost, expected_centred=_mixture_mean):
        yield


def with_mixtures(settings: RunSettings) -> Objective:
    """Return the codec's autoencoder with a prior of mixtures, for use within `mixture_costs`."""
    objective = Objective(settings.architecture, settings.objective)
    objective.prior = MixturePrior(settings.architecture)
    return objective


# --- stride 8 ----------------------------------------------------------------------------------------------


class EncoderAt8(nn.Module):
    """An `Encoder` without the part after stride 8."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.stem = Pointwise(3 * 64, a.width_8)
        self.modulation = Modulation(a.width_8)
        self.blocks = nn.Sequential(*(Block(a.width_8) for _ in range(a.blocks_8)))
        self.head = Pointwise(a.width_8, a.channels)

    def forward(self, image: Tensor, features: Tensor) -> Tensor:
        """Return channel values before their gains, (B, channels, H/8, W/8)."""
        x = self.stem(functional.pixel_unshuffle(image - 0.5, 8))
        result: Tensor = self.head(self.blocks(self.modulation(x, features)))
        return result


class DecoderAt8(nn.Module):
    """A `Decoder` without the part before stride 8."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.stem = Pointwise(a.channels, a.width_8)
        self.modulation = Modulation(a.width_8)
        self.blocks = nn.Sequential(*(Block(a.width_8) for _ in range(a.blocks_8)))
        self.head = Pointwise(a.width_8, 3 * 64)

    def forward(self, values: Tensor, features: Tensor) -> Tensor:
        """Return the picture, (B, 3, 8 h, 8 w)."""
        x = self.blocks(self.modulation(self.stem(values), features))
        return functional.pixel_shuffle(self.head(x), 8).float() + 0.5


class AutoencoderAt8(Autoencoder):
    """An autoencoder at stride 8: a quarter of the channels at four times the positions."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        self.encoder: nn.Module = EncoderAt8(architecture)
        self.decoder: nn.Module = DecoderAt8(architecture)


class StrideEight(Objective):
    """An objective at stride 8. `Objective` divides by the pixels of 16x16, four times too many here."""

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
    """Start from principal components as `principal.start_from_components` does, with stride 8 only."""
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
