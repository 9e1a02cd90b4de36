"""LPIPS with SqueezeNet against its definition in NumPy, and its written gradient against differences."""

import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image

from bincodec.train.lpips import ALEXNET, SQUEEZENET, Lpips, read_lpips

Floats = NDArray[np.float64]
Weights = dict[str, Floats]


@pytest.fixture(scope="module")
def lpips(squeeze_file: Path) -> Lpips:
    return read_lpips(SQUEEZENET, squeeze_file.read_bytes(), squeeze_file)


def pair(side: int = 41) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    first = torch.rand((2, 3, side, side + 3), generator=generator) * 2 - 1
    return first, (first + 0.2 * torch.randn(first.shape, generator=generator)).clamp(-1, 1)


def convolve(maps: Floats, weight: Floats, bias: Floats, stride: int = 1) -> Floats:
    """Convolve (C, H, W) as a sum over windows, with the ReLU. A 3x3 kernel of stride 1 is padded."""
    size = weight.shape[-1]
    edge = size // 2 if stride == 1 else 0
    padded = np.pad(maps, ((0, 0), (edge, edge), (edge, edge)))
    windows = sliding_window_view(padded, (size, size), (1, 2))[:, ::stride, ::stride]
    summed = np.einsum("chwij,ocij->ohw", windows, weight, optimize=True)
    return np.maximum(summed + bias[:, None, None], 0)


def pool(maps: Floats) -> Floats:
    """Max-pooling 3x3 of stride 2. Windows may reach beyond the last row and column."""
    beyond = [(0, (side - 3) % 2) for side in maps.shape[1:]]
    padded = np.pad(maps, ((0, 0), *beyond), constant_values=-np.inf)
    return sliding_window_view(padded, (3, 3), (1, 2))[:, ::2, ::2].max((-1, -2))


def features(values: Floats, weights: Weights) -> list[Floats]:
    def fire(maps: Floats, index: int) -> Floats:
        def layer(x: Floats, part: str) -> Floats:
            name = f"features.{index}.{part}"
            return convolve(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

        narrow = layer(maps, "squeeze")
        return np.concatenate([layer(narrow, "expand1x1"), layer(narrow, "expand3x3")])

    mean, deviation = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
    scaled = (values - np.array(mean)[:, None, None]) / np.array(deviation)[:, None, None]
    taps = [convolve(scaled, weights["features.0.weight"], weights["features.0.bias"], 2)]
    taps.append(fire(fire(pool(taps[-1]), 3), 4))
    taps.append(fire(fire(pool(taps[-1]), 6), 7))
    taps.append(fire(pool(taps[-1]), 9))
    for index in (10, 11, 12):
        taps.append(fire(taps[-1], index))
    return taps


def expected(first: Floats, second: Floats, weights: Weights) -> float:
    total = 0.0
    for k, (a, b) in enumerate(zip(features(first, weights), features(second, weights), strict=True)):
        a, b = (maps / (np.sqrt((maps**2).sum(0)) + 1e-10) for maps in (a, b))
        total += float((weights[f"lin{k}.weight"][0] * (a - b) ** 2).sum(0).mean())
    return total


def test_squeezenet_is_the_definition(lpips: Lpips) -> None:
    first, second = pair()
    weights = {name: tensor.double().numpy() for name, tensor in lpips.weights.items()}
    found = lpips.distance(first, second).tolist()
    both = zip(first.double().numpy(), second.double().numpy(), strict=True)
    assert found == pytest.approx([expected(*one, weights) for one in both], rel=1e-4)
    assert lpips.distance(first, first).tolist() == pytest.approx([0, 0], abs=1e-9)


def test_the_written_gradient_is_that_of_the_distance(lpips: Lpips) -> None:
    """In float64, along a few random directions."""
    first, second = (tensor.double() for tensor in pair(19))
    exact = lpips.to("cpu", torch.float64)
    # The distance is summed in float32, so the steps may not be too small.
    decoded = second.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(exact.distance(first, decoded).sum(), decoded)
    generator, step = torch.Generator().manual_seed(1), 1e-3
    for _ in range(3):
        way = torch.randn(second.shape, generator=generator, dtype=torch.float64)
        ends = [exact.distance(first, second + sign * step * way).sum().item() for sign in (1, -1)]
        along = (ends[0] - ends[1]) / (2 * step)
        assert (gradient * way).sum().item() == pytest.approx(along, rel=0.05, abs=1e-3)


def test_the_reference_gets_no_gradient(lpips: Lpips) -> None:
    first, second = (tensor.requires_grad_() for tensor in pair(19))
    lpips.distance(first, second).sum().backward()
    assert first.grad is None
    assert second.grad is not None


@pytest.mark.parametrize("network", [ALEXNET, SQUEEZENET], ids=lambda network: network.title)
def test_gradients_are_finite_where_all_features_are_zero(network: type) -> None:
    zeros = {name: torch.zeros(shape) for name, shape in network.shapes.items()}
    first, second = pair(32)
    second.requires_grad_()
    Lpips(network, zeros).distance(first, second).sum().backward()
    assert second.grad is not None
    assert bool(torch.isfinite(second.grad).all())


def test_bfloat16_is_near(lpips: Lpips) -> None:
    first, second = pair()
    exact = lpips.distance(first, second)
    assert lpips.to("cpu", torch.bfloat16).distance(first, second) == pytest.approx(exact, rel=0.03)


# The real weights of SqueezeNet lie beside those of AlexNet, which the variable names.
_NAMED = os.environ.get("BINCODEC_LPIPS_WEIGHTS")
REAL = Path(_NAMED).with_name("lpips_squeeze.safetensors") if _NAMED else None
needs_real_weights = pytest.mark.skipif(
    REAL is None or not REAL.exists(),
    reason="the real weights belong to others; beside BINCODEC_LPIPS_WEIGHTS where they are at hand",
)


@pytest.fixture(scope="module")
def real() -> Lpips:
    assert REAL is not None
    return read_lpips(SQUEEZENET, REAL.read_bytes(), REAL)


@needs_real_weights
def test_real_weights_give_the_known_distance_of_noise(real: Lpips) -> None:
    torch.manual_seed(123)
    first, second = (torch.rand(10, 3, 100, 100) * 2 - 1 for _ in range(2))
    assert float(real.distance(first, second).mean()) == pytest.approx(0.1008, abs=5e-5)


@needs_real_weights
@pytest.mark.parametrize(("quality", "value"), [(10, 0.4825), (30, 0.1620), (75, 0.0360)])
def test_real_weights_give_the_known_distances_of_a_photo(real: Lpips, quality: int, value: float) -> None:
    photo, buffer = skimage.data.chelsea(), BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as image:
        both = [torch.tensor(np.array(one)).permute(2, 0, 1)[None] / 127.5 - 1 for one in (photo, image)]
    assert float(real.distance(*both)) == pytest.approx(value, abs=5e-4)
