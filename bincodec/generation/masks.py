"""Masks for inpainting: read a mask, find the positions to keep, and blend the result into the original.

A mask is bool (H, W), True where the picture is to be inpainted. This module does not depend on a model.
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
"""A pixel of a mask image is white, and thus to be inpainted, if the mean of its colours is at least this."""
MARGIN = 8
"""The number of pixels by which a mask is grown before positions are compared with it. The encoder saw the
hole at positions next to it, so these are drawn anew as well."""
RIM = 8
"""The number of pixels outside the mask over which the inpainted picture fades into the original."""


def load(source: images.Source, width: int, height: int, limits: Limits = DEFAULT_LIMITS) -> Mask:
    """Return the mask of a picture of `width` x `height` pixels.

    `source` is a bool (H, W) array, or anything that `images.load` reads. In an image, white pixels are to be
    inpainted. A transparent image is put on black.

    Raises:
        ImageError: if the mask is not an image, has another size than the picture, is empty, or covers the
            whole picture.
    """
    if isinstance(source, np.ndarray) and source.dtype == np.bool_ and source.ndim == 2:
        mask: Mask = source
    else:
        found = images.load(source, limits=limits)
        shown: npt.NDArray[Any] = found.pixels.mean(2)
        mask = (shown if found.alpha is None else shown * (found.alpha / 255)) >= WHITE
    if mask.shape != (height, width):
        size = f"{mask.shape[1]} x {mask.shape[0]}"
        msg = f"the mask has {size} pixels, but the picture has {width} x {height}"
        raise ImageError(msg)
    if not mask.any():
        msg = f"the mask is empty: no pixel is white ({WHITE} or more)"
        raise ImageError(msg)
    if mask.all():
        msg = "the mask covers the whole picture: nothing would be left of it"
        raise ImageError(msg)
    return mask


def known_positions(mask: Mask) -> Mask:
    """Return the positions to keep, bool (h, w): no pixel of the mask is within MARGIN of their 16x16."""
    grown = _dilated(_plane(mask), MARGIN)
    height, width = mask.shape
    padded = functional.pad(grown, (0, -width % STRIDE, 0, -height % STRIDE))
    known: Mask = functional.max_pool2d(padded, STRIDE)[0, 0].numpy() == 0
    return known


def blend(original: Pixels, inpainted: Pixels, mask: Mask) -> Pixels:
    """Return `inpainted` inside the mask and `original` outside, uint8 (H, W, 3).

    They fade into each other over the RIM pixels around the mask.
    """
    grown = weight = _plane(mask)
    for _ in range(1, RIM):
        grown = _dilated(grown, 1)
        weight = weight + grown
    share: npt.NDArray[Any] = (weight / RIM)[0, 0, :, :, None].numpy()
    mixed = original + share * (inpainted.astype(np.float32) - original)
    result: Pixels = np.round(mixed).astype(np.uint8)
    return result


def _plane(mask: Mask) -> Tensor:
    """Return a mask as float32 (1, 1, H, W)."""
    return torch.from_numpy(mask.astype(np.float32))[None, None]


def _dilated(plane: Tensor, pixels: int) -> Tensor:
    """Return all pixels within `pixels` rows and columns of a pixel that is set."""
    across = functional.max_pool2d(plane, (1, 2 * pixels + 1), 1, (0, pixels))
    return functional.max_pool2d(across, (2 * pixels + 1, 1), 1, (pixels, 0))
