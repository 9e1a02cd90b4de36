"""Measure rate and PSNR of a float model on whole photos, before there is a model file."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from bincodec.coding import bernoulli
from bincodec.coding.order import known_map, passes, phase_map
from bincodec.model.architecture import STRIDE
from bincodec.train.data import Photo
from bincodec.train.objective import Objective
from bincodec.train.terms import psnr


@dataclasses.dataclass(frozen=True)
class Point:
    """Means over photos at one quality. `layer_bits_per_pixel` and `saturated` have one value for each layer.

    `saturated` is the share of levels that are 0 or J.
    """

    quality: int
    bits_per_pixel: float
    psnr: float
    layer_bits_per_pixel: tuple[float, ...]
    saturated: tuple[float, ...]


@torch.no_grad()
def validate(objective: Objective, photos: Sequence[Photo], qualities: Sequence[int]) -> list[Point]:
    """Return a `Point` for each quality, estimated with the float prior in coding order on hard levels."""
    objective.eval()
    points = [_point(objective, photos, quality) for quality in qualities]
    objective.train()
    return points


def _point(objective: Objective, photos: Sequence[Photo], quality: int) -> Point:
    rows = [_measure(objective, photo, quality) for photo in photos]
    bits = np.mean([row[0] for row in rows], axis=0)
    saturated = np.mean([row[2] for row in rows], axis=0)
    mean_psnr = float(np.mean([row[1] for row in rows]))
    return Point(quality, float(bits.sum()), mean_psnr, tuple(bits.tolist()), tuple(saturated.tolist()))


def _measure(objective: Objective, photo: Photo, quality: int) -> tuple[list[float], float, list[float]]:
    device = objective.channel_layer.device
    height, width = (side // STRIDE * STRIDE for side in photo.shape[:2])
    image = torch.from_numpy(photo[:height, :width].copy()).to(device).permute(2, 0, 1)[None].float() / 255
    at = torch.full((1,), quality / 100, device=device)
    model = objective.autoencoder
    centred = model.quantise(model.analyse(image, at))
    decoded = (model.synthesise(centred, at).clamp(0, 1) * 255).round() / 255
    bits = layer_bits(objective, centred, at) / (height * width)
    edge = (centred.abs() == model.maximum / 2).float().mean((0, 2, 3))
    saturated = [edge[objective.channel_layer == layer].mean().item() for layer in range(len(bits))]
    return bits.tolist(), psnr(((decoded - image) ** 2).mean().item()), saturated


@torch.no_grad()
def layer_bits(objective: Objective, centred: Tensor, quality: Tensor) -> Tensor:
    """Return the bits of each layer of a photo's centred levels (1, channels, h, w), over all passes."""
    architecture = objective.architecture
    height, width = centred.shape[2:]
    total = torch.zeros(architecture.layers, dtype=torch.float64)
    for step in passes(architecture.layer_phases):
        known = known_map(step, architecture.layer_phases, height, width)
        keep = torch.from_numpy(known).float().to(centred.device)[None]
        mu, log_scale = objective.prior(keep[:, objective.channel_layer] * centred, keep, quality)
        part = architecture.layer_slice(step.layer)
        maximum = objective.autoencoder.maximum[part]
        cost = bernoulli.level_cost(centred[:, part], mu[:, part], log_scale[:, part], maximum)
        now = phase_map(height, width, architecture.layer_phases[step.layer]) == step.phase
        total[step.layer] += (cost * torch.from_numpy(now).to(cost.device)).sum().item()
    return total
