"""The check that every metric makes of the two pictures that it compares."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bincodec.eval.formats import Pixels

Measure = Callable[["Pixels", "Pixels"], float]
"""A function that returns the value of a metric for two uint8 (H, W, 3) pictures, the original first."""


def require_alike(reference: Pixels, decoded: Pixels) -> None:
    """Refuse pictures that NumPy would broadcast, or that have another scale than a metric expects.

    Raises:
        ValueError: unless both are uint8 (H, W, 3) and have the same shape.
    """
    both = (reference, decoded)
    right = all(image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 for image in both)
    if not right or reference.shape != decoded.shape:
        msg = (
            "metrics compare two 8-bit images of one shape (H, W, 3), "
            f"not {reference.dtype} {reference.shape} and {decoded.dtype} {decoded.shape}"
        )
        raise ValueError(msg)
