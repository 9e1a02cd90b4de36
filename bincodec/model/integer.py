"""The prior in exact integers, as files are coded with it (DESIGN §5).

Weights are in -127..127. Activations stay within a limit that the model file names (at most 2047), and the
residual stream is in -2^20..2^20. Between layers, a sum is divided by a power of two and rounded:
floor((a + 2^(r-1)) / 2^r). Everything is computed in float32, which is exact in any order of summation as
long as every partial sum stays below 2^24. `check_bounds` proves this from the weights. Any BLAS, number of
threads or instruction set therefore gives the same integers, and with them the same probabilities.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from bincodec.bitstream.probability import MU_BITS, SCALE_OFFSET, SCALES
from bincodec.errors import Unsupported
from bincodec.model.architecture import Architecture
from bincodec.model.products import Products

WEIGHT_LIMIT = 127
ACTIVATION_LIMIT = 2047
STREAM_LIMIT = 2**20
EXACT_LIMIT = 2**24
"""float32 represents every integer up to this limit exactly."""

LEAST_SHIFT, LARGEST_SHIFT = -23, 24
"""The range of shifts for which every result of a sum below EXACT_LIMIT can be held exactly."""

KEEP_KNOWN = 64
"""The keep of a known level. Keeps are in units of 1/64."""
_CONTEXT_BITS, _CONTEXT_BITS_OF_BITS = 4, 7
_LEVELS_OF_BITS = 126

Floor = Callable[[Tensor], Tensor]
Limit = int | Tensor
IntOrTensor = TypeVar("IntOrTensor", int, Tensor)


@dataclasses.dataclass(frozen=True)
class Layer:
    """One linear map. Its integers may have any dtype that holds them.

    Args:
        weight: (out, in) if pointwise, (out, 1, 5, 5) if depthwise, (out, in, 3, 3) in the stem.
        bias: (out,), or (101, out) if it depends on quality.
        shift: r for each output channel, (out,).
    """

    weight: Tensor
    bias: Tensor
    shift: Tensor


@dataclasses.dataclass(frozen=True)
class Block:
    """One residual block. `enter` is the shift from the stream to the input of the depthwise layer."""

    enter: int
    depthwise: Layer
    expand: Layer
    contract: Layer


@dataclasses.dataclass(frozen=True)
class IntegerNetwork:
    """All integers of a prior. `head_enter` is the shift from the stream to the input of the head."""

    stem: Layer
    blocks: tuple[Block, ...]
    head_enter: int
    head: Layer
    classes: tuple[Tensor, Tensor] | None = None
    """What a label adds to the sums of stem and head: (classes + 1, width) and (classes + 1, 2 channels).

    Row 0 stands for no class and is zero.
    """
    activation_limit: int = ACTIVATION_LIMIT

    def named_layers(self) -> Iterator[tuple[str, Layer]]:
        """Yield every linear map with its canonical name, in the order of the network."""
        yield "stem", self.stem
        for index, block in enumerate(self.blocks):
            yield f"blocks.{index}.depthwise", block.depthwise
            yield f"blocks.{index}.expand", block.expand
            yield f"blocks.{index}.contract", block.contract
        yield "head", self.head

    def to(self, dtype: torch.dtype, device: torch.device) -> IntegerNetwork:
        """Return the same integers in another dtype and on another device."""

        def move(layer: Layer) -> Layer:
            moved = {f.name: getattr(layer, f.name).to(device, dtype) for f in dataclasses.fields(layer)}
            return Layer(**moved)

        blocks = tuple(
            Block(b.enter, move(b.depthwise), move(b.expand), move(b.contract)) for b in self.blocks
        )
        classes = None
        if self.classes is not None:
            classes = (self.classes[0].to(device, dtype), self.classes[1].to(device, dtype))
        return dataclasses.replace(
            self, stem=move(self.stem), blocks=blocks, head=move(self.head), classes=classes
        )


def requantise(
    total: Tensor, shift: Tensor | int, low: Limit, high: Limit, floor: Floor | None = None
) -> Tensor:
    """Return floor((a + 2^(r-1)) / 2^r), clamped to low..high. If r <= 0, this is a 2^-r. Channels are last.

    In a float dtype, this is computed as floor(a 2^-r + 1/2). `check_bounds` ensures that both the product
    and the sum are exact. `total` is overwritten, because new memory costs more time than the arithmetic,
    unless a `floor` with a gradient is given.
    """
    shift = torch.as_tensor(shift, device=total.device)
    if not total.is_floating_point():
        positive = shift.clamp(min=0).long()
        half = (1 << positive) >> 1
        rounded = ((total + half) >> positive) << (-shift).clamp(min=0).long()
    else:
        factor, half = torch.exp2(-shift.to(total.dtype)), 0.5 * (shift > 0).to(total.dtype)
        if floor is None:
            rounded = total.mul_(factor).add_(half).floor_()
        else:
            rounded = floor(torch.addcmul(half, total, factor))
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        return rounded.clamp_(torch.as_tensor(low).to(rounded), torch.as_tensor(high).to(rounded))
    return rounded.clamp_(low, high)


def stream(
    network: IntegerNetwork,
    sums: Tensor,
    quality: Tensor,
    label: Tensor | None = None,
    *,
    products: Products,
    floor: Floor | None = None,
    positions: Tensor | None = None,
    skipped: int | None = None,
) -> Tensor:
    """Return the head's input (B, h, w, width), given the stem's sums over the context.

    `quality` (B,) holds integers 0..100. `label` (B,) is 0 for no class, else the number of a class, from 1.
    If `positions` (flat indices) are given, the batch must have one item, and the result is
    (positions, width). The last block is then computed at these positions only. `skipped` is the index of a
    block, except the last, that adds nothing to the stream.
    """
    rail, top = STREAM_LIMIT, network.activation_limit
    bias = network.stem.bias[quality]
    if network.classes is not None and label is not None:
        bias = bias + network.classes[0][label]
    x = requantise(sums + bias[:, None, None], network.stem.shift, -rail, rail, floor)
    for index, block in enumerate(network.blocks):
        if index == skipped:
            continue
        y = requantise(x.clone(), block.enter, -top, top, floor)
        y = products.depthwise(y, block.depthwise.weight, block.depthwise.bias)
        if positions is not None and index == len(network.blocks) - 1:
            x, y = (part.reshape(-1, part.shape[-1])[positions] for part in (x, y))
        y = requantise(y, block.depthwise.shift, -top, top, floor)
        x = mixed(block, x, y, top, products=products, floor=floor)
    return requantise(x, network.head_enter, -top, top, floor)


def mixed(
    block: Block, x: Tensor, y: Tensor, top: int, *, products: Products, floor: Floor | None = None
) -> Tensor:
    """Return the stream `x` plus the result of a block's two pointwise maps of `y`. All are (..., width)."""
    y = products.pointwise(y, block.expand.weight, block.expand.bias)
    y = requantise(y, block.expand.shift, 0, top, floor)  # The lower limit serves as a ReLU.
    y = products.pointwise(y, block.contract.weight, block.contract.bias)
    y = requantise(y, block.contract.shift, -STREAM_LIMIT, STREAM_LIMIT, floor)
    return (x + y).clamp_(-STREAM_LIMIT, STREAM_LIMIT)


def head(
    layer: Layer,
    x: Tensor,
    bias: Tensor,
    limit: int | Tensor,
    *,
    products: Products,
    floor: Floor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return mu in 1/64 level within +-limit, and scale indices 0..63, each (..., outputs of `layer` / 2)."""
    total = products.pointwise(x, layer.weight) + bias
    channels = total.shape[-1] // 2
    mu = requantise(total[..., :channels], layer.shift[:channels], -limit, limit, floor)
    lowest, highest = -SCALE_OFFSET, SCALES - 1 - SCALE_OFFSET
    scale = requantise(total[..., channels:], layer.shift[channels:], lowest, highest, floor)
    return mu, scale + SCALE_OFFSET


def mu_limits(architecture: Architecture) -> Tensor:
    """Return the largest mu of each channel in 1/64 level, int64 (channels,): one level beyond the outermost.

    In a model of single bits, mu has the same limit as with J = 126. There is only one threshold, at 0, so mu
    divided by the scale is the log-odds of the bit.
    """
    tops = torch.tensor(architecture.maximum_level)
    if architecture.single_bits:
        tops = torch.full_like(tops, _LEVELS_OF_BITS)
    return torch.repeat_interleave((tops + 2) << (MU_BITS - 1), torch.tensor(architecture.layer_channels))


def context_bits(architecture: Architecture) -> int:
    """Return b, where the unit of context is 2^-b level: 4, or 7 in a model of single bits.

    In a model of single bits, a centred level is only 1/2 or -1/2. Noisy pictures are described by hundreds
    of bits with a small keep each, and a unit of 2^-4 would round them away. 2^-7 is exact for every keep.
    """
    return _CONTEXT_BITS_OF_BITS if architecture.single_bits else _CONTEXT_BITS


def context_from(twice_centred: Tensor, keep: Tensor, bits: int) -> Tensor:
    """Return keep times centred level in units of 2^-bits, rounded, int64. `keep` is 0..64.

    This is floor((keep * (2L - J) + 2^(6 - bits)) / 2^(7 - bits)), where 2L - J is `twice_centred`.
    """
    shift = 7 - bits
    return (keep.long() * twice_centred.long() + ((1 << shift) >> 1)) >> shift


def keep_shown(keep: Tensor, bits: int) -> Tensor:
    """Return the network's input for `keep` in 0..64, in units of 2^-bits as the context. 64 becomes 4.0."""
    return keep << (bits - _CONTEXT_BITS)


def largest_context(architecture: Architecture) -> Tensor:
    """Return the largest magnitude of each input of the stem, int64 (channels + layers,)."""
    levels = torch.repeat_interleave(
        torch.tensor(architecture.maximum_level), torch.tensor(architecture.layer_channels)
    )
    known = torch.full((architecture.layers,), KEEP_KNOWN)
    bits = context_bits(architecture)
    return torch.cat([context_from(levels, torch.tensor(KEEP_KNOWN), bits), keep_shown(known, bits)])


def largest_sums(architecture: Architecture, network: IntegerNetwork) -> Iterator[tuple[str, Tensor]]:
    """Yield each linear map's name and a bound of the partial sums of each output channel, float64 (out,)."""
    stem_inputs = largest_context(architecture).double()
    for name, layer in network.named_layers():
        weight = layer.weight.double().abs()
        largest = (
            stem_inputs[:, None]
            if name == "stem"
            else torch.tensor(network.activation_limit, dtype=torch.float64)
        )
        total = (weight.flatten(2) if name == "stem" else weight.flatten(1)) * largest
        shift = layer.shift.double()
        bound = total.flatten(1).sum(1) + layer.bias.double().abs().reshape(-1, len(weight)).amax(0)
        if network.classes is not None and name in ("stem", "head"):
            bound = bound + network.classes[name == "head"].double().abs().amax(0)
        bound = bound + torch.exp2(shift.clamp(min=1) - 1) + (STREAM_LIMIT if "contract" in name else 0)
        yield name, bound * torch.exp2((-shift).clamp(min=0))


def check_bounds(architecture: Architecture, network: IntegerNetwork) -> None:
    """Raise `Unsupported` unless every partial sum of every output channel stays below 2^24."""
    if not 1 <= network.activation_limit <= ACTIVATION_LIMIT:
        msg = f"activation limit {network.activation_limit} is not in 1..{ACTIVATION_LIMIT}"
        raise Unsupported(msg)
    for name, layer in network.named_layers():
        if layer.weight.abs().max() > WEIGHT_LIMIT:
            msg = f"{name}: a weight of {int(layer.weight.abs().max())} is beyond {WEIGHT_LIMIT}"
            raise Unsupported(msg)
    entered = [*(block.enter for block in network.blocks), network.head_enter]
    if not all(LEAST_SHIFT <= shift <= LARGEST_SHIFT for shift in entered):
        msg = f"enter {entered} is not in {LEAST_SHIFT}..{LARGEST_SHIFT}"
        raise Unsupported(msg)
    for table in network.classes or ():
        if table[0].any():
            msg = "the prior has another result for no class than without its tables of classes"
            raise Unsupported(msg)
    for name, bound in largest_sums(architecture, network):
        if (worst := float(bound.max())) >= EXACT_LIMIT:
            msg = f"{name}: sums may reach {worst:.0f}, beyond the exact {EXACT_LIMIT}"
            raise Unsupported(msg)


def probability_digest(architecture: Architecture, network: IntegerNetwork, tables_digest: bytes) -> bytes:
    """Return the SHA-256 of everything that a probability depends on: coding order, integers, tables."""
    digest = hashlib.sha256(b"bincodec integer prior 1\n")
    order = (architecture.layer_channels, architecture.maximum_level, architecture.layer_phases)
    digest.update(repr(order).encode())
    digest.update(repr((tuple(b.enter for b in network.blocks), network.head_enter)).encode())
    for name, layer in network.named_layers():
        for part in ("weight", "bias", "shift"):
            values = getattr(layer, part).to("cpu", torch.int32).contiguous()
            digest.update(f"{name}.{part}{tuple(values.shape)}".encode())
            digest.update(values.numpy().astype("<i4").tobytes())
    for part, table in zip(("stem", "head"), network.classes or (), strict=False):
        digest.update(f"{part}.classes{tuple(table.shape)}".encode())
        digest.update(table.to("cpu", torch.int32).numpy().astype("<i4").tobytes())
    digest.update(f"activations to {network.activation_limit}".encode())
    digest.update(tables_digest)
    return digest.digest()
