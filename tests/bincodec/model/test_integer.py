"""Exact integers: every dtype gives the same result, and a network that could break this is not loaded."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from bincodec.bitstream.probability import REACH, TABLES_SHA256
from bincodec.errors import DamagedModel, Unsupported
from bincodec.model import integer, kernels, saturation, weights
from bincodec.model.architecture import QUALITIES, Architecture
from bincodec.model.autoencoder import Autoencoder
from bincodec.model.card import read_card
from bincodec.model.integer import (
    ACTIVATION_LIMIT,
    KEEP_KNOWN,
    STREAM_LIMIT,
    WEIGHT_LIMIT,
    Block,
    IntegerNetwork,
    Layer,
    check_bounds,
    context_bits,
    context_from,
    keep_shown,
    mu_limits,
    probability_digest,
    requantise,
)
from bincodec.model.kernels import Incremental, IntegerPrior, Kernel
from bincodec.model.prior import KEEP_INPUT, Prior
from bincodec.model.products import DirectProducts, Products, ShiftedProducts
from bincodec.train.quantise import QuantisedPrior, RangeRecorder

PROPERTY = settings(deadline=None, derandomize=True, max_examples=200)
TINY = Path(__file__).resolve().parents[2] / "models" / "tiny-1.safetensors"
FAST: tuple[Kernel, ...] = ("conv", "matmul", "float64")
NARROW_LIMIT = 511
"""Architectures of models whose activations stay small."""
GRIDS = [(1, 1), (1, 7), (6, 1), (2, 2), (3, 5), (9, 11), (16, 8), (25, 3)]
TABLES = bytes.fromhex(TABLES_SHA256)
WIDE = Architecture(
    layer_channels=(2, 5), maximum_level=(62, 5), layer_phases=(4, 2), prior_width=48, prior_blocks=2
)


@pytest.fixture(scope="module")
def tiny() -> weights.Model:
    return weights.load(read_card(TINY))


def random_layer(shape: tuple[int, ...], *, biases: int = 1, strong: bool = False, seed: int) -> Layer:
    """Draw integer weights over their whole range, or all at its ends, and shifts that may be negative."""
    generator = torch.manual_seed(seed)
    weight = torch.randint(-WEIGHT_LIMIT, WEIGHT_LIMIT + 1, shape, generator=generator)
    if strong:
        weight = torch.where(weight < 0, -WEIGHT_LIMIT, WEIGHT_LIMIT)
    outputs = shape[0]
    bias = torch.randint(-30_000, 30_001, (biases, outputs), generator=generator)
    shift = torch.randint(6, 12, (outputs,), generator=generator)
    # A few channels are so weak that they are passed on unchanged, or multiplied.
    shift[:3] = torch.tensor([0, -1, -2])
    weight[:3] = weight[:3].clamp(-2, 2)
    bias[:, :3] = bias[:, :3].clamp(-9, 9)
    return Layer(weight, bias if biases > 1 else bias[0], shift)


def random_network(
    architecture: Architecture, *, strong: bool = False, limit: int = ACTIVATION_LIMIT, seed: int = 0
) -> IntegerNetwork:
    """Draw a network of any integers. The wider and stronger it is, the smaller `limit` must be."""
    width, inputs = architecture.prior_width, architecture.channels + architecture.layers
    stem = random_layer((width, inputs, 3, 3), biases=QUALITIES, seed=seed)
    blocks = tuple(
        Block(
            enter,
            random_layer((width, 1, 5, 5), strong=strong, seed=seed + 10 * enter),
            random_layer((2 * width, width), strong=strong, seed=seed + 10 * enter + 1),
            random_layer((width, 2 * width), strong=strong, seed=seed + 10 * enter + 2),
        )
        for enter in range(2, 2 + architecture.prior_blocks)
    )
    head = random_layer((2 * architecture.channels, width), biases=QUALITIES, seed=seed + 7)
    return IntegerNetwork(stem, blocks, 3, head, activation_limit=limit)


def random_context(architecture: Architecture, height: int, width: int, seed: int) -> Tensor:
    """Return random levels as context, with random keeps."""
    generator = torch.manual_seed(seed)
    tops = torch.tensor(architecture.maximum_level)
    counts = torch.tensor(architecture.layer_channels)
    by_channel = torch.repeat_interleave(tops, counts)
    uniform = torch.rand((height, width, architecture.channels), generator=generator)
    levels = (uniform * (by_channel + 1)).floor().long()
    keep = torch.randint(0, KEEP_KNOWN + 1, (height, width, architecture.layers), generator=generator)
    channel_keep = torch.repeat_interleave(keep, counts, dim=2)
    bits = context_bits(architecture)
    return torch.cat([context_from(2 * levels - by_channel, channel_keep, bits), keep_shown(keep, bits)], 2)


def saturated_context(architecture: Architecture, height: int, width: int, seed: int) -> Tensor:
    """Return a context in which every channel is known and at one of its outermost levels."""
    tops = torch.repeat_interleave(
        torch.tensor(architecture.maximum_level), torch.tensor(architecture.layer_channels)
    )
    sign = 2 * torch.randint(0, 2, (height, width, len(tops)), generator=torch.manual_seed(seed)) - 1
    known = torch.full((height, width, architecture.layers), KEEP_KNOWN)
    bits = context_bits(architecture)
    return torch.cat([context_from(sign * tops, torch.tensor(KEEP_KNOWN), bits), keep_shown(known, bits)], 2)


def predictions(prior: IntegerPrior | Incremental, context: Tensor, quality: int) -> list[Tensor]:
    """Return mu and scale of every layer at every position."""
    positions = torch.arange(context.shape[0] * context.shape[1])
    found: list[Tensor] = []
    for layer in range(prior.architecture.layers):
        found.extend(prior.predict(context, quality, layer, positions))
    return found


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def priors(tiny: weights.Model) -> Iterator[IntegerPrior]:
    """Yield the frozen network, a random one, and two whose sums are near the limit of exactness."""
    yield tiny.prior
    yield IntegerPrior(WIDE, random_network(WIDE))
    for width, limit in ((96, NARROW_LIMIT), (29, ACTIVATION_LIMIT)):
        heavy = dataclasses.replace(WIDE, prior_width=width)
        yield IntegerPrior(heavy, random_network(heavy, strong=True, limit=limit, seed=3))


# --- one result -------------------------------------------------------------------------------------------


def test_every_kernel_gives_int64_s_integers_on_every_grid(tiny: weights.Model) -> None:
    for prior in priors(tiny):
        exact = prior.with_kernel("int64")
        others = [prior.with_kernel(kernel) for kernel in FAST]
        for index, (height, width) in enumerate(GRIDS):
            where, quality = (height, width), 13 * index
            for make in (random_context, saturated_context):
                context = make(prior.architecture, height, width, index)
                expected = predictions(exact, context, quality)
                for other in others:
                    assert same(predictions(other, context, quality), expected), (other.kernel, where)


@pytest.mark.parametrize("skipped", [0, 1])
def test_a_block_that_is_skipped_might_as_well_not_be_there(skipped: int) -> None:
    deep = dataclasses.replace(WIDE, prior_blocks=3)
    network = random_network(deep)
    left = tuple(block for index, block in enumerate(network.blocks) if index != skipped)
    expected = IntegerPrior(WIDE, dataclasses.replace(network, blocks=left))
    context, some = random_context(deep, 6, 5, 3), torch.tensor([2, 17, 29])
    for kernel in FAST:
        prior = IntegerPrior(deep, network, kernel=kernel)
        for one in (prior, prior.incremental()):
            found = one.predict(context, 40, 1, some, skipped=skipped)
            assert same(list(found), list(expected.predict(context, 40, 1, some)))
            assert not same(list(found), list(one.predict(context, 40, 1, some)))


def by_hand(prior: IntegerPrior, context: Tensor, quality: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mu and scale of all channels and positions as DESIGN §5 describes them, in NumPy's integers."""
    network, top = prior.network, prior.network.activation_limit

    def divided(total: np.ndarray, shift: Tensor | int, low: Any, high: Any) -> np.ndarray:
        r = np.broadcast_to(np.asarray(shift), total.shape[-1:])
        columns = [
            (one + (1 << r[i] >> 1)) // (1 << r[i]) if r[i] > 0 else one << -r[i]
            for i, one in enumerate(np.moveaxis(total, -1, 0))
        ]
        return np.clip(np.stack(columns, -1), low, high)

    def neighbours(x: np.ndarray, reach: int) -> np.ndarray:
        """(height, width, channels, rows, columns)"""
        padded = np.pad(x, ((reach, reach), (reach, reach), (0, 0)))
        return np.lib.stride_tricks.sliding_window_view(padded, (2 * reach + 1,) * 2, (0, 1))

    def parts(layer: Layer) -> list[np.ndarray]:
        return [getattr(layer, field.name).numpy() for field in dataclasses.fields(layer)]

    weight, bias, shift = parts(network.stem)
    x = np.einsum("hwirc,oirc->hwo", neighbours(context.numpy(), 1), weight) + bias[quality]
    x = divided(x, shift, -STREAM_LIMIT, STREAM_LIMIT)
    for block in network.blocks:
        y = divided(x, block.enter, -top, top)
        weight, bias, shift = parts(block.depthwise)
        y = np.einsum("hwirc,irc->hwi", neighbours(y, 2), weight[:, 0]) + bias
        y = divided(y, shift, -top, top)
        for layer, low, high in ((block.expand, 0, top), (block.contract, -STREAM_LIMIT, STREAM_LIMIT)):
            weight, bias, shift = parts(layer)
            y = divided(y @ weight.T + bias, shift, low, high)
        x = np.clip(x + y, -STREAM_LIMIT, STREAM_LIMIT)
    weight, bias, shift = parts(network.head)
    total = divided(x, network.head_enter, -top, top) @ weight.T + bias[quality]
    total = total.reshape(-1, total.shape[-1]).T[..., None]
    limits = mu_limits(prior.architecture).tolist()
    bounds = [*((-limit, limit) for limit in limits), *((-32, 31) for _ in limits)]
    found = [divided(row, int(r), *ends)[:, 0] for row, r, ends in zip(total, shift, bounds, strict=True)]
    return np.array(found[: len(limits)]), np.array(found[len(limits) :]) + 32


@pytest.mark.parametrize("quality", [0, 37, 100])
def test_the_network_is_the_documented_arithmetic(quality: int) -> None:
    """Kernels share their steps, so all of them could be wrong in the same way."""
    prior = IntegerPrior(WIDE, random_network(WIDE), kernel="float64")
    context = random_context(WIDE, 5, 7, quality)
    mu, scale = prior.predict(context, quality, None, torch.arange(35))
    expected_mu, expected_scale = by_hand(prior, context, quality)
    assert np.array_equal(mu.numpy(), expected_mu)
    assert np.array_equal(scale.numpy(), expected_scale)
    assert len(np.unique(expected_mu)) > 20
    assert {0, 63} < set(expected_scale.ravel().tolist())


def test_predictions_are_integers_in_the_tables_range(tiny: weights.Model) -> None:
    for prior in priors(tiny):
        context = random_context(prior.architecture, 9, 9, 1)
        for layer, maximum in enumerate(prior.architecture.maximum_level):
            mu, scale = prior.predict(context, 50, layer, torch.tensor([80, 0, 7]))
            assert mu.dtype == scale.dtype == torch.int32
            assert mu.shape == scale.shape == (prior.architecture.layer_channels[layer], 3)
            # The limit is one level beyond the outermost, in 1/64.
            assert mu.abs().max() <= 64 * (maximum / 2 + 1)
            assert scale.min() >= 0
            assert scale.max() <= 63


def test_a_position_s_prediction_does_not_depend_on_which_are_asked_for(tiny: weights.Model) -> None:
    context = random_context(tiny.card.architecture, 8, 8, 4)
    mu, scale = tiny.prior.predict(context, 20, 1, torch.arange(64))
    some = torch.tensor([63, 2, 40])
    mu_some, scale_some = tiny.prior.predict(context, 20, 1, some)
    assert torch.equal(mu_some, mu[:, some])
    assert torch.equal(scale_some, scale[:, some])


def test_neither_batch_nor_threads_matter() -> None:
    network = random_network(WIDE).to(torch.float32, torch.device("cpu"))
    batch = torch.stack([random_context(WIDE, 12, 10, seed) for seed in range(3)]).float()
    qualities = torch.tensor([0, 50, 100])
    threads = torch.get_num_threads()
    try:
        for products in (DirectProducts(), ShiftedProducts()):

            def answers(rows: slice, products: Products = products) -> Tensor:
                sums = products.stem(batch[rows], network.stem.weight)
                return kernels.stream(network, sums, qualities[rows], products=products)

            torch.set_num_threads(1)
            together = answers(slice(None))
            assert torch.equal(together, torch.cat([answers(slice(i, i + 1)) for i in range(3)]))
            torch.set_num_threads(2)
            assert torch.equal(answers(slice(None)), together)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("kernel", ["conv", "matmul", "float64", "int64"])
def test_what_was_asked_before_does_not_matter(kernel: Kernel) -> None:
    """Sums are updated if little changes: layer by layer, back again, and in other sizes."""
    heavy = dataclasses.replace(WIDE, prior_width=96)
    network = random_network(heavy, strong=True, limit=NARROW_LIMIT, seed=3)
    used = IntegerPrior(heavy, network, kernel=kernel).incremental()
    full = saturated_context(heavy, 6, 5, 1)
    asked, shown = [], torch.zeros_like(full)
    for layer in range(heavy.layers):
        part = heavy.layer_slice(layer)
        for rows in (slice(0, 6, 2), slice(None)):
            shown = shown.clone()
            shown[rows, :, part] = full[rows, :, part]
            shown[rows, :, heavy.channels + layer] = full[rows, :, heavy.channels + layer]
            asked.append(shown)
    # A change from one extreme to the other is twice as large as the bound of the sums allows.
    turned = shown.clone()
    turned[..., heavy.layer_slice(0)] *= -1
    asked += [turned, shown, random_context(heavy, 6, 5, 2), saturated_context(heavy, 4, 7, 3), full]
    for context in asked:
        fresh = IntegerPrior(heavy, network, kernel="int64")
        assert same(predictions(used, context, 40), predictions(fresh, context, 40))


@pytest.mark.parametrize("dtype", [torch.int16, torch.float32])
def test_what_was_asked_before_may_be_overwritten(dtype: torch.dtype) -> None:
    """What is remembered is a copy, even of a context that needed no conversion."""
    prior = IntegerPrior(WIDE, random_network(WIDE))
    used, context = prior.incremental(), random_context(WIDE, 6, 5, 1).to(dtype)
    predictions(used, context, 40)
    context[..., WIDE.layer_slice(0)] *= -1
    assert same(predictions(used, context, 40), predictions(prior.with_kernel("int64"), context, 40))


def test_a_layer_is_added_to_what_was_asked_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """No work is done twice: the second time, only the inputs of the layer that changed are multiplied."""
    prior, seen = IntegerPrior(WIDE, random_network(WIDE)).incremental(), []
    honest = ShiftedProducts.stem

    def counted(products: ShiftedProducts, context: Tensor, weight: Tensor) -> Tensor:
        seen.append(context.shape[-1])
        return honest(products, context, weight)

    context = random_context(WIDE, 6, 5, 1)
    positions = torch.arange(30)
    prior.predict(context, 40, 0, positions)
    monkeypatch.setattr(ShiftedProducts, "stem", counted)
    context[..., 0] = 0
    prior.predict(context, 40, 1, positions)
    prior.predict(context, 50, 1, positions)
    assert seen == [WIDE.layer_channels[0] + 1]


@pytest.mark.parametrize("precision", ["high", "medium"])
@pytest.mark.parametrize("kernel", FAST)
def test_a_program_s_wish_for_fast_matrix_products_does_not_matter(precision: str, kernel: Kernel) -> None:
    """The setting is global, and lets processors with bfloat16 or TF32 units round float32."""
    architecture = dataclasses.replace(WIDE, prior_width=128)
    network = random_network(architecture, limit=NARROW_LIMIT)
    prior = IntegerPrior(architecture, network, kernel=kernel)
    context = random_context(architecture, 16, 24, 5)
    expected = predictions(prior.with_kernel("int64"), context, 60)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(precision)
        found = predictions(prior, context, 60)
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision(before)
    assert same(found, expected)


def test_neither_does_autocast(tiny: weights.Model) -> None:
    context = random_context(tiny.card.architecture, 9, 7, 6)
    expected = predictions(tiny.prior.with_kernel("int64"), context, 30)
    with torch.autocast("cpu", torch.bfloat16):
        for kernel in FAST:
            assert same(predictions(tiny.prior.with_kernel(kernel), context, 30), expected)


def test_quality_changes_the_prediction(tiny: weights.Model) -> None:
    context = random_context(tiny.card.architecture, 4, 4, 2)
    assert not same(predictions(tiny.prior, context, 0), predictions(tiny.prior, context, 100))


# --- the steps --------------------------------------------------------------------------------------------


def test_the_limits_are_the_documented_ones() -> None:
    """DESIGN §5 defines this, and existing networks were checked against it."""
    assert (WEIGHT_LIMIT, ACTIVATION_LIMIT, STREAM_LIMIT) == (127, 2047, 2**20)
    assert (integer.EXACT_LIMIT, KEEP_KNOWN) == (2**24, 64)


@PROPERTY
@given(st.integers(-(2**22), 2**22), st.integers(-1, 22), st.sampled_from([1, 511, 2**20]))
@example(2**23 + 1, 0, 2**24)  # Half a unit is no larger than a rounding error here.
@example(-(2**23) - 1, 0, 2**24)
@example(2**24 - 2, 1, 2**24)
def test_requantise_is_the_floor_formula_in_every_dtype(total: int, shift: int, limit: int) -> None:
    divided = total << -shift if shift <= 0 else (total + (1 << shift >> 1)) // (1 << shift)
    expected = max(-limit, min(limit, divided))
    for dtype in (torch.int64, torch.float64, torch.float32):
        found = requantise(
            torch.tensor([total], dtype=dtype), torch.tensor([shift], dtype=dtype), -limit, limit
        )
        assert found.dtype == dtype
        assert int(found.item()) == expected


def test_requantise_shifts_each_channel_by_its_own() -> None:
    total = torch.tensor([[5, 5, 5], [-5, -5, -5]])
    expected = [[10, 5, 3], [-10, -5, -2]]
    for dtype in (torch.int64, torch.float32):
        shift = torch.tensor([-1, 0, 1], dtype=dtype)
        assert requantise(total.to(dtype), shift, -100, 100).long().tolist() == expected


@PROPERTY
@given(st.integers(0, 64), st.integers(1, 254), st.integers(0, 254))
def test_context_is_rounded_to_sixteenths_of_a_level(keep: int, maximum: int, level: int) -> None:
    twice = 2 * min(level, maximum) - maximum
    found = context_from(torch.tensor(twice), torch.tensor(keep), 4)
    assert found.item() == (keep * twice + 4) // 8
    assert abs(found.item() / 16 - keep / 64 * twice / 2) <= 1 / 32


def test_hidden_context_is_zero_and_known_context_exact() -> None:
    twice = torch.arange(-62, 63)
    assert not context_from(twice, torch.tensor(0), 4).any()
    assert torch.equal(context_from(twice, torch.tensor(KEEP_KNOWN), 4), 8 * twice)


def test_single_bits_may_be_as_sure_as_any_level() -> None:
    assert mu_limits(WIDE).tolist() == [32 * 64] * 2 + [32 * 7] * 5
    single = dataclasses.replace(WIDE, maximum_level=(1, 1))
    # mu reaches as far as the tables, so that mu / scale can be any log-odds.
    assert mu_limits(single).tolist() == [REACH] * 7


def test_single_bits_are_shown_at_every_keep() -> None:
    bits = context_bits(dataclasses.replace(WIDE, maximum_level=(1, 1)))
    assert bits > context_bits(WIDE) == 4
    keep = torch.arange(KEEP_KNOWN + 1)
    for twice in (-1, 1):
        shown = context_from(torch.tensor(twice), keep, bits)
        assert torch.equal(shown / 2.0**bits, twice / 2 * keep / KEEP_KNOWN)
    assert torch.equal(keep_shown(keep, bits) / 2.0**bits, KEEP_INPUT * keep / KEEP_KNOWN)


# --- bounds -----------------------------------------------------------------------------------------------


def with_layer(network: IntegerNetwork, name: str, change: Callable[[Layer], Layer]) -> IntegerNetwork:
    """Return the network with one of its layers replaced."""
    if name in ("stem", "head"):
        return dataclasses.replace(network, **{name: change(getattr(network, name))})
    _, index, part = name.split(".")
    blocks = list(network.blocks)
    block = blocks[int(index)]
    blocks[int(index)] = dataclasses.replace(block, **{part: change(getattr(block, part))})
    return dataclasses.replace(network, blocks=tuple(blocks))


def with_entry(layer: Layer, part: str, index: int, value: int) -> Layer:
    """Return the layer with one of its integers replaced."""
    tensor = getattr(layer, part).clone()
    tensor.view(-1)[index] = value
    return dataclasses.replace(layer, **{part: tensor})


NAMES = ["stem", "blocks.0.depthwise", "blocks.1.expand", "blocks.1.contract", "head"]


def test_bounds_accept_the_frozen_and_the_random_networks(tiny: weights.Model) -> None:
    for prior in priors(tiny):
        check_bounds(prior.architecture, prior.network)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [WEIGHT_LIMIT + 1, -WEIGHT_LIMIT - 1])
def test_bounds_refuse_a_large_weight(name: str, value: int) -> None:
    broken = with_layer(random_network(WIDE), name, lambda layer: with_entry(layer, "weight", -1, value))
    with pytest.raises(Unsupported, match=f"{name}: a weight of 128 is beyond 127"):
        IntegerPrior(WIDE, broken)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("part", "value"), [("bias", 2**24), ("bias", -(2**24)), ("shift", 25), ("shift", -20)]
)
def test_bounds_refuse_sums_that_may_not_be_exact(name: str, part: str, value: int) -> None:
    broken = with_layer(random_network(WIDE), name, lambda layer: with_entry(layer, part, -1, value))
    with pytest.raises(Unsupported, match=f"{name}: sums may reach"):
        check_bounds(WIDE, broken)


def test_bounds_are_tight_for_a_channel_s_worst_input() -> None:
    """One channel by hand: 48 weights of 127 times 2047, the bias and half a step are just below 2^24."""
    network = random_network(WIDE)
    largest = 48 * WEIGHT_LIMIT * ACTIVATION_LIMIT
    step = 2**9  # This is half of 2^10.

    def change(bias: int) -> Callable[[Layer], Layer]:
        def worst(layer: Layer) -> Layer:
            layer = dataclasses.replace(
                layer, weight=layer.weight.clone(), bias=layer.bias.clone(), shift=layer.shift.clone()
            )
            layer.weight[5], layer.bias[5], layer.shift[5] = WEIGHT_LIMIT, bias, 10
            return layer

        return worst

    check_bounds(WIDE, with_layer(network, "blocks.0.expand", change(2**24 - 1 - largest - step)))
    with pytest.raises(Unsupported, match=f"may reach {2**24}"):
        check_bounds(WIDE, with_layer(network, "blocks.0.expand", change(2**24 - largest - step)))


def test_bounds_count_the_residual_stream() -> None:
    network = random_network(WIDE)
    layer = network.blocks[0].contract
    sums = int(layer.weight[7].abs().sum()) * ACTIVATION_LIMIT
    half = 1 << int(layer.shift[7]) >> 1
    fitting = 2**24 - 1 - sums - half - STREAM_LIMIT

    def biased(bias: int) -> IntegerNetwork:
        return with_layer(network, "blocks.0.contract", lambda one: with_entry(one, "bias", 7, bias))

    check_bounds(WIDE, biased(fitting))
    with pytest.raises(Unsupported, match="contract: sums may reach"):
        check_bounds(WIDE, biased(fitting + 1))


# --- identity ---------------------------------------------------------------------------------------------


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.sampled_from(NAMES), st.sampled_from(["weight", "bias", "shift"]), st.integers(0, 10**6))
def test_any_single_integer_changes_the_digest(name: str, part: str, where: int) -> None:
    network = random_network(WIDE)

    def nudge(layer: Layer) -> Layer:
        tensor = getattr(layer, part)
        index = where % tensor.numel()
        return with_entry(layer, part, index, int(tensor.view(-1)[index]) + 1)

    original = probability_digest(WIDE, network, TABLES)
    assert len(original) == 32
    assert probability_digest(WIDE, with_layer(network, name, nudge), TABLES) != original


def test_shifts_between_layers_order_and_tables_change_the_digest() -> None:
    network = random_network(WIDE)
    entered = dataclasses.replace(network.blocks[1], enter=9)
    others = [
        (WIDE, dataclasses.replace(network, head_enter=4), TABLES),
        (WIDE, dataclasses.replace(network, activation_limit=NARROW_LIMIT), TABLES),
        (WIDE, dataclasses.replace(network, activation_limit=1023), TABLES),
        (WIDE, dataclasses.replace(network, blocks=(network.blocks[0], entered)), TABLES),
        (WIDE, dataclasses.replace(network, blocks=network.blocks[:1]), TABLES),
        (dataclasses.replace(WIDE, layer_channels=(3, 4)), network, TABLES),
        (dataclasses.replace(WIDE, maximum_level=(62, 6)), network, TABLES),
        (dataclasses.replace(WIDE, layer_phases=(4, 4)), network, TABLES),
        (WIDE, network, bytes(32)),
    ]
    found = {probability_digest(*arguments) for arguments in [(WIDE, network, TABLES), *others]}
    assert len(found) == 1 + len(others)


def test_the_digest_does_not_depend_on_dtype_or_pixels() -> None:
    network = random_network(WIDE)
    moved = network.to(torch.float32, torch.device("cpu"))
    wider = dataclasses.replace(WIDE, width_8=32)
    assert probability_digest(WIDE, moved, TABLES) == probability_digest(wider, network, TABLES)


def test_a_model_file_whose_integers_were_changed_is_refused(tmp_path: Path, tiny: weights.Model) -> None:
    card, network = tiny.card, tiny.prior.network
    forged = with_layer(
        network, "head", lambda layer: with_entry(layer, "bias", 0, int(layer.bias[0, 0]) + 1)
    )
    path = tmp_path / "forged.safetensors"
    weights.save(path, "forged-1", card.architecture, tiny.autoencoder.state_dict(), forged, {})
    with pytest.raises(DamagedModel, match="do not match the fingerprint"):
        weights.load(dataclasses.replace(read_card(path), path=path, fingerprint=card.fingerprint))
    assert weights.load(read_card(path)).card.fingerprint != card.fingerprint


def test_a_model_file_says_how_large_activations_get(tmp_path: Path, tiny: weights.Model) -> None:
    card, pixels = tiny.card, tiny.autoencoder.state_dict()
    found = {}
    for limit in (NARROW_LIMIT, ACTIVATION_LIMIT):
        network = dataclasses.replace(tiny.prior.network, activation_limit=limit)
        path = tmp_path / f"said-{limit}.safetensors"
        found[limit] = weights.save(path, f"said-{limit}", card.architecture, pixels, network, {})
        assert weights.load(read_card(path)).prior.network.activation_limit == limit
    assert found[NARROW_LIMIT].fingerprint != found[ACTIVATION_LIMIT].fingerprint
    silent = resaved(found[NARROW_LIMIT].path, {"prior.activation_limit": None})
    with pytest.raises(DamagedModel, match="activation_limit"):
        weights.load(read_card(silent))


def resaved(path: Path, changes: dict[str, Tensor | None]) -> Path:
    """Write a model file with some tensors changed or left out."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = {**load_file(path), **changes}
    changed = path.with_name("changed.safetensors")
    save_file({name: value for name, value in tensors.items() if value is not None}, changed, metadata)
    return changed


@pytest.mark.parametrize(
    "limit",
    [
        *(torch.tensor(value) for value in (0, -1, -(2**31), ACTIVATION_LIMIT + 1, 2**40)),
        *(torch.tensor([511, 511]), torch.tensor(511.0), torch.tensor(True), torch.tensor([])),
    ],
)
def test_a_model_file_whose_limit_makes_no_sense_is_refused(tmp_path: Path, limit: Tensor) -> None:
    path = tmp_path / "tiny-1.safetensors"
    path.write_bytes(TINY.read_bytes())
    broken = resaved(path, {"prior.activation_limit": limit})
    with pytest.raises(DamagedModel):
        weights.load(read_card(broken))


@pytest.mark.parametrize("limit", [0, -511, ACTIVATION_LIMIT + 1])
def test_bounds_refuse_a_limit_out_of_range(limit: int) -> None:
    network = dataclasses.replace(random_network(WIDE), activation_limit=limit)
    with pytest.raises(Unsupported, match=f"activation limit {limit} is not in 1..2047"):
        check_bounds(WIDE, network)


def test_activations_stop_at_the_network_s_own_limit() -> None:
    network = random_network(WIDE)
    narrow = dataclasses.replace(network, activation_limit=NARROW_LIMIT)
    context = saturated_context(WIDE, 5, 4, seed=1)[None]

    def entered(network: IntegerNetwork) -> Tensor:
        products = ShiftedProducts()
        sums = products.stem(context, network.stem.weight)
        return integer.stream(network, sums, torch.tensor([50]), products=products)

    assert int(entered(network).abs().max()) == ACTIVATION_LIMIT
    assert int(entered(narrow).abs().max()) == NARROW_LIMIT
    assert not same(
        predictions(IntegerPrior(WIDE, network), context[0], 50),
        predictions(IntegerPrior(WIDE, narrow), context[0], 50),
    )


# --- training through the integers ------------------------------------------------------------------------


def test_the_prior_that_trains_through_rounding_is_the_one_that_codes(tiny: weights.Model) -> None:
    architecture = tiny.card.architecture
    torch.manual_seed(11)
    prior = Prior(architecture)
    with torch.no_grad():
        for parameter in (prior.head.weight, prior.head_quality.weight, prior.stem_quality.weight):
            parameter.normal_(0, 0.2)
    context = torch.stack([random_context(architecture, 5, 4, seed) for seed in range(QUALITIES)])
    channels = architecture.channels
    shown = context[..., :channels].permute(0, 3, 1, 2) / 16.0
    keep = context[..., channels:].permute(0, 3, 1, 2) / KEEP_KNOWN
    quality = torch.arange(QUALITIES) / (QUALITIES - 1)
    recorder = RangeRecorder(prior)
    with torch.no_grad():
        prior(shown, keep, quality)
    recorder.close()
    quantised = QuantisedPrior(prior, architecture, recorder.ranges)
    # All qualities are computed at once, as in the export, so that their float rounding is the same.
    with torch.no_grad():
        mu, log_scale = quantised(shown, keep, quality)
    coding = IntegerPrior(architecture, quantised.export())
    for at in (0, 1, 33, 50, 99, 100):
        found = predictions(coding, context[at], at)
        expected_mu = (mu[at] * 64).flatten(1).int()
        expected_scale = (log_scale[at] * 8 + 32).flatten(1).int()
        assert torch.equal(torch.cat(found[0::2]), expected_mu)
        assert torch.equal(torch.cat(found[1::2]), expected_scale)
    assert len(expected_mu.unique()) > 20


def test_training_through_the_rounding_reaches_every_weight(tiny: weights.Model) -> None:
    architecture = tiny.card.architecture
    torch.manual_seed(12)
    prior = Prior(architecture)
    with torch.no_grad():
        prior.head_quality.weight.normal_(0, 0.1)
    context = torch.randint(-3, 4, (2, architecture.channels, 6, 6)).float()
    keep = torch.ones(2, architecture.layers, 6, 6)
    recorder = RangeRecorder(prior)
    with torch.no_grad():
        prior(context, keep, torch.tensor([0.0, 1.0]))
    recorder.close()
    quantised = QuantisedPrior(prior, architecture, recorder.ranges)
    mu, log_scale = quantised(context, keep, torch.tensor([0.3, 0.7]))
    (mu.square().sum() + log_scale.square().sum()).backward()
    for name, parameter in quantised.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def ranges_of(prior: Prior, architecture: Architecture) -> dict[str, float]:
    torch.manual_seed(13)
    context = torch.randint(-3, 4, (2, architecture.channels, 6, 6)).float()
    recorder = RangeRecorder(prior)
    with torch.no_grad():
        prior(context, torch.ones(2, architecture.layers, 6, 6), torch.tensor([0.0, 1.0]))
    recorder.close()
    return recorder.ranges


def test_the_largest_activation_counts_however_rare_it_is() -> None:
    prior = Prior(WIDE)
    before = ranges_of(prior, WIDE)

    def one_outlier(_: Any, inputs: tuple[Tensor]) -> tuple[Tensor]:
        x = inputs[0].clone()
        x[0, 0, 0, 0] = 1e4
        return (x,)

    handle = prior.blocks[0].register_forward_pre_hook(one_outlier)
    after = ranges_of(prior, WIDE)
    handle.remove()
    assert before["blocks.0.enter"] < 1e3
    assert after["blocks.0.enter"] == 1e4 <= after["stream"]


def test_rows_that_training_moved_beyond_the_bounds_are_halved() -> None:
    """Weights grow, and the bias of a row of tiny weights is large in the units of its sums."""
    torch.manual_seed(14)
    wide = dataclasses.replace(WIDE, prior_width=192, prior_blocks=1)
    prior = Prior(wide)
    quantised = QuantisedPrior(prior, wide, ranges_of(prior, wide))
    quantised.keep_bounds()
    assert quantised.export().activation_limit == ACTIVATION_LIMIT
    check_bounds(wide, quantised.export())
    with torch.no_grad():
        prior.blocks[0].contract.weight.mul_(1.5)
        prior.head.weight[3] *= 1e-3
        prior.head.bias[3] = 200.0
        quantised = QuantisedPrior(prior, wide, ranges_of(prior, wide))
        prior.head.bias[3] = 4000.0
    with pytest.raises(Unsupported, match="sums may reach"):
        check_bounds(wide, quantised.export())
    before = quantised.export()
    quantised.keep_bounds()
    check_bounds(wide, quantised.export())
    # Only the necessary rows changed; other rows stay as fine as they were.
    coarser = before.head.shift - quantised.export().head.shift
    assert coarser[3] > 0
    assert int((coarser != 0).sum()) == 1


# --- the self-test ----------------------------------------------------------------------------------------


def noisy(function: Callable[..., Tensor], *kinds: torch.dtype) -> Callable[..., Tensor]:
    """Return the function, made slightly wrong for some kinds of numbers."""

    def wrong(*arguments: Any, **options: Any) -> Tensor:
        result = function(*arguments, **options)
        return result + (result.abs() * 1e-4).to(result.dtype) if result.dtype in kinds else result

    return wrong


def test_auto_takes_the_fastest_kernel_that_is_exact(tiny: weights.Model) -> None:
    found = IntegerPrior(tiny.card.architecture, tiny.prior.network)
    assert found.is_exact(found.kernel, 9, 11)
    assert found.kernel in FAST


def test_a_broken_convolution_is_noticed_and_avoided(
    tiny: weights.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = random_context(tiny.card.architecture, 7, 6, 9)
    expected = predictions(tiny.prior.with_kernel("int64"), context, 40)
    monkeypatch.setattr(functional, "conv2d", noisy(functional.conv2d, torch.float32))
    found = IntegerPrior(tiny.card.architecture, tiny.prior.network)
    assert not found.is_exact("conv", 9, 11)
    assert found.kernel == "matmul"
    assert same(predictions(found, context, 40), expected)
    # The fault matters: the faulty kernel gives other probabilities.
    assert not same(predictions(found.with_kernel("conv"), context, 40), expected)


@pytest.mark.parametrize("witness", ["products", "predictions"])
def test_a_kernel_must_be_right_in_its_products_and_in_its_predictions(
    witness: str, tiny: weights.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each test may miss what the other one sees, so a kernel is rejected if either of them fails."""
    honest = IntegerPrior.predict

    def wrong_convolution(prior: IntegerPrior, *arguments: Any) -> tuple[Tensor, Tensor]:
        mu, scale = honest(prior, *arguments)
        return (mu + 1 if prior.asked_for == "conv" else mu), scale

    if witness == "products":
        monkeypatch.setattr(IntegerPrior, "is_exact", lambda prior, kernel, *shape: kernel != "conv")
    else:
        monkeypatch.setattr(IntegerPrior, "predict", wrong_convolution)
    assert IntegerPrior(tiny.card.architecture, tiny.prior.network).kernel == "matmul"


def test_broken_float32_falls_back_to_float64(tiny: weights.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "stream", noisy(kernels.stream, torch.float32))
    assert IntegerPrior(tiny.card.architecture, tiny.prior.network).kernel == "float64"


def test_a_device_without_exact_arithmetic_is_refused(
    tiny: weights.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "stream", noisy(kernels.stream, torch.float32, torch.float64))
    with pytest.raises(Unsupported, match="no kernel computes exact integers on device 'cpu'"):
        IntegerPrior(tiny.card.architecture, tiny.prior.network)


def with_classes(network: IntegerNetwork, architecture: Architecture, seed: int = 3) -> IntegerNetwork:
    generator = torch.manual_seed(seed)
    tables = [
        torch.randint(-20_000, 20_001, (architecture.classes + 1, outputs), generator=generator)
        for outputs in (architecture.prior_width, 2 * architecture.channels)
    ]
    for table in tables:
        table[0] = 0
    return dataclasses.replace(network, classes=(tables[0], tables[1]))


def test_classes_are_exact_and_no_class_is_none() -> None:
    conditioned = dataclasses.replace(WIDE, classes=3)
    plain, network = random_network(WIDE), with_classes(random_network(conditioned), conditioned)
    positions = torch.arange(5 * 6)
    context = saturation.saturated_context(WIDE, 5, 6)
    expected = [
        IntegerPrior(conditioned, network, kernel="int64").predict(context, 40, None, positions, label)
        for label in range(4)
    ]
    for kernel in FAST:
        prior = IntegerPrior(conditioned, network, kernel=kernel)
        for label in range(4):
            found = prior.predict(context, 40, None, positions, label)
            assert all(torch.equal(a, b) for a, b in zip(found, expected[label], strict=True))
    without = IntegerPrior(WIDE, plain).predict(context, 40, None, positions)
    assert all(torch.equal(a, b) for a, b in zip(without, expected[0], strict=True))
    assert not torch.equal(expected[1][0], expected[0][0])
    assert not torch.equal(expected[1][0], expected[2][0])


def test_all_channels_at_once_are_the_layers_one_by_one(tiny: weights.Model) -> None:
    context = saturation.saturated_context(tiny.prior.architecture, 4, 5)
    positions = torch.tensor([3, 0, 17])
    whole = tiny.prior.predict(context, 50, None, positions)
    for layer in range(tiny.prior.architecture.layers):
        channels = tiny.prior.architecture.layer_slice(layer)
        part = tiny.prior.predict(context, 50, layer, positions)
        assert all(torch.equal(a[channels], b) for a, b in zip(whole, part, strict=True))


def test_class_tables_are_part_of_the_digest_and_of_the_bounds() -> None:
    conditioned = dataclasses.replace(WIDE, classes=3)
    network = with_classes(random_network(conditioned), conditioned)
    other = with_classes(random_network(conditioned), conditioned, seed=4)
    assert probability_digest(conditioned, network, TABLES) != probability_digest(conditioned, other, TABLES)
    without = dataclasses.replace(network, classes=None)
    plain = probability_digest(WIDE, random_network(WIDE), TABLES)
    assert probability_digest(conditioned, without, TABLES) == plain
    stem, head = network.classes or (torch.zeros(0), torch.zeros(0))
    stem, head = stem.clone(), head.clone()
    for table in (stem, head):
        table[1:] += 2**24
        with pytest.raises(Unsupported, match="sums may reach"):
            check_bounds(conditioned, dataclasses.replace(network, classes=(stem, head)))
        table[1:] -= 2**24
        table[0, 3] = 1
        with pytest.raises(Unsupported, match="another result for no class"):
            check_bounds(conditioned, dataclasses.replace(network, classes=(stem, head)))
        table[0, 3] = 0
    check_bounds(conditioned, dataclasses.replace(network, classes=(stem, head)))


@pytest.mark.parametrize("shift", [-24, 25, 127])
def test_a_shift_that_no_kernel_computes_exactly_is_refused(shift: int) -> None:
    network = random_network(WIDE)
    first = dataclasses.replace(network.blocks[0], enter=shift)
    for changed in (
        dataclasses.replace(network, blocks=(first, *network.blocks[1:])),
        dataclasses.replace(network, head_enter=shift),
    ):
        with pytest.raises(Unsupported, match=r"enter .* is not in -23\.\.24"):
            check_bounds(WIDE, changed)


def test_a_model_with_classes_is_read_as_it_was_written(tmp_path: Path) -> None:
    conditioned = dataclasses.replace(WIDE, classes=2, width_8=8, width_16=8, blocks_8=1, blocks_16=1)
    torch.manual_seed(1)
    prior = Prior(conditioned)
    for table in (prior.stem_class, prior.head_class):
        assert table is not None
        torch.nn.init.normal_(table)
    recorder = RangeRecorder(prior)
    keep = torch.ones(4, conditioned.layers, 6, 6)
    with torch.no_grad():
        prior(
            torch.randint(-2, 3, (4, conditioned.channels, 6, 6)).float(),
            keep,
            torch.rand(4),
            torch.arange(4) % 3,
        )
    recorder.close()
    quantised = QuantisedPrior(prior, conditioned, recorder.ranges)
    path = tmp_path / "conditioned-1.safetensors"
    weights.save(
        path, "conditioned-1", conditioned, Autoencoder(conditioned).state_dict(), quantised.export(), {}
    )
    loaded = weights.load(read_card(path)).prior
    context = saturation.saturated_context(conditioned, 6, 6)
    centred = context[..., : conditioned.channels].float() / 16
    for label in range(3):
        mu, scale = loaded.predict(context, 100, None, torch.arange(36), label)
        with torch.no_grad():
            float_mu, log_scale = quantised(
                centred.permute(2, 0, 1)[None],
                torch.ones(1, conditioned.layers, 6, 6),
                torch.ones(1),
                torch.tensor([label]),
            )
        assert torch.equal(mu.float() / 64, float_mu[0].flatten(1))
        assert torch.equal((scale.float() - 32) / 8, log_scale[0].flatten(1))
