"""Between pixels and levels: the float side of the codec (DESIGN §3). Its rounding may differ by machine.

pixels -> analyse -> levels -> render -> pixels
"""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from bincodec.arguments import InvalidSetting, checked_search
from bincodec.code import BinaryCode, Levels
from bincodec.coding import passes
from bincodec.encoder import search
from bincodec.model.architecture import QUALITIES, STRIDE
from bincodec.model.store import Model
from bincodec.postfilter import filter, fit


@torch.no_grad()
def analyse(
    model: Model, pixels: npt.NDArray[np.uint8], quality: int, rounds: int, device: str, *, grey: bool = False
) -> tuple[Levels, ...]:
    """Levels by layer of pixels (H, W, 3), which are shown `grey` or not, after `rounds` of search.

    Raises:
        InvalidSetting: if there are rounds, and the image is too large for them or the model does not say its
            multipliers.
    """
    autoencoder = model.autoencoder
    height, width = pixels.shape[:2]
    image = padded(pixels, device)
    centred = autoencoder.quantise(autoencoder.analyse(image, _at(quality, device)))
    if rounds:
        checked_search(width * height)
        weight = price_of_error(model, quality)
        if weight is None:
            msg = f"model {model.card.name} does not say its Lagrange multipliers: only effort 0"
            raise InvalidSetting(msg)
        correct = functools.partial(_correctable, pixels, weight)
        target = search.Target(image, height, width, quality, weight, correct, grey)
        centred = search.search(autoencoder, model.prior, centred, target, rounds)
    return autoencoder.levels_of(centred)


def _correctable(original: npt.NDArray[np.uint8], weight: float, shown: Tensor) -> tuple[Tensor, float]:
    """What the correction of a picture (1, 3, H, W) adds to it, and the bits that its chunk takes."""
    height, width = original.shape[:2]
    decoded = shown[0, :, :height, :width].permute(1, 2, 0).cpu().contiguous().numpy()
    chunks = fit.measure(original, decoded, weight)
    added = torch.from_numpy(filter.corrected(decoded, filter.read(chunks)) - decoded)
    margins = (0, shown.shape[3] - width, 0, shown.shape[2] - height)
    bits = sum(8 * chunk.size for chunk in chunks)
    return functional.pad(added.permute(2, 0, 1)[None].to(shown.device), margins), bits


@torch.inference_mode()
def render(model: Model, code: BinaryCode, layers: int, device: str) -> npt.NDArray[np.float32]:
    """Pixels (H, W, 3), nominally in 0..1, of the first `layers` layers; of the others their expectation.

    Of a grey picture all three channels are their mean.
    """
    levels = centred(model, code, layers).to(device)[None]
    image = model.autoencoder.synthesise(levels, _at(code.quality, device))
    cropped = image[0, :, : code.height, : code.width].permute(1, 2, 0)
    if code.grey:
        cropped = cropped.mean(2, keepdim=True).expand(-1, -1, 3)
    return cropped.cpu().contiguous().numpy()


def centred(model: Model, code: BinaryCode, layers: int) -> Tensor:
    """Centred levels (channels, h, w) of the first `layers` layers, expectations of the others."""
    known = [
        torch.from_numpy(part.astype(np.float32)) - top / 2
        for part, top in zip(code.levels[:layers], code.maximum, strict=False)
    ]
    missing: list[Tensor] = []
    if layers < model.card.architecture.layers:
        missing = passes.expected(model.prior, code.quality, code.levels[:layers])
    return torch.cat([*known, *missing])


def padded(pixels: npt.NDArray[np.uint8], device: str) -> Tensor:
    """Pixels as (1, 3, H, W) in 0..1, both sides continued to multiples of 16 by their last pixels."""
    height, width = pixels.shape[:2]
    padding = ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0))
    image = torch.from_numpy(np.pad(pixels, padding, mode="edge")).to(device)
    return (image.permute(2, 0, 1)[None].float() / 255).contiguous(memory_format=torch.channels_last)


def _at(quality: int, device: str) -> Tensor:
    """A quality as the networks take it."""
    return torch.full((1,), quality / (QUALITIES - 1), dtype=torch.float32, device=device)


def price_of_error(model: Model, quality: int) -> float | None:
    """Bits that a squared error of 1, summed over pixels and channels, is worth at `quality`.

    By the multiplier that the model was trained with (DESIGN §3); None if its card does not say.
    """
    try:
        lowest, highest = (float(value) for value in model.card.card["lagrangian"])
    except (KeyError, TypeError, ValueError):
        return None
    if not 0 < lowest <= highest < math.inf:
        return None
    return search.error_weight(lowest * (highest / lowest) ** (quality / (QUALITIES - 1)))
