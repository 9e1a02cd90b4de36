"""Masks of inpainting: which pixels and positions are to be inpainted, and the seam.

A mask is bool (H, W), True where the picture is to be inpainted. Everything here is about pixels and knows no
model.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from bincodec.bitstream.limits import DEFAULT_LIMITS, Limits
from bincodec.code import Mask
from bincodec.errors import ImageError
from bincodec.io import images
from bincodec.io.images import Pixels
from bincodec.model.architecture import STRIDE

WHITE = 128
"""Where the mean of the colours is this or more, a mask image is white: to be inpainted."""
MARGIN = 8
"""Pixels by which a mask grows before positions count as touched: what an encoder saw of the hole is drawn
anew."""
RIM = 8
"""Pixels outside the mask over which the inpainted picture fades into the original."""


def load(source: images.Source, width: int, height: int, limits: Limits = DEFAULT_LIMITS) -> Mask:
    """The mask of a picture: a bool (H, W) array, or anything `images.load` reads (white: to be inpainted).

    What is transparent in an image counts as on black.

    Raises:
        ImageError: if it is no image, of another size than the picture, empty, or covers everything.
    """
    if isinstance(source, np.ndarray) and source.dtype == np.bool_ and source.ndim == 2:
        mask: Mask = source
    else:
        found = images.load(source, limits=limits)
        shown: npt.NDArray[Any] = found.pixels.mean(2)
        mask = (shown if found.alpha is None else shown * (found.alpha / 255)) >= WHITE
    if mask.shape != (height, width):
        msg = f"the mask is {mask.shape[1]} x {mask.shape[0]} pixels, the picture {width} x {height}"
        raise ImageError(msg)
    if not mask.any():
        msg = f"the mask is empty: no pixel is white ({WHITE} or more)"
        raise ImageError(msg)
    if mask.all():
        msg = "the mask covers the whole picture: nothing would be left of it"
        raise ImageError(msg)
    return mask


def known_positions(mask: Mask) -> Mask:
    """The positions (h, w) that the mask stays clear of: no pixel of it within MARGIN of their 16x16."""
    grown = _dilated(_plane(mask), MARGIN)
    height, width = mask.shape
    padded = functional.pad(grown, (0, -width % STRIDE, 0, -height % STRIDE))
    known: Mask = functional.max_pool2d(padded, STRIDE)[0, 0].numpy() == 0
    return known


def blend(original: Pixels, inpainted: Pixels, mask: Mask) -> Pixels:
    """`inpainted` inside the mask, `original` outside, faded over the RIM pixels around it: (H, W, 3)."""
    grown = weight = _plane(mask)
    for _ in range(1, RIM):
        grown = _dilated(grown, 1)
        weight = weight + grown
    share: npt.NDArray[Any] = (weight / RIM)[0, 0, :, :, None].numpy()
    mixed = original + share * (inpainted.astype(np.float32) - original)
    result: Pixels = np.round(mixed).astype(np.uint8)
    return result


def _plane(mask: Mask) -> Tensor:
    """A mask as float32 (1, 1, H, W)."""
    return torch.from_numpy(mask.astype(np.float32))[None, None]


def _dilated(plane: Tensor, pixels: int) -> Tensor:
    """Everything within `pixels` rows and columns of what is set, one axis after the other."""
    across = functional.max_pool2d(plane, (1, 2 * pixels + 1), 1, (0, pixels))
    return functional.max_pool2d(across, (2 * pixels + 1, 1), 1, (pixels, 0))
