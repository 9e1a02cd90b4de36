"""The mean correction: what a picture's colours are off by on the average, where that is most of the error.

On a flat image the decoder's one small mistake is everywhere the same, and the eye sees a colour cast. Three
numbers in an ancillary chunk take it away (FORMAT, type 0x81). On a photo the mean error is a tiny share of
the whole, and nothing is sent.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from bincodec.bitstream.container import Ancillary
from bincodec.bitstream.errors import Corrupt

KIND = 0x81
STEPS = 64
"""Corrections are in 1/64 of a level of 0..255."""
WORTHWHILE_SHARE = 0.25
"""Share of the squared error that a correction must remove to be worth its bytes."""

_LAYOUT = struct.Struct("<3h")
_LARGEST = 2**15 - 1
_ROUNDS = 8


def measure(original: npt.NDArray[np.uint8], decoded: npt.NDArray[np.float32]) -> tuple[Ancillary, ...]:
    """The chunk that corrects `decoded` (H, W, 3) in 0..1 towards `original`, if it is worth sending."""
    target = original.astype(np.float32) / 255
    error: npt.NDArray[Any] = target - _shown(decoded)
    squared = (error**2).mean(dtype=np.float64)
    if (_mean(error) ** 2).mean() < WORTHWHILE_SHARE * squared:
        return ()
    steps = np.zeros(3, dtype=np.int64)
    for _ in range(_ROUNDS):
        # Near black and white the clamp takes part of each correction back: approach it in rounds.
        steps += np.round(255 * STEPS * _mean(error)).astype(np.int64)
        steps = steps.clip(-_LARGEST, _LARGEST)
        error = target - _shown(decoded + _as_pixels(steps))
    if not steps.any() or (error**2).mean(dtype=np.float64) > (1 - WORTHWHILE_SHARE) * squared:
        return ()
    return (Ancillary(KIND, _LAYOUT.pack(*steps.tolist())),)


def read(ancillary: tuple[Ancillary, ...]) -> npt.NDArray[np.float32]:
    """The correction (3,) on the scale of 0..1; zeros if there is none.

    Raises:
        Corrupt: if there are several, or one of another length.
    """
    payloads = [chunk.payload for chunk in ancillary if chunk.kind == KIND]
    if not payloads:
        return np.zeros(3, dtype=np.float32)
    if len(payloads) > 1 or len(payloads[0]) != _LAYOUT.size:
        msg = f"mean correction: {len(payloads)} chunks, the first of {len(payloads[0])} bytes, not one of 6"
        raise Corrupt(msg)
    return _as_pixels(np.array(_LAYOUT.unpack(payloads[0])))


def _as_pixels(steps: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    return steps.astype(np.float32) / np.float32(255 * STEPS)


def _shown(pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Pixels as an image file holds them: clamped, in steps of 1/255."""
    return np.round(255 * pixels.clip(0, 1)).astype(np.float32) / np.float32(255)


def _mean(error: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    mean: npt.NDArray[np.float64] = error.mean((0, 1), dtype=np.float64)
    return mean
