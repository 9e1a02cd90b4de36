"""Measure rates with the float network behind a model's integers, in the same coding order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bincodec.code import BinaryCode, Levels
from bincodec.coding import bernoulli, passes
from bincodec.coding.order import Pass
from bincodec.errors import Unsupported, WrongModel
from bincodec.model.architecture import QUALITIES, Architecture
from bincodec.model.integer import context_bits
from bincodec.model.prior import KEEP_INPUT
from bincodec.train.objective import Objective
from bincodec.train.objective_settings import ObjectiveSettings
from bincodec.train.weights import read_weights


@dataclass(frozen=True)
class FloatPrior:
    """The float network behind a model's integers, from the weights that training leaves."""

    objective: Objective

    @classmethod
    def load(cls, path: Path, architecture: Architecture) -> FloatPrior:
        """Read float weights: those of a run, or those that finishing leaves beside a model file.

        Raises:
            Unsupported: if the file does not hold such weights.
            DamagedModel: if it is a model file that is damaged.
            WrongModel: if they have another architecture.
        """
        weights, metadata = read_weights(path)
        if "fingerprint" in metadata:
            msg = f"{path} is a model file: it does not hold the float weights that its integers came from"
            raise Unsupported(msg)
        found = metadata.get("architecture")
        if found is not None and Architecture.from_json(found) != architecture:
            msg = f"{path} holds a network of another architecture than the model"
            raise WrongModel(msg)
        objective = Objective(architecture, ObjectiveSettings())
        try:
            objective.load_state_dict(weights)
        except RuntimeError as error:
            msg = f"{path} does not hold the float weights of this architecture"
            raise Unsupported(msg) from error
        return cls(objective.requires_grad_(False).eval())

    @property
    def architecture(self) -> Architecture:
        """The layers, channels and phases of the model."""
        return self.objective.architecture

    def incremental(self) -> FloatPrior:
        """Return this prior itself. It reuses nothing, because float sums depend on their order."""
        return self

    @torch.inference_mode()
    def predict(
        self, context: Tensor, quality: int, layer: int | None, positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return location and log-scale in levels, each float32 (channels of `layer`, positions).

        `context` is the integer context.
        """
        channels = self.architecture.channels
        shown = context.float().permute(2, 0, 1)[None]
        steps = 2.0 ** context_bits(self.architecture)
        centred, keep = shown[:, :channels] / steps, shown[:, channels:] / (steps * KEEP_INPUT)
        at = torch.tensor([quality / (QUALITIES - 1)])
        mu, log_scale = self.objective.prior(centred, keep, at)
        part = self.architecture.channels_of(layer)
        return mu[0, part].flatten(1)[:, positions], log_scale[0, part].flatten(1)[:, positions]

    def bits(self, code: BinaryCode, groups: int | None = None) -> float:
        """Return the sum of -log2 of this prior's probabilities of a code's levels.

        The passes are merged into `groups` groups; None means the coding order itself.
        """
        bits = 0.0
        for tile in code.tiles:
            source = _FloatRateSource(code.levels_of(tile))
            passes.run(self, code.quality, tile.shape, code.layers, source, groups=groups)
            bits += source.bits
        return bits


class _FloatRateSource:
    """The counterpart of `passes.RateSource` for float locations and scales."""

    def __init__(self, levels: tuple[Levels, ...]) -> None:
        self._levels = levels
        self.bits = 0.0

    def take(
        self, step: Pass, positions: passes.Positions, mu: NDArray[Any], scale: NDArray[Any], maximum: int
    ) -> Levels:
        levels = passes.at_positions(self._levels[step.layer], positions)
        centred = torch.from_numpy(levels.astype(np.float32)) - maximum / 2
        top = torch.tensor(float(maximum))
        cost = bernoulli.level_cost(centred, torch.from_numpy(mu), torch.from_numpy(scale), top)
        self.bits += float(cost.sum(dtype=torch.float64))
        return levels

    def end_layer(self, layer: int, levels: Levels) -> None:
        pass
