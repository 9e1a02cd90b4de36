"""A longer search for the levels of one image: a better trade of bits against error, for any decoder.

The encoder guesses all levels at once. Here each guess is tried against its neighbours, one level down and
one up, by what they cost in both ways: bits, from the distributions that the file is coded with, and squared
error, from its gradient and curvature at the present picture,

    bits + lambda(q) 255^2 / 3 (g d + h d^2),    d in {-1, 0, 1} levels.

h is the diagonal of J^T J by channel, J the decoder's derivative, estimated with random signs (Hutchinson).
The model is local and treats channels one by one, so h is taken 1.5 times as large, a move must promise a
little, and in each round only a random share of the channels may move. What came of a round is then measured
position by position, and only positions that got better by it are kept (docs/decisions/0008). A round that
even so made things worse is undone, and the share halved. The correction of the picture is measured anew each
time, and its bits count, so lambda 255^2 MSE + bits per pixel never rises with more rounds. Bytes and PSNR
each may move either way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from bincodec.bitstream.levels import cost_levels
from bincodec.code import Levels
from bincodec.coding import bernoulli, passes
from bincodec.coding.order import Pass
from bincodec.model.architecture import STRIDE
from bincodec.model.autoencoder import Autoencoder
from bincodec.model.integer import MU_BITS, SCALE_OFFSET
from bincodec.model.kernels import IntegerPrior
from bincodec.model.prior import LOG_SCALE_STEP

Costs = npt.NDArray[np.float64]
"""In bits, by position: (h, w)."""

_SHARE = 0.5
_CAUTION = 1.5
"""Times the curvature: neighbours that move together disturb each other (docs/decisions/0008)."""
_MARGIN = 0.3
"""Bits that a move must promise."""
_PROBES = 2
_PROBE_STEP = 0.5


def _uncorrected(picture: Tensor) -> tuple[Tensor, float]:
    return torch.zeros_like(picture), 0.0


@dataclasses.dataclass(frozen=True)
class Target:
    """What the search is for: an image (1, 3, H, W) in 0..1 of which the first `height` rows and `width`
    columns count, a quality in 0..100, and the weight of a squared error in bits.

    `correct` says what the correction adds to a decoded picture, and the bits that it takes. If `grey`, the
    mean of the channels is shown.
    """

    image: Tensor
    height: int
    width: int
    quality: int
    weight: float
    correct: Callable[[Tensor], tuple[Tensor, float]] = _uncorrected
    grey: bool = False

    @property
    def at(self) -> Tensor:
        """The quality in 0..1, as networks take it."""
        return torch.full((1,), self.quality / 100, device=self.image.device)

    def shown(self, autoencoder: Autoencoder, centred: Tensor) -> Tensor:
        """What centred levels decode to, (1, 3, H, W), before the correction."""
        picture = autoencoder.synthesise(centred, self.at)
        return picture.mean(1, keepdim=True).expand_as(picture) if self.grey else picture

    def errors(self, picture: Tensor) -> Tensor:
        """Differences from the image where it counts, (1, 3, height, width)."""
        return (picture - self.image)[..., : self.height, : self.width]

    def position_costs(self, errors: Tensor) -> Costs:
        """What the squared errors of each position are worth in bits, (h, w)."""
        squared = functional.pad(errors.square().sum(1), (0, -self.width % STRIDE, 0, -self.height % STRIDE))
        positions = STRIDE**2 * functional.avg_pool2d(squared, STRIDE)[0]
        costs: Costs = self.weight * positions.cpu().double().numpy()
        return costs


def error_weight(lagrangian: float) -> float:
    """Bits that a squared error of 1, summed over pixels and the three channels, is worth at lambda."""
    return lagrangian * 255**2 / 3


def search(
    autoencoder: Autoencoder, prior: IntegerPrior, centred: Tensor, target: Target, rounds: int
) -> Tensor:
    """The best centred levels (1, channels, h, w) found in `rounds` rounds, starting from `centred`.

    The same arguments give the same rounds whatever their number: a longer search only goes on.
    """
    rng = np.random.default_rng(0)
    best = _Picture(autoencoder, centred, target)
    curvature, share = _curvature(autoencoder, best, rng), _SHARE
    costs = best.costs(prior)
    grid, layers = (centred.shape[2], centred.shape[3]), prior.architecture.layers
    for _ in range(rounds):
        choice = _Choice(best, curvature, share, rng)
        levels = passes.run(prior, target.quality, grid, layers, choice)
        tried = torch.from_numpy(np.concatenate(levels))[None].to(centred) - autoencoder.maximum / 2
        with torch.no_grad():
            errors = target.errors(target.shown(autoencoder, tried) + best.added)
        better = _position_by_position(
            tried, choice.bits + target.position_costs(errors), best.centred, costs
        )
        mixed = _Picture(autoencoder, better, target)
        found = mixed.costs(prior)
        if found.sum() + mixed.added_bits < costs.sum() + best.added_bits:
            best, costs = mixed, found
        else:
            share /= 2
        del mixed  # What the decoder computed on the way is large: never hold it twice.
    return best.centred


def _position_by_position(tried: Tensor, tried_costs: Costs, present: Tensor, present_costs: Costs) -> Tensor:
    """Levels (1, channels, h, w): those tried where they cost less, the present ones elsewhere."""
    return torch.where(torch.from_numpy(tried_costs < present_costs).to(present.device), tried, present)


class _Picture:
    """Levels, what they decode to with its correction, and how that would change."""

    def __init__(self, autoencoder: Autoencoder, centred: Tensor, target: Target) -> None:
        self.centred, self.target, self._autoencoder = centred, target, autoencoder
        with torch.enable_grad():
            self._leaf = centred.clone().requires_grad_()
            decoded = target.shown(autoencoder, self._leaf)
            self.added, self.added_bits = target.correct(decoded.detach())
            self.errors = target.errors(decoded + self.added)
        self._gradient: Tensor | None = None

    def costs(self, prior: IntegerPrior) -> Costs:
        """Bits and weighted squared error of each position, (h, w)."""
        priced = passes.Priced(self._autoencoder.levels_of(self.centred))
        grid = (self.centred.shape[2], self.centred.shape[3])
        passes.run(prior, self.target.quality, grid, prior.architecture.layers, priced)
        costs: Costs = priced.bits.sum(0) + self.target.position_costs(self.errors.detach())
        return costs

    def pull(self, change: Tensor, *, again: bool = False) -> Tensor:
        """J^T of a change of the picture; `again` if there is more to pull."""
        (pulled,) = torch.autograd.grad(self.errors, self._leaf, change, retain_graph=again)
        return pulled

    def gradient(self) -> Tensor:
        """Of the squared error, by level: (channels, h, w). The last thing that can be asked for."""
        if self._gradient is None:
            self._gradient = self.pull(2 * self.errors.detach())[0]
        return self._gradient


def _curvature(autoencoder: Autoencoder, picture: _Picture, rng: np.random.Generator) -> Tensor:
    """The diagonal of J^T J, its mean by channel: (channels,)."""
    centred, target = picture.centred, picture.target
    total = torch.zeros(centred.shape[1], device=centred.device)
    for _ in range(_PROBES):
        signs = torch.from_numpy(rng.choice([-1.0, 1.0], tuple(centred.shape))).to(centred)
        with torch.no_grad():
            shown = target.shown(autoencoder, centred + _PROBE_STEP * signs)
            moved = target.errors(shown + picture.added)
        pulled = picture.pull(moved - picture.errors.detach(), again=True)
        total += (pulled * signs)[0].mean((1, 2)) / _PROBE_STEP
    return (total / _PROBES).clamp_min(0)


class _Choice:
    """A source for `coding.run` that chooses levels near those of a picture, and adds up their bits by
    position.

    A `share` of the channels may move.
    """

    def __init__(self, picture: _Picture, curvature: Tensor, share: float, rng: np.random.Generator) -> None:
        weight = picture.target.weight
        self._centred = picture.centred[0].flatten(1).cpu()
        self._slope = weight * picture.gradient().flatten(1).cpu()
        self._bend = _CAUTION * weight * curvature[:, None].cpu()
        self._share = share
        self._rng = rng
        self._first_channel = 0
        self.bits = np.zeros(picture.centred.shape[2:])

    def take(
        self,
        step: Pass,
        positions: passes.Positions,
        mu: passes.Integers,
        scale: passes.Integers,
        maximum: int,
    ) -> Levels:
        """Choose the levels of a pass."""
        part, where = slice(self._first_channel, self._first_channel + len(mu)), torch.from_numpy(positions)
        present, slope = self._centred[part][:, where], self._slope[part][:, where]
        top = torch.tensor(maximum / 2)
        candidates = torch.stack([present, present - 1, present + 1]).clamp(-top, top)
        move = candidates - present
        location = torch.from_numpy(mu).float() / 2**MU_BITS
        log_scale = (torch.from_numpy(scale).float() - SCALE_OFFSET) * LOG_SCALE_STEP
        estimated = bernoulli.level_cost(candidates, location, log_scale, 2 * top)
        promised = estimated + slope * move + self._bend[part] * move**2 + _MARGIN * (move != 0)
        choice = promised.argmin(0)
        free = torch.from_numpy(self._rng.random(choice.shape) < self._share)
        choice = torch.where(free, choice, 0)[None]
        levels: Levels = (candidates.gather(0, choice)[0] + top).to(torch.uint8).numpy()
        self.bits.ravel()[positions] += cost_levels(levels, mu, scale, maximum).sum(0)
        return levels

    def end_layer(self, layer: int, levels: Levels) -> None:
        """The next pass is of the channels after these; it sees these levels through the prior."""
        self._first_channel += len(levels)
