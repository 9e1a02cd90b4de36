"""Search for better levels of one image: a better trade of bits against error, for any decoder.

The encoder's network chooses all levels at once. The search compares each level with the next lower and the
next higher one. A change to one of them is called a move. Its cost consists of bits, from the distributions
that the file is coded with, and of squared error, which is estimated from its gradient and curvature at the
present picture:

    bits + lambda(q) 255^2 / 3 (g d + c h d^2),    d in {-1, 0, 1} levels.

h is the diagonal of J^T J, averaged by channel, where J is the derivative of the decoder. It is estimated
with random signs (Hutchinson), and c is a factor. The estimate treats levels independently, so it only
decides which moves are tried: those that promise to save a few bits. All of them are made at once, and the
gradient of the error is computed again. If the error were a quadratic function of the levels, it would change
by exactly the sum of

    d (gradient before + gradient after) / 2

over the moves d. So this is the effect of each move, including what the moves do to one another. A move is
kept only if its effect and its bits together are a gain. This is done twice, because the moves that remain no
longer act together with those that were taken back (docs/decisions/0008).

The post-filter is fitted again in each round, and its bits count. If the picture still became worse, the
round is undone, and from then on only half as many levels may move, chosen at random. If no move is kept,
moves of half the promise are tried next. So lambda 255^2 MSE + bits per pixel never rises with more rounds.
Bytes and PSNR alone may rise or fall.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

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

_CURVATURE_FACTOR = 0.7
"""The factor c of the curvature (docs/decisions/0008)."""
_LEAST_PROMISE = 4.0
"""The gain in bits that a move must promise to be tried at first (docs/decisions/0008)."""
_SIEVES = 2
"""How often moves that are not worth their bits are taken back in a round."""
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


def search(
    autoencoder: Autoencoder, prior: IntegerPrior, centred: Tensor, target: Target, rounds: int
) -> tuple[Tensor, tuple[Extra, ...]]:
    """Search for `rounds` rounds, starting from `centred`, (1, channels, h, w).

    Return the best centred levels, and the extras of the post-filter that was fitted to them. A longer search
    begins with the same rounds as a shorter one with the same arguments.
    """
    rng = np.random.default_rng(0)
    best = _Picture(autoencoder, prior, centred, target)
    curvature, share, promise = _curvature(best, rng), 1.0, _LEAST_PROMISE
    for _ in range(rounds):
        source = _SearchSource(best, curvature, share, promise, rng)
        passes.run(prior, target.quality, source.bits.shape, prior.architecture.layers, source)
        moves = _kept(best, source.moves, _bits_of_moves(best, source))
        if not moves.any():
            promise /= 2
            continue
        found = best.moved(moves)
        if found.cost < best.cost:
            best = found
        else:
            share /= 2
        del found  # It holds the decoder's large intermediate results, which must not be in memory twice.
    return best.centred, best.filter_chunks


def _bits_of_moves(picture: _Picture, source: _SearchSource) -> Tensor:
    """Return the bits that each move of a source adds, (channels, h, w).

    A move also changes the context of other levels. What these cost more, or less, was measured position by
    position. It is shared out evenly among the moves of a position.
    """
    others = torch.from_numpy(source.bits - picture.bits).float() - source.added.sum(0)
    return source.added + others / (source.moves != 0).sum(0).clamp_min(1)


def _kept(picture: _Picture, moves: Tensor, bits: Tensor) -> Tensor:
    """Return the moves (channels, h, w) that are worth their bits. All others become 0."""
    for _ in range(_SIEVES):
        moved = picture.moved(moves, picture.fitted)
        effect = picture.target.weight * (picture.gradient + moved.gradient).cpu() / 2 * moves
        moves = moves * (effect + bits < 0)
    return moves


class _Picture:
    """Levels with their decoded and filtered picture, its errors, and the derivatives of these errors.

    The post-filter is `fitted`, or else it is fitted to this picture.
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        prior: IntegerPrior,
        centred: Tensor,
        target: Target,
        fitted: Fitted | None = None,
    ) -> None:
        self.autoencoder, self.prior, self.centred, self.target = autoencoder, prior, centred, target
        with torch.enable_grad():
            self._leaf = centred.clone().requires_grad_()
            decoded = target.shown(autoencoder, self._leaf)
            self.fitted = target.fit_filter(decoded.detach()) if fitted is None else fitted
            self.errors = target.errors(decoded + self.fitted[0])

    @property
    def filter_chunks(self) -> tuple[Extra, ...]:
        """The extras that hold the post-filter."""
        return self.fitted[1]

    @functools.cached_property
    def bits(self) -> npt.NDArray[np.float64]:
        """The bits of each position that may change, (h, w)."""
        levels = self.autoencoder.levels_of(self.centred[..., *self.target.free_place])
        bits: npt.NDArray[np.float64] = passes.rate(self.prior, self.target.quality, levels).sum(0)
        return bits

    @functools.cached_property
    def cost(self) -> float:
        """The bits of all positions that may change and of the post-filter, plus the weighted error."""
        error = float(self.errors.detach().square().sum(dtype=torch.float64))
        filter_bits = sum(8 * chunk.size for chunk in self.filter_chunks)
        return float(self.bits.sum()) + filter_bits + self.target.weight * error

    @functools.cached_property
    def gradient(self) -> Tensor:
        """The gradient of the squared error by each level that may change, (channels, h, w).

        Once it is known, `pull` cannot be used any more.
        """
        return self.pull(2 * self.errors.detach())[0, :, *self.target.free_place]

    def pull(self, change: Tensor, *, again: bool = False) -> Tensor:
        """Return J^T times a change of the picture. Only with `again` can it be called once more."""
        (pulled,) = torch.autograd.grad(self.errors, self._leaf, change, retain_graph=again)
        return pulled

    def moved(self, moves: Tensor, fitted: Fitted | None = None) -> _Picture:
        """Return the picture after moves (channels, h, w) of the levels that may change."""
        centred = self.centred.clone()
        centred[0, :, *self.target.free_place] += moves.to(centred)
        return _Picture(self.autoencoder, self.prior, centred, self.target, fitted)


def _curvature(picture: _Picture, rng: np.random.Generator) -> Tensor:
    """Return the diagonal of J^T J, averaged by channel, (channels,)."""
    centred, target = picture.centred, picture.target
    total = torch.zeros_like(centred[0, :, 0, 0])
    for _ in range(_PROBES):
        signs = torch.from_numpy(rng.choice([-1.0, 1.0], tuple(centred.shape))).to(centred)
        with torch.no_grad():
            shown = target.shown(picture.autoencoder, centred + _PROBE_STEP * signs)
            moved = target.errors(shown + picture.fitted[0])
        pulled = picture.pull(moved - picture.errors.detach(), again=True)
        total += (pulled * signs)[0, :, *target.free_place].mean((1, 2)) / _PROBE_STEP
    return (total / _PROBES).clamp_min(0)


class _SearchSource:
    """A source for `passes.run` that moves levels of a picture where that promises to save enough bits.

    A random `share` of the levels may move, and a move must promise to save `promise` bits. `moves` holds the
    moves, and `added` the bits that each of them adds by itself, both (channels, h, w). `bits` are those of
    all levels by position, (h, w).
    """

    def __init__(
        self, picture: _Picture, curvature: Tensor, share: float, promise: float, rng: np.random.Generator
    ) -> None:
        weight = picture.target.weight
        present = picture.centred[0, :, *picture.target.free_place].cpu().contiguous()
        self._centred = present.flatten(1)
        self._slope = weight * picture.gradient.flatten(1).cpu()
        self._bend = _CURVATURE_FACTOR * weight * curvature[:, None].cpu()
        self._share, self._promise, self._rng = share, promise, rng
        self._first_channel = 0
        self.moves, self.added = torch.zeros_like(present), torch.zeros_like(present)
        self.bits = np.zeros((present.shape[1], present.shape[2]))

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
        changed = (move != 0).float()
        promised = estimated + slope * move + self._bend[part] * move**2 + self._promise * changed
        choice = promised.argmin(0)
        free = torch.from_numpy(self._rng.random(choice.shape) < self._share)
        choice = torch.where(free, choice, 0)[None]
        chosen = move.gather(0, choice)[0]
        self.moves.flatten(1)[part][:, where] = chosen
        self.added.flatten(1)[part][:, where] = (estimated.gather(0, choice) - estimated[:1])[0]
        levels: Levels = (present + chosen + top).to(torch.uint8).numpy()
        self.bits.ravel()[positions] += level_bits(levels, mu, scale, maximum).sum(0)
        return levels

    def end_layer(self, layer: int, levels: Levels) -> None:
        """Continue with the channels of the next layer. The prior already knows the levels of this one."""
        self._first_channel += len(levels)
