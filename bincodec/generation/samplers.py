"""Draw codes from the prior: whole codes, holes in a code, and layers that a file lacks (DESIGN §4).

Both samplers use the same network. The *autoregressive* sampler runs along the coding order and draws the
levels. The *diffusion* sampler runs Bernoulli diffusion backwards (ancestral sampling). All levels start
uniform. In each step, a level is kept, drawn from the prior, or drawn uniformly, until no noise is left. With
*renewal*, a level is drawn from the prior and noised anew instead, which lets a step undo earlier mistakes.

A draw depends only on integers and on operations whose rounding IEEE 754 defines exactly. A seed therefore
gives the same code on every machine and device, and with any number of threads.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from bincodec.bitstream.levels import decide, probability_of
from bincodec.code import Levels, Mask
from bincodec.coding import passes
from bincodec.coding.order import Pass
from bincodec.coding.passes import Context, Integers, Positions, Predictor
from bincodec.generation.schedule import SCHEDULES
from bincodec.model.integer import KEEP_KNOWN

Sampler = Literal["diffusion", "autoregressive"]


class Words:
    """Random words of a seed and an image, from a counter-based generator (Philox), in a fixed order.

    Words of different `stream` numbers, 0..2^64 - 1, are independent of each other.
    """

    def __init__(self, seed: int, image: int = 0, stream: int = 0) -> None:
        counter, key = np.array([0, 0, 0, stream], np.uint64), np.array([seed, image], np.uint64)
        self._generator = np.random.Philox(counter=counter, key=key)

    def _raw(self, count: int) -> npt.NDArray[np.uint64]:
        return np.atleast_1d(self._generator.random_raw(count))

    def below(self, numerators: npt.NDArray[np.int32]) -> Mask:
        """Return True for each numerator with probability numerator / 65536."""
        result: Mask = (self._raw(numerators.size) >> np.uint64(48)).astype(np.int32) < numerators
        return result

    def choice(self, count: int) -> int:
        """Return an integer in 0..count - 1. All are equally likely."""
        return int(self._raw(1)[0]) * count >> 64

    def uniform(self, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
        """Return uniform multiples of 2^-53 that are at least 0 and below 1."""
        words = self._raw(math.prod(shape)) >> np.uint64(11)
        result: npt.NDArray[np.float64] = words.astype(np.float64) * 2.0**-53
        return result.reshape(shape)

    def levels(self, mu: Integers, scale: Integers, maximum: int) -> Levels:
        """Draw levels with the distributions of `mu` and `scale`, from the tables that files use."""
        return decide(mu, scale, maximum, lambda where, j, numerators: self.below(numerators))


@dataclasses.dataclass(frozen=True)
class Hole:
    """A hole to be filled.

    Args:
        levels: the levels of each layer, (channels, h, w).
        known: where levels are kept. (h, w) holds for all layers; the autoregressive sampler also accepts
            (layers, h, w).
    """

    levels: tuple[Levels, ...]
    known: Mask

    def known_in(self, layer: int) -> Mask:
        """Return which positions of a layer are known, bool (h, w)."""
        return self.known if self.known.ndim == 2 else self.known[layer]


class SamplingSource:
    """A source for `passes.run` that draws levels, except where they are known.

    `given` holds the first layers if they are known as a whole. `hole` says which other levels are known.
    """

    def __init__(self, words: Words, given: Sequence[Levels] = (), hole: Hole | None = None) -> None:
        self._words = words
        self._given = given
        self._hole = hole

    def take(self, step: Pass, positions: Positions, mu: Integers, scale: Integers, maximum: int) -> Levels:
        """Return the levels of a pass: the known ones, and all others drawn."""
        if step.layer < len(self._given):
            return passes.at_positions(self._given[step.layer], positions)
        levels = self._words.levels(mu, scale, maximum)
        if self._hole is not None:
            known = self._hole.known_in(step.layer).ravel()[positions]
            if not known.any():
                return levels
            levels[:, known] = passes.at_positions(self._hole.levels[step.layer], positions[known])
        return levels

    def end_layer(self, layer: int, levels: Levels) -> None:
        """Do nothing."""


def autoregressive(
    prior: Predictor,
    quality: int,
    grid: tuple[int, int],
    words: Words,
    *,
    steps: int | None = None,
    given: Sequence[Levels] = (),
    hole: Hole | None = None,
) -> tuple[Levels, ...]:
    """Draw levels along the coding order and return them by layer.

    With `steps`, the passes are merged into that many groups; otherwise each pass is a step of its own.
    """
    architecture = prior.architecture
    context = None
    if hole is not None:
        context = Context(architecture, *grid)
        for layer, levels in enumerate(hole.levels):
            positions = np.flatnonzero(hole.known_in(layer))
            context.add(layer, positions, passes.at_positions(levels, positions))
    source = SamplingSource(words, given, hole)
    return passes.run(prior, quality, grid, architecture.layers, source, groups=steps, context=context)


def keeps(schedule: str, steps: int, start: float = 1.0) -> list[int]:
    """Return the keep in 1/64 at the start and after each of `steps` steps from time `start` to 0.

    It rises from the keep of time `start` (0 at time 1) to 64. The network receives keep in units of 1/64, so
    the chain uses the same units: the noise is exactly what the network is told. With a start above 0, the
    first keep is at most 63, so there is always some noise.
    """
    times = [start * (1 - step / steps) for step in range(steps + 1)]
    result = [round(KEEP_KNOWN * SCHEDULES[schedule](time)) for time in times]
    return [min(result[0], KEEP_KNOWN - 1), *result[1:]] if start > 0 else result


def denoise(
    prior: Predictor,
    quality: int,
    levels: tuple[Levels, ...],
    keep: Sequence[int],
    words: Words,
    hole: Hole | None = None,
    renewal: float = 0.0,
) -> list[tuple[Levels, ...]]:
    """Run the reverse chain from `levels`, which are noisy at `keep[0]` / 64. Return the state of each step.

    In a step that takes a sixteenth of the noise away, a share `renewal` of the levels is renewed
    (`renewed_share`). Levels that are known in `hole` are known to the network in every step and do not
    change. A step in which keep does not rise draws nothing, so more than 64 steps take no more time than 64.
    """
    prior, states = prior.incremental(), []
    if hole is not None:
        levels = _with_known(levels, hole)
    for earlier, later in itertools.pairwise(keep):
        if earlier < later:
            levels = _step(prior, quality, levels, earlier, later, words, hole, renewal)
        states.append(levels)
    return states


def renewed_share(renewal: float, earlier: int, later: int) -> float:
    """Return the share of the levels that a step from keep `earlier` / 64 to keep `later` / 64 renews.

    It is `renewal` if the step takes a sixteenth of the noise away, as with 16 steps and the linear schedule.
    Shorter steps renew less, so that together they leave as many levels alone as one longer step. The share
    is rounded to 16 bits, because the last bits of a power differ between machines.
    """
    sixteenths = 16 * (later - earlier) / KEEP_KNOWN
    return round((1 - math.pow(1 - renewal, sixteenths)) * 65536) / 65536


def add_noise(
    levels: tuple[Levels, ...], maximum: tuple[int, ...], keep: int, words: Words
) -> tuple[Levels, ...]:
    """Run the forward process: keep a level with probability `keep` / 64, else draw it uniformly from 0..J.

    With `keep` 0, the result does not depend on the levels.
    """
    return tuple(
        np.where(words.uniform(part.shape) < keep / KEEP_KNOWN, part, _uniform(words, part.shape, top))
        for part, top in zip(levels, maximum, strict=True)
    )


def _step(
    prior: Predictor,
    quality: int,
    levels: tuple[Levels, ...],
    earlier: int,
    later: int,
    words: Words,
    hole: Hole | None,
    renewal: float,
) -> tuple[Levels, ...]:
    """Run one step from keep `earlier` / 64 to keep `later` / 64. Time runs backwards: earlier <= later."""
    architecture = prior.architecture
    height, width = levels[0].shape[1:]
    context = Context(architecture, height, width)
    positions = np.arange(height * width)
    share = renewed_share(renewal, earlier, later)
    keep = np.full(positions.size, earlier)
    if hole is not None:
        keep[hole.known.ravel()] = KEEP_KNOWN
    for layer, part in enumerate(levels):
        context.add(layer, positions, part.reshape(len(part), -1), keep)
    mu, scale = (
        found.numpy() for found in prior.predict(context.values, quality, None, torch.from_numpy(positions))
    )
    result = []
    for layer, part in enumerate(levels):
        channels, top = architecture.layer_slice(layer), architecture.maximum_level[layer]
        flat = part.reshape(len(part), -1)
        location = mu[channels]
        if architecture.target == "flip":
            location = _of_values(location, flat, keep)
        drawn = _drawn(flat, location, scale[channels], top, earlier, later, words, share)
        result.append(drawn.reshape(part.shape))
    return _with_known(tuple(result), hole) if hole is not None else tuple(result)


def _of_values(mu: Integers, levels: Levels, keep: Integers) -> Integers:
    """Turn locations of flips into locations of bits. Where a bit is noisy, the observed bit gives the sign.

    This is `bernoulli.flip_to_value`. It is exact in integers, because the one threshold of a bit is at 0.
    """
    noisy = (keep > 0) & (keep < KEEP_KNOWN)
    return np.where(noisy & (levels == 1), -mu, mu)


def _drawn(
    levels: Levels,
    mu: Integers,
    scale: Integers,
    maximum: int,
    earlier: int,
    later: int,
    words: Words,
    share: float,
) -> Levels:
    """Draw L_s given L_t and the cavity. A `share` of the levels is renewed."""
    if share == 0:
        return _less_noisy(levels, mu, scale, maximum, earlier, later, words)
    renewed = _renewed(levels, mu, scale, maximum, earlier, later, words)
    if share == 1:
        return renewed
    chosen = words.uniform(levels.shape) < share
    return np.where(chosen, renewed, _less_noisy(levels, mu, scale, maximum, earlier, later, words))


def _renewed(
    levels: Levels, mu: Integers, scale: Integers, maximum: int, earlier: int, later: int, words: Words
) -> Levels:
    """Draw L_0 given L_t = m and the cavity p, then L_s from the forward process alone.

    p(L_0 = l | L_t) ~ p(l) (u_t + k_t [l = m]) with u = (1 - keep) / (J + 1). Therefore m is taken with
    probability k_t p(m) / (u_t + k_t p(m)), and otherwise a level is drawn from p. L_s does not depend on L_t
    then, except through L_0. Its distribution is the one of the reverse step if p is right, but what is wrong
    in L_t does not stay.
    """
    keep_t, keep_s = earlier / KEEP_KNOWN, later / KEEP_KNOWN
    noise = (1 - keep_t) / (maximum + 1)
    held = keep_t * probability_of(levels, mu, scale, maximum)
    kept = words.uniform(levels.shape) * (noise + held) < held
    clean = np.where(kept, levels, words.levels(mu, scale, maximum))
    stays = words.uniform(levels.shape) < keep_s
    return np.where(stays, clean, _uniform(words, levels.shape, maximum))


def _less_noisy(
    levels: Levels, mu: Integers, scale: Integers, maximum: int, earlier: int, later: int, words: Words
) -> Levels:
    """Draw L_s given L_t = m and the cavity p, exactly and without a sum over levels.

    The posterior of arXiv 2304.04820 (eq. 5), averaged over p(L_0 | L_t and all other context), is
    p(l) ~ (u_r + r [l = m]) (u_s + k_s p(l)), with r = k_t / k_s and u = (1 - keep) / (J + 1). Therefore m is
    kept with probability r (u_s + k_s p(m)) / (u_r + r (u_s + k_s p(m))). Otherwise, the level is drawn from
    p with probability k_s, and uniformly with probability 1 - k_s.
    """
    keep_s = later / KEEP_KNOWN
    stay = earlier / later if later else 0.0
    noise_s, noise_stay = (1 - keep_s) / (maximum + 1), (1 - stay) / (maximum + 1)
    held = stay * (noise_s + keep_s * probability_of(levels, mu, scale, maximum))
    kept = words.uniform(levels.shape) * (noise_stay + held) < held
    fresh = words.levels(mu, scale, maximum)
    from_prior = words.uniform(levels.shape) < keep_s
    fresh = np.where(from_prior, fresh, _uniform(words, levels.shape, maximum))
    return np.where(kept, levels, fresh)


def _uniform(words: Words, shape: tuple[int, ...], maximum: int) -> Levels:
    return np.floor(words.uniform(shape) * (maximum + 1)).astype(np.uint8)


def _with_known(levels: tuple[Levels, ...], hole: Hole) -> tuple[Levels, ...]:
    return tuple(np.where(hole.known, own, part) for own, part in zip(hole.levels, levels, strict=True))
