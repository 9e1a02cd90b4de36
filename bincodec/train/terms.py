"""What a step of training computes of a batch: the loss and its parts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Terms:
    """Means over a batch: the loss, and its parts in readable units. The last three are 0 unless the
    configuration asks how pictures look (`Judgement`)."""

    loss: Tensor
    bits_per_pixel: Tensor
    mse: Tensor
    other_bits_per_pixel: Tensor
    perceptual: Tensor
    critic: Tensor
    factor: Tensor

    def detached(self) -> Terms:
        """Return the same numbers without their gradients."""
        return Terms(*(getattr(self, field.name).detach() for field in dataclasses.fields(self)))

    @staticmethod
    def mean(several: Sequence[Terms]) -> Terms:
        """Return the means over several batches."""
        names = [field.name for field in dataclasses.fields(Terms)]
        return Terms(*(torch.stack([getattr(terms, name) for terms in several]).mean() for name in names))


def psnr(mse: float) -> float:
    """Return the PSNR in decibels of a mean squared error of values in 0..1."""
    return float(-10 * np.log10(max(mse, 1e-12)))
