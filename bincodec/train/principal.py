"""A start for training that already codes: principal components of photos, laid into the networks.

With its blocks silent, the autoencoder is linear: patches of 8x8, then 2x2 of those, each with one matrix.
Filled with the leading principal components of training photos these matrices make a transform codec in
which every unit tells something that no other unit tells. Units that start at random mostly tell what others
already do; the price then kills them, and a dead unit never returns (docs/decisions/0005, 0006).

Features are scaled by 1 / sqrt(their root mean square) inside the networks, so that faint details are not
drowned by brightness where gradients are computed; the scales cancel along the path.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bincodec.architecture import QUALITIES
from bincodec.autoencoder import Block, quality_features
from bincodec.train.data import CropSampler
from bincodec.train.objective import Objective
from bincodec.units import GAIN_KNOTS

BLOCK_SCALE = 0.3
"""What is left of the blocks' random outputs: enough for gradients, too little to spoil the transform."""

_PATCH = 3 * 8 * 8
_CROPS = 512
_HEADROOM = 1.1
_LOGISTIC_SCALE = math.sqrt(3) / math.pi
_LEAST_SCALE = 0.2
_SURE = 2.5
"""Root mean square of a bit's log-odds at the start: clear, with a gradient still."""
_TILE = 16384


@torch.no_grad()
def start_from_components(objective: Objective, sampler: CropSampler, rng: np.random.Generator) -> None:
    """Lay principal components of the sampler's photos into a new objective's networks, in place.

    Raises:
        ValueError: if the networks are too narrow to carry one component a unit, or wider than a patch.
    """
    architecture = objective.architecture
    encoder, decoder = objective.autoencoder.encoder, objective.autoencoder.decoder
    widest = min(4 * architecture.width_8, 4 * _PATCH)
    if architecture.width_8 > _PATCH or not architecture.units <= architecture.width_16 <= widest:
        msg = (
            f"principal components need width_8 {architecture.width_8} of at most {_PATCH} and width_16"
            f" {architecture.width_16} of at least the {architecture.units} units and at most {widest}"
        )
        raise ValueError(msg)
    patches = functional.pixel_unshuffle(sampler.batch(_CROPS, rng).crops.float() / 255 - 0.5, 8)
    basis_8, size_8 = components(patches, architecture.width_8)
    fine = functional.conv2d(patches, basis_8[:, :, None, None])
    quads = functional.pixel_unshuffle(fine, 2)
    basis_16, size_16 = components(quads, architecture.width_16)
    scale_8, scale_16 = size_8.rsqrt(), size_16.rsqrt()
    spread_8 = scale_8.repeat_interleave(4)
    units = architecture.units

    encoder.stem.weight.copy_(scale_8[:, None] * basis_8)
    encoder.down.weight.copy_(scale_16[:, None] * basis_16 / spread_8)
    encoder.head.weight.copy_(torch.eye(architecture.width_16)[:units] / scale_16)
    decoder.stem.weight.copy_(torch.eye(architecture.width_16)[:, :units] * scale_16[:, None])
    decoder.up.weight.copy_((basis_16 / spread_8).T.div(scale_16).mul(spread_8.square()[:, None]))
    decoder.head.weight.copy_((basis_8 / scale_8[:, None]).T)
    for block in (*encoder.modules(), *decoder.modules()):
        if isinstance(block, Block):
            block.spatial_out.weight.mul_(BLOCK_SCALE)
            block.contract.weight.mul_(BLOCK_SCALE)
    coefficients = functional.conv2d(quads, basis_16[:units, :, None, None])
    _set_gains(objective, coefficients)


def components(features: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` leading principal axes (count, channels) of (B, channels, h, w), and the root mean square
    along each. Means are kept: brightness is a component like any other."""
    rows = features.movedim(1, -1).flatten(0, -2)
    moments = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.float64)
    for tile in rows.split(_TILE):  # type: ignore[no-untyped-call]
        moments += tile.double().T @ tile.double()
    values, vectors = torch.linalg.eigh(moments / len(rows))
    order = torch.arange(len(values) - 1, -1, -1)[:count]
    return vectors[:, order].T.float().contiguous(), values[order].clamp_min(1e-8).sqrt().float()


def _set_gains(objective: Objective, coefficients: Tensor) -> None:
    """Gains that spend lambda(q) well on orthonormal coefficients, and a prior that knows their spread.

    At the best rate of a Gaussian coefficient its error D and the price of the picture's error are tied by
    lambda 255^2 / 3 = 1 / (2 ln 2 D), and a uniform step makes an error of step^2 / 12.
    """
    units = objective.architecture.units
    flat = coefficients.movedim(1, 0).flatten(1)
    if objective.architecture.binariser == "logistic":
        size = flat.square().mean(1).sqrt()
        objective.autoencoder.gains.log_gain.copy_(torch.log(_SURE / size))
        objective.autoencoder.inverse_gains.log_gain.copy_(torch.log(2 * flat.abs().mean(1)))
        return
    largest = flat.abs().amax(1)
    cap = objective.autoencoder.maximum[:, 0, 0] / 2 / (_HEADROOM * largest)
    model = objective.autoencoder

    def gains(quality: Tensor) -> Tensor:
        error = 1.5 / (math.log(2) * objective.lagrangian(quality) * 255**2)
        return (12 * error).rsqrt()[:, None].minimum(cap)

    log_gain = torch.log(gains(torch.linspace(0, 1, GAIN_KNOTS)))
    model.gains.log_gain.copy_(log_gain)
    model.inverse_gains.log_gain.copy_(-log_gain)
    quality = torch.linspace(0, 1, QUALITIES)
    spread = gains(quality) * flat.square().mean(1).sqrt() * _LOGISTIC_SCALE
    wanted = torch.log(spread.clamp_min(_LEAST_SCALE))
    # In double precision: the last bits of this solver depend on where its arrays lie in memory.
    fitted = torch.linalg.lstsq(quality_features(quality).double(), wanted.double()).solution.float()
    prior = objective.prior
    prior.head_quality.weight[units:].copy_(fitted.T)  # type: ignore[union-attr, index]
