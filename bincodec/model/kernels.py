"""The exact integers on a device, through a kernel that is proven there (DESIGN §5).

`bincodec.model.integer` says what is computed; here is how: which products, in which dtype, and how a wrong
one is noticed before it decides a probability.
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
"""A way to come by the stem's sums over a context (B, h, w, inputs), with given products and weights."""

_PREFERRED: tuple[Kernel, ...] = ("conv", "matmul")
_SAFEST: Kernel = "float64"
_DTYPES = {"conv": torch.float32, "matmul": torch.float32, "float64": torch.float64, "int64": torch.int64}
_SMALL_GRID = (9, 11)
_REMEMBERED_POSITIONS = 2**16
"""Of a picture of 4096 x 4096 pixels: 100 MB."""


def _whole_stem(products: Products, context: Tensor, weight: Tensor) -> Tensor:
    return products.stem(context, weight)


class IntegerPrior:
    """A checked network on a device, with the kernel that its self-test chose. Threads may share it.

    The kernels: "conv" is the library's direct convolution, "matmul" shifts and multiplies (no convolution
    that could turn into Winograd or FFT), "float64" and "int64" the same in wider dtypes. "auto" takes the
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
        self._networks: dict[torch.dtype, IntegerNetwork] = {}
        self._exact_shapes: dict[tuple[Kernel, int, int, int], bool] = {}
        self._tests_shapes = True
        checked_choice("kernel", kernel, ("auto", *_DTYPES))
        self.kernel: Kernel = self._choose() if kernel == "auto" else kernel
        self.asked_for: Kernel = kernel

    def with_kernel(self, kernel: Kernel) -> IntegerPrior:
        """The same prior through another kernel, with nothing remembered."""
        return IntegerPrior(self.architecture, self._canonical, str(self.device), kernel)

    def fresh(self) -> IntegerPrior:
        """The same prior as another process would load it, with nothing remembered."""
        return self.with_kernel(self.asked_for)

    def untested(self) -> IntegerPrior:
        """The same prior without a self-test for each shape: for a reader, who has checksums.

        The shape of a tile is a file's choice, and a test takes longer than to read one.
        """
        result = copy.copy(self)
        result._tests_shapes = False
        return result

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
        stem: Stem = _whole_stem,
    ) -> tuple[Tensor, Tensor]:
        """mu and scale index, int32 (channels of `layer`, positions), at flat indices of `positions`.

        With no layer, of all channels. `label` is the number of a class from 1; files are coded with 0, none.

        `context` is (h, w, channels + layers) from `context_from` and `keep_shown`, in any dtype that holds
        the integers. `stem` computes the stem's sums.
        """
        kernel = self._kernel_for(context.shape[0], context.shape[1])
        products, network = _products_of(kernel), self._network(kernel)
        with torch.autocast(self.device.type, enabled=False):
            shown = context.to(self.device, network.stem.weight.dtype, copy=True)[None]
            sums = stem(products, shown, network.stem.weight)
            rows = self._stream(products, network, sums, quality, label, positions.to(self.device))
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
    ) -> Tensor:
        qualities, labels = (torch.tensor([one], device=self.device) for one in (quality, label))
        return stream(network, sums, qualities, labels, products=products, positions=positions)

    def _head(
        self,
        products: Products,
        network: IntegerNetwork,
        rows: Tensor,
        quality: int,
        layer: int | None,
        label: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """mu and scale (rows, channels of `layer`) from rows of the head's input."""
        part = self._head_part(network, layer, quality, label)
        limit = self._limits[self.architecture.channels_of(layer)]
        return head(part, rows, part.bias, limit, products=products)

    def _head_part(self, network: IntegerNetwork, layer: int | None, quality: int, label: int) -> Layer:
        """The rows of the head for mu and scale of one layer's channels at one quality, for one class."""
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
        """The fastest kernel that answers saturated inputs as int64 does, and whose products are exact."""
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
        """The kernel for a grid of this shape: the chosen one, unless it would not be exact here and now.

        Libraries choose their algorithms by shape, so each shape is tried once.
        """
        if self.asked_for != "auto":
            trusted = self.kernel not in _PREFERRED or float32_is_faithful(
                self.device, convolution=self.kernel == "conv"
            )
            return self.kernel if trusted else _SAFEST
        if self.kernel in _PREFERRED:
            for kernel in _PREFERRED[_PREFERRED.index(self.kernel) :]:
                # By the number of threads, too, a library may choose.
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
        """Whether every product that a run over a grid of this shape asks of `kernel` is exact.

        On saturated context: the stem of all layers at once and the change of each by itself, the blocks, and
        the head and the last block for as many positions as a pass of each layer has.
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
"""What changes of the context are multiplied with, whatever the kernel."""


class Incremental:
    """A prior that remembers the stem's sums over what it was asked last, for as long as this object lives.

    From one pass of the coding order to the next one layer changes, and sums are linear: only the inputs of
    the layers that changed are added. A change is no larger than context itself may be, so `check_bounds`
    holds for it too. One thread at a time.
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

    def _stem(self, products: Products, context: Tensor, weight: Tensor) -> Tensor:
        """The stem's sums over context (1, h, w, inputs)."""
        sums = self._changed(context, weight)
        if sums is None:
            sums = products.stem(context, weight)
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
        parts = [inputs_of(self.architecture, layer) for layer in range(self.architecture.layers)]
        parts = [inputs for inputs in parts if size[inputs].any()]
        if not parts:
            return sums
        # More than one layer at a time, as a step of diffusion has it, is a shape that no self-test has seen.
        if len(parts) > 1 or 2 * len(parts[0]) > len(size) or (size > self._prior.largest.to(size)).any():
            return None
        return sums + _CHANGES.stem(change[..., parts[0]], weight[:, parts[0]])


def _products_of(kernel: Kernel) -> Products:
    return DirectProducts() if kernel == "conv" else ShiftedProducts()
