"""Metrics: how far a decoded picture is from its original, as one number."""

from __future__ import annotations

import importlib.metadata
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from bincodec.eval.alike import Measure, require_alike
from bincodec.eval.errors import UnknownMetric, needed

if TYPE_CHECKING:
    from bincodec.eval.formats import Pixels


@dataclass(frozen=True)
class Scale:
    """How to read a metric's values. `unit` is empty for pure numbers."""

    label: str
    unit: str
    higher_is_better: bool


SCALES = {
    "psnr": Scale("PSNR", "dB", True),
    "psnr_y": Scale("PSNR Y", "dB", True),
    "ms_ssim": Scale("MS-SSIM", "", True),
    "lpips": Scale("LPIPS (Alex)", "", False),
    "ssimulacra2": Scale("SSIMULACRA2", "", True),
    "butteraugli": Scale("Butteraugli 3-norm", "", False),
}
NAMES = tuple(SCALES)
DEFAULT = ("psnr", "psnr_y", "ms_ssim")

SMALLEST_MS_SSIM_SIDE = 161
"""The smallest side for MS-SSIM. On the last of its five scales, the 11 x 11 window would otherwise be larger
than the picture."""


@dataclass(frozen=True)
class Metric:
    """A metric that can be measured here.

    Args:
        name: one of `NAMES`.
        label: the name in tables and on axes.
        unit: "dB", or empty for a pure number.
        higher_is_better: whether equal pictures have the highest value.
        about: a short definition, and what computes the metric, with versions.
        measure: the function that measures it. It returns nan for pictures that are too small, and raises
            ValueError unless it gets two uint8 (H, W, 3) pictures of the same shape.
    """

    name: str
    label: str
    unit: str
    higher_is_better: bool
    about: str
    measure: Measure


def find(name: str, *, lpips_weights: Path | None = None) -> Metric:
    """Return the metric called `name`. `lpips.load` explains where the weights of LPIPS come from.

    Raises:
        UnknownMetric: if there is no such metric.
        NotInstalled: if the package or program that computes it is missing.
        Unsupported: if `lpips_weights` are not the weights of LPIPS with AlexNet.
    """
    measure: Measure
    # Modules that need torch are imported late, because they are not always needed.
    if name == "psnr":
        about, measure = "10 log10(255^2 / MSE), over all R, G and B samples", psnr
    elif name == "psnr_y":
        about, measure = "PSNR of the luma of ITU-R BT.601, full range, rounded to 8 bits", psnr_y
    elif name == "ms_ssim":
        _pytorch_msssim()
        version = importlib.metadata.version("pytorch-msssim")
        about, measure = f"of R, G and B, mean over channels; pytorch-msssim {version}", ms_ssim
    elif name == "lpips":
        from bincodec.eval import lpips

        about, measure = lpips.load(lpips_weights)
    elif name == "ssimulacra2":
        from bincodec.eval import programs

        about, measure = programs.ssimulacra2()
    elif name == "butteraugli":
        from bincodec.eval import programs

        about, measure = programs.butteraugli()
    else:
        msg = f"no metric is called {name!r}; there are {', '.join(NAMES)}"
        raise UnknownMetric(msg)
    scale = SCALES[name]
    return Metric(name, scale.label, scale.unit, scale.higher_is_better, about, measure)


def psnr(reference: Pixels, decoded: Pixels) -> float:
    """Return 10 log10(255^2 / MSE) in dB over all samples of two uint8 (H, W, 3) pictures, inf if equal.

    Raises:
        ValueError: if they are not two such pictures of the same shape.
    """
    require_alike(reference, decoded)
    return _decibels(reference, decoded)


def psnr_y(reference: Pixels, decoded: Pixels) -> float:
    """Return the PSNR of luma in dB, with luma as in Pillow's mode L.

    This is Y = (299 R + 587 G + 114 B) / 1000 with 8 bits in 0..255: ITU-R BT.601 in full range, as in JPEG.
    Values for video differ, because they use a range of 16..235.

    Raises:
        ValueError: as in `psnr`.
    """
    require_alike(reference, decoded)
    before, after = (np.asarray(Image.fromarray(image).convert("L")) for image in (reference, decoded))
    return _decibels(before, after)


def _decibels(reference: Pixels, decoded: Pixels) -> float:
    mse = float(np.mean((reference.astype(np.float64) - decoded) ** 2))
    return 10 * math.log10(255**2 / mse) if mse > 0 else math.inf


def ms_ssim(reference: Pixels, decoded: Pixels) -> float:
    """Return the multi-scale structural similarity, 0..1, averaged over R, G and B.

    It has the five scales and weights of Wang, Simoncelli and Bovik (2003). The result is nan if a side is
    below 161 pixels.

    Raises:
        ValueError: as in `psnr`.
        NotInstalled: if the package `pytorch-msssim` is missing.
    """
    require_alike(reference, decoded)
    if min(reference.shape[:2]) < SMALLEST_MS_SSIM_SIDE:
        return math.nan
    import torch

    tensors = [torch.tensor(image).permute(2, 0, 1)[None].float() for image in (reference, decoded)]
    with torch.inference_mode():
        return float(_pytorch_msssim().ms_ssim(*tensors, data_range=255))


def _pytorch_msssim() -> Any:
    # This is imported late, because it is not always installed, and it imports torch.
    with needed("MS-SSIM needs", "pytorch-msssim"):
        import pytorch_msssim
    return pytorch_msssim
