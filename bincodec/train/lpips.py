"""The networks of LPIPS (Zhang, Isola, Efros, Shechtman and Wang 2018, arXiv 1801.03924), version 0.1.

`eval` measures with AlexNet, and training learns from SqueezeNet 1.1. A weights file is a .safetensors file
whose names use torchvision's layer numbers: `features.<i>...` for the layers of the network, and
`lin<k>.weight` of shape (1, C, 1, 1) for the k-th feature map. The weights belong to others and do not come
with this package.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor
from torch.nn import functional

from bincodec.errors import Unsupported

_LEAST_SQUARE = 1e-12
"""This is added under the root of a vector's length. Without it, a position whose features are all zero would
have no finite gradient."""

# For RGB in -1..1: the rounded means and deviations of ImageNet, as in the code of the paper.
_SHIFT = torch.tensor([-0.030, -0.088, -0.188])[:, None, None]
_SCALE = torch.tensor([0.458, 0.448, 0.450])[:, None, None]


@dataclass(frozen=True)
class Convolution:
    """A convolution and the ReLU after it. `name` is the one of its tensors in a weights file."""

    name: str
    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    padding: int = 0

    @property
    def convolutions(self) -> tuple[Convolution, ...]:
        """The convolutions of this layer."""
        return (self,)

    def __call__(self, maps: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """Map (N, inputs, h, w) to (N, outputs, h', w')."""
        weight, bias = weights[f"{self.name}.weight"], weights[f"{self.name}.bias"]
        return functional.relu(functional.conv2d(maps, weight, bias, self.stride, self.padding))


@dataclass(frozen=True)
class Fire:
    """A layer of SqueezeNet: a narrow 1x1 convolution, then 1x1 and 3x3 convolutions side by side."""

    name: str
    inputs: int
    narrow: int
    each: int

    @property
    def convolutions(self) -> tuple[Convolution, Convolution, Convolution]:
        """The convolutions of this layer."""
        return (
            Convolution(f"{self.name}.squeeze", self.inputs, self.narrow, 1),
            Convolution(f"{self.name}.expand1x1", self.narrow, self.each, 1),
            Convolution(f"{self.name}.expand3x3", self.narrow, self.each, 3, padding=1),
        )

    @property
    def outputs(self) -> int:
        """The number of channels that leave the layer."""
        return 2 * self.each

    def __call__(self, maps: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """Map (N, inputs, h, w) to (N, outputs, h, w)."""
        squeeze, *expand = self.convolutions
        narrow = squeeze(maps, weights)
        return torch.cat([layer(narrow, weights) for layer in expand], 1)


@dataclass(frozen=True)
class Tap:
    """The layers up to the next feature map. If `pooled`, a max-pooling 3x3 of stride 2 comes first."""

    layers: tuple[Convolution | Fire, ...]
    pooled: bool = False

    @property
    def outputs(self) -> int:
        """The number of channels of the feature map."""
        return self.layers[-1].outputs


@dataclass(frozen=True)
class Network:
    """A network of LPIPS. `ceil` says whether its poolings round sizes up. `least` is the smallest side of a
    picture, in pixels: with a smaller one, a feature map would be empty."""

    title: str
    taps: tuple[Tap, ...]
    ceil: bool
    least: int

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The names and shapes of the tensors of a weights file."""
        found: dict[str, tuple[int, ...]] = {}
        for k, tap in enumerate(self.taps):
            for layer in (one for several in tap.layers for one in several.convolutions):
                found[f"{layer.name}.weight"] = (layer.outputs, layer.inputs, layer.kernel, layer.kernel)
                found[f"{layer.name}.bias"] = (layer.outputs,)
            found[f"lin{k}.weight"] = (1, tap.outputs, 1, 1)
        return found


ALEXNET = Network(
    "AlexNet",
    (
        Tap((Convolution("features.0", 3, 64, 11, 4, 2),)),
        Tap((Convolution("features.3", 64, 192, 5, 1, 2),), pooled=True),
        Tap((Convolution("features.6", 192, 384, 3, 1, 1),), pooled=True),
        Tap((Convolution("features.8", 384, 256, 3, 1, 1),)),
        Tap((Convolution("features.10", 256, 256, 3, 1, 1),)),
    ),
    ceil=False,
    least=31,
)
SQUEEZENET = Network(
    "SqueezeNet",
    (
        Tap((Convolution("features.0", 3, 64, 3, 2),)),
        Tap((Fire("features.3", 64, 16, 64), Fire("features.4", 128, 16, 64)), pooled=True),
        Tap((Fire("features.6", 128, 32, 128), Fire("features.7", 256, 32, 128)), pooled=True),
        Tap((Fire("features.9", 256, 48, 192),), pooled=True),
        Tap((Fire("features.10", 384, 48, 192),)),
        Tap((Fire("features.11", 384, 64, 256),)),
        Tap((Fire("features.12", 512, 64, 256),)),
    ),
    ceil=True,
    least=17,
)


@dataclass(frozen=True)
class Lpips:
    """The distance of LPIPS in a network. `weights` have the names and shapes of `network.shapes`, and their
    dtype and device are those in which the network computes."""

    network: Network
    weights: Mapping[str, Tensor] = field(repr=False)

    def distance(self, reference: Tensor, decoded: Tensor) -> Tensor:
        """Return the float32 distances (N,) of two batches (N, 3, H, W) of RGB in -1..1.

        Only `decoded` gets a gradient.
        """
        with torch.no_grad():
            wanted = list(self.maps(reference))
        return self.distance_of_maps(wanted, self.maps(decoded))

    def distance_of_maps(self, reference: Iterable[Tensor], decoded: Iterable[Tensor]) -> Tensor:
        """Return the same distances, given what `maps` yields of both batches."""
        total = torch.zeros(())
        for k, (a, b) in enumerate(zip(reference, decoded, strict=True)):
            total = total.to(b.device) + _TapDistance.apply(a, b, self.weights[f"lin{k}.weight"])  # type: ignore[no-untyped-call]
        return total

    def maps(self, images: Tensor) -> Iterator[Tensor]:
        """Yield the feature maps (N, channels, h, w) of RGB in -1..1 (N, 3, H, W), one for each tap."""
        maps = (images - _SHIFT.to(images.device)) / _SCALE.to(images.device)
        maps = maps.to(self.weights["features.0.weight"].dtype)
        for tap in self.network.taps:
            if tap.pooled:
                maps = functional.max_pool2d(maps, 3, 2, ceil_mode=self.network.ceil)
            for layer in tap.layers:
                maps = layer(maps, self.weights)
            yield maps

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Lpips:
        """Return the same network on another device, with weights in another dtype, channels last."""
        kept = {
            name: tensor.to(device, dtype).contiguous(memory_format=torch.channels_last)
            if tensor.ndim == 4
            else tensor.to(device, dtype)
            for name, tensor in self.weights.items()
        }
        return Lpips(self.network, kept)


class _TapDistance(torch.autograd.Function):
    """The weighted squared distance of two feature maps after each position's vector is scaled to length 1.

    The gradient is written out: autograd would keep and pass through the large maps many more times, and half
    of the time of a training step would go into that.
    """

    @staticmethod
    def forward(ctx: Any, reference: Tensor, decoded: Tensor, head: Tensor) -> Tensor:
        a, b = reference.float(), decoded.float()
        inverse = _inverse_length(b)
        unit = b * inverse
        difference = (a * _inverse_length(a)).sub_(unit)
        weighted = difference * head.float()
        ctx.save_for_backward(unit, inverse, weighted)
        ctx.dtype = decoded.dtype
        return difference.mul_(weighted).sum(1).mean((1, 2))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, None]:
        unit, inverse, weighted = ctx.saved_tensors
        height, width = weighted.shape[2:]
        of_unit = weighted * (gradients[0] * (-2 / (height * width)))[:, None, None, None]
        along = (unit * of_unit).sum(1, keepdim=True)
        return None, of_unit.addcmul_(unit, along, value=-1).mul_(inverse).to(ctx.dtype), None


def _inverse_length(maps: Tensor) -> Tensor:
    """Return 1 / the length of each position's vector of channels, (N, 1, h, w)."""
    return (maps.square().sum(1, keepdim=True) + _LEAST_SQUARE).rsqrt()


def read_lpips(network: Network, data: bytes, path: Path) -> Lpips:
    """Return LPIPS with the weights of a file's bytes, in float32. Errors name its `path`.

    Raises:
        Unsupported: if the file does not hold the weights of this network.
    """
    try:
        tensors = load(data)
    except SafetensorError as error:
        msg = f"{path} is not a readable weights file: {error}"
        raise Unsupported(msg) from error
    shapes = network.shapes
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if found != shapes:
        name = sorted(found.items() ^ shapes.items())[0][0]
        msg = (
            f"{path} does not hold LPIPS with {network.title}: {name} "
            f"has shape {found.get(name, 'none')}, not {shapes.get(name, 'any')}"
        )
        raise Unsupported(msg)
    return Lpips(network, {name: tensor.float() for name, tensor in tensors.items()})
