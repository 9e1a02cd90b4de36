"""The correction: one filter for the whole picture, fitted by the encoder to the original.

A decoder that was trained on many photos is off by a little on each: a colour cast, too little contrast, a
little too soft or too sharp. The encoder sees the original, so it fits

    corrected_c = a_c + offset_c + sum_nd curve_cnd P_n(2 a_d - 1) / 2
                      + sum_k tap_ck (a_c(x + k) + a_c(x - k) - 2 a_c(x))

by least squares, a the decoded picture clamped to 0..1, channels c and d, P_n the Legendre polynomials of
degree 1 to 5, k over half of the 3x3 or 5x5 neighbours; and sends what is worth its bytes in an ancillary
chunk (FORMAT, type 0x81).
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from bincodec.bitstream.container import CHUNK_OVERHEAD, Ancillary
from bincodec.bitstream.errors import Corrupt

KIND = 0x81
OFFSET_STEPS = 64
"""Offsets are in 1/64 of a level of 0..255."""
WEIGHT_STEPS = 256
"""Weights of curves and taps are in 1/256."""
WORTHWHILE_SHARE = 0.25
"""Share of the squared error that offsets alone must remove to be sent whatever their bytes cost."""

DEGREES = 5
NEAR = ((0, 1), (1, -1), (1, 0), (1, 1))
FAR = ((0, 2), (1, -2), (1, 2), (2, -2), (2, -1), (2, 0), (2, 1), (2, 2))
_CURVES = tuple(tuple(range(3 * n, 3 * n + 3)) for n in range(DEGREES))
_NEAR = tuple(range(3 * DEGREES, 3 * DEGREES + len(NEAR)))
_FAR = tuple(range(_NEAR[-1] + 1, _NEAR[-1] + 1 + len(FAR)))
ORDER = (*_CURVES[0], *_CURVES[1], *_CURVES[2], *_NEAR, *_CURVES[3], *_CURVES[4], *_FAR)
"""Weights of a channel (curves by degree, near taps, far taps), the ones worth most for their bytes first."""
TOLD = (0, 3, 6, 9, 13, 16, 19, 27)
"""How many of them a payload may hold for each channel."""
_REACH = 2
_OFFSETS = struct.Struct("<3h")
_LENGTHS = tuple(_OFFSETS.size + 3 * told for told in TOLD)
_MOST_PIXELS, _STRIP = 2**22, 2**14
_USUAL = 0.1
"""How large weights usually are: the ridge that keeps them from following noise."""


@dataclasses.dataclass(frozen=True)
class Correction:
    """Offsets (3,) in 1/64 level, and weights (3, told) in 1/256: the first of `ORDER` for each channel."""

    offsets: npt.NDArray[np.int64]
    weights: npt.NDArray[np.int64]

    def payload(self) -> bytes:
        """What the chunk holds: the offsets, then the weights in bytes, channel by channel."""
        return _OFFSETS.pack(*self.offsets.tolist()) + self.weights.astype(np.int8).tobytes()


def read(ancillary: tuple[Ancillary, ...]) -> Correction | None:
    """The correction among a file's ancillary chunks, if there is one.

    Raises:
        Corrupt: if there are several, or one of a length that none has.
    """
    payloads = [chunk.payload for chunk in ancillary if chunk.kind == KIND]
    if not payloads:
        return None
    if len(payloads) > 1 or len(payloads[0]) not in _LENGTHS:
        known = ", ".join(str(length) for length in _LENGTHS)
        msg = f"correction: {len(payloads)} chunks, the first of {len(payloads[0])} bytes, not one of {known}"
        raise Corrupt(msg)
    offsets = np.array(_OFFSETS.unpack_from(payloads[0]), np.int64)
    weights = np.frombuffer(payloads[0], np.int8, offset=_OFFSETS.size).astype(np.int64)
    return Correction(offsets, weights.reshape(3, -1))


@torch.inference_mode()
def corrected(decoded: npt.NDArray[np.float32], correction: Correction | None) -> npt.NDArray[np.float32]:
    """Pixels (H, W, 3), nominally in 0..1, with the correction applied; unchanged if there is none."""
    if correction is None:
        return decoded
    offsets = torch.from_numpy(correction.offsets).float() / (255 * OFFSET_STEPS)
    weights = torch.zeros(3, len(ORDER))
    told = correction.weights.shape[1]
    weights[:, ORDER[:told]] = torch.from_numpy(correction.weights).float() / WEIGHT_STEPS
    kernel, result = _kernel(weights), np.empty_like(decoded)
    for top, part in _strips(decoded):
        shown = functional.conv2d(part[None], kernel, offsets, groups=3)[0]
        for curve, feature in zip(_CURVES, _curves(_shifted(part, 0, 0)), strict=True):
            if weights[:, curve].any():
                shown += torch.einsum("cd,dhw->chw", weights[:, curve], feature)
        result[top : top + shown.shape[1]] = shown.permute(1, 2, 0).numpy()
    return result


def measure(
    original: npt.NDArray[np.uint8], decoded: npt.NDArray[np.float32], error_weight: float
) -> tuple[Ancillary, ...]:
    """The chunk that corrects `decoded` (H, W, 3) towards `original`, if it is worth sending.

    `error_weight` is what a squared error of 1, summed over pixels and channels, is worth in bits.
    """
    moments = _moments(original, decoded)
    if not np.isfinite(moments.products).all() or not np.isfinite(moments.errors).all():
        return ()
    nothing = float(moments.squared.sum())
    best, lowest = None, error_weight * nothing
    for told in TOLD:
        found, error = moments.fit(told)
        cost = 8 * (CHUNK_OVERHEAD + len(found.payload())) + error_weight * error
        seen = np.abs(found.offsets).max() >= OFFSET_STEPS / 2
        cast = told == 0 and seen and error < (1 - WORTHWHILE_SHARE) * nothing
        if cost < lowest or cast:
            best, lowest = found, min(cost, lowest)
    if best is None or not (best.offsets.any() or best.weights.any()):
        return ()
    return (Ancillary(KIND, best.payload()),)


def _curves(image: Tensor) -> Iterator[Tensor]:
    """P_n(2 a - 1) / 2 of a picture (3, H, W) for n from 1, one after the other: each is as large as it."""
    x = 2 * image - 1
    before, now = torch.ones_like(x), x
    for n in range(1, DEGREES + 1):
        yield now / 2
        before, now = now, ((2 * n + 1) * x * now - n * before) / (n + 1)


def _kernel(weights: Tensor) -> Tensor:
    """The picture and the taps on its neighbours as a convolution of each channel, (3, 1, 5, 5)."""
    side = 2 * _REACH + 1
    kernel = torch.zeros(3, 1, side, side)
    own = kernel[:, 0]
    own[:, _REACH, _REACH] = 1
    for index, (down, right) in zip((*_NEAR, *_FAR), (*NEAR, *FAR), strict=True):
        own[:, _REACH + down, _REACH + right] += weights[:, index]
        own[:, _REACH - down, _REACH - right] += weights[:, index]
        own[:, _REACH, _REACH] -= 2 * weights[:, index]
    return kernel


@dataclasses.dataclass(frozen=True)
class _Moments:
    """Of each channel, over pixels: x x^T (3, n, n), x e (3, n), e^2 (3,), for the error e and what it is
    fitted with, x: what the weights of `ORDER` multiply, and 1 as the last."""

    products: npt.NDArray[np.float64]
    errors: npt.NDArray[np.float64]
    squared: npt.NDArray[np.float64]
    pixels: int

    def error(self, weights: npt.NDArray[np.float64]) -> float:
        """The squared error that `weights` (3, n) leave."""
        left = self.squared - 2 * (weights * self.errors).sum(1)
        left += np.einsum("ci,cij,cj->c", weights, self.products, weights)
        return float(left.clip(0).sum())

    def fit(self, told: int) -> tuple[Correction, float]:
        """The best correction with `told` weights a channel, as stored, and the error that it leaves."""
        size = self.errors.shape[1]
        some = [*range(told), size - 1]
        ridge = (self.squared / self.pixels + 1e-9) / _USUAL**2
        products = self.products[:, some][:, :, some] + ridge[:, None, None] * np.eye(len(some))
        left = self.errors[:, some]
        stored = np.zeros((3, told))
        # One after the other: what rounding did to a weight is made up for by those that come later.
        for index in range(told):
            free = np.linalg.solve(products[:, index:, index:], left[:, index:, None])[:, 0, 0]
            stored[:, index] = np.round(WEIGHT_STEPS * free).clip(-128, 127)
            left = left - products[:, :, index] * stored[:, index : index + 1] / WEIGHT_STEPS
        steps = np.round(255 * OFFSET_STEPS * left[:, -1] / products[:, -1, -1])
        steps = steps.clip(-(2**15) + 1, 2**15 - 1)
        weights = np.zeros((3, size))
        weights[:, :told] = stored / WEIGHT_STEPS
        weights[:, -1] = steps / (255 * OFFSET_STEPS)
        return Correction(steps.astype(np.int64), stored.astype(np.int64)), self.error(weights)


@torch.inference_mode()
def _moments(original: npt.NDArray[np.uint8], decoded: npt.NDArray[np.float32]) -> _Moments:
    """Moments over the picture, or over evenly spread strips of a large one."""
    height, width = original.shape[:2]
    size, used = len(ORDER) + 1, 0
    products, errors = np.zeros((3, size, size)), np.zeros((3, size))
    squared = np.zeros(3)
    for top, part in _strips(decoded, every=max(1, round(height * width / _MOST_PIXELS))):
        here = _shifted(part, 0, 0)
        target = torch.from_numpy(original[top : top + here.shape[1]]).permute(2, 0, 1).float() / 255
        # In float64: on flat and grey pictures the columns say nearly the same.
        read, error = _read(part).double(), (target - here).flatten(1).double()
        used += error.shape[1]
        products += (read @ read.mT).numpy()
        errors += (read @ error[..., None])[..., 0].numpy()
        squared += error.square().sum(1).numpy()
    share = height * width / used
    return _Moments(share * products, share * errors, share * squared, height * width)


def _strips(decoded: npt.NDArray[np.float32], every: int = 1) -> Iterator[tuple[int, Tensor]]:
    """One strip in `every` of a picture (H, W, 3): its first row, and (3, rows, columns) clamped to 0..1 with
    the neighbours around it. What lies outside the picture repeats its border."""
    height, width = decoded.shape[:2]
    rows = max(1, _STRIP // width)
    # An odd number of rows further on: the decoder's errors differ by the row of its 8x8 patches.
    for top in range(0, height, rows if every == 1 else rows * every | 1):
        inside = np.arange(top - _REACH, min(top + rows, height) + _REACH).clip(0, height - 1)
        part = torch.from_numpy(decoded[inside]).permute(2, 0, 1).clamp(0, 1)
        yield top, functional.pad(part, (_REACH, _REACH, 0, 0), mode="replicate")


def _read(part: Tensor) -> Tensor:
    """What each channel's error is fitted with, (3, n, pixels), in a part of the padded picture."""
    here = _shifted(part, 0, 0)
    curves = torch.cat(list(_curves(here))).flatten(1).expand(3, -1, -1)
    taps = [_shifted(part, *k) + _shifted(part, -k[0], -k[1]) - 2 * here for k in (*NEAR, *FAR)]
    every = torch.cat([curves, torch.stack(taps, 1).flatten(2)], 1)
    return functional.pad(every[:, ORDER], (0, 0, 0, 1), value=1.0)


def _shifted(part: Tensor, down: int, right: int) -> Tensor:
    height, width = (side - 2 * _REACH for side in part.shape[1:])
    return part[:, _REACH + down : _REACH + down + height, _REACH + right : _REACH + right + width]
