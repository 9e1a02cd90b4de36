"""The one loop over passes that encoding, decoding, measuring and sampling share (DESIGN §2, §4).

In each pass, the prior receives what is known so far and predicts a distribution for each channel of the
pass. A *source* then gives the levels: it looks them up and writes them, reads them from a file, or draws
them. Measuring and sampling therefore use exactly the probabilities that files are coded with.
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
    """A prior that predicts distributions. Files are always coded with an `IntegerPrior`."""

    @property
    def architecture(self) -> Architecture:
        """The layers, channels and phases of the model."""

    def predict(
        self, context: Tensor, quality: int, layer: int | None, positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return mu and scale, (channels of `layer`, positions), as `IntegerPrior.predict` does."""

    def incremental(self) -> Predictor:
        """Return a predictor of the same distributions that reuses work from its own previous call."""


class Source(Protocol):
    """An object that gives the levels of each pass."""

    def take(self, step: Pass, positions: Positions, mu: Integers, scale: Integers, maximum: int) -> Levels:
        """Return the levels of one pass, (channels, positions), given mu and scale of the same shape."""

    def end_layer(self, layer: int, levels: Levels) -> None:
        """Finish `layer` after its last pass. `levels` is the whole layer, (channels, h, w)."""


class Context:
    """The input of the prior: levels and keep on the grid. It is filled in as levels become known."""

    def __init__(self, architecture: Architecture, height: int, width: int) -> None:
        self._architecture = architecture
        self.values = torch.zeros(
            (height, width, architecture.channels + architecture.layers), dtype=torch.int16
        )

    def add(self, layer: int, positions: Positions, levels: Levels, keep: Integers | None = None) -> None:
        """Add `levels` (channels, positions) of `layer` as known, or with `keep` (positions,) in 1/64."""
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
    """Run the passes of the first `layers` layers on a (height, width) grid. Return the levels by layer.

    With `groups`, the prior sees the levels of a pass only after the last pass of its group in
    `order.merged`. This measures an order of fewer passes; files are coded without it. `context` may hold
    what is known beforehand.
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
    """Return the flat, row-major indices of the positions of `step`."""
    phases = phase_map(height, width, architecture.layer_phases[step.layer])
    return np.flatnonzero(phases == step.phase)


class RateSource:
    """A source that knows the levels and measures their bits. `bits` is float64 (layers, h, w)."""

    def __init__(self, levels: tuple[Levels, ...]) -> None:
        self._levels = levels
        self.bits = np.zeros((len(levels), *levels[0].shape[1:]))

    def take(self, step: Pass, positions: Positions, mu: Integers, scale: Integers, maximum: int) -> Levels:
        """Measure the levels of the pass and return them."""
        levels = at_positions(self._levels[step.layer], positions)
        self.bits[step.layer].ravel()[positions] += level_bits(levels, mu, scale, maximum).sum(0)
        return levels

    def end_layer(self, layer: int, levels: Levels) -> None:
        """Do nothing: the bits are already stored by position."""


def rate(
    prior: Predictor, quality: int, levels: tuple[Levels, ...], *, groups: int | None = None
) -> npt.NDArray[np.float64]:
    """Return the bits of `levels` by layer and position, float64 (layers, h, w).

    A level costs -log2 of the probability that it is coded with. For `groups`, see `run`.
    """
    height, width = levels[0].shape[1:]
    source = RateSource(levels)
    run(prior, quality, (height, width), len(levels), source, groups=groups)
    return source.bits


def expected(
    prior: Predictor, quality: int, context: Context, positions: Positions, layers: Sequence[int]
) -> list[Tensor]:
    """Return the expected centred levels of each of `layers`, float32 (channels, positions).

    `context` holds what is known.
    """
    prior = prior.incremental()
    result = []
    for layer in layers:
        mu, scale = prior.predict(context.values, quality, layer, torch.from_numpy(positions))
        location, log_scale = mu.float() / 2**MU_BITS, (scale - SCALE_OFFSET).float() * LOG_SCALE_STEP
        maximum = prior.architecture.maximum_level[layer]
        result.append(bernoulli.expected_centred(location, log_scale, maximum))
    return result


def at_positions(levels: Levels, positions: Positions) -> Levels:
    """Return the levels at flat positions, (channels, positions), of levels (channels, h, w)."""
    return levels.reshape(len(levels), -1)[:, positions]
