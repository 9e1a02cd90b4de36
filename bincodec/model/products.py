"""The linear maps of the integer network: by which library routine, and how a wrong result is noticed.

Arrays are (B, h, w, channels); weights are integers in any dtype that holds them and their sums exactly.
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
        """3x3, from context (B, h, w, inputs) and weights (outputs, inputs, 3, 3), before the bias."""

    def depthwise(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """5x5 in each channel, weights (channels, 1, 5, 5)."""

    def pointwise(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """1x1 of (..., inputs), weights (outputs, inputs)."""


class ShiftedProducts:
    """Shifts and multiplications: no convolution that a library could turn into Winograd's or Fourier's."""

    def stem(self, context: Tensor, weight: Tensor) -> Tensor:
        """As `Products.stem`."""
        sums = context.new_zeros(context[..., 0].numel(), len(weight))
        for part, tap in zip(_shifted(context, 3), weight.flatten(2).unbind(2), strict=True):
            torch.addmm(sums, part.flatten(0, 2), tap.T, out=sums)
        return sums.view(*context.shape[:3], -1)

    def depthwise(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """As `Products.depthwise`."""
        total = bias
        for part, tap in zip(_shifted(x, 5), weight.flatten(1).unbind(1), strict=True):
            total = total + part * tap
        return total

    def pointwise(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """As `Products.pointwise`."""
        return functional.linear(x, weight, bias)


class DirectProducts(ShiftedProducts):
    """The library's own convolutions, which choose their algorithms by the shape of what they are given."""

    def stem(self, context: Tensor, weight: Tensor) -> Tensor:
        """As `Products.stem`."""
        return functional.conv2d(context.permute(0, 3, 1, 2), weight, padding=1).permute(0, 2, 3, 1)

    def depthwise(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """As `Products.depthwise`."""
        channels = len(weight)
        convolved = functional.conv2d(x.permute(0, 3, 1, 2), weight, bias, padding=2, groups=channels)
        return convolved.permute(0, 2, 3, 1)


class CheckedProducts:
    """Other products, with every result checked in int64; `exact` stays True while all of them were right.

    To compute a product C = X W again would take as long as slow arithmetic takes. But C r = X (W r) for any
    vector r, which needs no product of matrices (Freivalds 1977). r holds one of 65,536 integers for each
    output, so a wrong row escapes about once in as many trials.
    """

    def __init__(self, products: Products) -> None:
        self._products = products
        self.exact = True

    def stem(self, context: Tensor, weight: Tensor) -> Tensor:
        """As `Products.stem`."""
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
        """As `Products.depthwise`; every number is computed again, in int32, which holds these sums."""
        result = self._products.depthwise(x, weight, bias)
        whole, taps, start = (part.to("cpu", torch.int32) for part in (x, weight, bias))
        expected = start.expand(whole.shape).clone()
        for part, tap in zip(_shifted(whole, 5), taps.flatten(1).unbind(1), strict=True):
            expected.addcmul_(part, tap)
        self._compare(result.to("cpu", torch.int32), expected, result)
        return result

    def pointwise(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """As `Products.pointwise`."""
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
    """The size*size neighbours of every position of (B, h, w, c), zero outside, in the order of a kernel's
    weights."""
    height, width = x.shape[1:3]
    padded = functional.pad(x, (0, 0, size // 2, size // 2, size // 2, size // 2))
    for row in range(size):
        for column in range(size):
            yield padded[:, row : row + height, column : column + width]


def _integers(result: Tensor) -> Tensor:
    return result.to("cpu", torch.int64)


def _probe(size: int) -> Tensor:
    """Fixed integers in -2^15..2^15 - 1 without a pattern, int64 (size,)."""
    mixed = (torch.arange(1, size + 1, dtype=torch.int64, device="cpu") * 2654435761) % 2**32
    return (mixed ^ (mixed >> 15)) % (2 * _PROBE_LIMIT) - _PROBE_LIMIT


def float32_is_faithful(device: torch.device, *, convolution: bool) -> bool:
    """Whether this program lets float32 products be float32: the settings for TF32 and bfloat16 are global.

    They are read before each use, and never changed here: other threads rely on them. A switch that this
    version of the library does not have, or a value that is not known, counts as unsafe.
    """
    backends: Any = torch.backends
    if device.type == "cuda":
        places, more = [backends, backends.cuda.matmul], [backends.cudnn, backends.cudnn.conv]
    else:
        places, more = [backends, backends.mkldnn, backends.mkldnn.matmul], [backends.mkldnn.conv]
    if convolution:
        places += more
    return all(getattr(place, "fp32_precision", "unknown") in ("none", "ieee") for place in places)
