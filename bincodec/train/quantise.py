"""Turn the float prior into integers: choose exponents, train through the rounding, export (DESIGN §5).

Every scale is a power of two. `QuantisedPrior` runs the functions of `bincodec.model.integer` on rounded
weights, and gradients pass straight through the rounding. The network that is trained here is therefore the
network that files are coded with.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from bincodec.bitstream.probability import MU_BITS, SCALE_BITS, SCALE_OFFSET
from bincodec.model import integer
from bincodec.model.architecture import QUALITIES, Architecture
from bincodec.model.autoencoder import Pointwise, quality_features
from bincodec.model.integer import (
    ACTIVATION_LIMIT,
    EXACT_LIMIT,
    STREAM_LIMIT,
    WEIGHT_LIMIT,
    Block,
    IntegerNetwork,
    Layer,
)
from bincodec.model.prior import KEEP_INPUT, Prior, PriorBlock, with_nothing
from bincodec.model.products import DirectProducts
from bincodec.model.quantiser import straight_through
from bincodec.train.rounding import round_in_order

_PRODUCTS = DirectProducts()
_HIGHEST_EXPONENT = 14
_STREAM_HEADROOM = 4


class QuantisedPrior(nn.Module):
    """A float prior that predicts through its integers. It has the interface of `Prior`."""

    limits: Tensor

    def __init__(self, prior: Prior, architecture: Architecture, ranges: dict[str, float]) -> None:
        super().__init__()
        self.prior = prior
        self.register_buffer("limits", integer.mu_limits(architecture), persistent=False)
        self._architecture = architecture
        self._evidence_bits = integer.context_bits(architecture)
        self._exponents = self._choose_exponents(ranges, integer.largest_context(architecture))
        self._settled: dict[str, Tensor] = {}
        """The rounded weights of maps that do not learn any more (`settle`)."""

    def _choose_exponents(self, ranges: dict[str, float], stem_inputs: Tensor) -> dict[str, Tensor | int]:
        """Return exponents of 2 for the stream, each activation tensor and each output channel's weights."""
        exponents: dict[str, Tensor | int] = {
            "stream": _exponent(STREAM_LIMIT / _STREAM_HEADROOM, ranges["stream"])
        }
        for name, value in ranges.items():
            if name != "stream":
                exponents[name] = _exponent(ACTIVATION_LIMIT, value)
        for name, weight in self._weights():
            largest = stem_inputs[:, None, None] if name == "stem" else torch.tensor(ACTIVATION_LIMIT)
            exponents[f"{name}.weight"] = _weight_exponents(weight, largest)
        return exponents

    def _weights(self) -> list[tuple[str, Tensor]]:
        pairs: list[tuple[str, Tensor]] = [("stem", self.prior.stem.weight)]
        for i, block in enumerate(self._blocks()):
            pairs += [
                (f"blocks.{i}.{part}", getattr(block, part).weight)
                for part in ("depthwise", "expand", "contract")
            ]
        return [*pairs, ("head", self.prior.head.weight)]

    def _blocks(self) -> list[PriorBlock]:
        return list(self.prior.blocks)  # type: ignore[arg-type]

    def forward(
        self, context: Tensor, keep: Tensor, quality: Tensor, label: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Predict as `Prior.forward` does, with every rounding and clamp of the integer network."""
        with torch.autocast(context.device.type, enabled=False):
            network = self.integers(quality.float())
            shown = 2**self._evidence_bits * torch.cat([context.float(), KEEP_INPUT * keep.float()], 1)
            shown = straight_through(torch.floor(shown + 0.5), shown).permute(0, 2, 3, 1)
            rows = torch.arange(len(quality), device=quality.device)
            sums = _PRODUCTS.stem(shown, network.stem.weight)
            x = integer.stream(network, sums, rows, label, products=_PRODUCTS, floor=_floor)
            bias = network.head.bias[:, None, None]
            if network.classes is not None and label is not None:
                bias = bias + network.classes[1][label][:, None, None]
            mu, scale = integer.head(network.head, x, bias, self.limits, products=_PRODUCTS, floor=_floor)
        log_scale = (scale - SCALE_OFFSET) / 2**SCALE_BITS
        return (mu / 2**MU_BITS).permute(0, 3, 1, 2), log_scale.permute(0, 3, 1, 2)

    def integers(self, quality: Tensor) -> IntegerNetwork:
        """Return the integer network in float32, with biases for the qualities (B,) in 0..1."""
        features = quality_features(quality)
        e, prior = self._exponents, self.prior
        stem_bias = _bias(prior.stem) + prior.stem_quality(features)
        stem = self._layer("stem", prior.stem.weight, stem_bias, self._evidence_bits, e["stream"])
        blocks = []
        for i, block in enumerate(self._blocks()):
            entered, mixed, expanded = (e[f"blocks.{i}.{part}"] for part in ("enter", "mixed", "expanded"))
            parts = (
                ("depthwise", block.depthwise, entered, mixed),
                ("expand", block.expand, mixed, expanded),
                ("contract", block.contract, expanded, e["stream"]),
            )
            layers = [self._layer(f"blocks.{i}.{n}", m.weight, _bias(m), a, b) for n, m, a, b in parts]
            blocks.append(Block(int(e["stream"]) - int(entered), *layers))
        outputs = torch.cat([torch.full_like(self.limits, MU_BITS), torch.full_like(self.limits, SCALE_BITS)])
        head_bias = prior.head.bias + prior.head_quality(features)
        head = self._layer("head", prior.head.weight, head_bias, e["head"], outputs)
        classes = None
        if prior.stem_class is not None and prior.head_class is not None:
            rows = torch.arange(len(prior.stem_class) + 1, device=quality.device)
            classes = (
                self._sums(
                    "stem", torch.as_tensor(with_nothing(prior.stem_class, rows)), self._evidence_bits
                ),
                self._sums("head", torch.as_tensor(with_nothing(prior.head_class, rows)), e["head"]),
            )
        enter = int(e["stream"]) - int(e["head"])
        return IntegerNetwork(stem, tuple(blocks), enter, head, classes, ACTIVATION_LIMIT)

    def _layer(
        self, name: str, weight: Tensor, bias: Tensor, entering: Tensor | int, leaving: Tensor | int
    ) -> Layer:
        """Round one map. Its inputs are scaled by 2^entering, and its outputs will be scaled by 2^leaving."""
        exponent = torch.as_tensor(self._exponents[f"{name}.weight"], device=weight.device)
        scaled = self._scaled(name, weight)
        rounded = straight_through(torch.floor(scaled + 0.5), scaled).clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT)
        rounded = self._settled.get(name, rounded)
        return Layer(rounded, self._sums(name, bias, entering), exponent + entering - leaving)

    def _scaled(self, name: str, weight: Tensor) -> Tensor:
        """Return the weights of a map in units of its integers, before they are rounded."""
        exponent = torch.as_tensor(self._exponents[f"{name}.weight"], device=weight.device)
        return weight * torch.exp2(exponent.float()).view(-1, *[1] * (weight.ndim - 1))

    def _sums(self, name: str, bias: Tensor, entering: Tensor | int) -> Tensor:
        """Return biases in the units of a map's sums, rounded."""
        exponent = torch.as_tensor(self._exponents[f"{name}.weight"], device=bias.device)
        total = bias * torch.exp2((exponent + entering).float())
        return straight_through(torch.floor(total + 0.5), total)

    @torch.no_grad()
    def keep_bounds(self) -> None:
        """Halve the integers of every row whose sums might leave the exact range.

        This may happen because exponents are chosen before training moves the weights and biases.
        """
        for _ in range(_HIGHEST_EXPONENT):  # With more halvings, all integers of a row would be 0.
            over = False
            for name, bound in integer.largest_sums(self._architecture, self.export()):
                beyond = (bound >= EXACT_LIMIT).to(self.limits.device)
                self._exponents[f"{name}.weight"] = self._exponents[f"{name}.weight"] - beyond.long()
                over = over or bool(beyond.any())
            if not over:
                break

    @torch.no_grad()
    def settle(self, moments: dict[str, Tensor]) -> None:
        """Round the weights of the maps in `moments` once and for all, with `rounding.round_in_order`.

        `moments` holds the second moments of their inputs. A row whose sums would leave the exact range is
        rounded as before. After that, these weights cannot learn any more.
        """
        nearest = {name: layer.weight for name, layer in self.export().named_layers()}
        for name, weight in self._weights():
            if name in moments:
                settled = round_in_order(self._scaled(name, weight).cpu(), moments[name], WEIGHT_LIMIT)
                self._settled[name] = settled.to(weight)
        for name, bound in integer.largest_sums(self._architecture, self.export()):
            if name in moments:
                beyond = bound >= EXACT_LIMIT
                self._settled[name][beyond] = nearest[name][beyond].to(self._settled[name])

    @torch.no_grad()
    def export(self) -> IntegerNetwork:
        """Return the finished integers (int64, CPU), with one row of biases for each of the 101 qualities."""
        qualities = torch.arange(QUALITIES, device=self.limits.device) / (QUALITIES - 1)
        return self.integers(qualities).to(torch.int64, torch.device("cpu"))


class RangeRecorder:
    """Watch a float prior while it runs, and record the largest magnitudes of its activations."""

    def __init__(self, prior: Prior) -> None:
        self.ranges: dict[str, float] = {"stream": 0.0}
        self._handles: list[RemovableHandle] = []
        for i, block in enumerate(prior.blocks):
            assert isinstance(block, PriorBlock)
            self._watch_input(block, f"blocks.{i}.enter")
            self._watch_input(block.expand, f"blocks.{i}.mixed")
            self._watch_input(block.contract, f"blocks.{i}.expanded")
        self._watch_input(prior.head, "head")

    def _watch_input(self, module: nn.Module, name: str) -> None:
        def record(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            largest = inputs[0].detach().float().abs().max().item()
            self.ranges[name] = max(self.ranges.get(name, 0.0), largest)
            if name.endswith("enter") or name == "head":
                self.ranges["stream"] = max(self.ranges["stream"], largest)

        self._handles.append(module.register_forward_pre_hook(record))

    def close(self) -> None:
        """Stop watching."""
        for handle in self._handles:
            handle.remove()


def _bias(module: nn.Conv2d | Pointwise) -> Tensor:
    assert module.bias is not None
    return module.bias


def _floor(x: Tensor) -> Tensor:
    return straight_through(torch.floor(x), x)


def _exponent(limit: float, value: float) -> int:
    """Return the exponent of the largest power of two that keeps `value` within `limit`."""
    return min(_HIGHEST_EXPONENT, math.floor(math.log2(limit / max(value, 1e-9))))


@torch.no_grad()
def _weight_exponents(weight: Tensor, largest_input: Tensor) -> Tensor:
    """Return an exponent for each output channel: the largest one that fits, or one more with clipping if the
    error is then smaller."""
    rows = weight.flatten(1)
    top = rows.abs().amax(1).clamp(min=1e-9)
    fitting = torch.floor(torch.log2(WEIGHT_LIMIT / top)).clamp(max=_HIGHEST_EXPONENT)
    errors = [_rounding_error(rows, exponent) for exponent in (fitting, fitting + 1)]
    exponent = torch.where(errors[1] < errors[0], fitting + 1, fitting)
    reach = (weight.abs() * largest_input.to(weight.device)).flatten(1).sum(1)
    # An eighth of the exact range is reserved for the bias and for changes during fine-tuning.
    safe = torch.floor(torch.log2(0.875 * EXACT_LIMIT / reach.clamp(min=1e-9)))
    return torch.minimum(exponent, safe).to(torch.int64)


def _rounding_error(rows: Tensor, exponent: Tensor) -> Tensor:
    step = torch.exp2(-exponent)[:, None]
    rounded = torch.round(rows / step).clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT) * step
    return ((rounded - rows) ** 2).sum(1)
