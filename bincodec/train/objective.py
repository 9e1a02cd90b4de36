"""The loss: lambda(q) 255^2 MSE + bits per pixel, plus the cost of the prior's other states (DESIGN §3-4)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from bincodec.coding import bernoulli
from bincodec.model.architecture import STRIDE, Architecture
from bincodec.model.autoencoder import Autoencoder
from bincodec.model.prior import Prior
from bincodec.model.quantiser import centred_levels, leaky_clamp, logistic_noise, straight_through
from bincodec.train import states
from bincodec.train.appearance import Appearance, Judgement
from bincodec.train.objective_settings import ObjectiveSettings
from bincodec.train.terms import Terms

LOSS_SCALE = 0.05
"""A factor that brings the loss near 1. The gradient is clipped at 1.0, which should affect only outliers."""


CONDITIONED, CONDITIONED_IN_ORDER = 0.85, 0.5
"""The shares of crops whose class is shown to the prior: for other states, and for states of the coding
order. Guidance needs predictions with and without a class, and files are coded without one."""


class Objective(nn.Module):
    """Autoencoder and prior with one loss. `forward` computes it, so DistributedDataParallel can wrap this.

    If `hard_levels` is set, distortion and rate are computed from the levels that a file would hold, and the
    encoder learns nothing. Models are finished in this way. `appearance`, if it is set, judges how decoded
    pictures look.
    """

    channel_layer: Tensor
    fresh: Tensor

    def __init__(self, architecture: Architecture, settings: ObjectiveSettings) -> None:
        super().__init__()
        self.architecture = architecture
        self.settings = settings
        self.hard_levels = self.prior_only = self.decoder_only = False
        self.appearance: Appearance | None = None
        self.autoencoder = Autoencoder(architecture)
        self.prior: nn.Module = Prior(architecture)
        # Fresh channels are new ones, whose rate counts little at first. In a first stage, all are fresh.
        self.register_buffer("fresh", torch.ones(architecture.channels, dtype=torch.bool), persistent=False)
        counts = torch.tensor(architecture.layer_channels)
        self.register_buffer(
            "channel_layer",
            torch.repeat_interleave(torch.arange(architecture.layers), counts),
            persistent=False,
        )

    @property
    def thermometers(self) -> bool:
        """Whether channels are bits that start as `thermometer` describes."""
        return self.architecture.binariser == "logistic"

    def multiplier(self, quality: Tensor) -> Tensor:
        """Return lambda(q) for qualities in 0..1."""
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
        """Return the loss of a batch of crops (B, 3, H, W) in 0..1.

        `quality` is (B,) in 0..1. `label` (B,) is 0 for no class, else the number of the class.
        """
        with self._as_in_files(image):
            value = self.autoencoder.analyse(image, quality)
        hard, centred, noisy = self._binarise(value)
        weight = self.multiplier(quality)
        rate = counted = others = torch.zeros_like(quality)
        if not self.decoder_only:
            given = self.condition(label, CONDITIONED_IN_ORDER, rng)
            rate, counted = self._rate(value, centred, noisy, rate_weight, quality, rng, given)
            given = self.condition(label, CONDITIONED, rng)
            others = self._other_states(hard.detach(), quality, rng, given)
        distortion, mse, judged = self._distortion(image, centred, quality, rng)
        # The sum is divided by the number of all crops, so each state has the same weight.
        other = (others / weight[: len(others)].sqrt()).sum() / len(image)
        loss = LOSS_SCALE * (distortion + (counted / weight.sqrt()).mean() + other)
        zero = torch.zeros_like(other)
        return Terms(
            loss,
            rate.detach().mean(),
            mse.detach().mean(),
            others.detach().mean(),
            judged.distance if judged else zero,
            judged.critic if judged else zero,
            judged.factor if judged else zero,
        )

    @contextlib.contextmanager
    def _as_in_files(self, image: Tensor) -> Iterator[None]:
        """If only hard levels count, let the encoder compute in float32 as for files, without a gradient."""
        if not self.hard_levels:
            yield
            return
        with torch.no_grad(), torch.autocast(image.device.type, enabled=False):
            yield

    def learn_prior_only(self) -> None:
        """Freeze the autoencoder. The prior then learns on the levels that files hold."""
        self.prior_only = self.hard_levels = True
        self.fresh[:] = False
        self.autoencoder.requires_grad_(False)

    def learn_decoder_only(self) -> None:
        """Freeze encoder and prior. The decoder then learns on the levels that files hold."""
        self.decoder_only = self.hard_levels = True
        self.fresh[:] = False
        for part in (self.autoencoder.encoder, self.autoencoder.gains, self.prior):
            part.requires_grad_(False)

    def _distortion(
        self, image: Tensor, centred: Tensor, quality: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor, Judgement | None]:
        """Return the mean distortion as the loss counts it, the squared error of each crop, and how the
        pictures look. If only the prior learns, all of it is 0."""
        if self.prior_only:
            return quality.new_zeros(()), torch.zeros_like(quality), None
        shown = self.show(centred, quality, rng)
        picture = self.autoencoder.synthesise(shown, quality)
        mse = functional.mse_loss(picture, image, reduction="none").mean((1, 2, 3))
        of_error = 255**2 * self.multiplier(quality).sqrt()
        if self.appearance is None:
            return (of_error * mse).mean(), mse, None
        code = (shown * self.autoencoder.inverse_gains(quality)).detach()
        judged = self.appearance.judge(image, picture, code, of_error, self.autoencoder.decoder.head)
        return with_gradient(judged.distortion, picture, judged.gradient), mse, judged

    def condition(
        self, label: Tensor | None, share: float | npt.NDArray[np.float64], rng: np.random.Generator
    ) -> Tensor | None:
        """Return the labels of a random share of crops, and 0 for the others; None for a model without
        classes. `share` may be one number or one for each crop, (B,)."""
        if label is None or not self.architecture.classes:
            return None
        given = torch.from_numpy(rng.random(len(label)) < share).to(label.device)
        return torch.where(given, label, 0)

    def _binarise(self, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return hard centred levels, the same with a gradient, and the values that the rate is computed of.

        These values include uniform noise, unless `hard_levels` is set or the binariser is logistic.
        """
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
        """Estimate the bits per pixel of each crop from one random pass, divided by its probability.

        Return the bits as they are, and as the loss counts them, with fresh channels weighted by
        `rate_weight`.
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
        """Return the cross-entropy of hidden and noisy channels in bits per pixel. Levels get no gradient."""
        kinds = states.other_kinds(len(hard), self.settings.other_states)
        if not kinds:
            return quality[:0]
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
        """Return the bits of centred levels (B, channels, h, w) after noise of `keep` (B, layers, h, w).

        The noise is drawn here. The noisy level itself is part of the context (`bernoulli`). Known levels
        cost 0 bits.
        """
        maximum, channel_keep = self.autoencoder.maximum, keep[:, self.channel_layer]
        single_bits = self.architecture.single_bits
        if single_bits:
            noisy = bernoulli.flip_bits(clean, channel_keep)
        else:
            noisy = bernoulli.add_noise(clean + maximum / 2, channel_keep, maximum) - maximum / 2
        mu, log_scale = self.prior(channel_keep * noisy, keep, quality, label)
        if self.architecture.target == "flip":
            flips = bernoulli.flip_to_value(mu, noisy + 0.5)
            mu = torch.where((channel_keep > 0) & (channel_keep < 1), flips, mu)
        if single_bits:
            with_own = bernoulli.bit_cost_with_own_observation(clean, mu, log_scale, noisy, channel_keep)
        else:
            cost = bernoulli.level_cost(clean, mu, log_scale, maximum)
            observed = bernoulli.level_cost(noisy, mu, log_scale, maximum)
            with_own = bernoulli.cost_with_own_observation(
                cost, observed, clean == noisy, channel_keep, maximum
            )
        # Known channels have no loss. For hidden ones (keep = 0), the two costs are equal.
        return with_own * (channel_keep < 1)

    def show(self, centred: Tensor, quality: Tensor, rng: np.random.Generator) -> Tensor:
        """Return what the decoder is shown of the levels of a batch: the last crops are truncated, and the
        first ones disturbed."""
        return self._disturb(self._truncate(centred, quality, rng), rng)

    def _truncate(self, centred: Tensor, quality: Tensor, rng: np.random.Generator) -> Tensor:
        """Replace the layers above a random one by the prior's expectation, in the last crops of a batch."""
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

    def _disturb(self, centred: Tensor, rng: np.random.Generator) -> Tensor:
        """Draw some levels of the first crops of a batch anew."""
        count = round(self.settings.disturbed_share * len(centred))
        if count == 0:
            return centred
        least, maximum = self.settings.least_kept, self.autoencoder.maximum
        kept = torch.from_numpy(least + (1 - least) * rng.random(count)).float().to(centred.device)
        levels = centred[:count] + maximum / 2
        first = bernoulli.add_noise(levels, kept[:, None, None, None], maximum) - maximum / 2
        return torch.cat([first, centred[count:]])

    def expectation(self, context: Tensor, keep: Tensor, quality: Tensor) -> Tensor:
        """Return the prior's expected centred level of every channel, given what is known."""
        mu, log_scale = self.prior(context, keep, quality)
        parts = [self.architecture.layer_slice(layer) for layer in range(self.architecture.layers)]
        expected = [
            bernoulli.expected_centred(mu[:, part], log_scale[:, part], top)
            for part, top in zip(parts, self.architecture.maximum_level, strict=True)
        ]
        return torch.cat(expected, 1)


def with_gradient(value: Tensor, of: Tensor, gradient: Tensor) -> Tensor:
    """Return `value`, whose gradient with respect to `of` is then `gradient`."""
    product = (of * gradient.detach()).sum()
    return value.detach() + product - product.detach()
