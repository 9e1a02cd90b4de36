"""Compute the exact integers on a device, with a kernel that was tested there (DESIGN §5).

`bincodec.model.integer` defines what is computed. This module decides how: with which products, in which
dtype, and how a wrong result is noticed before it can decide a probability.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from bincodec.arguments import checked_choice
from bincodec.errors import Unsupported
from bincodec.model.architecture import QUALITIES, Architecture
from bincodec.model.integer import (
    IntegerNetwork,
    Layer,
    check_bounds,
    head,
    largest_context,
    mixed,
    mu_limits,
    stream,
)
from bincodec.model.products import (
    CheckedProducts,
    DirectProducts,
    Products,
    ShiftedProducts,
    float32_is_faithful,
)
from bincodec.model.saturation import inputs_of, pass_sizes, saturated_context

Kernel = Literal["auto", "conv", "matmul", "float64", "int64"]
Stem = Callable[[Products, Tensor, Tensor], Tensor]
"""A function that returns the stem's sums, given products, a context (B, h, w, inputs) and weights."""

_PREFERRED: tuple[Kernel, ...] = ("conv", "matmul")
_SAFEST: Kernel = "float64"
_DTYPES = {"conv": torch.float32, "matmul": torch.float32, "float64": torch.float64, "int64": torch.int64}
KERNELS = ("auto", *_DTYPES)
_SMALL_GRID = (9, 11)
_REMEMBERED_POSITIONS = 2**16
"""The largest grid that is remembered: that of 4096 x 4096 pixels, which takes about 100 MB."""


def _whole_stem(products: Products, context: Tensor, weight: Tensor) -> Tensor:
    return products.stem(context, weight)


class IntegerPrior:
    """A checked network on a device, with the kernel that its self-test chose. Threads may share it.

    The kernel "conv" uses the library's convolutions. "matmul" shifts and multiplies, so no library can
    replace the convolution by Winograd or Fourier methods. "float64" and "int64" do the same in wider dtypes.
    "auto" takes the first kernel that is exact on the device. It never takes "conv" on a CUDA device, because
    cuDNN chooses its algorithms itself.
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
        """The largest magnitude of each input of the stem."""
        self._canonical = network.to(torch.int64, torch.device("cpu"))
        self._networks: dict[torch.dtype, IntegerNetwork] = {}
        self._exact_shapes: dict[tuple[Kernel, int, int, int], bool] = {}
        self._tests_shapes = True
        checked_choice("kernel", kernel, KERNELS)
        self.kernel: Kernel = self._choose() if kernel == "auto" else kernel
        self.asked_for: Kernel = kernel

    def with_kernel(self, kernel: Kernel) -> IntegerPrior:
        """Return the same prior with another kernel. It remembers nothing."""
        return IntegerPrior(self.architecture, self._canonical, str(self.device), kernel)

    def fresh(self) -> IntegerPrior:
        """Return the same prior as another process would load it. It remembers nothing."""
        return self.with_kernel(self.asked_for)

    def untested(self) -> IntegerPrior:
        """Return the same prior without a self-test for each shape. A reader uses it, as it has checksums.

        The file determines the shapes of its tiles, and testing a shape takes longer than reading a tile.
        """
        result = copy.copy(self)
        result._tests_shapes = False
        return result

    @property
    def network(self) -> IntegerNetwork:
        """The canonical integers, as int64 on the CPU."""
        return self._canonical

    def incremental(self) -> Incremental:
        """Return the same prior for a sequence of calls in which the context changes little."""
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
        skipped: int | None = None,
        stem: Stem = _whole_stem,
    ) -> tuple[Tensor, Tensor]:
        """Return mu and scale indices, each int32 (channels of `layer`, positions).

        Args:
            context: (h, w, channels + layers) from `context_from` and `keep_shown`, in any dtype that holds
                the integers.
            quality: 0..100.
            layer: the layer whose channels are predicted, or None for all channels.
            positions: flat indices of positions.
            label: the number of a class, from 1, or 0 for no class. Files are coded with 0.
            skipped: the index of a block to leave out, except the last. Files are coded with all blocks.
            stem: the function that computes the stem's sums.
        """
        kernel = self._kernel_for(context.shape[0], context.shape[1])
        products, network = _products_of(kernel), self._network(kernel)
        with torch.autocast(self.device.type, enabled=False):
            shown = context.to(self.device, network.stem.weight.dtype, copy=True)[None]
            sums = stem(products, shown, network.stem.weight)
            rows = self._stream(products, network, sums, quality, label, positions.to(self.device), skipped)
            mu, scale = self._head(products, network, rows, quality, layer, label)
        return mu.T.to("cpu", torch.int32), scale.T.to("cpu", torch.int32)

    def _stream(
        self,
        products: Products,
        network: IntegerNetwork,
        sums: Tensor,
        quality: int,
        label: int = 0,
        positions: Tensor | None = None,
        skipped: int | None = None,
    ) -> Tensor:
        qualities, labels = (torch.tensor([one], device=self.device) for one in (quality, label))
        return stream(
            network, sums, qualities, labels, products=products, positions=positions, skipped=skipped
        )

    def _head(
        self,
        products: Products,
        network: IntegerNetwork,
        rows: Tensor,
        quality: int,
        layer: int | None,
        label: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """Return mu and scale, (rows, channels of `layer`), given rows of the head's input."""
        part = self._head_part(network, layer, quality, label)
        limit = self._limits[self.architecture.channels_of(layer)]
        return head(part, rows, part.bias, limit, products=products)

    def _head_part(self, network: IntegerNetwork, layer: int | None, quality: int, label: int) -> Layer:
        """Return the head for mu and scale of one layer's channels, at one quality and for one class."""
        full, bias = network.head, network.head.bias[quality]
        if network.classes is not None:
            bias = bias + network.classes[1][label]
        if layer is None:
            return Layer(full.weight, bias, full.shift)
        channels = torch.arange(self.architecture.channels)
        part = channels[self.architecture.channels_of(layer)]
        index = torch.cat([part, len(channels) + part]).to(self.device)
        return Layer(full.weight[index], bias[index], full.shift[index])

    def _network(self, kernel: Kernel) -> IntegerNetwork:
        dtype = _DTYPES[kernel]
        if dtype not in self._networks:
            self._networks[dtype] = self._canonical.to(dtype, self.device)
        return self._networks[dtype]

    def _choose(self) -> Kernel:
        """Return the fastest kernel that is exact, and that agrees with int64 on saturated inputs."""
        context = saturated_context(self.architecture, *_SMALL_GRID)
        everywhere = torch.arange(context.shape[0] * context.shape[1])
        reference = IntegerPrior(self.architecture, self._canonical, "cpu", "int64")
        expected = reference.predict(context, QUALITIES - 1, None, everywhere)
        candidates = _PREFERRED[1:] if self.device.type == "cuda" else _PREFERRED
        for kernel in (*candidates, _SAFEST):
            tried = IntegerPrior(self.architecture, self._canonical, str(self.device), kernel)
            found = tried.predict(context, QUALITIES - 1, None, everywhere)
            if self.is_exact(kernel, *_SMALL_GRID) and all(map(torch.equal, found, expected)):
                return kernel
        msg = f"no kernel computes exact integers on device {str(self.device)!r}"
        raise Unsupported(msg)

    def _kernel_for(self, height: int, width: int) -> Kernel:
        """Return the kernel for a grid of this shape: the chosen one if it is exact, else a safer one.

        Libraries choose their algorithms by shape, so each shape is tested once.
        """
        if self.asked_for != "auto":
            trusted = self.kernel not in _PREFERRED or float32_is_faithful(
                self.device, convolution=self.kernel == "conv"
            )
            return self.kernel if trusted else _SAFEST
        if self.kernel in _PREFERRED:
            for kernel in _PREFERRED[_PREFERRED.index(self.kernel) :]:
                # A library may choose its algorithm by the number of threads, too.
                shape = (kernel, height, width, torch.get_num_threads())
                if not float32_is_faithful(self.device, convolution=kernel == "conv"):
                    continue
                if not self._tests_shapes:
                    return kernel
                if shape not in self._exact_shapes:
                    self._exact_shapes[shape] = self.is_exact(kernel, height, width)
                if self._exact_shapes[shape]:
                    return kernel
        return _SAFEST

    @torch.inference_mode()
    def is_exact(self, kernel: Kernel, height: int, width: int) -> bool:
        """Return whether `kernel` computes every product exactly that a run over a grid of this shape needs.

        This is tested with saturated context. The products are those of the stem for all layers at once and
        for the change of each layer, of the blocks, and of the last block and the head for as many positions
        as the passes of each layer have.
        """
        checked, changes = CheckedProducts(_products_of(kernel)), CheckedProducts(_CHANGES)
        network, architecture = self._network(kernel), self.architecture
        with torch.autocast(self.device.type, enabled=False):
            context = saturated_context(architecture, height, width)
            context = context.to(self.device, network.stem.weight.dtype)[None]
            sums = checked.stem(context, network.stem.weight)
            for layer in range(architecture.layers):
                inputs = inputs_of(architecture, layer)
                changes.stem(context[..., inputs], network.stem.weight[:, inputs])
            x = self._stream(checked, network, sums, QUALITIES - 1)
            rows = x.reshape(-1, x.shape[-1])
            self._head(checked, network, rows, QUALITIES - 1, None)
            for layer, phases in enumerate(architecture.layer_phases):
                for count in pass_sizes(phases, height, width):
                    some, last = rows[:count], network.blocks[-1]
                    mixed(last, some, some, network.activation_limit, products=checked)
                    self._head(checked, network, some, QUALITIES - 1, layer)
        return checked.exact and changes.exact


_CHANGES = ShiftedProducts()
"""The products that changes of the context are computed with, for every kernel."""


class Incremental:
    """A prior that remembers the stem's sums over its last context, as long as this object lives.

    From one pass of the coding order to the next, only one layer changes. The stem is linear, so it is enough
    to add the sums over the change. A change is used only if it is no larger than a context may be, so
    `check_bounds` holds for it too. Only one thread may use the object at a time.
    """

    def __init__(self, prior: IntegerPrior) -> None:
        self._prior = prior
        self._last: tuple[Tensor, Tensor] | None = None
        """The last context and its sums."""

    @property
    def architecture(self) -> Architecture:
        """The architecture of the prior."""
        return self._prior.architecture

    def incremental(self) -> Incremental:
        """Return another object that remembers nothing."""
        return Incremental(self._prior)

    def predict(
        self,
        context: Tensor,
        quality: int,
        layer: int | None,
        positions: Tensor,
        label: int = 0,
        *,
        skipped: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return mu and scale indices, as `IntegerPrior.predict` does."""
        return self._prior.predict(
            context, quality, layer, positions, label, skipped=skipped, stem=self._stem
        )

    def _stem(self, products: Products, context: Tensor, weight: Tensor) -> Tensor:
        """Return the stem's sums over context (1, h, w, inputs)."""
        sums = self._changed(context, weight)
        if sums is None:
            sums = products.stem(context, weight)
        if context.shape[1] * context.shape[2] <= _REMEMBERED_POSITIONS:
            self._last = context, sums
        return sums

    def _changed(self, context: Tensor, weight: Tensor) -> Tensor | None:
        """Return the last sums plus those over the change, or None if that is not exact or not worthwhile."""
        if self._last is None:
            return None
        before, sums = self._last
        if before.shape != context.shape or before.dtype != context.dtype:
            return None
        change = context - before
        size = change.abs().flatten(0, 2).amax(0)
        parts = [inputs_of(self.architecture, layer) for layer in range(self.architecture.layers)]
        parts = [inputs for inputs in parts if size[inputs].any()]
        if not parts:
            return sums
        # If several layers change at once, as in a step of diffusion, no self-test has covered the shape.
        if len(parts) > 1 or 2 * len(parts[0]) > len(size) or (size > self._prior.largest.to(size)).any():
            return None
        return sums + _CHANGES.stem(change[..., parts[0]], weight[:, parts[0]])


def _products_of(kernel: Kernel) -> Products:
    return DirectProducts() if kernel == "conv" else ShiftedProducts()
