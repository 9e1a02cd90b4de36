"""How far a decoded picture is from its original: one number, by one of several measures."""

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
    """How a metric's values are to be read; `unit` is empty for pure numbers."""

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
"""Five scales of an 11 x 11 window: of a smaller picture the last would be larger than the picture."""


@dataclass(frozen=True)
class Metric:
    """A metric that can be measured here.

    Args:
        name: one of `NAMES`.
        label: what tables and axes call it.
        unit: "dB", or empty for a pure number.
        higher_is_better: whether equal pictures have the highest value.
        about: its definition in short, and what computes it, with versions.
        measure: gives nan for pictures too small for it; raises ValueError for other than two uint8 (H, W, 3)
            of one shape.
    """

    name: str
    label: str
    unit: str
    higher_is_better: bool
    about: str
    measure: Measure


def find(name: str, *, lpips_weights: Path | None = None) -> Metric:
    """The metric called `name`. For LPIPS, see `lpips.load` about its weights.

    Raises:
        UnknownMetric: if there is none.
        NotInstalled: if the package or program that computes it is missing.
        Unsupported: if `lpips_weights` are not the weights of LPIPS with AlexNet.
    """
    measure: Measure
    # Late imports: what needs torch is not always asked for.
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
    """10 log10(255^2 / MSE) in dB over all samples of two uint8 (H, W, 3) pictures; inf where they are equal.

    Raises:
        ValueError: if they are not two such pictures of one shape.
    """
    require_alike(reference, decoded)
    return _decibels(reference, decoded)


def psnr_y(reference: Pixels, decoded: Pixels) -> float:
    """PSNR in dB of luma alone, as Pillow's mode L has it: Y = (299 R + 587 G + 114 B) / 1000, 8-bit, 0..255.

    That is ITU-R BT.601 in full range, the Y of JPEG; figures for video are of a range of 16..235 and differ.

    Raises:
        ValueError: as `psnr`.
    """
    require_alike(reference, decoded)
    before, after = (np.asarray(Image.fromarray(image).convert("L")) for image in (reference, decoded))
    return _decibels(before, after)


def _decibels(reference: Pixels, decoded: Pixels) -> float:
    mse = float(np.mean((reference.astype(np.float64) - decoded) ** 2))
    return 10 * math.log10(255**2 / mse) if mse > 0 else math.inf


def ms_ssim(reference: Pixels, decoded: Pixels) -> float:
    """Multi-scale structural similarity (Wang, Simoncelli and Bovik 2003), 0..1, mean over R, G and B.

    With the paper's five scales and weights; nan where a side is under 161 pixels.

    Raises:
        ValueError: as `psnr`.
        NotInstalled: without the package `pytorch-msssim`.
    """
    require_alike(reference, decoded)
    if min(reference.shape[:2]) < SMALLEST_MS_SSIM_SIDE:
        return math.nan
    import torch

    tensors = [torch.tensor(image).permute(2, 0, 1)[None].float() for image in (reference, decoded)]
    with torch.inference_mode():
        return float(_pytorch_msssim().ms_ssim(*tensors, data_range=255))


def _pytorch_msssim() -> Any:
    # Late: it is not always there, and imports torch.
    with needed("MS-SSIM needs", "pytorch-msssim"):
        import pytorch_msssim
    return pytorch_msssim
