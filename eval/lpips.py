"""LPIPS with AlexNet (Zhang, Isola, Efros, Shechtman and Wang 2018, arXiv 1801.03924), version 0.1.

A weights file is a .safetensors file whose names use torchvision's layer numbers: `features.<i>.weight` and
`features.<i>.bias` for AlexNet's convolutions i = 0, 3, 6, 8, 10, and `lin<k>.weight` of shape (1, C, 1, 1)
for these five convolutions in order, k = 0..4. The weights belong to others and do not come with this
package.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from bincodec.errors import Unsupported
from bincodec.eval.alike import require_alike
from bincodec.eval.errors import NotInstalled
from bincodec.io import files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bincodec.eval.formats import Pixels

VARIABLE = "BINCODEC_LPIPS_WEIGHTS"
"""The environment variable that names the weights file if none is given."""

SMALLEST_SIDE = 31
"""The smallest side of a picture. With a smaller one, AlexNet's second pooling has an empty result."""


@dataclass(frozen=True)
class Layer:
    """A convolution of AlexNet and the ReLU after it, whose output is a feature map."""

    index: int
    inputs: int
    outputs: int
    kernel: int
    stride: int
    padding: int
    pooled: bool
    """Whether a 3 x 3 max-pooling with stride 2 comes before the convolution."""


LAYERS = (
    Layer(0, 3, 64, 11, 4, 2, False),
    Layer(3, 64, 192, 5, 1, 2, True),
    Layer(6, 192, 384, 3, 1, 1, True),
    Layer(8, 384, 256, 3, 1, 1, False),
    Layer(10, 256, 256, 3, 1, 1, False),
)
SHAPES = {
    **{f"features.{lay.index}.weight": (lay.outputs, lay.inputs, lay.kernel, lay.kernel) for lay in LAYERS},
    **{f"features.{layer.index}.bias": (layer.outputs,) for layer in LAYERS},
    **{f"lin{k}.weight": (1, layer.outputs, 1, 1) for k, layer in enumerate(LAYERS)},
}
"""The names and shapes of the tensors of a weights file."""

# For RGB in -1..1: the rounded means and deviations of ImageNet, as in the code of the paper.
_SHIFT = torch.tensor([-0.030, -0.088, -0.188])[:, None, None]
_SCALE = torch.tensor([0.458, 0.448, 0.450])[:, None, None]


@dataclass(frozen=True)
class Lpips:
    """The LPIPS metric. `weights` are float32 tensors with the names and shapes in `SHAPES`."""

    weights: Mapping[str, Tensor] = field(repr=False)

    def __call__(self, reference: Pixels, decoded: Pixels) -> float:
        """Return the distance of two uint8 (H, W, 3) pictures, or nan if a side is below 31 pixels.

        Raises:
            ValueError: if they are not two such pictures of the same shape.
        """
        require_alike(reference, decoded)
        if min(reference.shape[:2]) < SMALLEST_SIDE:
            return math.nan
        both = [torch.tensor(image).permute(2, 0, 1)[None] / 127.5 - 1 for image in (reference, decoded)]
        with torch.inference_mode():
            return float(self.distance(*both))

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the distances (N,) of two batches (N, 3, H, W) of RGB in -1..1."""
        total = first.new_zeros(len(first))
        for k, (a, b) in enumerate(zip(self.maps(first), self.maps(second), strict=True)):
            difference = F.conv2d((_unit(a) - _unit(b)) ** 2, self.weights[f"lin{k}.weight"])
            total = total + difference.mean((1, 2, 3))
        return total

    def maps(self, images: Tensor) -> Iterator[Tensor]:
        """Yield the feature maps (N, channels, h, w) after each of `LAYERS`, of RGB in -1..1 (N, 3, H, W)."""
        maps = (images - _SHIFT.to(images.device)) / _SCALE.to(images.device)
        for layer in LAYERS:
            if layer.pooled:
                maps = F.max_pool2d(maps, 3, 2)
            weight, bias = (self.weights[f"features.{layer.index}.{kind}"] for kind in ("weight", "bias"))
            maps = F.relu(F.conv2d(maps, weight, bias, layer.stride, layer.padding))
            yield maps


def _unit(maps: Tensor) -> Tensor:
    """Scale the vector of channels of each position to length 1. Zeros stay zeros."""
    return maps / (maps.square().sum(1, keepdim=True).sqrt() + 1e-10)


def load(path: Path | None = None) -> tuple[str, Lpips]:
    """Return a description of the metric with the source of its weights, and the metric.

    The weights come from `path`. Without a path, they come from the file that the environment variable
    BINCODEC_LPIPS_WEIGHTS names. Without that, they come from the package `lpips`, which downloads AlexNet
    with torchvision when it is first used.

    Raises:
        NotInstalled: if there are no weights.
        Unreadable: if the system does not allow reading the file.
        Unsupported: if the file does not hold these weights.
    """
    if path is None and os.environ.get(VARIABLE):
        path = Path(os.environ[VARIABLE])
    if path is None:
        source, weights = _from_package()
    else:
        data = files.read(path)
        source, weights = f"file with SHA-256 {hashlib.sha256(data).hexdigest()[:16]}", _from_file(data, path)
    return f"version 0.1, AlexNet; weights: {source}", Lpips(weights)


def _from_file(data: bytes, path: Path) -> dict[str, Tensor]:
    try:
        tensors = load_tensors(data)
    except SafetensorError as error:
        msg = f"{path} is not a readable weights file: {error}"
        raise Unsupported(msg) from error
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if found != SHAPES:
        name = sorted(found.items() ^ SHAPES.items())[0][0]
        msg = (
            f"{path} does not hold LPIPS with AlexNet: {name} "
            f"has shape {found.get(name, 'none')}, not {SHAPES.get(name, 'any')}"
        )
        raise Unsupported(msg)
    return {name: tensor.float() for name, tensor in tensors.items()}


def _from_package() -> tuple[str, dict[str, Tensor]]:
    """Return the weights of `lpips.LPIPS`, which names them `net.slice<n>.<i>` and `lin<k>.model.1`."""
    how = f"--lpips-weights FILE, {VARIABLE}=FILE, or pip install lpips torchvision"
    try:
        import lpips

        with warnings.catch_warnings():
            # torchvision warns about the way in which the package requests its weights.
            warnings.simplefilter("ignore")
            state = lpips.LPIPS(net="alex", verbose=False).state_dict()
    except (ImportError, OSError) as error:
        # An OSError means that the weights could not be downloaded.
        msg = f"LPIPS has no weights ({' '.join(str(error).split())}): {how}"
        raise NotInstalled(msg) from error
    renamed = {
        re.sub(r"^net\.slice\d+\.", "features.", name).replace(".model.1.", "."): tensor.detach()
        for name, tensor in state.items()
    }
    return "package lpips", {name: renamed[name].float() for name in SHAPES}
