"""The self-test of a kernel notices a wrong number in any product that a run needs, in any shape."""

import dataclasses
import itertools
import operator
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bincodec import Codec, VerificationFailed
from bincodec.coding.order import phase_map
from bincodec.model import kernels, saturation
from bincodec.model.kernels import IntegerPrior
from bincodec.model.products import (
    CheckedProducts,
    DirectProducts,
    ShiftedProducts,
    _probe,
    float32_is_faithful,
)

TINY = Path(__file__).resolve().parents[2] / "models" / "tiny-1.safetensors"
GRID = (6, 7)
Wrong = Callable[[str, Tensor, Tensor], bool]


class BrokenProducts(DirectProducts):
    """Products in which some numbers are wrong, as `wrong` (what, input, weight) decides."""

    def __init__(self, wrong: Wrong, error: float = 1.0) -> None:
        self._wrong, self._error = wrong, error

    def _spoilt(self, what: str, x: Tensor, weight: Tensor, result: Tensor) -> Tensor:
        if self._wrong(what, x, weight):
            result = result.clone()
            result.view(-1)[result.numel() // 2 :] += self._error
        return result

    def stem(self, context: Tensor, weight: Tensor) -> Tensor:
        return self._spoilt("stem", context, weight, super().stem(context, weight).contiguous())

    def depthwise(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        result = super().depthwise(x, weight, bias).contiguous()
        return self._spoilt("depthwise", x, weight, result)

    def pointwise(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return self._spoilt("pointwise", x, weight, super().pointwise(x, weight, bias))


@pytest.fixture(scope="module")
def prior() -> IntegerPrior:
    return Codec.load(str(TINY)).model.prior


def outputs(count: int) -> Wrong:
    return lambda what, x, weight: what == "pointwise" and len(weight) == count


WIDTH, CHANNELS = 16, 9
BREAKS: dict[str, Wrong] = {
    "stem": lambda what, x, weight: what == "stem" and weight.shape[1] == CHANNELS + 3,
    "change of layer 1": lambda what, x, weight: what == "stem" and weight.shape[1] == 3,
    "change of layer 3": lambda what, x, weight: what == "stem" and weight.shape[1] == 5,
    "depthwise": lambda what, x, weight: what == "depthwise",
    "expand": outputs(2 * WIDTH),
    "contract": lambda what, x, weight: what == "pointwise" and x.shape[-1] == 2 * WIDTH,
    "head of all layers": outputs(2 * CHANNELS),
    "head of layer 1": outputs(4),
    "head of layer 3": outputs(8),
    "half a grid": lambda what, x, weight: what == "pointwise" and x.shape[:-1] == (21,),
    "quarter of a grid": lambda what, x, weight: what == "pointwise" and x.shape[:-1] == (9,),
}


def use(products: DirectProducts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_products_of", lambda kernel: products)
    monkeypatch.setattr(kernels, "_CHANGES", products)


@pytest.mark.parametrize("name", BREAKS)
def test_one_wrong_number_in_any_product_is_noticed(
    name: str, prior: IntegerPrior, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (prior.architecture.prior_width, prior.architecture.channels) == (WIDTH, CHANNELS)
    met = []

    def wrong(what: str, x: Tensor, weight: Tensor) -> bool:
        met.append(BREAKS[name](what, x, weight))
        return met[-1]

    use(BrokenProducts(wrong), monkeypatch)
    assert not prior.is_exact("conv", *GRID)
    assert any(met)


def test_right_products_pass(prior: IntegerPrior) -> None:
    for kernel in ("conv", "matmul", "float64", "int64"):
        assert prior.is_exact(kernel, *GRID)
        assert prior.is_exact(kernel, 1, 1)


@pytest.mark.parametrize("kernel", ["conv", "matmul"])
def test_each_shape_is_tried_by_itself(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a library is wrong for one shape, its kernel is avoided for that shape only."""
    prior = Codec.load(str(TINY)).model.prior
    honest = kernels._products_of

    def chosen(name: kernels.Kernel) -> kernels.Products:
        only = BrokenProducts(lambda what, x, weight: what == "depthwise" and x.shape[1:3] == GRID)
        return only if name == kernel else honest(name)

    monkeypatch.setattr(kernels, "_products_of", chosen)
    assert prior._kernel_for(*GRID) == {"conv": "matmul", "matmul": "conv"}[kernel]
    assert prior._kernel_for(5, 5) == "conv"


def test_where_no_fast_kernel_is_exact_the_safest_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    prior = Codec.load(str(TINY)).model.prior
    use(BrokenProducts(lambda what, x, weight: what == "pointwise"), monkeypatch)
    assert prior._kernel_for(*GRID) == "float64"


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_a_check_passes_what_is_right_and_nothing_else(
    height: int, width: int, outputs: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.integers(-2047, 2048, (1, height, width, 12))).float()
    weight = torch.from_numpy(rng.integers(-127, 128, (outputs, 12))).float()
    stem = torch.from_numpy(rng.integers(-20, 21, (outputs, 12, 3, 3))).float()
    checked = CheckedProducts(ShiftedProducts())
    assert torch.equal(checked.pointwise(x, weight), x @ weight.T)
    checked.stem(x // 64, stem)
    assert checked.exact

    spoilt = CheckedProducts(BrokenProducts(lambda what, x, weight: what == "pointwise"))
    spoilt.pointwise(x, weight)
    assert not spoilt.exact


@pytest.mark.parametrize("phases", [1, 2, 4])
def test_the_self_test_knows_how_many_positions_a_pass_can_have(phases: int) -> None:
    for height, width in itertools.product(range(1, 8), repeat=2):
        sizes = np.bincount(phase_map(height, width, phases).ravel())
        everywhere = {height * width}  # This is where a missing layer is expected.
        assert saturation.pass_sizes(phases, height, width) == set(sizes.tolist()) - {0} | everywhere


def test_the_self_test_s_context_is_as_large_as_any_and_of_both_signs(prior: IntegerPrior) -> None:
    context = saturation.saturated_context(prior.architecture, 9, 11)
    assert context.shape == (9, 11, CHANNELS + 3)
    assert (context.abs() == prior.largest).all()
    negative = (context < 0).double().mean((0, 1))
    assert (negative[CHANNELS:] == 0).all()
    assert negative[:CHANNELS].min() > 0.2
    assert negative[:CHANNELS].max() < 0.5
    signs = [tuple(channel.sign().flatten().tolist()) for channel in context[..., :CHANNELS].unbind(-1)]
    assert len(set(signs)) > 2


def test_a_check_weighs_each_output_by_its_own_number() -> None:
    probe = _probe(4096)
    assert probe.dtype == torch.int64
    assert -(2**15) <= probe.min() < -32000
    assert 32000 < probe.max() < 2**15
    assert len(probe.unique()) > 3900
    assert torch.equal(_probe(7), probe[:7])


def test_a_large_picture_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sums of 4096 x 4096 pixels take 100 MB. For larger pictures, they are computed again."""
    prior = Codec.load(str(TINY)).model.prior
    context, positions = saturation.saturated_context(prior.architecture, *GRID), torch.arange(3)
    for limit, remembered in ((GRID[0] * GRID[1], True), (GRID[0] * GRID[1] - 1, False)):
        monkeypatch.setattr(kernels, "_REMEMBERED_POSITIONS", limit)
        incremental = prior.incremental()
        incremental.predict(context, 50, 0, positions)
        assert (incremental._last is not None) == remembered


def test_a_fraction_is_not_an_integer() -> None:
    class Fractions(ShiftedProducts):
        def pointwise(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
            return super().pointwise(x, weight, bias) + 0.25

    checked = CheckedProducts(Fractions())
    checked.pointwise(torch.ones(3, 4), torch.ones(5, 4))
    assert not checked.exact


def test_unknown_switches_count_as_unsafe(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    assert float32_is_faithful(cpu, convolution=True)
    for value in ("tf32", "bf16", "somewhat"):
        monkeypatch.setattr(kernels.torch, "backends", Backends(value))
        assert not float32_is_faithful(cpu, convolution=False)
    monkeypatch.setattr(kernels.torch, "backends", object())
    with pytest.raises(AttributeError):
        float32_is_faithful(cpu, convolution=False)
    monkeypatch.setattr(kernels.torch, "backends", Backends(None))
    assert not float32_is_faithful(cpu, convolution=False)


CPU = ["mkldnn", "mkldnn.matmul", "mkldnn.conv"]
GRAPHICS = ["cuda.matmul", "cudnn", "cudnn.conv"]
CONVOLUTION = {"mkldnn.conv", "cudnn", "cudnn.conv"}


@pytest.mark.parametrize("place", ["", *CPU, *GRAPHICS])
def test_each_switch_counts_for_its_device_and_its_kernels(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backends = SimpleNamespace(
        fp32_precision="ieee",
        mkldnn=SimpleNamespace(
            fp32_precision="none",
            matmul=SimpleNamespace(fp32_precision="none"),
            conv=SimpleNamespace(fp32_precision="none"),
        ),
        cuda=SimpleNamespace(matmul=SimpleNamespace(fp32_precision="ieee")),
        cudnn=SimpleNamespace(fp32_precision="none", conv=SimpleNamespace(fp32_precision="none")),
    )
    monkeypatch.setattr(kernels.torch, "backends", backends)
    spoilt = operator.attrgetter(place)(backends) if place else backends
    spoilt.fp32_precision = "tf32"
    for device, own in (("cpu", CPU), ("cuda", GRAPHICS)):
        for kernel in ("conv", "matmul"):
            matters = not place or (place in own and (kernel == "conv" or place not in CONVOLUTION))
            assert float32_is_faithful(torch.device(device), convolution=kernel == "conv") != matters, (
                device,
                kernel,
            )


class Backends:
    """A stand-in for `torch.backends` with one precision everywhere, or without that setting if None."""

    def __init__(self, precision: str | None, *, inner: bool = False) -> None:
        if precision is not None:
            self.fp32_precision = precision
        if not inner:
            self.mkldnn = Backends(precision, inner=True)
            self.mkldnn.matmul = Backends(precision, inner=True)
            self.mkldnn.conv = Backends(precision, inner=True)


# --- what the writer remembers ----------------------------------------------------------------------------

PIXELS = np.full((64, 96, 3), 128, np.uint8)
"""Its levels are range coded. Raw levels would not depend on any prediction."""


def spoil_networks(prior: IntegerPrior) -> None:
    """Change the integers in the dtype that is used for coding."""
    network = prior._network(prior.kernel)
    bias = network.head.bias.clone()
    bias[:] += 2000
    spoilt = dataclasses.replace(network, head=dataclasses.replace(network.head, bias=bias))
    prior._networks[network.stem.weight.dtype] = spoilt


def spoil_limits(prior: IntegerPrior) -> None:
    prior._limits = torch.zeros_like(prior._limits)


MEMORIES = {"networks": spoil_networks, "limits": spoil_limits}


@pytest.mark.parametrize("what", MEMORIES)
def test_verification_shares_nothing_that_the_writer_remembers(what: str) -> None:
    codec = Codec.load(str(TINY))
    code = codec.encode(PIXELS, 50)
    right = codec.pack(code, verify=True)
    MEMORIES[what](codec.model.prior)
    wrong = codec.pack(code)
    assert wrong != right
    with pytest.raises(VerificationFailed):
        codec.pack(code, verify=True)


def test_verification_does_not_trust_the_writer_s_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer remembers that a kernel is exact for this shape, but it is not. Verification tests again."""
    codec = Codec.load(str(TINY))
    code = codec.encode(PIXELS, 50)
    prior, shape = codec.model.prior, code.grid
    honest = kernels._products_of
    broken = BrokenProducts(lambda what, x, weight: what == "pointwise", 1000.0)
    monkeypatch.setattr(kernels, "_products_of", lambda name: broken if name == "conv" else honest(name))
    prior._exact_shapes[("conv", *shape, torch.get_num_threads())] = True
    assert prior._kernel_for(*shape) == "conv"
    with pytest.raises(VerificationFailed):
        codec.pack(code, verify=True)


def test_verification_does_not_share_the_sums_of_the_stem(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = Codec.load(str(TINY))
    code = codec.encode(PIXELS, 50)
    honest, calls = kernels.Incremental._stem, []

    def first_time_wrong(self: kernels.Incremental, *arguments: object) -> Tensor:
        sums = honest(self, *arguments)  # type: ignore[arg-type]
        calls.append(self)
        if self is calls[0]:
            sums = sums + 5000
            self._last = (self._last[0], sums) if self._last else None
        return sums

    monkeypatch.setattr(kernels.Incremental, "_stem", first_time_wrong)
    with pytest.raises(VerificationFailed):
        codec.pack(code, verify=True)
    # The writer, the reader, and the reader once more with the safest kernel.
    assert len(set(map(id, calls))) == 3
