"""Codes in memory, and a prior that learns on nothing else."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from bincodec.coding import bernoulli
from bincodec.model.architecture import STRIDE, Architecture
from bincodec.train import states
from bincodec.train.codes import CodeSampler, PriorObjective, PriorSettings, encode
from bincodec.train.data import CropSampler, CropSettings, read_photos
from bincodec.train.objective import LOSS_SCALE, Objective
from bincodec.train.objective_settings import ObjectiveSettings
from bincodec.train.settings import RunSettings, for_prior, with_data
from bincodec.train.validate import layer_bits

Make = Callable[..., RunSettings]
ORDER, MASKED, NOISE, INPAINT = np.eye(4)


def objective_of(architecture: Architecture) -> Objective:
    torch.manual_seed(3)
    objective = Objective(architecture, ObjectiveSettings())
    with torch.no_grad():
        objective.prior.head.weight.mul_(20)  # type: ignore[union-attr, operator]
    objective.learn_prior_only()
    return objective


@pytest.mark.parametrize("kind", ["small", "bits"])
def test_codes_are_what_the_encoder_makes_of_crops(
    kind: str, photo_folder: Path, request: pytest.FixtureRequest
) -> None:
    objective = objective_of(request.getfixturevalue(kind))
    sampler = CropSampler(read_photos(photo_folder), CropSettings(32), [1, 2, 3])
    codes = encode(objective, sampler, 150, np.random.default_rng(7))
    assert len(codes) == 150
    found = codes.batch(400, np.random.default_rng(1))
    # The same generator gives the same crops, after the places of the qualities were drawn.
    whole = np.random.default_rng(7)
    places = whole.permutation((np.arange(150) + whole.random(150)) / 150)
    crops = [sampler.batch(min(64, 150 - start), whole) for start in range(0, 150, 64)]
    image = torch.cat([part.crops for part in crops]).float() / 255
    labels = torch.cat([part.labels for part in crops])
    quality = torch.from_numpy(places).float()
    model = objective.autoencoder
    with torch.no_grad():
        centred = model.quantise(model.analyse(image, quality))
    levels = (centred + model.maximum / 2).round().byte()
    chosen = np.random.default_rng(1).integers(0, 150, 400)
    assert torch.equal(found.qualities, quality[chosen])
    assert torch.equal(found.labels, labels[chosen])
    different = (found.levels != levels[chosen]).float().mean().item()
    assert different < 1e-3  # A convolution of another batch size may round otherwise.
    assert len(levels.unique()) > 1


def test_single_bits_take_a_bit_each() -> None:
    levels = np.random.default_rng(0).integers(0, 2, (50, 11, 3, 2), np.uint8)
    packed, plain = (
        CodeSampler(levels, torch.zeros(50), torch.zeros(50), single_bits=bits) for bits in (True, False)
    )
    assert (packed.size, plain.size) == (50 * 2 * 6, levels.size)
    both = [one.batch(20, np.random.default_rng(3)).levels for one in (packed, plain)]
    assert torch.equal(*both)


def loss_of(
    objective: Objective, shares: tuple[float, float, float, float], seed: int = 0, label: int = 0
) -> float:
    settings = PriorSettings(states=shares)
    levels = torch.from_numpy(
        np.random.default_rng(9).integers(
            0, objective.autoencoder.maximum.numpy() + 1, (6, 8, 4, 4), np.uint8
        )
    )
    torch.manual_seed(seed)
    labels = torch.full((6,), label)
    terms = PriorObjective(objective, settings)(
        levels, torch.full((6,), 0.5), np.random.default_rng(seed), labels
    )
    return float(terms.loss.detach())


def test_states_of_the_coding_order_cost_what_files_cost(small: Architecture) -> None:
    """Over many draws, the mean is the cost of all passes."""
    objective = objective_of(small)
    mean = np.mean([loss_of(objective, tuple(ORDER), seed) for seed in range(300)])
    levels = np.random.default_rng(9).integers(0, objective.autoencoder.maximum.numpy() + 1, (6, 8, 4, 4))
    centred = torch.from_numpy(levels).float() - objective.autoencoder.maximum / 2
    quality = torch.full((1,), 0.5)
    bits = np.mean([float(layer_bits(objective, one[None], quality).sum()) for one in centred])
    scale = LOSS_SCALE / objective.multiplier(quality).sqrt().item() / (16 * STRIDE**2)
    assert mean == pytest.approx(scale * bits, rel=0.03)


def test_states_of_noise_cost_what_hidden_bits_cost(small: Architecture) -> None:
    objective = objective_of(small)
    found = loss_of(objective, tuple(NOISE), 4)
    rng = np.random.default_rng(4)
    rng.choice(4, 6, p=NOISE)
    keep = torch.stack([states.other_state("noise", small.layers, 4, 4, rng) for _ in range(6)])
    torch.manual_seed(4)
    maximum = objective.autoencoder.maximum
    levels = np.random.default_rng(9).integers(0, maximum.numpy() + 1, (6, 8, 4, 4), np.uint8)
    clean = torch.from_numpy(levels).float() - maximum / 2
    own = keep[:, objective.channel_layer]
    noisy = bernoulli.add_noise(clean + maximum / 2, own, maximum) - maximum / 2
    mu, log_scale = objective.prior(own * noisy, keep, torch.full((6,), 0.5))
    total = 0.0
    for layer, top in enumerate(small.maximum_level):
        part = small.layer_slice(layer)
        log_cavity = bernoulli.level_log_probabilities(mu[:, part], log_scale[:, part], top)
        observed = (noisy[:, part] + top / 2).round()
        log_p = bernoulli.with_own_observation(log_cavity, observed, own[:, part])
        level = (clean[:, part] + top / 2).round().long()
        total -= log_p.gather(-1, level[..., None]).sum().item() / np.log(2)
    scale = LOSS_SCALE / objective.multiplier(torch.tensor(0.5)).sqrt().item() / (6 * 16 * STRIDE**2)
    assert found == pytest.approx(scale * total, rel=1e-3)


def test_classes_are_shown_and_dropped(bits: Architecture) -> None:
    objective = objective_of(dataclasses.replace(bits, classes=2))
    with torch.no_grad():
        objective.prior.head_class.normal_()  # type: ignore[union-attr, operator]
    differing = [
        seed
        for seed in range(8)
        if loss_of(objective, tuple(NOISE), seed, 1) != loss_of(objective, tuple(NOISE), seed, 0)
    ]
    assert differing
    shown = objective.condition(torch.ones(4000), np.repeat([0.5, 0.85], 2000), np.random.default_rng(0))
    assert shown is not None
    assert shown.reshape(2, -1).mean(1).tolist() == pytest.approx([0.5, 0.85], abs=0.04)


def test_the_settings_of_such_a_run(make_settings: Make) -> None:
    settings = make_settings()
    found = for_prior(settings)
    assert (found.data.batch, found.data.crop) == (settings.prior.batch, settings.data.crop)
    assert (found.data.scaled_share, found.data.scales) == (0.75, (1.0, 1.1))
    assert for_prior(with_data(settings, batch=7)).data.batch == 7
    with pytest.raises(ValueError, match="codes is 0"):
        PriorSettings(codes=0)
    with pytest.raises(ValueError, match="are not 4 shares"):
        PriorSettings(states=(1.0, -1.0, 0.0, 0.0))
