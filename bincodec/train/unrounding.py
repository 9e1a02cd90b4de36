"""Turn the integers of a model file into a float prior again, from which a later stage can start (DESIGN §7).

The integers are rounded weights times powers of two. Of the exponents, a model file has only the shifts,
which are differences between them. A float network predicts the same for all exponents with these
differences, because a ReLU passes factors on. The steps of an optimiser do depend on the size of the weights,
though. So the exponents are chosen by what is usual: in all priors that were trained so far, the weights of
each kind of map have the same root mean square within a factor of two.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bincodec.bitstream.probability import MU_BITS, SCALE_BITS
from bincodec.model import integer
from bincodec.model.architecture import QUALITIES, Architecture
from bincodec.model.autoencoder import quality_features
from bincodec.model.integer import IntegerNetwork, Layer

_DEPTHWISE, _EXPAND = 0.045, 0.16
"""The usual root mean square of the weights of two of the three maps of a block. The third one follows."""
_STEM_TO_HEAD = 1.5
"""The usual ratio of the root mean squares of stem and head."""

Exponent = int | Tensor


def float_prior(architecture: Architecture, network: IntegerNetwork) -> dict[str, Tensor]:
    """Return the state dict of a `Prior` that predicts what `network` does, but for rounding and clamping.

    Its weights are as precise as the integers. How the biases of stem and head depend on quality is fitted to
    their 101 rows.
    """
    context = integer.context_bits(architecture)
    outputs = torch.tensor([MU_BITS, SCALE_BITS]).repeat_interleave(architecture.channels)
    # If the exponent of the stream is 1 higher, the stem's weights are half as large and the head's twice.
    stem = _size(_weight(network.stem, context, 0))
    head = _size(_weight(network.head, -network.head_enter, outputs))
    stream = round(math.log2(stem / head / _STEM_TO_HEAD) / 2) if stem * head > 0 else context
    state = _by_quality("stem", network.stem, context, stream)
    for i, block in enumerate(network.blocks):
        entered = stream - block.enter
        mixed = _leaving(block.depthwise, entered, _DEPTHWISE)
        expanded = _leaving(block.expand, mixed, _EXPAND)
        state |= _map(f"blocks.{i}.depthwise", block.depthwise, entered, mixed)
        state |= _map(f"blocks.{i}.expand", block.expand, mixed, expanded)
        state |= _map(f"blocks.{i}.contract", block.contract, expanded, stream)
    state |= _by_quality("head", network.head, stream - network.head_enter, outputs)
    if network.classes is not None:
        # Row 0 is the one of no class, which a float prior does not have.
        state["stem_class"] = _sums(network.stem, network.classes[0][1:], stream)
        state["head_class"] = _sums(network.head, network.classes[1][1:], outputs)
    return state


def _map(name: str, layer: Layer, entering: Exponent, leaving: Exponent) -> dict[str, Tensor]:
    """Return weight and bias of a map. Its inputs were scaled by 2^entering, its outputs by 2^leaving."""
    bias = _sums(layer, layer.bias, leaving)
    return {f"{name}.weight": _weight(layer, entering, leaving), f"{name}.bias": bias}


def _by_quality(name: str, layer: Layer, entering: Exponent, leaving: Exponent) -> dict[str, Tensor]:
    """Return a map whose bias depends on quality, with the matrix that says how."""
    rows = _sums(layer, layer.bias, leaving).double()
    features = quality_features(torch.arange(QUALITIES) / (QUALITIES - 1)).double()
    # The first feature is 1 everywhere, so it holds what is the same for all qualities.
    matrix = torch.linalg.lstsq(features, rows).solution.T.float()
    state = {f"{name}.weight": _weight(layer, entering, leaving), f"{name}.bias": matrix[:, 0].clone()}
    matrix[:, 0] = 0
    return {
        **state,
        f"{name}_quality.weight": matrix,
        f"{name}_quality.bias": torch.zeros(len(matrix)),
    }


def _weight(layer: Layer, entering: Exponent, leaving: Exponent) -> Tensor:
    """Return float weights. The shift is their exponent + entering - leaving (`QuantisedPrior`)."""
    exponent = layer.shift - entering + leaving
    return layer.weight.float() * torch.exp2(-exponent.float()).view(-1, *[1] * (layer.weight.ndim - 1))


def _sums(layer: Layer, values: Tensor, leaving: Exponent) -> Tensor:
    """Return what `values` (..., outputs), in units of the sums of a map, are as floats."""
    return values.float() * torch.exp2(-(layer.shift + leaving).float())


def _leaving(layer: Layer, entering: int, usual: float) -> int:
    """Return the exponent of a map's outputs with which its weights are nearest to the usual size."""
    size = _size(_weight(layer, entering, 0))
    return round(math.log2(size / usual)) if size > 0 else entering


def _size(weight: Tensor) -> float:
    return float(weight.square().mean().sqrt())
