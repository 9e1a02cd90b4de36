"""Fill pixels that are invisible or unknown with a smooth continuation of the pixels around them.

Such pixels cost few bits (docs/decisions/0018).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from bincodec.io.images import Picture

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

MIDDLE = 128
"""The grey level that fills a picture of which no pixel is known."""


def without_hidden(picture: Picture) -> Picture:
    """Return a picture whose clear pixels continue the visible ones, so that they cost few bits."""
    if picture.alpha is None or picture.alpha.min() > 0:
        return picture
    return replace(picture, pixels=fill(picture.pixels, picture.alpha == 0))


def fill(pixels: Pixels, mask: Mask) -> Pixels:
    """Return uint8 pixels (H, W, 3) in which those under a mask (H, W) smoothly continue the others.

    The known pixels are averaged at half the size, at a quarter and so on, until no pixel is unknown. On the
    way back, each size fills its gaps from the next smaller one.
    """
    if mask.all():
        return np.full_like(pixels, MIDDLE)
    known = torch.from_numpy(~mask)[None, None].float()
    values = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    filled = _pull_push(values, known)[0].permute(1, 2, 0).round().clamp(0, 255)
    return np.where(mask[:, :, None], filled.to(torch.uint8).numpy(), pixels)


def _pull_push(values: Tensor, known: Tensor) -> Tensor:
    """Fill values (1, c, H, W) where `known` (1, 1, H, W) is 0. It is 1 in at least one place."""
    if known.all():
        return values
    height, width = known.shape[2:]
    even = (0, width % 2, 0, height % 2)
    sums, share = (functional.avg_pool2d(functional.pad(part, even), 2) for part in (values * known, known))
    # The share is 0 or at least a quarter, because each mean covers four pixels.
    coarse = _pull_push(sums / share.clamp_min(0.25), (share > 0).float())
    enlarged = functional.interpolate(coarse, scale_factor=2, mode="bilinear")[..., :height, :width]
    return torch.where(known > 0, values, enlarged)
