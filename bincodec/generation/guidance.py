"""Temperature and guidance, which steer a draw (DESIGN §4).

Both are predictors that change what the prior predicts. They are used for sampling only, never for files.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import torch

from bincodec.bitstream.probability import SCALE_OFFSET, SCALES, STEPS
from bincodec.code import Mask
from bincodec.coding.passes import Integers, Predictor
from bincodec.model.architecture import Architecture
from bincodec.model.card import GuidedBy
from bincodec.model.kernels import Incremental, IntegerPrior
from bincodec.model.quantiser import maximum_by_channel

_SCALES_PER_E = 8
_REST_BITS = 16

INVERSE_SCALES = np.array([round(2**20 * math.exp((SCALE_OFFSET - i) / 8)) for i in range(SCALES)])
"""1 / scale for each scale index, in units of 2^-20. Guidance uses this table instead of exponentials."""

_GUIDANCE_STEPS = 256


@dataclasses.dataclass(frozen=True)
class Guided:
    """A predictor, for one class or for none, moved away from what a weaker form of itself predicts.

    `by` says what the weaker form lacks: the class, one block (`left_out`), which then adds nothing, or both.
    So it makes the mistakes of the whole network, only more of them, and the step from its prediction to the
    better one is a direction in which to go on. Leaving out the class is classifier-free guidance (Ho &
    Salimans, arXiv 2207.12598). Leaving out a block is autoguidance (Karras et al., arXiv 2406.02507) without
    a second network. A prior that has no such block is guided by the class.

    Guidance w replaces log-odds l by (1 + w) l - w l_weaker. The log-odds of a threshold theta are
    (mu - theta) / scale. Their mixture has the same form, in which 1 / scale and mu / scale are mixed with
    the same weights. Everything is computed in integers, with w in units of 1/256. If the mixture has no
    positive scale, the largest scale is used.
    """

    prior: IntegerPrior | Incremental
    label: int = 0
    guidance: float = 0.0
    by: GuidedBy = "both"

    @property
    def architecture(self) -> Architecture:
        """The architecture of the prior."""
        return self.prior.architecture

    def incremental(self) -> Guided:
        """Return the same predictor with an incremental prior.

        Its two predictions have the same context, so the second one reuses the sums of the first.
        """
        return dataclasses.replace(self, prior=self.prior.incremental())

    def predict(
        self, context: torch.Tensor, quality: int, layer: int | None, positions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return guided mu and scale indices, as `IntegerPrior.predict` does."""
        whole = self.prior.predict(context, quality, layer, positions, self.label)
        weight = round(_GUIDANCE_STEPS * self.guidance)
        if weight == 0:
            return whole
        skipped = None if self.by == "class" else left_out(self.architecture)
        label = self.label if self.by == "block" and skipped is not None else 0
        weaker = self.prior.predict(context, quality, layer, positions, label, skipped=skipped)
        mu, scale = mixed(
            [(part[0].numpy(), part[1].numpy()) for part in (whole, weaker)],
            (_GUIDANCE_STEPS + weight, -weight),
            (_maximum(self.architecture, layer) == 1).numpy(),
        )
        return torch.from_numpy(mu), torch.from_numpy(scale)


def left_out(architecture: Architecture) -> int | None:
    """Return the block that a weaker form of a prior lacks: the last but one, if there are two or more.

    Without the last block or an earlier one, guidance gains less (docs/generation.md). If channels have many
    levels, nothing is left out, because guidance then leads to noise.
    """
    if architecture.prior_blocks < 2 or not architecture.single_bits:
        return None
    return architecture.prior_blocks - 2


def mixed(
    parts: Sequence[tuple[Integers, Integers]], weights: Sequence[int], bits: Mask
) -> tuple[Integers, Integers]:
    """Return mu and scale of log-odds that are mixed with integer `weights`, in units of 1/256.

    `bits`, (channels, 1), says which channels have J = 1. The inverse scale is rounded to the nearest one of
    the table. A single bit has one threshold, at 0, so mu can compensate for this rounding: the log-odds of
    the bit are kept.
    """
    inverse = np.zeros(parts[0][0].shape, np.int64)
    slope = np.zeros_like(inverse)
    for (mu, scale), weight in zip(parts, weights, strict=True):
        inverse += weight * INVERSE_SCALES[scale]
        slope += weight * INVERSE_SCALES[scale] * mu
    inverse = np.maximum(inverse, _GUIDANCE_STEPS * INVERSE_SCALES[-1])
    middles = _GUIDANCE_STEPS * (INVERSE_SCALES[1:] + INVERSE_SCALES[:-1]) // 2
    index = (SCALES - 1) - np.searchsorted(middles[::-1], inverse)
    divisor = np.where(bits, _GUIDANCE_STEPS * INVERSE_SCALES[index], inverse)
    location = np.clip((2 * slope + divisor) // (2 * divisor), -(2**14), 2**14)
    return location.astype(np.int32), index.astype(np.int32)


@dataclasses.dataclass(frozen=True)
class Tempered:
    """A predictor with every scale multiplied by a temperature.

    A scale that is T times as large divides the log-odds by T. At J = 1, this is the temperature of
    arXiv 2304.04820. Scales have steps of e^(1/8). For channels of a single bit, mu compensates for the
    rounding to these steps. For other channels, the temperature is rounded. At temperature 0, every channel
    takes its likeliest level, except for the probability of 1 in 65536 that the tables always leave.
    """

    prior: Predictor
    temperature: float

    @property
    def architecture(self) -> Architecture:
        """The architecture of the prior."""
        return self.prior.architecture

    def incremental(self) -> Tempered:
        """Return the same predictor with an incremental prior."""
        return dataclasses.replace(self, prior=self.prior.incremental())

    def predict(
        self, context: torch.Tensor, quality: int, layer: int | None, positions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return tempered mu and scale indices, as `IntegerPrior.predict` does."""
        mu, scale = self.prior.predict(context, quality, layer, positions)
        top = _maximum(self.architecture, layer)
        if self.temperature == 0:
            # Centred levels are multiples of 64 if J is even. If J is odd, they are 32 away from a multiple.
            middle = STEPS // 2 * (top % 2)
            nearest = torch.floor_divide(mu - middle + STEPS // 2, STEPS) * STEPS + middle
            return nearest.to(mu.dtype), torch.zeros_like(scale)
        shift = round(_SCALES_PER_E * math.log(self.temperature))
        rest = round(2**_REST_BITS * math.exp(shift / _SCALES_PER_E) / self.temperature)
        moved = (mu.long() * rest + 2 ** (_REST_BITS - 1)) >> _REST_BITS
        mu = torch.where(top == 1, moved, mu.long()).to(mu.dtype)
        return mu, (scale + shift).clamp(0, SCALES - 1)


def _maximum(architecture: Architecture, layer: int | None) -> torch.Tensor:
    """Return J of each channel of one layer, or of all layers, int32 (channels, 1)."""
    return maximum_by_channel(architecture)[architecture.channels_of(layer), :, 0].int()
