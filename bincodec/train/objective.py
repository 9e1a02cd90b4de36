"""The loss: lambda(q) 255^2 MSE + bits per pixel, with the prior's other states beside it (DESIGN §3-4)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bincodec.coding import bernoulli
from bincodec.model.architecture import STRIDE, Architecture
from bincodec.model.autoencoder import Autoencoder
from bincodec.model.prior import Prior
from bincodec.model.quantiser import centred_levels, leaky_clamp, logistic_noise, straight_through
from bincodec.train import states

_LOSS_SCALE = 0.05
"""Brings the loss near 1, where the gradient clip of 1.0 is meant to act only on outliers."""


_CONDITIONED = 0.85
_CONDITIONED_IN_ORDER = 0.5
"""Shares of crops whose class the prior is conditioned on: guidance needs both kinds, files have none."""


@dataclasses.dataclass(frozen=True)
class ObjectiveSettings:
    """Lagrange multipliers at quality 0 and 100 (log-spaced between), share of crops with dropped layers.

    `other_states` says how many states of each of `states.KINDS` go with 12 of the coding order.
    """

    lambda_lowest: float = 0.0003
    lambda_highest: float = 0.15
    truncated_share: float = 0.125
    other_states: tuple[int, int, int] = states.OTHER_STATES


@dataclasses.dataclass(frozen=True)
class Terms:
    """Means over the batch: the loss, and what it is made of in readable channels."""

    loss: Tensor
    bits_per_pixel: Tensor
    mse: Tensor
    other_bits_per_pixel: Tensor

    def detached(self) -> Terms:
        """The same numbers without what a gradient needs."""
        return Terms(*(getattr(self, field.name).detach() for field in dataclasses.fields(self)))

    @staticmethod
    def mean(several: Sequence[Terms]) -> Terms:
        """The means over several batches: crops and qualities differ from one to the next."""
        names = [field.name for field in dataclasses.fields(Terms)]
        return Terms(*(torch.stack([getattr(terms, name) for terms in several]).mean() for name in names))


class Objective(nn.Module):
    """Autoencoder and prior under one loss. `forward` is what DistributedDataParallel wraps.

    With `hard_levels` set, distortion and rate see the levels that a file would hold, and the encoder learns
    nothing: that is how a model is finished.
    """

    channel_layer: Tensor
    fresh: Tensor

    def __init__(self, architecture: Architecture, settings: ObjectiveSettings) -> None:
        super().__init__()
        self.architecture = architecture
        self.settings = settings
        self.hard_levels = self.prior_only = False
        self.autoencoder = Autoencoder(architecture)
        self.prior: nn.Module = Prior(architecture)
        # Channels whose rate counts for little at first while they are learned; in a first stage, all.
        self.register_buffer("fresh", torch.ones(architecture.channels, dtype=torch.bool), persistent=False)
        counts = torch.tensor(architecture.layer_channels)
        self.register_buffer(
            "channel_layer",
            torch.repeat_interleave(torch.arange(architecture.layers), counts),
            persistent=False,
        )

    def multiplier(self, quality: Tensor) -> Tensor:
        """lambda(q) for qualities in 0..1."""
        s = self.settings
        return s.lambda_lowest * (s.lambda_highest / s.lambda_lowest) ** quality

    def forward(
        self,
        image: Tensor,
        quality: Tensor,
        rate_weight: float,
        rng: np.random.Generator,
        label: Tensor | None = None,
    ) -> Terms:
        """The loss of a batch of crops (B, 3, H, W) in 0..1 at qualities (B,) in 0..1, of classes (B,)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.prior_only):
            value = self.autoencoder.analyse(image, quality)
        hard, centred, noisy = self._binarise(value)
        given = self._condition(label, _CONDITIONED_IN_ORDER, rng)
        rate, counted = self._rate(value, centred, noisy, rate_weight, quality, rng, given)
        other = self._other_states(hard.detach(), quality, rng, self._condition(label, _CONDITIONED, rng))
        weight = self.multiplier(quality)
        mse = self._distortion(image, centred, quality, rng)
        per_crop = (weight * 255**2 * mse + counted) / weight.sqrt()
        # Divided by all crops: each state weighs the same, so the mix of states is that of `states`.
        others = (other / weight[: len(other)].sqrt()).sum() / len(image)
        loss = _LOSS_SCALE * (per_crop.mean() + others)
        return Terms(loss, rate.detach().mean(), mse.detach().mean(), other.detach().mean())

    def learn_prior_only(self) -> None:
        """Leave the autoencoder as it is: the prior then learns on the levels that files hold."""
        self.prior_only = self.hard_levels = True
        self.fresh[:] = False
        self.autoencoder.requires_grad_(False)

    def _distortion(
        self, image: Tensor, centred: Tensor, quality: Tensor, rng: np.random.Generator
    ) -> Tensor:
        """Squared error of each crop; nothing where no weight could make it less."""
        if self.prior_only:
            return torch.zeros_like(quality)
        shown = self.truncate(centred, quality, rng)
        picture = self.autoencoder.synthesise(shown, quality)
        return functional.mse_loss(picture, image, reduction="none").mean((1, 2, 3))

    def _condition(self, label: Tensor | None, share: float, rng: np.random.Generator) -> Tensor | None:
        """Labels of a random share of crops; the others are shown no class. None for a classless model."""
        if label is None or not self.architecture.classes:
            return None
        given = torch.from_numpy(rng.random(len(label)) < share).to(label.device)
        return torch.where(given, label, 0)

    def _binarise(self, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Hard centred levels, the same with a gradient, and the noisy value that the rate is measured of."""
        maximum = self.autoencoder.maximum
        if self.hard_levels:
            hard = centred_levels(value.detach(), maximum)
            return hard, hard, hard
        if self.architecture.binariser == "logistic":
            noise = logistic_noise(value) if self.training else torch.zeros_like(value)
            hard = centred_levels((value + noise).detach(), maximum)
            return hard, straight_through(hard, torch.sigmoid(value) - 0.5), value
        hard = centred_levels(value.detach(), maximum)
        soft = leaky_clamp(value, maximum)
        return hard, straight_through(hard, soft), soft + (torch.rand_like(soft) - 0.5)

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
        """Bits per pixel of each crop, from one pass drawn at random and divided by its probability.

        Twice: as they are, and as the loss counts them, with fresh channels at `rate_weight`.
        """
        height, width = value.shape[2:]
        drawn = states.coding_states(self.architecture, len(value), height, width, rng)
        keep, counted = drawn.keep.to(value.device), drawn.counted.to(value.device)
        mu, log_scale = self.prior(keep[:, self.channel_layer] * centred, keep, quality, label)
        maximum = self.autoencoder.maximum
        if self.hard_levels:
            cost = bernoulli.level_cost(level, mu, log_scale, maximum)
        elif self.architecture.binariser == "logistic":
            one, half = torch.sigmoid(value), torch.full_like(value, 0.5)
            cost = one * bernoulli.level_cost(half, mu, log_scale, maximum)
            cost = cost + (1 - one) * bernoulli.level_cost(-half, mu, log_scale, maximum)
        else:
            cost = bernoulli.level_cost(level, mu, log_scale, maximum, tails=False)
        cost = cost * counted[:, self.channel_layer]
        weight = torch.where(self.fresh, rate_weight, 1.0)[:, None, None]
        scale = drawn.weight.to(value.device) / (height * width * STRIDE**2)
        return scale * cost.sum((1, 2, 3)), scale * (weight * cost).sum((1, 2, 3))

    def _other_states(
        self, hard: Tensor, quality: Tensor, rng: np.random.Generator, label: Tensor | None = None
    ) -> Tensor:
        """Cross-entropy in bits per pixel of hidden and noisy channels, on levels that carry no gradient."""
        kinds = states.other_kinds(len(hard), self.settings.other_states)
        height, width = hard.shape[2:]
        keep = torch.stack(
            [states.other_state(kind, self.architecture.layers, height, width, rng) for kind in kinds]
        ).to(hard.device)
        given = None if label is None else label[: len(kinds)]
        bits = self.hidden_bits(hard[: len(kinds)], keep, quality[: len(kinds)], given)
        return bits.sum((1, 2, 3)) / (height * width * STRIDE**2)

    def hidden_bits(
        self, clean: Tensor, keep: Tensor, quality: Tensor, label: Tensor | None = None
    ) -> Tensor:
        """Bits of centred levels (B, channels, h, w) that noise of `keep` (B, layers, h, w) hides; known: 0.

        The noise is drawn here. What a noisy channel shows of itself is counted (`bernoulli`).
        """
        maximum, channel_keep = self.autoencoder.maximum, keep[:, self.channel_layer]
        noisy = bernoulli.add_noise(clean + maximum / 2, channel_keep, maximum) - maximum / 2
        mu, log_scale = self.prior(channel_keep * noisy, keep, quality, label)
        if self.architecture.target == "flip":
            flips = bernoulli.flip_to_value(mu, noisy + 0.5)
            mu = torch.where((channel_keep > 0) & (channel_keep < 1), flips, mu)
        cost = bernoulli.level_cost(clean, mu, log_scale, maximum)
        observed = bernoulli.level_cost(noisy, mu, log_scale, maximum)
        with_own = bernoulli.cost_with_own_observation(cost, observed, clean == noisy, channel_keep, maximum)
        # Known channels carry no loss; for hidden ones (keep = 0) the two costs agree.
        return with_own * (channel_keep < 1)

    def truncate(self, centred: Tensor, quality: Tensor, rng: np.random.Generator) -> Tensor:
        """Replace the layers above a random one by the prior's expectation, in the batch's last crops."""
        count = round(self.settings.truncated_share * len(centred))
        if count == 0 or self.architecture.layers == 1:
            return centred
        height, width = centred.shape[2:]
        cuts = rng.integers(1, self.architecture.layers, count)
        keep = torch.stack([states.layer_start(self.architecture, int(c), height, width) for c in cuts])
        keep = keep.to(centred.device)
        known = keep[:, self.channel_layer]
        with torch.no_grad():
            expected = self.expectation(known * centred[-count:], keep, quality[-count:])
        last = torch.where(known > 0, centred[-count:], expected)
        return torch.cat([centred[:-count], last])

    def expectation(self, context: Tensor, keep: Tensor, quality: Tensor) -> Tensor:
        """The prior's expected centred level of every channel, given what is known."""
        mu, log_scale = self.prior(context, keep, quality)
        parts = [self.architecture.layer_slice(layer) for layer in range(self.architecture.layers)]
        expected = [
            bernoulli.expected_centred(mu[:, part], log_scale[:, part], top)
            for part, top in zip(parts, self.architecture.maximum_level, strict=True)
        ]
        return torch.cat(expected, 1)


def psnr(mse: float) -> float:
    """Decibels from a mean squared error on 0..1."""
    return float(-10 * np.log10(max(mse, 1e-12)))
