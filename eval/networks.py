"""Count the parameters and multiply-adds of networks with PyTorch.

A multiply-add is one multiplication and one addition of a convolution or a matrix product. Element-wise
operations (activations, rounding, the entropy coder) are not counted.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bincodec.bitstream.tiles import grid_of
from bincodec.coding.order import passes
from bincodec.coding.passes import Context, phase_positions
from bincodec.model.architecture import QUALITIES, STRIDE, Architecture
from bincodec.model.prior import Prior

if TYPE_CHECKING:
    from bincodec.codec import Codec
    from bincodec.model.kernels import IntegerPrior


@dataclass(frozen=True)
class Part:
    """One part of a codec on one picture. `parameters` is None if the part has none of its own."""

    name: str
    parameters: int | None
    multiply_adds: int


def multiply_adds(call: Callable[[], object]) -> int:
    """Return the multiply-adds of all networks that run in `call`."""
    threads = torch.get_num_threads()
    # The counter sees only its own thread. With one, a picture of several parts is computed there too.
    torch.set_num_threads(1)
    try:
        with FlopCounterMode(display=False) as counter:
            call()
    finally:
        torch.set_num_threads(threads)
    operations: int = counter.get_total_flops()
    return operations // 2


def parts(codec: Codec, width: int, height: int, quality: int) -> list[Part]:
    """Return the parts of a model on a picture of `width` x `height` pixels.

    These are the encoder, the decoder, each pass of the prior, and all passes together. Gains belong to the
    encoder, and inverse gains to the decoder. The parameters of the prior are those of the float network
    behind the integers, because the integers hold its quality layers as tables.
    """
    network, architecture = codec.model.autoencoder, codec.model.card.architecture
    rows, columns = grid_of(width, height)
    image = torch.zeros(1, 3, rows * STRIDE, columns * STRIDE, device=codec.device)
    centred = torch.zeros(1, architecture.channels, rows, columns, device=codec.device)
    at = torch.full((1,), quality / (QUALITIES - 1), device=codec.device)
    encoder = parameters(network.encoder) + parameters(network.gains)
    decoder = parameters(network.decoder) + parameters(network.inverse_gains)
    by_pass = _prior_passes(codec.model.prior, rows, columns, quality)
    return [
        Part("encoder", encoder, multiply_adds(lambda: network.analyse(image, at))),
        Part("decoder", decoder, multiply_adds(lambda: network.synthesise(centred, at))),
        *(Part(f"prior, pass {index}", None, count) for index, count in enumerate(by_pass, start=1)),
        Part("prior, all passes", _prior_parameters(architecture), sum(by_pass)),
    ]


def parameters(network: nn.Module) -> int:
    """Return the number of parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters())


def _prior_parameters(architecture: Architecture) -> int:
    with torch.device("meta"):
        return parameters(Prior(architecture))


def _prior_passes(prior: IntegerPrior, rows: int, columns: int, quality: int) -> list[int]:
    architecture = prior.architecture
    # The other kernels multiply element by element, and these products are not counted.
    convolving = prior.with_kernel("conv").incremental()
    context = Context(architecture, rows, columns)
    counts = []
    for step in passes(architecture.layer_phases):
        positions = phase_positions(architecture, step, rows, columns)
        predict = functools.partial(
            convolving.predict, context.values, quality, step.layer, torch.from_numpy(positions)
        )
        counts.append(multiply_adds(predict) if positions.size else 0)
        # The next pass only computes what has changed, so the context gets the highest levels.
        channels, top = architecture.layer_channels[step.layer], architecture.maximum_level[step.layer]
        context.add(step.layer, positions, np.full((channels, positions.size), top, np.uint8))
    return counts
