"""The one loop over passes that encoding, decoding, pricing and predicting share (DESIGN §2, §4).

Pass by pass the prior is shown what is known so far and names a distribution for each unit of the pass; a
*source* then says what the levels are: by looking them up and writing them, by reading them, by drawing
them. The probabilities that a file was priced with are therefore the ones that everything else sees.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bincodec.bitstream.levels import cost_levels
from bincodec.bitstream.stream import LayerReader, LayerWriter
from bincodec.code import Levels
from bincodec.coding import bernoulli
from bincodec.coding.order import Pass, merged, passes, phase_map
from bincodec.model.architecture import Architecture
from bincodec.model.integer import KEEP_KNOWN, MU_BITS, SCALE_OFFSET, evidence_bits, evidence_from, keep_shown
from bincodec.model.kernels import IntegerPrior
from bincodec.model.prior import LOG_SCALE_STEP

Integers = npt.NDArray[np.int32]
Sites = npt.NDArray[np.int64]


class Predictor(Protocol):
    """Who names the distributions: `IntegerPrior` wherever there is a file."""

    @property
    def architecture(self) -> Architecture:
        """Layers, units and phases."""

    def predict(
        self, evidence: Tensor, quality: int, layer: int | None, sites: Tensor
    ) -> tuple[Tensor, Tensor]:
        """mu and scale (units of `layer`, sites), as `IntegerPrior.predict`."""


class Source(Protocol):
    """Who says what the levels of a pass are."""

    def take(self, step: Pass, sites: Sites, mu: Integers, scale: Integers, maximum: int) -> Levels:
        """Levels (units, sites) of one pass, given the prior's mu and scale of the same shape."""

    def end_layer(self, layer: int, levels: Levels) -> None:
        """All passes of `layer` are over; `levels` is (units, h, w)."""


class Evidence:
    """What the prior is shown: levels and keep on the grid, filled in as layers become known."""

    def __init__(self, architecture: Architecture, height: int, width: int) -> None:
        self._architecture = architecture
        self.values = torch.zeros(
            (height, width, architecture.units + architecture.layers), dtype=torch.int16
        )

    def reveal(self, layer: int, sites: Sites, levels: Levels, keep: Integers | None = None) -> None:
        """Make `levels` (units, sites) of `layer` known, or noisy at `keep` (sites,) in 1/64."""
        rows = self.values.view(-1, self.values.shape[-1])
        where = torch.from_numpy(sites)
        twice_centred = 2 * levels.astype(np.int64) - self._architecture.maximum_level[layer]
        kept = torch.full((len(sites),), KEEP_KNOWN) if keep is None else torch.from_numpy(keep)
        part = self._architecture.layer_slice(layer)
        units, bits = torch.arange(part.start, part.stop), evidence_bits(self._architecture)
        shown = evidence_from(torch.from_numpy(twice_centred).T, kept[:, None], bits)
        rows[where[:, None], units] = shown.short()
        rows[where, self._architecture.units + layer] = keep_shown(kept, bits).short()


def run(
    prior: Predictor,
    quality: int,
    grid: tuple[int, int],
    layers: int,
    source: Source,
    *,
    groups: int | None = None,
    evidence: Evidence | None = None,
) -> tuple[Levels, ...]:
    """Go through the passes of the first `layers` layers on a (height, width) grid; the levels of each
    layer.

    With `groups`, the prior is shown what passes revealed only when their group of `order.merged` is over.
    That prices a shorter order; files are coded without. `evidence` may hold what is known beforehand.
    """
    architecture, (height, width) = prior.architecture, grid
    phases = architecture.layer_phases[:layers]
    ends = {group[-1] for group in merged(phases, sum(phases) if groups is None else groups)}
    evidence = evidence or Evidence(architecture, height, width)
    unseen: list[tuple[int, Sites, Levels]] = []
    result = []
    for layer in range(layers):
        units, maximum = architecture.layer_units[layer], architecture.maximum_level[layer]
        levels = np.zeros((units, height * width), dtype=np.uint8)
        for step in (s for s in passes(architecture.layer_phases) if s.layer == layer):
            sites = phase_sites(architecture, step, height, width)
            if sites.size:
                mu, scale = prior.predict(evidence.values, quality, layer, torch.from_numpy(sites))
                levels[:, sites] = source.take(step, sites, mu.numpy(), scale.numpy(), maximum)
                unseen.append((layer, sites, levels[:, sites]))
            if step in ends:
                for revealed in unseen:
                    evidence.reveal(*revealed)
                unseen.clear()
        result.append(levels.reshape(units, height, width))
        source.end_layer(layer, result[-1])
    return tuple(result)


def phase_sites(architecture: Architecture, step: Pass, height: int, width: int) -> Sites:
    """Flat indices, row-major, of the sites that `step` reveals."""
    phases = phase_map(height, width, architecture.layer_phases[step.layer])
    return np.flatnonzero(phases == step.phase)


class Known:
    """A source that knows the levels and passes them on to a writer."""

    def __init__(self, levels: tuple[Levels, ...], writer: LayerWriter) -> None:
        self._levels = levels
        self._writer = writer

    def take(self, step: Pass, sites: Sites, mu: Integers, scale: Integers, maximum: int) -> Levels:
        """Write the pass."""
        levels = at_sites(self._levels[step.layer], sites)
        self._writer.put(levels, mu, scale, maximum)
        return levels

    def end_layer(self, layer: int, levels: Levels) -> None:
        """Let the writer close its chunk, if it is time."""
        self._writer.end_layer(levels)


class Coded:
    """A source that reads the levels from a file."""

    def __init__(self, reader: LayerReader) -> None:
        self._reader = reader

    def take(self, step: Pass, sites: Sites, mu: Integers, scale: Integers, maximum: int) -> Levels:
        """Read the pass."""
        return self._reader.get(mu, scale, maximum)

    def end_layer(self, layer: int, levels: Levels) -> None:
        """Let the reader check what it has decoded."""
        self._reader.end_layer(levels)


class Priced:
    """A source that knows the levels and adds up their cost: `bits` is float64 (layers, h, w)."""

    def __init__(self, levels: tuple[Levels, ...]) -> None:
        self._levels = levels
        self.bits = np.zeros((len(levels), *levels[0].shape[1:]))

    def take(self, step: Pass, sites: Sites, mu: Integers, scale: Integers, maximum: int) -> Levels:
        """Price the pass."""
        levels = at_sites(self._levels[step.layer], sites)
        self.bits[step.layer].ravel()[sites] += cost_levels(levels, mu, scale, maximum).sum(0)
        return levels

    def end_layer(self, layer: int, levels: Levels) -> None:
        """Nothing to do: costs are kept by site."""


def expected(prior: IntegerPrior, quality: int, levels: tuple[Levels, ...]) -> list[Tensor]:
    """Expected centred levels, float32 (units, h, w), of each layer that comes after the known `levels`."""
    architecture = prior.architecture
    height, width = levels[0].shape[1:]
    evidence = Evidence(architecture, height, width)
    sites = np.arange(height * width)
    for layer, known in enumerate(levels):
        evidence.reveal(layer, sites, at_sites(known, sites))
    result = []
    for layer in range(len(levels), architecture.layers):
        mu, scale = prior.predict(evidence.values, quality, layer, torch.from_numpy(sites))
        log_scale = (scale - SCALE_OFFSET) * LOG_SCALE_STEP
        centred = bernoulli.expected_centred(mu / 2**MU_BITS, log_scale, architecture.maximum_level[layer])
        result.append(centred.reshape(-1, height, width))
    return result


def at_sites(levels: Levels, sites: Sites) -> Levels:
    """Levels (units, sites) at flat sites of (units, h, w)."""
    return levels.reshape(len(levels), -1)[:, sites]
