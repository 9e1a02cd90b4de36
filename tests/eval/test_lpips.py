"""LPIPS with random weights against its definition in NumPy, and with the real weights if installed."""

import math
import os
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import skimage.data
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file

from bincodec.errors import Unreadable, Unsupported
from bincodec.eval import metrics
from bincodec.eval.errors import NotInstalled
from bincodec.eval.lpips import VARIABLE, LpipsMetric, load
from bincodec.train.lpips import ALEXNET, Lpips

Floats = NDArray[np.float64]
Weights = dict[str, torch.Tensor]
SHAPES = ALEXNET.shapes


def metric_of(weights: Weights) -> LpipsMetric:
    return LpipsMetric(Lpips(ALEXNET, weights))


@pytest.fixture(scope="module")
def weights(draw_lpips_weights: Callable[..., Weights]) -> Weights:
    return draw_lpips_weights(SHAPES)


@pytest.fixture(scope="module")
def file(weights: Weights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lpips") / "weights.safetensors"
    save_file(weights, path)
    return path


@pytest.fixture
def pair() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rng = np.random.default_rng(3)
    first = rng.integers(0, 256, (47, 52, 3), np.uint8)
    return first, np.clip(first + rng.normal(0, 30, first.shape), 0, 255).astype(np.uint8)


def convolve(maps: Floats, weight: Floats, bias: Floats, stride: int, padding: int) -> Floats:
    """Convolve (C, H, W) to (outputs, H', W') as a sum over windows."""
    size = weight.shape[-1]
    padded = np.pad(maps, ((0, 0), (padding, padding), (padding, padding)))
    windows = sliding_window_view(padded, (size, size), (1, 2))[:, ::stride, ::stride]
    return np.einsum("chwij,ocij->ohw", windows, weight, optimize=True) + bias[:, None, None]


def features(pixels: NDArray[np.uint8], weights: Weights) -> list[Floats]:
    """Return AlexNet's five maps, layer by layer as in the description of its architecture."""

    def layer(maps: Floats, index: int, stride: int, padding: int) -> Floats:
        weight, bias = (weights[f"features.{index}.{kind}"].double().numpy() for kind in ("weight", "bias"))
        return np.maximum(convolve(maps, weight, bias, stride, padding), 0)

    def pool(maps: Floats) -> Floats:
        return sliding_window_view(maps, (3, 3), (1, 2))[:, ::2, ::2].max((-1, -2))

    values = pixels / 127.5 - 1
    scaled = (values - [-0.030, -0.088, -0.188]) / [0.458, 0.448, 0.450]
    first = layer(scaled.transpose(2, 0, 1), 0, 4, 2)
    second = layer(pool(first), 3, 1, 2)
    third = layer(pool(second), 6, 1, 1)
    fourth = layer(third, 8, 1, 1)
    return [first, second, third, fourth, layer(fourth, 10, 1, 1)]


def expected(first: NDArray[np.uint8], second: NDArray[np.uint8], weights: Weights) -> float:
    total = 0.0
    for k, (a, b) in enumerate(zip(features(first, weights), features(second, weights), strict=True)):
        a, b = (maps / (np.sqrt((maps**2).sum(0)) + 1e-10) for maps in (a, b))
        head = weights[f"lin{k}.weight"].double().numpy().reshape(-1, 1, 1)
        total += float((head * (a - b) ** 2).sum(0).mean())
    return total


def test_it_is_the_definition(
    weights: Weights, file: Path, pair: tuple[NDArray[np.uint8], NDArray[np.uint8]]
) -> None:
    metric = metrics.find("lpips", lpips_weights=file)
    value = metric.measure(*pair)
    assert value > 0.01
    assert value == pytest.approx(expected(*pair, weights), rel=1e-4)
    assert (metric.label, metric.higher_is_better) == ("LPIPS (Alex)", False)


def test_equal_pictures_are_at_zero_and_the_order_does_not_matter(
    weights: Weights, pair: tuple[NDArray[np.uint8], NDArray[np.uint8]]
) -> None:
    measure = metric_of(weights)
    assert measure(pair[0], pair[0]) == 0
    assert measure(*pair) == pytest.approx(measure(*pair[::-1]))


@pytest.mark.parametrize("k", range(5))
def test_every_layer_counts_by_its_head(
    k: int, weights: Weights, pair: tuple[NDArray[np.uint8], NDArray[np.uint8]]
) -> None:
    name = f"lin{k}.weight"
    whole, without, twice = (
        metric_of({**weights, name: factor * weights[name]})(*pair) for factor in (1, 0, 2)
    )
    assert without < 0.99 * whole
    assert twice - whole == pytest.approx(whole - without, rel=1e-4)


def test_only_the_direction_of_features_counts(
    weights: Weights, pair: tuple[NDArray[np.uint8], NDArray[np.uint8]]
) -> None:
    """The last map is scaled. Larger earlier maps would meet the same biases in the layers after them."""
    last = {name: 2 * weights[name] for name in ("features.10.weight", "features.10.bias")}
    assert metric_of({**weights, **last})(*pair) == pytest.approx(metric_of(weights)(*pair), rel=1e-5)


def test_a_batch_is_measured_one_by_one(weights: Weights) -> None:
    first, second = torch.rand(2, 3, 3, 40, 40, generator=torch.Generator().manual_seed(1)) * 2 - 1
    measure = Lpips(ALEXNET, weights)
    together = measure.distance(first, second)
    apart = [measure.distance(first[i : i + 1], second[i : i + 1]).item() for i in range(3)]
    assert together.tolist() == pytest.approx(apart, rel=1e-5)


def test_small_pictures_have_no_value(weights: Weights) -> None:
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 256, (2, 31, 40, 3), np.uint8)
    assert math.isfinite(metric_of(weights)(first, second))
    assert math.isnan(metric_of(weights)(first[:30], second[:30]))


def test_other_than_two_pictures_is_refused(weights: Weights) -> None:
    with pytest.raises(ValueError, match="8-bit images of one shape"):
        metric_of(weights)(np.zeros((40, 40, 3), np.uint8), np.zeros((40, 41, 3), np.uint8))


def test_the_variable_names_a_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(file))
    about, found = load()
    assert (about, set(found.lpips.weights)) == (load(file)[0], set(SHAPES))
    assert "SHA-256" in about
    monkeypatch.setenv(VARIABLE, str(file.with_name("gone")))
    with pytest.raises(Unreadable, match="gone"):
        load()
    assert load(file)[0] == about


def test_files_of_something_else_are_refused(weights: Weights, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    path.write_bytes(b"\x00" * 100)
    with pytest.raises(Unsupported, match="not a readable weights file"):
        load(path)
    save_file({name: tensor for name, tensor in weights.items() if name != "lin4.weight"}, path)
    with pytest.raises(Unsupported, match=r"lin4\.weight has shape none, not \(1, 256, 1, 1\)"):
        load(path)
    save_file({**weights, "lin5.weight": torch.zeros(3)}, path)
    with pytest.raises(Unsupported, match=r"lin5\.weight has shape \(3,\), not any"):
        load(path)
    save_file({**weights, "features.0.bias": torch.zeros(63)}, path)
    with pytest.raises(Unsupported, match=r"features\.0\.bias has shape \(63,\), not \(64,\)"):
        load(path)


def test_the_public_package_lends_its_weights(
    weights: Weights,
    pair: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stand-in whose state has the same names as that of the package."""
    slices = {tap.layers[0].name.partition(".")[2]: number for number, tap in enumerate(ALEXNET.taps, 1)}
    state = {"scaling_layer.shift": torch.zeros(3)}
    for name, tensor in weights.items():
        if name.startswith("lin"):
            state[name.replace(".", ".model.1.")] = tensor
        else:
            _, index, kind = name.split(".")
            state[f"net.slice{slices[index]}.{index}.{kind}"] = tensor

    def network(*, net: str, verbose: bool) -> SimpleNamespace:
        assert (net, verbose) == ("alex", False)
        return SimpleNamespace(state_dict=lambda: state)

    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=network))
    about, measure = load()
    assert about.endswith("weights: package lpips")
    assert measure(*pair) == metric_of(weights)(*pair)


def test_without_weights_it_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(NotInstalled, match=f"--lpips-weights FILE, {VARIABLE}=FILE, or pip install lpips"):
        metrics.find("lpips")


def test_weights_that_cannot_be_fetched_are_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def network(**_: object) -> None:
        msg = "no route\nto host"
        raise OSError(msg)

    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=network))
    with pytest.raises(NotInstalled, match=r"LPIPS has no weights \(no route to host\)"):
        load()


REAL = os.environ.get(VARIABLE)
needs_real_weights = pytest.mark.skipif(
    not REAL,
    reason=f"the real weights belong to others; {VARIABLE} names a file of them where they are at hand",
)
# These values are by image and JPEG quality, computed with the code of the `lpips` package.
KNOWN = {
    "astronaut": {10: 0.1990, 30: 0.0704, 75: 0.0296},
    "coffee": {10: 0.2750, 30: 0.1038, 75: 0.0321},
    "chelsea": {10: 0.3827, 30: 0.1233, 75: 0.0309},
}


@needs_real_weights
@pytest.mark.parametrize("name", KNOWN)
def test_real_weights_give_the_known_distances_of_photos(name: str) -> None:
    measure = metrics.find("lpips").measure
    photo = getattr(skimage.data, name)()
    for quality, value in KNOWN[name].items():
        buffer = BytesIO()
        Image.fromarray(photo).save(buffer, "JPEG", quality=quality)
        with Image.open(buffer) as image:
            assert measure(photo, np.asarray(image)) == pytest.approx(value, abs=5e-4)


@needs_real_weights
def test_real_weights_give_the_known_distance_of_noise() -> None:
    torch.manual_seed(123)
    first, second = (torch.rand(10, 3, 100, 100) * 2 - 1 for _ in range(2))
    assert float(load()[1].lpips.distance(first, second).mean()) == pytest.approx(0.1486, abs=5e-5)
