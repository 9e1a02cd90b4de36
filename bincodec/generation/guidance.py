"""What steers a draw: temperature and classes, as predictors around the prior (DESIGN §4).

They act on what the prior says from all other context, in sampling only; files are never coded through them.
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
from bincodec.model.kernels import Incremental, IntegerPrior
from bincodec.model.quantiser import maximum_by_channel

_SCALES_PER_E = 8
_REST_BITS = 16

INVERSE_SCALES = np.array([round(2**20 * math.exp((SCALE_OFFSET - i) / 8)) for i in range(SCALES)])
"""1 / scale by index, in 2^-20: what guidance computes with instead of exponentials."""

_GUIDANCE_STEPS = 256
STRONGEST = 16.0


@dataclasses.dataclass(frozen=True)
class Guided:
    """A predictor for one class, moved away from the prediction without a class.

    Guidance w takes log-odds l to (1 + w) l_class - w l_none (Ho & Salimans, arXiv 2207.12598). The
    log-odds of a threshold theta are (mu - theta) / scale, so their mixture is again of that form: 1 / scale
    and mu / scale mix alike. All in integers, with w in 1/256; a mixture without a positive scale gets the
    widest there is.
    """

    prior: IntegerPrior | Incremental
    label: int
    guidance: float = 0.0

    @property
    def architecture(self) -> Architecture:
        """The prior's."""
        return self.prior.architecture

    def incremental(self) -> Guided:
        """Both of its questions are about the same context: the second one needs no sums of its own."""
        return dataclasses.replace(self, prior=self.prior.incremental())

    def predict(
        self, context: torch.Tensor, quality: int, layer: int | None, positions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As `IntegerPrior.predict`."""
        conditioned = self.prior.predict(context, quality, layer, positions, self.label)
        weight = round(_GUIDANCE_STEPS * self.guidance)
        if weight == 0:
            return conditioned
        none = self.prior.predict(context, quality, layer, positions)
        mu, scale = mixed(
            [(part[0].numpy(), part[1].numpy()) for part in (conditioned, none)],
            (_GUIDANCE_STEPS + weight, -weight),
            (_maximum(self.architecture, layer) == 1).numpy(),
        )
        return torch.from_numpy(mu), torch.from_numpy(scale)


def mixed(
    parts: Sequence[tuple[Integers, Integers]], weights: Sequence[int], bits: Mask
) -> tuple[Integers, Integers]:
    """mu and scale of log-odds mixed by integer `weights` (in 1/256). `bits` (channels, 1): where J is 1.

    The scale is rounded to the nearest of the table's. A bit has one threshold, at 0, and there the rounding
    is undone in mu, so that its log-odds are kept.
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

    A logistic distribution whose scale is T times as large has log-odds divided by T: at J = 1 that is what
    the word means in arXiv 2304.04820. Scales go in steps of e^(1/8); what that leaves over is made up for in
    mu where a channel is one bit, and lost elsewhere. At temperature 0 every channel takes its likeliest
    level, but for the 1 in 65536 that no table goes below.
    """

    prior: Predictor
    temperature: float

    @property
    def architecture(self) -> Architecture:
        """The prior's."""
        return self.prior.architecture

    def incremental(self) -> Tempered:
        """Of an incremental prior."""
        return dataclasses.replace(self, prior=self.prior.incremental())

    def predict(
        self, context: torch.Tensor, quality: int, layer: int | None, positions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As `IntegerPrior.predict`, tempered."""
        mu, scale = self.prior.predict(context, quality, layer, positions)
        top = _maximum(self.architecture, layer)
        if self.temperature == 0:
            # The middle of a level is a multiple of 64 where J is even, 32 beside one where it is odd.
            middle = STEPS // 2 * (top % 2)
            nearest = torch.floor_divide(mu - middle + STEPS // 2, STEPS) * STEPS + middle
            return nearest.to(mu.dtype), torch.zeros_like(scale)
        shift = round(_SCALES_PER_E * math.log(self.temperature))
        rest = round(2**_REST_BITS * math.exp(shift / _SCALES_PER_E) / self.temperature)
        moved = (mu.long() * rest + 2 ** (_REST_BITS - 1)) >> _REST_BITS
        mu = torch.where(top == 1, moved, mu.long()).to(mu.dtype)
        return mu, (scale + shift).clamp(0, SCALES - 1)


def _maximum(architecture: Architecture, layer: int | None) -> torch.Tensor:
    """J by channel, as a column (channels, 1) of int32: of one layer, or of all."""
    return maximum_by_channel(architecture)[architecture.channels_of(layer), :, 0].int()
