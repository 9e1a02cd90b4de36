"""A vector-quantised code (arXiv 1711.00937) with a prior of its own, as a baseline for binary codes.

Encoder, decoder, prior blocks, loss, noise and sampler are those of the binary model. Only the code differs.
Instead of bits, a position holds one index into each of several codebooks. With G indices of b bits, it has
as many bits as in a binary model of G b channels. One codebook for a whole position is not possible: with
64 bits, it would have 2^64 entries, far more than there are positions in any training set.

The baseline serves measurements only. It uses floats, draws slowly, and has no file format.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bincodec.coding import bernoulli
from bincodec.model.architecture import STRIDE, Architecture
from bincodec.model.autoencoder import Pointwise, quality_features
from bincodec.model.prior import KEEP_INPUT, PriorBlock, with_nothing
from bincodec.model.quantiser import straight_through
from bincodec.train import states
from bincodec.train.objective import CONDITIONED, LOSS_SCALE, Objective
from bincodec.train.objective_settings import ObjectiveSettings
from bincodec.train.terms import Terms

COMMITMENT = 0.25
EMA_DECAY = 0.99
LEAST_USE = 0.1
"""An entry is dead, and gets a new start, if on average fewer rows of a batch than this are nearest to it."""

_ALMOST_KNOWN = 0.999


@dataclasses.dataclass(frozen=True)
class Codebooks:
    """The size of the codebooks: a position has `groups` indices of `bits` bits each."""

    groups: int = 8
    bits: int = 8

    @property
    def entries(self) -> int:
        """The number of entries of one codebook."""
        return 1 << self.bits

    def check(self, architecture: Architecture) -> None:
        """Raise `ValueError` unless a position has as many bits as in the binary model of `architecture`."""
        bits = sum(
            n * math.log2(j + 1)
            for n, j in zip(architecture.layer_channels, architecture.maximum_level, strict=True)
        )
        if self.groups * self.bits != bits or architecture.channels % self.groups:
            msg = (
                f"{self.groups} indices of {self.bits} bits are not the {bits:g} bits a position of the model"
            )
            raise ValueError(msg)


class VectorQuantiser(nn.Module):
    """Quantise to nearest entries. Entries follow the averages of their rows, and dead entries are replaced.

    Channel c of a position belongs to group c modulo `groups`. If channels start as principal components,
    every group thus gets strong ones.
    """

    codebook: Tensor
    use: Tensor
    sums: Tensor

    def __init__(self, codebooks: Codebooks, channels: int) -> None:
        super().__init__()
        self.groups = codebooks.groups
        shape = (codebooks.groups, codebooks.entries, channels // codebooks.groups)
        self.register_buffer("codebook", torch.zeros(shape))
        self.register_buffer("sums", torch.zeros(shape))
        # No entry is in use yet, so the first batch gives every entry its start.
        self.register_buffer("use", torch.zeros(shape[:2]))

    def nearest(self, value: Tensor) -> Tensor:
        """Return the indices (B, groups, h, w) of values (B, channels, h, w)."""
        batch, _, height, width = value.shape
        rows = self._rows(value)
        distance = self.codebook.square().sum(2)[:, None] - 2 * rows @ self.codebook.transpose(1, 2)
        return distance.argmin(2).view(self.groups, batch, height, width).movedim(0, 1)

    def look_up(self, indices: Tensor) -> Tensor:
        """Return the values (B, channels, h, w) that indices (B, groups, h, w) stand for."""
        group = torch.arange(self.groups, device=indices.device)[:, None, None]
        entries = self.codebook[group, indices]  # (B, groups, h, w, channels / groups)
        return entries.permute(0, 4, 1, 2, 3).flatten(1, 2)

    def restart(self, value: Tensor) -> None:
        """Replace dead entries by random values of this batch."""
        rows = self._rows(value)
        dead = self.use < LEAST_USE
        chosen = torch.randint(rows.shape[1], self.use.shape, device=rows.device)
        fresh = rows.gather(1, chosen[:, :, None].expand(-1, -1, rows.shape[2]))
        self.codebook.copy_(torch.where(dead[:, :, None], fresh, self.codebook))
        self.sums.copy_(torch.where(dead[:, :, None], fresh, self.sums))
        self.use.masked_fill_(dead, 1.0)

    def follow(self, value: Tensor, indices: Tensor) -> None:
        """Move every entry towards the average of the values that are nearest to it."""
        rows, flat = self._rows(value), indices.movedim(1, 0).flatten(1)
        sums, counts = torch.zeros_like(self.sums), torch.zeros_like(self.use)
        sums.scatter_add_(1, flat[:, :, None].expand_as(rows), rows)
        counts.scatter_add_(1, flat, torch.ones_like(flat, dtype=counts.dtype))
        self.sums.lerp_(sums, 1 - EMA_DECAY)
        self.use.lerp_(counts, 1 - EMA_DECAY)
        self.codebook.copy_(self.sums / self.use.clamp(min=1e-6)[:, :, None])

    def _rows(self, value: Tensor) -> Tensor:
        """Return values as rows, float32 (groups, B h w, channels / groups), without a gradient."""
        batch, channels, height, width = value.shape
        grouped = value.detach().float().reshape(batch, channels // self.groups, self.groups, height, width)
        return grouped.permute(2, 0, 3, 4, 1).flatten(1, 3)


class VqPrior(nn.Module):
    """Predict the distribution of each index from all other context, given noisy indices with their keep.

    The trunk is that of `bincodec.model.prior.Prior`. Its input for an index is a learned vector.
    """

    def __init__(self, architecture: Architecture, codebooks: Codebooks) -> None:
        super().__init__()
        a, c = architecture, codebooks
        size, outputs = a.channels // c.groups, c.groups * c.entries
        self.embedding = nn.Parameter(0.5 * torch.randn(c.groups, c.entries, size))
        self.stem = nn.Conv2d(a.channels + c.groups, a.prior_width, 3, padding=1)
        self.blocks = nn.Sequential(*(PriorBlock(a.prior_width) for _ in range(a.prior_blocks)))
        self.head = Pointwise(a.prior_width, outputs, scale=0.1)
        self.stem_class = nn.Parameter(torch.zeros(a.classes, a.prior_width)) if a.classes else None
        self.head_class = nn.Parameter(torch.zeros(a.classes, outputs)) if a.classes else None

    def forward(self, indices: Tensor, keep: Tensor, label: Tensor | None = None) -> Tensor:
        """Return log-probabilities, float32 (B, groups, h, w, entries), of indices.

        `indices` and `keep` are (B, groups, h, w).
        """
        groups, entries, _ = self.embedding.shape
        group = torch.arange(groups, device=indices.device)[:, None, None]
        shown = (keep[..., None] * self.embedding[group, indices]).permute(0, 1, 4, 2, 3).flatten(1, 2)
        x = self.stem(torch.cat([shown, KEEP_INPUT * keep], 1))
        x = x + _everywhere(with_nothing(self.stem_class, label))
        out = self.head(self.blocks(x)).float() + _everywhere(with_nothing(self.head_class, label))
        return functional.log_softmax(out.unflatten(1, (groups, entries)).movedim(2, -1), -1)


def _everywhere(label: Tensor | float) -> Tensor | float:
    return label[:, :, None, None] if isinstance(label, Tensor) else label


class VqObjective(Objective):
    """The objective of the binary model with indices instead of bits. It has the same trainer.

    The prior learns from the same mix of states. Random masks replace states of a coding order.
    """

    def __init__(self, architecture: Architecture, settings: ObjectiveSettings, codebooks: Codebooks) -> None:
        codebooks.check(architecture)
        super().__init__(architecture, settings)
        self.codebooks = codebooks
        self.quantiser = VectorQuantiser(codebooks, architecture.channels)
        self.prior = VqPrior(architecture, codebooks)

    @property
    def thermometers(self) -> bool:
        """No: a channel is a part of a vector."""
        return False

    def forward(
        self,
        image: Tensor,
        quality: Tensor,
        rate_weight: float,
        rng: np.random.Generator,
        label: Tensor | None = None,
    ) -> Terms:
        """Return the loss of a batch, as `Objective.forward` does. Quality only determines crops' weights."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.prior_only):
            value = self.analyse(image)
        indices = self._quantise(value)
        bits = self._prior_bits(indices, rng, self.condition(label, CONDITIONED, rng))
        weight = self.multiplier(quality)
        mse, loss = torch.zeros_like(weight), torch.zeros_like(weight)
        if not self.prior_only:
            entries = self.quantiser.look_up(indices)
            mse = ((self.synthesise(straight_through(entries, value)) - image) ** 2).mean((1, 2, 3))
            loss = mse
            if not self.hard_levels:
                # It is divided by pixels and colours, as the error that it equals in orthonormal networks.
                far = ((value - entries) ** 2).sum((1, 2, 3)) / image[0].numel()
                loss = loss + COMMITMENT * far
        charged = 255**2 * weight.sqrt() * loss
        others = bits / weight.repeat(2)[: len(bits)].sqrt()
        total = LOSS_SCALE * (charged.sum() + others.sum()) / len(image)
        first, rest = bits[: len(image)].detach(), bits[len(image) :].detach()
        nobody_looks = [torch.zeros_like(total)] * 3
        return Terms(total, first.mean(), mse.detach().mean(), rest.mean(), *nobody_looks)

    def analyse(self, image: Tensor) -> Tensor:
        """Return values, float32 (B, channels, h, w), of images (B, 3, H, W) in 0..1."""
        value: Tensor = self.autoencoder.encoder(image, _best(image)).float()
        return value

    def synthesise(self, value: Tensor) -> Tensor:
        """Return the image of values."""
        image: Tensor = self.autoencoder.decoder(value, _best(value))
        return image

    def reconstruct(self, image: Tensor) -> Tensor:
        """Return the image after quantisation."""
        return self.synthesise(self.quantiser.look_up(self.quantiser.nearest(self.analyse(image))))

    def _quantise(self, value: Tensor) -> Tensor:
        """Return indices. While the encoder learns, update the codebooks."""
        with torch.autocast(value.device.type, enabled=False), torch.no_grad():
            if self.hard_levels or not self.training:
                return self.quantiser.nearest(value)
            self.quantiser.restart(value)
            indices = self.quantiser.nearest(value)
            self.quantiser.follow(value, indices)
            return indices

    def _prior_bits(self, clean: Tensor, rng: np.random.Generator, label: Tensor | None) -> Tensor:
        """Return the cross-entropy of hidden and noisy indices in bits per pixel, for all crops in a masked
        state, and then for some of them in other states."""
        others = states.other_kinds(len(clean), self.settings.other_states)
        height, width = clean.shape[2:]
        kinds = ["masked"] * len(clean) + others
        keep = [states.other_state(kind, self.codebooks.groups, height, width, rng) for kind in kinds]
        again = torch.cat([clean, clean[: len(others)]])
        labels = None if label is None else torch.cat([label, label[: len(others)]])
        bits = self.bits(again, torch.stack(keep).to(clean.device), labels)
        return bits / (height * width * STRIDE**2)

    def bits(self, clean: Tensor, keep: Tensor, label: Tensor | None = None) -> Tensor:
        """Return the bits (B,) of indices (B, groups, h, w) after noise of `keep`. Known ones cost none."""
        maximum = torch.tensor(self.codebooks.entries - 1, device=clean.device)
        noisy = bernoulli.add_noise(clean, keep, maximum).long()
        log_probability = bernoulli.with_own_observation(
            self.prior(noisy, keep, label), noisy, keep.clamp(max=_ALMOST_KNOWN)
        )
        cost = -log_probability.gather(-1, clean[..., None])[..., 0] / math.log(2)
        return (cost * (keep < 1)).sum((1, 2, 3))


def _best(like: Tensor) -> Tensor:
    """Return the features of quality 100 for a batch. The code has no gains, so there is only one quality."""
    return quality_features(torch.ones(len(like), device=like.device))


def less_noisy(log_cavity: Tensor, observed: Tensor, keep_t: float, keep_s: float) -> Tensor:
    """Return p(L_s | L_t = observed), (..., levels), from the cavity, without the matrices of
    `bernoulli.posterior`.

    `log_cavity` (..., levels) does not include `observed` (...) as context. `keep_t` <= `keep_s`, and both
    are measured from time 0.
    """
    levels = log_cavity.shape[-1]
    stay = keep_t / keep_s if keep_s > 0 else 0.0
    own = functional.one_hot(observed, levels)
    product = ((1 - stay) / levels + stay * own) * ((1 - keep_s) / levels + keep_s * log_cavity.exp())
    return product / product.sum(-1, keepdim=True)


@torch.no_grad()
def sample(
    prior: nn.Module,
    shape: tuple[int, int, int, int],
    entries: int,
    keeps: Sequence[float],
    generator: torch.Generator,
    *,
    label: Tensor | None = None,
    temperature: float = 1.0,
) -> Tensor:
    """Draw indices of `shape` (B, groups, h, w) by the reverse chain through `keeps`, from 0 to 1."""
    state = torch.randint(entries, shape, generator=generator)
    for keep_t, keep_s in itertools.pairwise(keeps):
        log_cavity = functional.log_softmax(prior(state, torch.full(shape, keep_t), label) / temperature, -1)
        probability = less_noisy(log_cavity, state, keep_t, keep_s)
        state = torch.multinomial(probability.flatten(0, -2), 1, generator=generator).view(shape)
    return state
