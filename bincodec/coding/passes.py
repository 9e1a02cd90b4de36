"""The one loop over passes that encoding, decoding, measuring and sampling share (DESIGN §2, §4).

Pass by pass the prior is shown what is known so far and gives a distribution for each channel of the pass; a
*source* then says what the levels are: by looking them up and writing them, by reading them, by drawing
them. Everything else therefore sees the very probabilities that a file was coded with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bincodec.bitstream.levels import level_bits
from bincodec.bitstream.probability import LOG_SCALE_STEP, MU_BITS, SCALE_OFFSET
from bincodec.code import Levels
from bincodec.coding import bernoulli
from bincodec.coding.order import Pass, merged, passes, phase_map
from bincodec.model.architecture import Architecture
from bincodec.model.integer import KEEP_KNOWN, context_bits, context_from, keep_shown

Integers = npt.NDArray[np.int32]
Positions = npt.NDArray[np.int64]


class Predictor(Protocol):
    """Who gives the distributions: `IntegerPrior` wherever there is a file."""

    @property
    def architecture(self) -> Architecture:
        """Layers, channels and phases."""

    def predict(
        self, context: Tensor, quality: int, layer: int | None, positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """mu and scale (channels of `layer`, positions), as `IntegerPrior.predict`."""

    def incremental(self) -> Predictor:
        """The same distributions, by one that remembers what it was asked last, and nothing from before."""


class Source(Protocol):
    """Who says what the levels of a pass are."""

    def take(self, step: Pass, positions: Positions, mu: Integers, scale: Integers, maximum: int) -> Levels:
        """Levels (channels, positions) of one pass, given the prior's mu and scale of the same shape."""

    def end_layer(self, layer: int, levels: Levels) -> None:
        """All passes of `layer` are over; `levels` is (channels, h, w)."""


class Context:
    """What the prior is shown: levels and keep on the grid, filled in as layers become known."""

    def __init__(self, architecture: Architecture, height: int, width: int) -> None:
        self._architecture = architecture
        self.values = torch.zeros(
            (height, width, architecture.channels + architecture.layers), dtype=torch.int16
        )

    def add(self, layer: int, positions: Positions, levels: Levels, keep: Integers | None = None) -> None:
        """Make `levels` (channels, positions) of `layer` known, or noisy at `keep` (positions,) in 1/64."""
        rows = self.values.view(-1, self.values.shape[-1])
        where = torch.from_numpy(positions)
        twice_centred = 2 * levels.astype(np.int64) - self._architecture.maximum_level[layer]
        kept = torch.full((len(positions),), KEEP_KNOWN) if keep is None else torch.from_numpy(keep)
        part = self._architecture.layer_slice(layer)
        channels, bits = torch.arange(part.start, part.stop), context_bits(self._architecture)
        shown = context_from(torch.from_numpy(twice_centred).T, kept[:, None], bits)
        rows[where[:, None], channels] = shown.short()
        rows[where, self._architecture.channels + layer] = keep_shown(kept, bits).short()


def run(
    prior: Predictor,
    quality: int,
    grid: tuple[int, int],
    layers: int,
    source: Source,
    *,
    groups: int | None = None,
    context: Context | None = None,
) -> tuple[Levels, ...]:
    """Go through the passes of the first `layers` layers on a (height, width) grid; the levels of each
    layer.

    With `groups`, the prior is shown the levels of a pass only when its group of `order.merged` is over: that
    measures a shorter order, and files are coded without. `context` may hold what is known beforehand.
    """
    prior = prior.incremental()
    architecture, (height, width) = prior.architecture, grid
    phases = architecture.layer_phases[:layers]
    ends = {group[-1] for group in merged(phases, sum(phases) if groups is None else groups)}
    context = context or Context(architecture, height, width)
    unseen: list[tuple[int, Positions, Levels]] = []
    result = []
    for layer in range(layers):
        channels, maximum = architecture.layer_channels[layer], architecture.maximum_level[layer]
        levels = np.zeros((channels, height * width), dtype=np.uint8)
        for step in (s for s in passes(architecture.layer_phases) if s.layer == layer):
            positions = phase_positions(architecture, step, height, width)
            if positions.size:
                mu, scale = prior.predict(context.values, quality, layer, torch.from_numpy(positions))
                levels[:, positions] = source.take(step, positions, mu.numpy(), scale.numpy(), maximum)
                unseen.append((layer, positions, levels[:, positions]))
            if step in ends:
                for known in unseen:
                    context.add(*known)
                unseen.clear()
        result.append(levels.reshape(channels, height, width))
        source.end_layer(layer, result[-1])
    return tuple(result)


def phase_positions(architecture: Architecture, step: Pass, height: int, width: int) -> Positions:
    """Flat indices, row-major, of the positions of `step`."""
    phases = phase_map(height, width, architecture.layer_phases[step.layer])
    return np.flatnonzero(phases == step.phase)


class RateSource:
    """A source that knows the levels and adds up their bits: `bits` is float64 (layers, h, w)."""

    def __init__(self, levels: tuple[Levels, ...]) -> None:
        self._levels = levels
        self.bits = np.zeros((len(levels), *levels[0].shape[1:]))

    def take(self, step: Pass, positions: Positions, mu: Integers, scale: Integers, maximum: int) -> Levels:
        """Look the pass up and measure it."""
        levels = at_positions(self._levels[step.layer], positions)
        self.bits[step.layer].ravel()[positions] += level_bits(levels, mu, scale, maximum).sum(0)
        return levels

    def end_layer(self, layer: int, levels: Levels) -> None:
        """Nothing to do: bits are kept by position."""


def rate(
    prior: Predictor, quality: int, levels: tuple[Levels, ...], *, groups: int | None = None
) -> npt.NDArray[np.float64]:
    """-log2 of the probabilities that `levels` are coded with, in bits: float64 (layers, h, w).

    `groups` is that of `run`.
    """
    height, width = levels[0].shape[1:]
    source = RateSource(levels)
    run(prior, quality, (height, width), len(levels), source, groups=groups)
    return source.bits


def expected(
    prior: Predictor, quality: int, context: Context, positions: Positions, layers: Sequence[int]
) -> list[Tensor]:
    """Expected centred levels, float32 (channels, positions), of each of `layers`, given what is known."""
    prior = prior.incremental()
    result = []
    for layer in layers:
        mu, scale = prior.predict(context.values, quality, layer, torch.from_numpy(positions))
        location, log_scale = mu.float() / 2**MU_BITS, (scale - SCALE_OFFSET).float() * LOG_SCALE_STEP
        maximum = prior.architecture.maximum_level[layer]
        result.append(bernoulli.expected_centred(location, log_scale, maximum))
    return result


def at_positions(levels: Levels, positions: Positions) -> Levels:
    """Levels (channels, positions) at flat positions of (channels, h, w)."""
    return levels.reshape(len(levels), -1)[:, positions]
