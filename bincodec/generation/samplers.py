"""Drawing codes from the prior: whole ones, holes in one, layers that a file lacks (DESIGN §4).

Two samplers, one network. The *autoregressive* one goes through the coding order and draws what a file would
have held. The *diffusion* one runs Bernoulli diffusion backwards (ancestral sampling): all levels start
uniform, and step by step each is kept, drawn from the prior, or drawn anew at random, until no noise is left.

Everything a draw depends on is an integer or one of the operations that IEEE 754 rounds in one way only, so a
seed gives the same code on every machine, device and number of threads.
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
    """Random words by seed and image from a counter-based generator (Philox), in an order fixed by use."""

    def __init__(self, seed: int, image: int = 0) -> None:
        self._generator = np.random.Philox(key=np.array([seed, image], np.uint64))

    def _raw(self, count: int) -> npt.NDArray[np.uint64]:
        return np.atleast_1d(self._generator.random_raw(count))

    def below(self, numerators: npt.NDArray[np.int32]) -> Mask:
        """True with probability numerator / 65536, each."""
        result: Mask = (self._raw(numerators.size) >> np.uint64(48)).astype(np.int32) < numerators
        return result

    def uniform(self, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
        """Multiples of 2^-53 in 0..1, below 1."""
        words = self._raw(math.prod(shape)) >> np.uint64(11)
        result: npt.NDArray[np.float64] = words.astype(np.float64) * 2.0**-53
        return result.reshape(shape)

    def levels(self, mu: Integers, scale: Integers, maximum: int) -> Levels:
        """Levels from the distributions that `mu` and `scale` name, through the tables that files use."""
        return decide(mu, scale, maximum, lambda where, j, numerators: self.below(numerators))


@dataclasses.dataclass(frozen=True)
class Hole:
    """What is to be drawn: `levels` by layer, (channels, h, w), stay where `known` says so: of all layers
    alike (h, w), or, for the autoregressive sampler, by layer (layers, h, w)."""

    levels: tuple[Levels, ...]
    known: Mask

    def known_in(self, layer: int) -> Mask:
        """Which positions of a layer are known, (h, w)."""
        return self.known if self.known.ndim == 2 else self.known[layer]


class SamplingSource:
    """A source for `passes.run` that draws levels, except where they are known.

    `given` are the first layers, whole; `hole` has positions that are known in every layer.
    """

    def __init__(self, words: Words, given: Sequence[Levels] = (), hole: Hole | None = None) -> None:
        self._words = words
        self._given = given
        self._hole = hole

    def take(self, step: Pass, positions: Positions, mu: Integers, scale: Integers, maximum: int) -> Levels:
        """Look a pass up, or draw it."""
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
        """Nothing to do."""


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
    """Levels by layer in the coding order, in `steps` groups of its passes (all passes by themselves)."""
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
    """The keep in 1/64 at the beginning and after each of `steps` steps from time `start` to 0.

    It rises from that of `start` (0 at time 1) to 64. The network is shown keep in these steps, so the
    chain is run in them: nothing is approximated between what it sees and what the noise is. A start above 0
    takes away 1/64 at least.
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
) -> list[tuple[Levels, ...]]:
    """The reverse chain from `levels`, noisy at `keep[0]` / 64, through every keep: the states after each.

    Levels that `hole` knows are shown as known at every step and come out as they were. Where keep does not
    rise there is nothing to draw: more than 64 steps cost no more than 64.
    """
    prior, states = prior.incremental(), []
    if hole is not None:
        levels = _with_known(levels, hole)
    for earlier, later in itertools.pairwise(keep):
        if earlier < later:
            levels = _step(prior, quality, levels, earlier, later, words, hole)
        states.append(levels)
    return states


def add_noise(
    levels: tuple[Levels, ...], maximum: tuple[int, ...], keep: int, words: Words
) -> tuple[Levels, ...]:
    """Each level kept with probability `keep` / 64, else uniform over 0..J: the forward process.

    With `keep` 0 nothing is left of any picture.
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
) -> tuple[Levels, ...]:
    """From noise at `earlier` / 64 to less noise at `later` / 64 (time runs backwards: earlier <= later)."""
    architecture = prior.architecture
    height, width = levels[0].shape[1:]
    context = Context(architecture, height, width)
    positions = np.arange(height * width)
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
        drawn = _less_noisy(flat, location, scale[channels], top, earlier, later, words)
        result.append(drawn.reshape(part.shape))
    return _with_known(tuple(result), hole) if hole is not None else tuple(result)


def _of_values(mu: Integers, levels: Levels, keep: Integers) -> Integers:
    """Locations of bits from locations of their flips: where a bit is noisy, what is observed gives the sign.

    That is `bernoulli.flip_to_value`, exact in integers because a bit's one threshold lies at 0.
    """
    noisy = (keep > 0) & (keep < KEEP_KNOWN)
    return np.where(noisy & (levels == 1), -mu, mu)


def _less_noisy(
    levels: Levels, mu: Integers, scale: Integers, maximum: int, earlier: int, later: int, words: Words
) -> Levels:
    """Draw L_s given L_t = m and the cavity p, exactly and without a sum over levels.

    The posterior of arXiv 2304.04820 (eq. 5), mixed over p(L_0 | L_t) that counts L_t itself as context, is
    p(l) ~ (u_r + r [l = m]) (u_s + k_s p(l)) with r = k_t / k_s, u = (1 - keep) / (J + 1). So: keep m with
    probability r (u_s + k_s p(m)) / (u_r + r (u_s + k_s p(m))); else draw from p with probability k_s, else
    uniformly.
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
