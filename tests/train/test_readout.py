"""The decoder's last matrix is solved for in closed form."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch

from bincodec.train import readout
from bincodec.train.data import CropSampler, CropSettings
from bincodec.train.objective import Objective
from bincodec.train.readout import fit_output
from bincodec.train.settings import RunSettings
from bincodec.train.trainer import Trainer

Make = Callable[..., RunSettings]


def sampler() -> CropSampler:
    rng = np.random.default_rng(5)
    coarse = rng.integers(0, 256, (4, 10, 10, 3)).astype(np.uint8)
    photos = [np.kron(one, np.ones((16, 16, 1), np.uint8)) for one in coarse]
    return CropSampler(photos, CropSettings(64, plain=0.0))


def started(make_settings: Make) -> Objective:
    trainer = Trainer(make_settings(), None, torch.device("cpu"))  # type: ignore[arg-type]
    trainer.start_from_components(sampler())
    return trainer.objective


@torch.no_grad()
def error(objective: Objective) -> float:
    """Return the error weighted as in the objective, on crops that were not used for fitting."""
    image = sampler().batch(16, np.random.default_rng(77)).crops.float() / 255
    quality = torch.linspace(0, 1, len(image))
    model = objective.autoencoder
    shown = model.synthesise(model.quantise(model.analyse(image, quality)), quality)
    return float((objective.multiplier(quality).sqrt() * ((shown - image) ** 2).mean((1, 2, 3))).mean())


def test_it_mends_a_spoilt_head_and_nothing_else(make_settings: Make) -> None:
    objective = started(make_settings)
    head = objective.autoencoder.decoder.head
    before = error(objective)
    with torch.no_grad():
        head.weight += head.weight.std() * torch.randn(head.weight.shape)
        head.bias += 0.1
    others = {
        name: value
        for name, value in copy.deepcopy(objective.state_dict()).items()
        if "decoder.head" not in name
    }
    spoilt = error(objective)
    fit_output(objective, sampler(), np.random.default_rng(0))
    assert spoilt > 1.5 * before
    assert error(objective) < 1.01 * before
    after = objective.state_dict()
    assert all(torch.equal(after[name], value) for name, value in others.items())


def weighted_error(objective: Objective) -> torch.Tensor:
    """Return what `fit_output` minimises, on the crops that it draws with seed 0."""
    rng, total = np.random.default_rng(0), torch.zeros(())
    model = objective.autoencoder
    for _ in range(readout._BATCHES):
        image = sampler().batch(readout._CROPS, rng).crops.float() / 255
        quality = torch.from_numpy(rng.random(len(image))).float()
        with torch.no_grad():
            levels = objective.show(model.quantise(model.analyse(image, quality)), quality, rng)
        error = (model.synthesise(levels, quality) - image).square().sum((1, 2, 3))
        total = total + (objective.multiplier(quality).sqrt() * error).sum()
    return total


def test_no_small_step_betters_what_it_found(make_settings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readout, "_BATCHES", 6)
    objective = started(make_settings)
    head = objective.autoencoder.decoder.head
    sizes = []
    for _ in range(2):
        (gradient,) = torch.autograd.grad(weighted_error(objective), [head.weight])
        sizes.append(float(gradient.norm()))
        fit_output(objective, sampler(), np.random.default_rng(0))
    assert sizes[1] < 0.02 * sizes[0]


def test_the_same_crops_give_the_same_head(make_settings: Make) -> None:
    found = []
    for _ in range(2):
        objective = started(make_settings)
        fit_output(objective, sampler(), np.random.default_rng(3))
        found.append(objective.autoencoder.decoder.head.weight.detach())
    assert torch.equal(*found)
