"""The fast gradient of a depthwise convolution is that of PyTorch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from bincodec.model.depthwise import FEW, Depthwise


def gradients(result: Tensor, layer: Depthwise, x: Tensor, towards: Tensor) -> tuple[Tensor, ...]:
    assert layer.bias is not None
    return torch.autograd.grad(result, (x, layer.weight, layer.bias), towards)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(
    st.integers(1, 8),
    st.integers(1, FEW // 8),
    st.integers(1, 8),
    st.sampled_from([1, 3, 5]),
    st.integers(1, 5),
)
def test_the_gradient_is_that_of_pytorch(
    height: int, width: int, channels: int, kernel: int, batch: int
) -> None:
    torch.manual_seed(height + 10 * width + 100 * channels)
    layer = Depthwise(channels, kernel)
    x, towards = torch.randn(2, batch, channels, height, width)
    x.requires_grad_()
    found = layer(x)
    plain = functional.conv2d(x, layer.weight, layer.bias, padding=kernel // 2, groups=channels)
    assert torch.allclose(found, plain, atol=1e-6)
    ours, theirs = (gradients(result, layer, x, towards) for result in (found, plain))
    for name, mine, its in zip(("input", "weight", "bias"), ours, theirs, strict=True):
        # The products for the weights are those of bfloat16.
        tolerance = 0.02 * its.abs().max().item() + 0.02 if name == "weight" else 1e-4
        assert (mine - its).abs().max().item() <= tolerance, name


@pytest.mark.parametrize(("side", "ours"), [(8, True), (9, False)])
def test_more_positions_are_left_to_pytorch(side: int, ours: bool) -> None:
    layer = Depthwise(2, 5)
    name = type(layer(torch.randn(1, 2, side, side)).grad_fn).__name__
    assert (name == "_ConvolutionBackward") == ours


def test_nothing_is_kept_where_nothing_learns() -> None:
    layer = Depthwise(2, 5).requires_grad_(False)
    assert not layer(torch.randn(1, 2, 8, 8)).requires_grad
