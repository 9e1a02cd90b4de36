"""A longer search for the levels of one image: a better trade of bits against error, for any decoder.

The encoder guesses all levels at once. Here each guess is tried against its neighbours, one level down and
one up, by what they cost in both ways: bits, from the distributions that the file is coded with, and squared
error, from its gradient and curvature at the present picture,

    bits + lambda(q) 255^2 / 3 (g d + h d^2),    d in {-1, 0, 1} levels.

h is the diagonal of J^T J by channel, J the decoder's derivative, estimated with random signs (Hutchinson).
The model is local and treats channels one by one, so h is taken 1.5 times as large, a move must promise a
little, and in each round only a random share of the channels may move. What came of a round is then measured
position by position, and only positions that got better by it are kept (docs/decisions/0008). A round that
even so made things worse is undone, and the share halved. The post-filter is fitted anew each time, and its
bits count, so lambda 255^2 MSE + bits per pixel never rises with more rounds. Bytes and PSNR each may move
either way.
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
"""In bits, by position: (h, w)."""

_SHARE = 0.5
_CAUTION = 1.5
"""Times the curvature: neighbours that move together disturb each other (docs/decisions/0008)."""
_MARGIN = 0.3
"""Bits that a move must promise."""
_PROBES = 2
_PROBE_STEP = 0.5


Fitted = tuple[Tensor, tuple[Extra, ...]]
"""What a fitted post-filter adds to a picture (1, 3, H, W), and the chunks that hold it."""


def _unfiltered(picture: Tensor) -> Fitted:
    return torch.zeros_like(picture), ()


@dataclasses.dataclass(frozen=True)
class Target:
    """What the search is for: an image (1, 3, H, W) in 0..1 of which the first `height` rows and `width`
    columns count, a quality in 0..100, and the weight of a squared error in bits.

    `fit_filter` fits the post-filter to a decoded picture. If `grey`, the mean of the colours is shown. Of a
    tile in a larger picture, the image also holds what is around it: `free` are then the positions whose
    levels may change, `counted` those whose pixels they reach; None means all.
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
        """All positions of the image."""
        return Window(0, 0, self.image.shape[2] // STRIDE, self.image.shape[3] // STRIDE)

    @property
    def free_place(self) -> tuple[slice, slice]:
        """Where the levels that may change lie in an array of all positions."""
        return (self.free or self.grid).place

    @property
    def free_among_counted(self) -> tuple[slice, slice]:
        """Where they lie in an array of the positions that count."""
        return (self.free or self.grid).within(self.counted or self.grid)

    @property
    def at(self) -> Tensor:
        """The quality in 0..1, as networks take it."""
        return self.image.new_full((1,), self.quality / 100)

    def shown(self, autoencoder: Autoencoder, centred: Tensor) -> Tensor:
        """What centred levels decode to, (1, 3, H, W), before the post-filter."""
        picture = autoencoder.synthesise(centred, self.at)
        return picture.mean(1, keepdim=True).expand_as(picture) if self.grey else picture

    def errors(self, picture: Tensor) -> Tensor:
        """Differences from the image where it counts, (1, 3, rows, columns)."""
        rows, columns = (self.counted or self.grid).pixels(self.height, self.width)
        return (picture - self.image)[..., rows.start : rows.stop, columns.start : columns.stop]

    def position_costs(self, errors: Tensor) -> Costs:
        """What the squared errors of each position that counts are worth in bits, (h, w)."""
        height, width = errors.shape[2:]
        squared = functional.pad(errors.square().sum(1), (0, -width % STRIDE, 0, -height % STRIDE))
        positions = STRIDE**2 * functional.avg_pool2d(squared, STRIDE)[0]
        costs: Costs = self.weight * positions.cpu().double().numpy()
        return costs


def search(
    autoencoder: Autoencoder, prior: IntegerPrior, centred: Tensor, target: Target, rounds: int
) -> tuple[Tensor, tuple[Extra, ...]]:
    """The best centred levels (1, channels, h, w) found in `rounds` rounds, starting from `centred`, and the
    chunks of the post-filter that was fitted to them.

    The same arguments give the same rounds whatever their number: a longer search only goes on.
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
        del mixed  # What the decoder computed on the way is large: never hold it twice.
    return best.centred, best.filter_chunks


def _position_by_position(tried: Tensor, tried_costs: Costs, present: Tensor, present_costs: Costs) -> Tensor:
    """Levels (1, channels, h, w): those tried where they cost less, the present ones elsewhere."""
    return torch.where(torch.from_numpy(tried_costs < present_costs).to(present.device), tried, present)


class _Picture:
    """Levels, what they decode to with its post-filter, and how that would change."""

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
        """Bits that the post-filter takes in a file."""
        return sum(8 * chunk.size for chunk in self.filter_chunks)

    def costs(self, prior: IntegerPrior) -> Costs:
        """Bits and weighted squared error of each position that counts, (h, w)."""
        free = self._autoencoder.levels_of(self.centred[..., *self.target.free_place])
        costs = self.target.position_costs(self.errors.detach())
        costs[self.target.free_among_counted] += passes.rate(prior, self.target.quality, free).sum(0)
        return costs

    def pull(self, change: Tensor, *, again: bool = False) -> Tensor:
        """J^T of a change of the picture; `again` if there is more to pull."""
        (pulled,) = torch.autograd.grad(self.errors, self._leaf, change, retain_graph=again)
        return pulled

    def gradient(self) -> Tensor:
        """Of the squared error, by level that may change: (channels, h, w). The last thing that can be asked
        for."""
        if self._gradient is None:
            self._gradient = self.pull(2 * self.errors.detach())[0, :, *self.target.free_place]
        return self._gradient


def _curvature(autoencoder: Autoencoder, picture: _Picture, rng: np.random.Generator) -> Tensor:
    """The diagonal of J^T J, its mean by channel: (channels,)."""
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
    """A source for `passes.run` that chooses levels near those of a picture, and adds up their bits by
    position.

    A `share` of the channels may move.
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
        """Choose the levels of a pass."""
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
        """The next pass is of the channels after these; it sees these levels through the prior."""
        self._first_channel += len(levels)
