"""Search for better levels of one image: a better trade of bits against error, for any decoder.

The encoder's network chooses all levels at once. The search compares each level with its two neighbours, one
level below and one above. Their cost consists of bits, from the distributions that the file is coded with,
and of squared error, which is estimated from its gradient and curvature at the present picture:

    bits + lambda(q) 255^2 / 3 (g d + h d^2),    d in {-1, 0, 1} levels.

h is the diagonal of J^T J, averaged by channel, where J is the derivative of the decoder. It is estimated
with random signs (Hutchinson). The estimate is local and treats levels independently. Therefore h is
multiplied by 1.5, a move must promise a small gain, and only a random share of the levels may move in each
round. The result of a round is measured position by position, and only positions that improved are kept
(docs/decisions/0008). If the picture still became worse, the round is undone and the share is halved. The
post-filter is fitted again in each round, and its bits count. So lambda 255^2 MSE + bits per pixel never
rises with more rounds. Bytes and PSNR alone may rise or fall.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from bincodec.bitstream.container import Extra
from bincodec.bitstream.levels import level_bits
from bincodec.bitstream.probability import LOG_SCALE_STEP, MU_BITS, SCALE_OFFSET
from bincodec.code import Levels
from bincodec.coding import bernoulli, passes
from bincodec.coding.order import Pass
from bincodec.model.architecture import STRIDE
from bincodec.model.autoencoder import Autoencoder
from bincodec.model.kernels import IntegerPrior
from bincodec.windows import Window

Costs = npt.NDArray[np.float64]
"""Costs in bits by position, (h, w)."""

_SHARE = 0.5
_CAUTION = 1.5
"""The factor of the curvature: neighbours that move together disturb each other (docs/decisions/0008)."""
_MARGIN = 0.3
"""The gain in bits that a move must promise."""
_PROBES = 2
_PROBE_STEP = 0.5


Fitted = tuple[Tensor, tuple[Extra, ...]]
"""What a fitted post-filter adds to a picture, (1, 3, H, W), and the extras that hold the filter."""


def _unfiltered(picture: Tensor) -> Fitted:
    return torch.zeros_like(picture), ()


@dataclasses.dataclass(frozen=True)
class Target:
    """What the search aims at.

    Args:
        image: the original in 0..1, (1, 3, H, W). For a tile of a larger picture, it includes surroundings.
        height: the number of rows of the image that count, from the first.
        width: the number of columns that count, from the first.
        quality: 0..100.
        weight: what a squared error of 1 is worth in bits.
        fit_filter: a function that fits the post-filter to a decoded picture.
        grey: whether the three colours are replaced by their mean.
        free: the positions whose levels may change; None means all.
        counted: the positions whose pixels depend on these levels; None means all.
    """

    image: Tensor
    height: int
    width: int
    quality: int
    weight: float
    fit_filter: Callable[[Tensor], Fitted] = _unfiltered
    grey: bool = False
    free: Window | None = None
    counted: Window | None = None

    @property
    def grid(self) -> Window:
        """The window of all positions of the image."""
        return Window(0, 0, self.image.shape[2] // STRIDE, self.image.shape[3] // STRIDE)

    @property
    def free_place(self) -> tuple[slice, slice]:
        """The place of the levels that may change in an array of all positions."""
        return (self.free or self.grid).place

    @property
    def free_among_counted(self) -> tuple[slice, slice]:
        """The place of the levels that may change in an array of the positions that count."""
        return (self.free or self.grid).within(self.counted or self.grid)

    @property
    def at(self) -> Tensor:
        """The quality in 0..1, (1,), as networks take it."""
        return self.image.new_full((1,), self.quality / 100)

    def shown(self, autoencoder: Autoencoder, centred: Tensor) -> Tensor:
        """Return the decoded picture of centred levels, (1, 3, H, W), before the post-filter."""
        picture = autoencoder.synthesise(centred, self.at)
        return picture.mean(1, keepdim=True).expand_as(picture) if self.grey else picture

    def errors(self, picture: Tensor) -> Tensor:
        """Return the differences from the image where it counts, (1, 3, rows, columns)."""
        rows, columns = (self.counted or self.grid).pixels(self.height, self.width)
        return (picture - self.image)[..., rows.start : rows.stop, columns.start : columns.stop]

    def position_costs(self, errors: Tensor) -> Costs:
        """Return what the squared errors of each position that counts are worth in bits, (h, w)."""
        height, width = errors.shape[2:]
        squared = functional.pad(errors.square().sum(1), (0, -width % STRIDE, 0, -height % STRIDE))
        positions = STRIDE**2 * functional.avg_pool2d(squared, STRIDE)[0]
        costs: Costs = self.weight * positions.cpu().double().numpy()
        return costs


def search(
    autoencoder: Autoencoder, prior: IntegerPrior, centred: Tensor, target: Target, rounds: int
) -> tuple[Tensor, tuple[Extra, ...]]:
    """Search for `rounds` rounds, starting from `centred`, (1, channels, h, w).

    Return the best centred levels, and the extras of the post-filter that was fitted to them. A longer search
    begins with the same rounds as a shorter one with the same arguments.
    """
    rng = np.random.default_rng(0)
    best = _Picture(autoencoder, centred, target)
    curvature, share = _curvature(autoencoder, best, rng), _SHARE
    costs = best.costs(prior)
    place, here = target.free_place, target.free_among_counted
    for _ in range(rounds):
        source = _SearchSource(best, curvature, share, rng)
        levels = passes.run(prior, target.quality, source.bits.shape, prior.architecture.layers, source)
        tried = best.centred.clone()
        tried[..., *place] = (
            torch.from_numpy(np.concatenate(levels))[None].to(centred) - autoencoder.maximum / 2
        )
        with torch.no_grad():
            errors = target.errors(target.shown(autoencoder, tried) + best.added)
        tried_costs = source.bits + target.position_costs(errors)[here]
        better = best.centred.clone()
        better[..., *place] = _position_by_position(
            tried[..., *place], tried_costs, best.centred[..., *place], costs[here]
        )
        mixed = _Picture(autoencoder, better, target)
        found = mixed.costs(prior)
        if found.sum() + mixed.filter_bits < costs.sum() + best.filter_bits:
            best, costs = mixed, found
        else:
            share /= 2
        del mixed  # It holds the decoder's large intermediate results, which must not be in memory twice.
    return best.centred, best.filter_chunks


def _position_by_position(tried: Tensor, tried_costs: Costs, present: Tensor, present_costs: Costs) -> Tensor:
    """Return the tried levels where they cost less and the present ones elsewhere, (1, channels, h, w)."""
    return torch.where(torch.from_numpy(tried_costs < present_costs).to(present.device), tried, present)


class _Picture:
    """Levels with their decoded and filtered picture, its errors, and the derivatives of these errors."""

    def __init__(self, autoencoder: Autoencoder, centred: Tensor, target: Target) -> None:
        self.centred, self.target, self._autoencoder = centred, target, autoencoder
        with torch.enable_grad():
            self._leaf = centred.clone().requires_grad_()
            decoded = target.shown(autoencoder, self._leaf)
            self.added, self.filter_chunks = target.fit_filter(decoded.detach())
            self.errors = target.errors(decoded + self.added)
        self._gradient: Tensor | None = None

    @property
    def filter_bits(self) -> int:
        """The bits that the post-filter takes in a file."""
        return sum(8 * chunk.size for chunk in self.filter_chunks)

    def costs(self, prior: IntegerPrior) -> Costs:
        """Return bits plus weighted squared error of each position that counts, (h, w)."""
        free = self._autoencoder.levels_of(self.centred[..., *self.target.free_place])
        costs = self.target.position_costs(self.errors.detach())
        costs[self.target.free_among_counted] += passes.rate(prior, self.target.quality, free).sum(0)
        return costs

    def pull(self, change: Tensor, *, again: bool = False) -> Tensor:
        """Return J^T times a change of the picture. Only with `again` can it be called once more."""
        (pulled,) = torch.autograd.grad(self.errors, self._leaf, change, retain_graph=again)
        return pulled

    def gradient(self) -> Tensor:
        """Return the gradient of the squared error by each level that may change, (channels, h, w).

        After the first call, `pull` cannot be used any more.
        """
        if self._gradient is None:
            self._gradient = self.pull(2 * self.errors.detach())[0, :, *self.target.free_place]
        return self._gradient


def _curvature(autoencoder: Autoencoder, picture: _Picture, rng: np.random.Generator) -> Tensor:
    """Return the diagonal of J^T J, averaged by channel, (channels,)."""
    centred, target = picture.centred, picture.target
    total = torch.zeros_like(centred[0, :, 0, 0])
    for _ in range(_PROBES):
        signs = torch.from_numpy(rng.choice([-1.0, 1.0], tuple(centred.shape))).to(centred)
        with torch.no_grad():
            shown = target.shown(autoencoder, centred + _PROBE_STEP * signs)
            moved = target.errors(shown + picture.added)
        pulled = picture.pull(moved - picture.errors.detach(), again=True)
        total += (pulled * signs)[0, :, *target.free_place].mean((1, 2)) / _PROBE_STEP
    return (total / _PROBES).clamp_min(0)


class _SearchSource:
    """A source for `passes.run` that chooses levels near those of a picture and sums their bits by position.

    A random `share` of the levels may move.
    """

    def __init__(self, picture: _Picture, curvature: Tensor, share: float, rng: np.random.Generator) -> None:
        weight = picture.target.weight
        free = picture.centred[0, :, *picture.target.free_place]
        self._centred = free.flatten(1).cpu()
        self._slope = weight * picture.gradient().flatten(1).cpu()
        self._bend = _CAUTION * weight * curvature[:, None].cpu()
        self._share = share
        self._rng = rng
        self._first_channel = 0
        self.bits = np.zeros((free.shape[1], free.shape[2]))

    def take(
        self,
        step: Pass,
        positions: passes.Positions,
        mu: passes.Integers,
        scale: passes.Integers,
        maximum: int,
    ) -> Levels:
        """Choose and return the levels of a pass."""
        part, where = slice(self._first_channel, self._first_channel + len(mu)), torch.from_numpy(positions)
        present, slope = self._centred[part][:, where], self._slope[part][:, where]
        top = torch.tensor(maximum / 2, dtype=torch.float32)
        candidates = torch.stack([present, present - 1, present + 1]).clamp(-top, top)
        move = candidates - present
        location = torch.from_numpy(mu).float() / 2**MU_BITS
        log_scale = (torch.from_numpy(scale).float() - SCALE_OFFSET) * LOG_SCALE_STEP
        estimated = bernoulli.level_cost(candidates, location, log_scale, 2 * top)
        promised = estimated + slope * move + self._bend[part] * move**2 + _MARGIN * (move != 0).float()
        choice = promised.argmin(0)
        free = torch.from_numpy(self._rng.random(choice.shape) < self._share)
        choice = torch.where(free, choice, 0)[None]
        levels: Levels = (candidates.gather(0, choice)[0] + top).to(torch.uint8).numpy()
        self.bits.ravel()[positions] += level_bits(levels, mu, scale, maximum).sum(0)
        return levels

    def end_layer(self, layer: int, levels: Levels) -> None:
        """Continue with the channels of the next layer. The prior already knows the levels of this one."""
        self._first_channel += len(levels)
