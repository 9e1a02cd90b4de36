"""Compute the linear maps of the integer network with different library routines, and check the results.

Arrays are (B, h, w, channels). Weights are integers in any dtype that holds them and their sums exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

_PROBE_LIMIT = 2**15


class Products(Protocol):
    """A way to compute the three kinds of linear map."""

    def stem(self, context: Tensor, weight: Tensor) -> Tensor:
        """Return the 3x3 convolution of context (B, h, w, inputs), without a bias.

        `weight` is (outputs, inputs, 3, 3).
        """

    def depthwise(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return the depthwise 5x5 convolution of `x` plus `bias`. `weight` is (channels, 1, 5, 5)."""

    def pointwise(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return the 1x1 convolution of `x` (..., inputs) plus `bias`. `weight` is (outputs, inputs)."""


class ShiftedProducts:
    """Convolve by shifting and multiplying. A library cannot replace this by Winograd or Fourier methods."""

    def stem(self, context: Tensor, weight: Tensor) -> Tensor:
        """Compute `Products.stem`."""
        sums = context.new_zeros(context[..., 0].numel(), len(weight))
        for part, tap in zip(_shifted(context, 3), weight.flatten(2).unbind(2), strict=True):
            torch.addmm(sums, part.flatten(0, 2), tap.T, out=sums)
        return sums.view(*context.shape[:3], -1)

    def depthwise(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Compute `Products.depthwise`."""
        total = bias
        for part, tap in zip(_shifted(x, 5), weight.flatten(1).unbind(1), strict=True):
            total = total + part * tap
        return total

    def pointwise(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Compute `Products.pointwise`."""
        return functional.linear(x, weight, bias)


class DirectProducts(ShiftedProducts):
    """Use the library's own convolutions. The library chooses their algorithms by the shape of the input."""

    def stem(self, context: Tensor, weight: Tensor) -> Tensor:
        """Compute `Products.stem`."""
        return functional.conv2d(context.permute(0, 3, 1, 2), weight, padding=1).permute(0, 2, 3, 1)

    def depthwise(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Compute `Products.depthwise`."""
        channels = len(weight)
        convolved = functional.conv2d(x.permute(0, 3, 1, 2), weight, bias, padding=2, groups=channels)
        return convolved.permute(0, 2, 3, 1)


class CheckedProducts:
    """Compute other products and check every result in int64. `exact` is True as long as all were right.

    Computing a product C = X W again in int64 would be slow. But C r = X (W r) holds for any vector r, and
    this needs no product of two matrices (Freivalds 1977). r holds one of 65,536 integers for each output, so
    a wrong row goes unnoticed about once in 65,536 cases.
    """

    def __init__(self, products: Products) -> None:
        self._products = products
        self.exact = True

    def stem(self, context: Tensor, weight: Tensor) -> Tensor:
        """Compute `Products.stem`."""
        result = self._products.stem(context, weight)
        probe = _probe(len(weight))
        taps = (weight.to("cpu", torch.int64) * probe[:, None, None, None]).sum(0).flatten(1).unbind(1)
        whole = context.to("cpu", torch.int64)
        expected = torch.zeros_like(whole[..., 0])
        for part, tap in zip(_shifted(whole, 3), taps, strict=True):
            expected = expected + part @ tap
        self._compare(_integers(result) @ probe, expected, result)
        return result

    def depthwise(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Compute `Products.depthwise`. Every number is computed again in int32, which holds these sums."""
        result = self._products.depthwise(x, weight, bias)
        whole, taps, start = (part.to("cpu", torch.int32) for part in (x, weight, bias))
        expected = start.expand(whole.shape).clone()
        for part, tap in zip(_shifted(whole, 5), taps.flatten(1).unbind(1), strict=True):
            expected.addcmul_(part, tap)
        self._compare(result.to("cpu", torch.int32), expected, result)
        return result

    def pointwise(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Compute `Products.pointwise`."""
        result = self._products.pointwise(x, weight, bias)
        probe = _probe(len(weight))
        row = probe @ weight.to("cpu", torch.int64)
        expected = x.to("cpu", torch.int64) @ row
        if bias is not None:
            expected = expected + bias.to("cpu", torch.int64) @ probe
        self._compare(_integers(result) @ probe, expected, result)
        return result

    def _compare(self, found: Tensor, expected: Tensor, result: Tensor) -> None:
        whole = not result.is_floating_point() or torch.equal(result, result.round())
        self.exact = self.exact and whole and torch.equal(found, expected)


def _shifted(x: Tensor, size: int) -> Iterator[Tensor]:
    """Yield the size * size shifted copies of (B, h, w, c), in the order of a kernel's weights.

    They hold the neighbours of every position. Values outside are zero.
    """
    height, width = x.shape[1:3]
    padded = functional.pad(x, (0, 0, size // 2, size // 2, size // 2, size // 2))
    for row in range(size):
        for column in range(size):
            yield padded[:, row : row + height, column : column + width]


def _integers(result: Tensor) -> Tensor:
    return result.to("cpu", torch.int64)


def _probe(size: int) -> Tensor:
    """Return fixed pseudo-random integers in -2^15..2^15 - 1, int64 (size,)."""
    mixed = (torch.arange(1, size + 1, dtype=torch.int64, device="cpu") * 2654435761) % 2**32
    return (mixed ^ (mixed >> 15)) % (2 * _PROBE_LIMIT) - _PROBE_LIMIT


def float32_is_faithful(device: torch.device, *, convolution: bool) -> bool:
    """Return whether float32 products are computed in float32, and not in TF32 or bfloat16.

    The settings for this are global to the program. They are read before each use and never changed, because
    other threads rely on them. If this version of PyTorch lacks a setting, or a setting has an unknown value,
    the answer is False.
    """
    backends: Any = torch.backends
    if device.type == "cuda":
        places, more = [backends, backends.cuda.matmul], [backends.cudnn, backends.cudnn.conv]
    else:
        places, more = [backends, backends.mkldnn, backends.mkldnn.matmul], [backends.mkldnn.conv]
    if convolution:
        places += more
    return all(getattr(place, "fp32_precision", "unknown") in ("none", "ieee") for place in places)
