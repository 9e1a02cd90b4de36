"""The exact integers on a device, through a kernel that is proven there (DESIGN §5).

`bincodec.model.integer` says what is computed; here is how: which library routine, in which carrier, and how
a wrong one is noticed before it decides a probability.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from bincodec.errors import Unsupported
from bincodec.model.architecture import QUALITIES, Architecture
from bincodec.model.integer import (
    KEEP_KNOWN,
    IntegerNetwork,
    Layer,
    check_bounds,
    context_bits,
    context_from,
    head,
    keep_shown,
    largest_context,
    mu_limits,
    stem_sums,
    stream,
)

Kernel = Literal["auto", "conv", "matmul", "float64", "int64"]

_REMEMBERED_POSITIONS = 2**16
"""Of a picture of 4096 x 4096 pixels: 100 MB."""


class Stem(Protocol):
    """A way to compute `stem_sums`."""

    def __call__(self, context: Tensor, weight: Tensor, *, direct: bool) -> Tensor:
        """The sums (B, h, w, width) over context (B, h, w, channels)."""


class IntegerPrior:
    """A checked network on a device, with the kernel that its self-test chose. Threads may share it.

    The kernels: "conv" is the library's direct convolution, "matmul" shifts and multiplies (no convolution
    that could turn into Winograd or FFT), "float64" and "int64" the same in wider carriers. "auto" takes the
    first that is exact on this device. On a CUDA device that is never "conv": cuDNN picks algorithms itself.
    """

    def __init__(
        self,
        architecture: Architecture,
        network: IntegerNetwork,
        device: str = "cpu",
        kernel: Kernel = "auto",
    ) -> None:
        check_bounds(architecture, network)
        self.architecture = architecture
        self.device = torch.device(device)
        self._limits = mu_limits(architecture).to(self.device)
        self.largest = largest_context(architecture).to(self.device)
        """How large each of the stem's inputs can be."""
        self._canonical = network.to(torch.int64, torch.device("cpu"))
        self._carriers: dict[torch.dtype, IntegerNetwork] = {}
        self._direct_is_exact: dict[tuple[int, int], bool] = {}
        self.kernel: Kernel = self._choose() if kernel == "auto" else kernel
        self.asked_for: Kernel = kernel

    def with_kernel(self, kernel: Kernel) -> IntegerPrior:
        """The same prior through another kernel."""
        return IntegerPrior(self.architecture, self._canonical, str(self.device), kernel)

    @property
    def network(self) -> IntegerNetwork:
        """The canonical integers, as int64 on the CPU."""
        return self._canonical

    def incremental(self) -> Incremental:
        """The same prior, for a run of questions each of which is much like the one before."""
        return Incremental(self)

    @torch.inference_mode()
    def predict(
        self,
        context: Tensor,
        quality: int,
        layer: int | None,
        positions: Tensor,
        label: int = 0,
        *,
        stem: Stem = stem_sums,
    ) -> tuple[Tensor, Tensor]:
        """mu and scale index, int32 (channels of `layer`, positions), at the flat position indices
        `positions`.

        With no layer, of all channels. `label` is the number of a class from 1; files are coded with 0, none.

        `context` is (h, w, channels + layers) from `context_from` and `keep_shown`, in any dtype that holds
        the integers. `stem` computes what `stem_sums` does.
        """
        kernel = self._kernel_for(context.shape[0], context.shape[1])
        network = self._carried(kernel)
        carried = context.to(self.device, network.stem.weight.dtype, copy=True)[None]
        at = torch.tensor([quality], device=self.device)
        with torch.autocast(self.device.type, enabled=False):
            told = torch.tensor([label], device=self.device)
            sums = stem(carried, network.stem.weight, direct=kernel == "conv")
            x = stream(network, sums, at, told, direct=kernel == "conv")
            rows = x.reshape(-1, x.shape[-1])[positions.to(self.device)]
            part = self._head_part(network, layer, quality, label)
            limit = self._limits[self.architecture.channels_of(layer)]
            mu, scale = head(part, rows, part.bias, limit)
        return mu.T.to("cpu", torch.int32), scale.T.to("cpu", torch.int32)

    def _kernel_for(self, height: int, width: int) -> Kernel:
        """The kernel for a grid of this shape: the chosen one, unless it would not be exact here and now."""
        if self.kernel in ("conv", "matmul") and not float32_is_faithful(self.device, self.kernel):
            return "float64"
        if self.kernel == "conv" and self.asked_for == "auto":
            # Libraries choose their algorithms by shape: try each shape once, against shift and multiply.
            shape = (height, width)
            if shape not in self._direct_is_exact:
                self._direct_is_exact[shape] = self.self_test("conv", height, width, reference="matmul")
            return "conv" if self._direct_is_exact[shape] else "matmul"
        return self.kernel

    def _head_part(self, network: IntegerNetwork, layer: int | None, quality: int, label: int) -> Layer:
        """The rows of the head for mu and scale of one layer's channels at one quality, for one class."""
        full, bias = network.head, network.head.bias[quality]
        if network.classes is not None:
            bias = bias + network.classes[1][label]
        if layer is None:
            return Layer(full.weight, bias, full.shift)
        part, channels = self.architecture.channels_of(layer), self.architecture.channels
        index = torch.cat([torch.arange(channels)[part], channels + torch.arange(channels)[part]]).to(
            self.device
        )
        return Layer(full.weight[index], bias[index], full.shift[index])

    def _carried(self, kernel: Kernel) -> IntegerNetwork:
        dtype = {"float64": torch.float64, "int64": torch.int64}.get(kernel, torch.float32)
        if dtype not in self._carriers:
            self._carriers[dtype] = self._canonical.to(dtype, self.device)
        return self._carriers[dtype]

    def _choose(self) -> Kernel:
        """The fastest kernel whose answer to saturated inputs equals int64's."""
        candidates: tuple[Kernel, ...] = ("conv", "matmul", "float64")
        for kernel in candidates[self.device.type == "cuda" :]:
            if self.self_test(kernel):
                return kernel
        msg = f"no kernel computes exact integers on device {str(self.device)!r}"
        raise Unsupported(msg)

    @torch.inference_mode()
    def self_test(
        self, kernel: Kernel, height: int = 9, width: int = 11, *, reference: Kernel = "int64"
    ) -> bool:
        """Whether `kernel` gives the integers of `reference` on saturated inputs of a grid of this shape."""
        context = _saturated_context(self.architecture, height, width)[None]
        expected = self._stream(reference, context)
        return torch.equal(self._stream(kernel, context), expected)

    def _stream(self, kernel: Kernel, context: Tensor) -> Tensor:
        """The head's input through `kernel`, at the highest quality, as int64 on the CPU."""
        network = self._carried(kernel)
        at = torch.tensor([QUALITIES - 1], device=self.device)
        with torch.autocast(self.device.type, enabled=False):
            carried = context.to(self.device, network.stem.weight.dtype)
            sums = stem_sums(carried, network.stem.weight, direct=kernel == "conv")
            return stream(network, sums, at, direct=kernel == "conv").to("cpu", torch.int64)


class Incremental:
    """A prior that remembers the stem's sums over what it was asked last, for as long as this object lives.

    From one pass of the coding order to the next one layer changes, and sums are linear: only its channels
    are added. They are multiplied, not convolved: no library chooses an algorithm by how many there are. A
    change is no larger than context itself may be, so `check_bounds` holds for it too. One thread at a time.
    """

    def __init__(self, prior: IntegerPrior) -> None:
        self._prior = prior
        self._last: tuple[Tensor, Tensor] | None = None
        """Context and its sums."""

    @property
    def architecture(self) -> Architecture:
        """The prior's."""
        return self._prior.architecture

    def incremental(self) -> Incremental:
        """Another one, that remembers nothing."""
        return Incremental(self._prior)

    def predict(
        self, context: Tensor, quality: int, layer: int | None, positions: Tensor, label: int = 0
    ) -> tuple[Tensor, Tensor]:
        """As `IntegerPrior.predict`."""
        return self._prior.predict(context, quality, layer, positions, label, stem=self._stem)

    def _stem(self, context: Tensor, weight: Tensor, *, direct: bool) -> Tensor:
        """`stem_sums` of context (1, h, w, channels)."""
        sums = self._changed(context, weight)
        if sums is None:
            sums = stem_sums(context, weight, direct=direct)
        if context.shape[1] * context.shape[2] <= _REMEMBERED_POSITIONS:
            self._last = context, sums
        return sums

    def _changed(self, context: Tensor, weight: Tensor) -> Tensor | None:
        """The last sums with what has changed since added, if that is exact and worth while."""
        if self._last is None:
            return None
        before, sums = self._last
        if before.shape != context.shape or before.dtype != context.dtype:
            return None
        change = context - before
        size = change.abs().flatten(0, 2).amax(0)
        channels = size.nonzero()[:, 0]
        if len(channels) == 0:
            return sums
        if 2 * len(channels) > len(size) or (size > self._prior.largest.to(size)).any():
            return None
        return sums + stem_sums(change[..., channels], weight[:, channels], direct=False)


def float32_is_faithful(device: torch.device, kernel: Kernel) -> bool:
    """Whether this program lets float32 products be float32: the settings for TF32 and bfloat16 are global.

    They are read before each use, and never changed here: other threads rely on them.
    """
    backends: Any = torch.backends
    if device.type == "cuda":
        places, convolution = [backends, backends.cuda.matmul], [backends.cudnn, backends.cudnn.conv]
    else:
        places, convolution = [backends, backends.mkldnn, backends.mkldnn.matmul], [backends.mkldnn.conv]
    if kernel == "conv":
        places += convolution
    return all(getattr(place, "fp32_precision", "none") in ("none", "ieee") for place in places)


def _saturated_context(architecture: Architecture, height: int, width: int) -> Tensor:
    """Extreme levels of both signs in a fixed pattern, everything known: (h, w, channels + layers) int64."""
    channels = architecture.channels + architecture.layers
    index = torch.arange(height * width * channels).reshape(height, width, channels)
    sign = torch.where((index * 2654435761 >> 7) % 3 == 0, -1, 1)
    levels = torch.repeat_interleave(
        torch.tensor(architecture.maximum_level), torch.tensor(architecture.layer_channels)
    )
    known = torch.full((height, width, architecture.layers), KEEP_KNOWN)
    bits, sign = context_bits(architecture), sign[..., : architecture.channels]
    return torch.cat(
        [context_from(sign * levels, torch.tensor(KEEP_KNOWN), bits), keep_shown(known, bits)], -1
    )
