"""Round the weights of a linear map so that later weights make up for earlier ones."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from bincodec.model.architecture import Architecture
from bincodec.model.integer import check_bounds
from bincodec.model.prior import Prior
from bincodec.train import quantise
from bincodec.train.quantise import QuantisedPrior, RangeRecorder
from bincodec.train.rounding import MomentRecorder, round_in_order


def drawn(seed: int) -> tuple[Tensor, Tensor]:
    """Return weights of 16 outputs and 24 inputs, and second moments of inputs that go together."""
    generator = torch.Generator().manual_seed(seed)
    weights = 20 * torch.randn(16, 24, generator=generator, dtype=torch.float64)
    few = torch.randn(200, 6, generator=generator, dtype=torch.float64)
    inputs = few @ torch.randn(6, 24, generator=generator, dtype=torch.float64)
    inputs = (inputs + 0.1 * torch.randn(200, 24, generator=generator, dtype=torch.float64)).relu()
    return weights, inputs.T @ inputs / 200


def error(weights: Tensor, rounded: Tensor, moments: Tensor) -> float:
    """Return the mean squared error of the output."""
    wrong = weights - rounded
    return float((wrong @ moments * wrong).sum())


@given(st.integers(0, 10**6))
def test_the_output_is_nearer_than_with_the_nearest_integers(seed: int) -> None:
    weights, moments = drawn(seed)
    rounded = round_in_order(weights, moments, 127)
    assert torch.equal(rounded, rounded.round())
    assert error(weights, rounded, moments) < 0.6 * error(weights, torch.floor(weights + 0.5), moments)


@given(st.integers(0, 10**6))
def test_inputs_that_do_not_go_together_get_the_nearest_integers(seed: int) -> None:
    weights, moments = drawn(seed)
    apart = torch.diag(moments.diag())
    assert torch.equal(round_in_order(weights, apart, 127), torch.floor(weights + 0.5))


def test_weights_stay_within_the_limit_and_the_others_make_up_for_it() -> None:
    weights, moments = torch.tensor([[9.0, 0.0]]), torch.tensor([[1.0, 0.999], [0.999, 1.0]])
    assert round_in_order(weights, moments.double(), 5).tolist() == [[5.0, 4.0]]


def test_inputs_that_were_always_zero_do_no_harm() -> None:
    weights, moments = drawn(3)
    moments[:4], moments[:, :4] = 0, 0
    assert torch.equal(round_in_order(weights, moments, 127)[:, :4], torch.floor(weights[:, :4] + 0.5))


def test_every_crop_counts_alike() -> None:
    layer, crops = nn.Conv2d(3, 2, 1), torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(1))

    def moments(of: Tensor) -> Tensor:
        recorder = MomentRecorder({"layer": layer})
        layer(of)
        recorder.close()
        layer(of)  # This is not recorded any more.
        return recorder.moments["layer"]

    found = moments(crops)
    assert found.shape == (3, 3)
    assert found.trace() == pytest.approx(3)
    louder = crops * torch.tensor([1000.0, 1.0])[:, None, None, None]
    assert torch.allclose(moments(louder), found)


def test_settled_weights_do_not_leave_the_bounds(
    small: Architecture, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = dataclasses.replace(small, prior_width=192)
    torch.manual_seed(2)
    prior = Prior(wide)
    ranges, inputs = RangeRecorder(prior), MomentRecorder({"blocks.0.contract": prior.blocks[0].contract})  # type: ignore[dict-item, union-attr]
    with torch.no_grad():
        context = torch.randint(-3, 4, (2, wide.channels, 6, 6)).float()
        prior(context, torch.ones(2, wide.layers, 6, 6), torch.tensor([0.0, 1.0]))
    quantised = QuantisedPrior(prior, wide, ranges.ranges)
    before = quantised.export()
    quantised.settle(inputs.moments)
    after = quantised.export()
    check_bounds(wide, after)
    assert torch.equal(after.head.weight, before.head.weight)
    changed = after.blocks[0].contract.weight - before.blocks[0].contract.weight
    assert 0 < changed.double().abs().mean() < 0.6
    # Rows that would leave the bounds keep the nearest integers.
    monkeypatch.setattr(quantise, "round_in_order", lambda weights, *_: torch.full_like(weights, 127.0))
    quantised = QuantisedPrior(prior, wide, ranges.ranges)
    quantised.settle(inputs.moments)
    assert torch.equal(quantised.export().blocks[0].contract.weight, before.blocks[0].contract.weight)
