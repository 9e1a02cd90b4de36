"""A longer search for the levels of one image: less rate for the same picture, no change to any decoder.

The encoder guesses all levels at once. Here each guess is tried against its neighbours, one level down and
one up, by what they cost in both ways: bits, from the very distributions that the file is coded with, and
squared error, from its gradient and curvature at the present picture,

    bits + lambda(q) 255^2 / 3 (g d + h d^2),    d in {-1, 0, 1} levels.

h is the diagonal of J^T J by unit, J the decoder's derivative, estimated with random signs (Hutchinson). The
model is local and treats units one by one, so in each round only a random half of the units may move; then
gradient and distributions are taken anew. The best round is kept, so more rounds are never worse.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from bincodec import bernoulli, coding
from bincodec.autoencoder import Autoencoder
from bincodec.code import Levels
from bincodec.exact import IntegerPrior
from bincodec.integer import MU_BITS, SCALE_OFFSET
from bincodec.order import Pass
from bincodec.prior import LOG_SCALE_STEP

_SHARE = 0.5
_PROBES = 2
_PROBE_STEP = 0.5


@dataclasses.dataclass(frozen=True)
class Target:
    """What the search is for: an image (1, 3, H, W) in 0..1 of which the first `height` rows and `width`
    columns count, a quality in 0..100, and the weight of a squared error in bits."""

    image: Tensor
    height: int
    width: int
    quality: int
    weight: float

    @property
    def at(self) -> Tensor:
        """The quality in 0..1, as networks take it."""
        return torch.full((1,), self.quality / 100, device=self.image.device)

    def errors(self, picture: Tensor) -> Tensor:
        """Differences from the image where it counts, (1, 3, height, width)."""
        return (picture - self.image)[..., : self.height, : self.width]


def error_weight(lagrangian: float) -> float:
    """Bits that a squared error of 1, summed over pixels and the three channels, is worth at lambda."""
    return lagrangian * 255**2 / 3


def search(
    autoencoder: Autoencoder, prior: IntegerPrior, centred: Tensor, target: Target, rounds: int
) -> Tensor:
    """The best centred levels (1, units, h, w) found in `rounds` rounds, starting from `centred`.

    The same arguments give the same rounds whatever their number: a longer search only goes on.
    """
    best, lowest = centred, float("inf")
    for levels, bits, error in _rounds(autoencoder, prior, centred, target, rounds):
        cost = bits + target.weight * error
        if cost < lowest:
            best, lowest = levels, cost
    return best


def _rounds(
    autoencoder: Autoencoder, prior: IntegerPrior, centred: Tensor, target: Target, rounds: int
) -> Iterator[tuple[Tensor, float, float]]:
    """Levels, bits and squared error: of the start, then after each round."""
    rng = np.random.default_rng(0)
    curvature = _curvature(autoencoder, centred, target, rng)
    error, gradient = _slope(autoencoder, centred, target)
    grid = (centred.shape[2], centred.shape[3])
    for number in range(rounds + 1):
        share = _SHARE if number else 0.0
        chooser = _Chooser(prior, centred, gradient, curvature, target.weight, share, rng)
        levels = coding.run(prior, target.quality, grid, prior.architecture.layers, chooser)
        if number:
            flat = torch.from_numpy(np.concatenate(levels)).to(centred.device)
            centred = (flat - autoencoder.maximum / 2)[None]
            error, gradient = _slope(autoencoder, centred, target)
        yield centred, chooser.bits, error


def _slope(autoencoder: Autoencoder, centred: Tensor, target: Target) -> tuple[float, Tensor]:
    """The squared error of a picture, and its gradient by level (units, h, w)."""
    with torch.enable_grad():
        leaf = centred.clone().requires_grad_()
        error = target.errors(autoencoder.synthesise(leaf, target.at)).square().sum()
        (gradient,) = torch.autograd.grad(error, leaf)
    return float(error), gradient[0]


def _curvature(autoencoder: Autoencoder, centred: Tensor, target: Target, rng: np.random.Generator) -> Tensor:
    """The diagonal of J^T J, its mean by unit: (units,)."""
    total = torch.zeros(centred.shape[1], device=centred.device)
    for _ in range(_PROBES):
        signs = torch.from_numpy(rng.choice([-1.0, 1.0], tuple(centred.shape))).to(centred)
        with torch.enable_grad():
            leaf = centred.clone().requires_grad_()
            picture = autoencoder.synthesise(leaf, target.at)
            with torch.no_grad():
                moved = autoencoder.synthesise(centred + _PROBE_STEP * signs, target.at)
            response = target.errors(moved) - target.errors(picture.detach())
            (pulled,) = torch.autograd.grad((target.errors(picture) * response).sum(), leaf)
        total += (pulled * signs)[0].mean((1, 2)) / _PROBE_STEP
    return (total / _PROBES).clamp_min(0)


class _Chooser:
    """A source for `coding.run` that chooses levels, and adds up the bits of what it chose."""

    def __init__(
        self,
        prior: IntegerPrior,
        centred: Tensor,
        gradient: Tensor,
        curvature: Tensor,
        weight: float,
        share: float,
        rng: np.random.Generator,
    ) -> None:
        self._architecture = prior.architecture
        self._centred = centred[0].flatten(1).cpu()
        self._slope = weight * gradient.flatten(1).cpu()
        self._bend = weight * curvature[:, None].cpu()
        self._share = share
        self._rng = rng
        self.bits = 0.0

    def take(
        self, step: Pass, sites: coding.Sites, mu: coding.Integers, scale: coding.Integers, maximum: int
    ) -> Levels:
        """Choose the levels of a pass."""
        part, where = self._architecture.layer_slice(step.layer), torch.from_numpy(sites)
        present, slope = self._centred[part][:, where], self._slope[part][:, where]
        top = torch.tensor(maximum / 2)
        candidates = torch.stack([present, present - 1, present + 1]).clamp(-top, top)
        move = candidates - present
        location = torch.from_numpy(mu).float() / 2**MU_BITS
        log_scale = (torch.from_numpy(scale).float() - SCALE_OFFSET) * LOG_SCALE_STEP
        bits = bernoulli.level_cost(candidates, location, log_scale, 2 * top)
        choice = (bits + slope * move + self._bend[part] * move**2).argmin(0)
        free = torch.from_numpy(self._rng.random(choice.shape) < self._share)
        choice = torch.where(free, choice, 0)[None]
        self.bits += float(bits.gather(0, choice).sum(dtype=torch.float64))
        levels: Levels = (candidates.gather(0, choice)[0] + top).to(torch.uint8).numpy()
        return levels

    def end_layer(self, layer: int, levels: Levels) -> None:
        """Nothing to do: the next layer sees the levels through the prior."""
