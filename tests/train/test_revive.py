"""Silent units are found and get new weights, and this does not change pictures or levels."""

import numpy as np
import pytest
import torch

from bincodec.model.architecture import Architecture
from bincodec.train.data import CropSampler, CropSettings
from bincodec.train.objective import Objective
from bincodec.train.objective_settings import ObjectiveSettings
from bincodec.train.revive import revive

SHAPE = Architecture((2, 3), (6, 4), (4, 2), width_8=8, width_16=8, blocks_8=2, prior_width=8, prior_blocks=1)


@pytest.fixture
def sampler() -> CropSampler:
    photos = [np.random.default_rng(seed).integers(0, 256, (80, 90, 3), dtype=np.uint8) for seed in range(3)]
    return CropSampler(photos, CropSettings(64))


@pytest.fixture
def objective() -> Objective:
    torch.manual_seed(0)
    return Objective(SHAPE, ObjectiveSettings()).eval()


@torch.no_grad()
def seen(objective: Objective) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    image, quality = torch.rand(2, 3, 64, 64, generator=generator), torch.tensor([0.2, 0.8])
    latent = objective.autoencoder.analyse(image, quality)
    return latent, objective.autoencoder.synthesise(latent.round(), quality)


@torch.no_grad()
def silence(objective: Objective) -> int:
    """Make some units of three layers negative everywhere."""
    blocks = objective.autoencoder.encoder.blocks_8[0], objective.autoencoder.decoder.blocks_8[1]
    for block in blocks:
        block.spatial_in.bias[:3] -= 1e4
        block.depthwise.bias[:3] += 0.7
        block.expand.bias[4:] -= 1e4
    return len(blocks) * (3 + 12)


def test_silent_units_begin_anew_and_nothing_else_moves(objective: Objective, sampler: CropSampler) -> None:
    rng = np.random.default_rng(0)
    while revive(objective, sampler, rng):
        pass  # Some of the first random weights are silent.
    count = silence(objective)
    before = seen(objective)
    assert revive(objective, sampler, rng) == count
    for old, new in zip(before, seen(objective), strict=True):
        assert torch.allclose(old, new, atol=1e-4)
    assert revive(objective, sampler, rng) == 0, "the new ones speak"


def test_a_revived_unit_learns(objective: Objective, sampler: CropSampler) -> None:
    silence(objective)
    revive(objective, sampler, np.random.default_rng(0))
    block = objective.autoencoder.encoder.blocks_8[0]
    latent = objective.autoencoder.analyse(torch.rand(2, 3, 64, 64), torch.tensor([0.2, 0.8]))
    latent.square().sum().backward()  # type: ignore[no-untyped-call]
    assert block.contract.weight.grad[:, 4:].abs().sum() > 0
    assert block.spatial_out.weight.grad[:, :3].abs().sum() > 0
