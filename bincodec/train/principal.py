"""Start training from a transform codec: write principal components of photos into the networks.

If its blocks add nothing, the autoencoder is linear. It has one matrix for patches of 8x8 pixels and one for
2x2 of these patches. With the leading principal components of training photos in these matrices, it is a
transform codec in which every channel describes something that no other does. Channels with random initial
weights mostly describe what other channels already do. The rate term then kills them, and a dead channel
never returns (docs/decisions/0005, 0006). Channels of a single bit start as thermometers of these components
(`thermometer`).

Inside the networks, features are scaled by 1 / sqrt(their root mean square), so that brightness does not
dominate faint details in the gradients. The scales cancel along the path.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bincodec.model.architecture import QUALITIES, STRIDE
from bincodec.model.autoencoder import PATCH, Block, quality_features
from bincodec.model.quantiser import GAIN_KNOTS
from bincodec.train.data import CropSampler
from bincodec.train.objective import Objective
from bincodec.train.thermometer import SLOPE, start_thermometers

BLOCK_SCALE = 0.3
"""The factor of the blocks' random outputs: enough for gradients, too little to spoil the transform."""

_PATCH_8 = 3 * 8 * 8
_CROPS = 512
_DECODED, _AT_ONCE = 256, 16
_RIDGE = 1e-6
_HEADROOM = 1.1
_LOGISTIC_SCALE = math.sqrt(3) / math.pi
_LEAST_SCALE = 0.2
_TILE = 16384


@torch.no_grad()
def start_from_components(objective: Objective, sampler: CropSampler, rng: np.random.Generator) -> None:
    """Write principal components of the sampler's photos into the networks of a new objective, in place.

    Raises:
        ValueError: if the networks are wider than a patch, or if there are more features at stride 16 than
            four times those at stride 8.
    """
    architecture = objective.architecture
    encoder, decoder = objective.autoencoder.encoder, objective.autoencoder.decoder
    widest = min(4 * architecture.width_8, PATCH)
    channels, width = architecture.channels, architecture.width_16
    if architecture.width_8 > _PATCH_8 or width > widest or channels > PATCH:
        msg = (
            f"principal components need width_8 {architecture.width_8} of at most {_PATCH_8},"
            f" width_16 {width} of at most {widest} and {channels} channels of at most {PATCH}"
        )
        raise ValueError(msg)
    patches = functional.pixel_unshuffle(sampler.batch(_CROPS, rng).crops.float() / 255 - 0.5, 8)
    basis_8, size_8 = components(patches, architecture.width_8)
    fine = functional.conv2d(patches, basis_8[:, :, None, None])
    quads = functional.pixel_unshuffle(fine, 2)
    basis_16, size_16 = components(quads, width)
    scale_8, scale_16 = size_8.rsqrt(), size_16.rsqrt()
    spread_8 = scale_8.repeat_interleave(4)

    encoder.stem.weight.copy_(scale_8[:, None] * basis_8)
    encoder.down.weight.copy_(scale_16[:, None] * basis_16 / spread_8)
    encoder.head.weight.copy_(torch.eye(channels, width) / scale_16)
    decoder.stem.weight.copy_(torch.eye(width, channels) * scale_16[:, None])
    decoder.up.weight.copy_((basis_16 / spread_8).T.div(scale_16).mul(spread_8.square()[:, None]))
    decoder.head.weight.copy_((basis_8 / scale_8[:, None]).T)
    outputs = [
        output.weight
        for block in (*encoder.modules(), *decoder.modules())
        if isinstance(block, Block)
        for output in (block.spatial_out, block.contract)
    ]
    faint = [BLOCK_SCALE * weight for weight in outputs]
    # The blocks add nothing at first, so that the shortcut's channels describe what the transform leaves out,
    # and not what random blocks add.
    for weight in outputs:
        weight.zero_()
    coefficients = functional.conv2d(quads, basis_16[:, :, None, None]).movedim(1, 0).flatten(1)
    if objective.thermometers:
        start_thermometers(objective, coefficients, 1 / scale_16)
    else:
        _set_gains(objective, slice(0, min(channels, width)), coefficients[:channels])
        start_beyond(objective, width, sampler)
    for weight, value in zip(outputs, faint, strict=True):
        weight.copy_(value)


@torch.no_grad()
def start_beyond(objective: Objective, first: int, sampler: CropSampler) -> None:
    """Let the channels from `first` on, which have a shortcut, describe what the earlier channels leave out.

    This is the error of the sampler's crops when they are decoded at the highest quality without rounding.
    Least squares finds the part of it that is a linear function of the pixels. The leading principal
    components of this part become the channels.
    """
    architecture, model = objective.architecture, objective.autoencoder
    reading, writing = model.encoder.shortcut, model.decoder.shortcut
    if reading is None or writing is None:
        return
    skipped = first - architecture.width_16
    for zero in (model.encoder.head.weight[first:], reading.weight[skipped:], writing.weight[:, skipped:]):
        zero.zero_()
    reading.bias[skipped:].zero_()
    if not skipped:
        writing.bias.zero_()
    seen, missed = _seen_and_missed(objective, sampler)
    moments = seen.T @ seen
    moments += _RIDGE * moments.diagonal().mean() * torch.eye(PATCH, dtype=moments.dtype)
    readable = torch.linalg.solve(moments, seen.T @ missed)
    found = (seen @ readable).float()
    axes, _ = components(found.T[None, :, :, None], architecture.channels - first)
    reading.weight[skipped:] = axes @ readable.T.float()
    writing.weight[:, skipped:] = axes.T
    _set_gains(objective, slice(first, architecture.channels), axes @ found.T)


def _seen_and_missed(objective: Objective, sampler: CropSampler) -> tuple[Tensor, Tensor]:
    """Return patches of crops and their errors when decoded, each float64 (patches, samples of a patch)."""
    model, rng = objective.autoencoder, np.random.default_rng(0)
    seen: list[Tensor] = []
    missed: list[Tensor] = []
    for _ in range(0, _DECODED, _AT_ONCE):
        image, quality = sampler.batch(_AT_ONCE, rng).crops.float() / 255, torch.ones(_AT_ONCE)
        error = image - model.synthesise(model.analyse(image, quality), quality)
        for part, rows in ((image - 0.5, seen), (error, missed)):
            rows.append(functional.pixel_unshuffle(part, STRIDE).movedim(1, -1).flatten(0, -2).double())
    return torch.cat(seen), torch.cat(missed)


def components(features: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the `count` leading principal axes, (count, channels), of features (B, channels, h, w), and the
    root mean square along each axis.

    Means are not subtracted: brightness is a component like any other.
    """
    rows = features.movedim(1, -1).flatten(0, -2)
    moments = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.float64)
    for tile in rows.split(_TILE):  # type: ignore[no-untyped-call]
        moments += tile.double().T @ tile.double()
    values, vectors = torch.linalg.eigh(moments / len(rows))
    order = torch.arange(len(values) - 1, -1, -1)[:count]
    return vectors[:, order].T.float().contiguous(), values[order].clamp_min(1e-8).sqrt().float()


def _set_gains(objective: Objective, part: slice, coefficients: Tensor) -> None:
    """Set the gains of the channels in `part` to good values for lambda(q), and the prior to their spread.

    `coefficients` are orthonormal, (channels, positions). At the best rate of a Gaussian coefficient, its
    error D satisfies lambda 255^2 / 3 = 1 / (2 ln 2 D). A uniform quantiser with a given step makes an error
    of step^2 / 12.
    """
    model = objective.autoencoder
    size = coefficients.square().mean(1).sqrt()
    if objective.architecture.binariser == "logistic":
        # One threshold for each coefficient, at 0.
        distance = 2 * coefficients.abs().mean(1)
        model.gains.log_gain[:, part] = torch.log(SLOPE / distance)
        model.inverse_gains.log_gain[:, part] = torch.log(distance)
        return
    error = 1.5 / (math.log(2) * objective.multiplier(torch.linspace(0, 1, GAIN_KNOTS)) * 255**2)
    cap = model.maximum[part, 0, 0] / 2 / (_HEADROOM * coefficients.abs().amax(1))
    log_gain = torch.log((12 * error).rsqrt()[:, None].minimum(cap))
    model.gains.log_gain[:, part] = log_gain
    model.inverse_gains.log_gain[:, part] = -log_gain
    quality = torch.linspace(0, 1, QUALITIES)
    spread = model.gains(quality)[:, part, 0, 0] * size * _LOGISTIC_SCALE
    wanted = torch.log(spread.clamp_min(_LEAST_SCALE))
    # This uses double precision, because the last bits of the solver depend on the place of its arrays in
    # memory.
    fitted = torch.linalg.lstsq(quality_features(quality).double(), wanted.double()).solution.float()
    scales = objective.prior.head_quality.weight[objective.architecture.channels :]  # type: ignore[union-attr, index]
    scales[part].copy_(fitted.T)
