"""LPIPS with AlexNet as a metric of two pictures.

`bincodec.train.lpips` holds the network and the definition. The weights belong to others and do not come with
this package.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bincodec.eval.alike import require_alike
from bincodec.eval.errors import NotInstalled
from bincodec.io import files
from bincodec.train.lpips import ALEXNET, Lpips, read_lpips

if TYPE_CHECKING:
    from bincodec.eval.formats import Pixels

VARIABLE = "BINCODEC_LPIPS_WEIGHTS"
"""The environment variable that names the weights file if none is given."""


@dataclass(frozen=True)
class LpipsMetric:
    """LPIPS of two pictures."""

    lpips: Lpips

    def __call__(self, reference: Pixels, decoded: Pixels) -> float:
        """Return the distance of two uint8 (H, W, 3) pictures, or nan if a side is below 31 pixels.

        Raises:
            ValueError: if they are not two such pictures of the same shape.
        """
        require_alike(reference, decoded)
        if min(reference.shape[:2]) < self.lpips.network.least:
            return math.nan
        both = [torch.tensor(image).permute(2, 0, 1)[None] / 127.5 - 1 for image in (reference, decoded)]
        with torch.inference_mode():
            return float(self.lpips.distance(*both))


def load(path: Path | None = None) -> tuple[str, LpipsMetric]:
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
        source, lpips = _from_package()
    else:
        data = files.read(path)
        source = f"file with SHA-256 {hashlib.sha256(data).hexdigest()[:16]}"
        lpips = read_lpips(ALEXNET, data, path)
    return f"version 0.1, AlexNet; weights: {source}", LpipsMetric(lpips)


def _from_package() -> tuple[str, Lpips]:
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
    weights: dict[str, Tensor] = {name: renamed[name].float() for name in ALEXNET.shapes}
    return "package lpips", Lpips(ALEXNET, weights)
