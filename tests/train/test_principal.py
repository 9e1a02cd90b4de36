"""The start from principal components is a transform codec before the first step."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage import data as photos

from bincodec.model.architecture import Architecture
from bincodec.model.autoencoder import Block
from bincodec.train.data import CropSampler, CropSettings
from bincodec.train.objective import Objective
from bincodec.train.objective_settings import ObjectiveSettings
from bincodec.train.principal import components, start_beyond, start_from_components
from bincodec.train.settings import DataSettings, OptimiserSettings, RunSettings
from bincodec.train.trainer import Trainer
from bincodec.train.widen import raise_levels, widen

NARROW = Architecture(
    layer_channels=(6, 18),
    maximum_level=(126, 62),
    layer_phases=(2, 2),
    width_8=96,
    width_16=48,
    blocks_8=1,
    blocks_16=1,
    prior_width=16,
    prior_blocks=1,
)


@pytest.fixture(scope="module")
def sampler() -> CropSampler:
    return CropSampler([photos.coffee(), photos.chelsea()], CropSettings(64))


def started(architecture: Architecture, sampler: CropSampler, *, silent: bool) -> Objective:
    torch.manual_seed(0)
    objective = Objective(architecture, ObjectiveSettings())
    start_from_components(objective, sampler, np.random.default_rng(0))
    for block in objective.modules():
        if silent and isinstance(block, Block):
            torch.nn.init.zeros_(block.spatial_out.weight)
            torch.nn.init.zeros_(block.contract.weight)
    return objective.eval()


def widened(before: Objective, new: Architecture, first: int, sampler: CropSampler) -> Objective:
    """The networks of `before` with the layers of `new`, whose channels from `first` on have a shortcut."""
    after = Objective(new, ObjectiveSettings()).eval()
    state = after.state_dict()
    widen(before.state_dict(), state, before.architecture, new)
    after.load_state_dict(state)
    start_beyond(after, first, sampler)
    return after


def crops(sampler: CropSampler) -> torch.Tensor:
    return sampler.batch(4, np.random.default_rng(5)).crops.float() / 255


def mean_square(objective: Objective, image: torch.Tensor, quality: float, *, rounded: bool) -> float:
    at = torch.full((len(image),), quality)
    with torch.no_grad():
        value = objective.autoencoder.analyse(image, at)
        shown = objective.autoencoder.quantise(value) if rounded else value
        return float(((objective.autoencoder.synthesise(shown, at) - image) ** 2).mean())


def test_components_are_the_axes_of_what_was_seen() -> None:
    rng = np.random.default_rng(1)
    axes = np.linalg.qr(rng.normal(size=(6, 6)))[0][:3]
    sizes = np.array([5.0, 2.0, 0.5])
    points = torch.from_numpy((rng.normal(size=(4000, 3)) * sizes) @ axes).float()
    found, size = components(points.reshape(4000, 1, 1, 6).movedim(-1, 1), 3)
    torch.testing.assert_close(found @ found.T, torch.eye(3), atol=1e-4, rtol=0)
    assert np.abs((found.numpy() * axes).sum(1)).min() > 0.99
    torch.testing.assert_close(size, torch.tensor(sizes).float(), rtol=0.1, atol=0)


def test_with_every_component_and_silent_blocks_nothing_is_lost(sampler: CropSampler) -> None:
    whole = dataclasses.replace(NARROW, layer_channels=(6, 762), width_8=192, width_16=768)
    objective = started(whole, sampler, silent=True)
    assert mean_square(objective, crops(sampler), 0.5, rounded=False) < 1e-8


def test_it_codes_before_the_first_step(sampler: CropSampler) -> None:
    image = crops(sampler)
    torch.manual_seed(0)
    random = Objective(NARROW, ObjectiveSettings()).eval()
    objective = started(NARROW, sampler, silent=False)
    errors = [mean_square(objective, image, quality, rounded=True) for quality in (0.0, 0.5, 1.0)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.1 * mean_square(random, image, 1.0, rounded=True)


def test_channels_beyond_stride_16_tell_what_the_others_leave_out(sampler: CropSampler) -> None:
    image = crops(sampler)
    fewer = dataclasses.replace(NARROW, layer_channels=(6, 10), width_16=16)
    both = dataclasses.replace(
        fewer, layer_channels=(6, 10, 8), maximum_level=(126, 62, 62), layer_phases=(2, 2, 1)
    )
    wide = dataclasses.replace(both, width_16=24)
    few, shortcut, trunk = (
        mean_square(started(shape, sampler, silent=True), image, 1.0, rounded=False)
        for shape in (fewer, both, wide)
    )
    assert shortcut < 0.9 * few
    assert shortcut < 1.01 * trunk


def test_widened_weights_begin_with_what_they_left_out(sampler: CropSampler) -> None:
    """The old channels keep their values and their meaning, and the new ones reduce the error at once."""
    old = dataclasses.replace(NARROW, layer_channels=(6, 10), width_16=16)
    new = dataclasses.replace(
        old, layer_channels=(6, 10, 8), maximum_level=(126, 62, 62), layer_phases=(2, 2, 1)
    )
    before = started(old, sampler, silent=False)
    after = widened(before, new, 16, sampler)
    image, at = crops(sampler), torch.ones(4)
    with torch.no_grad():
        values = [model.autoencoder.analyse(image, at) for model in (before, after)]
        pictures = [
            model.autoencoder.synthesise(model.autoencoder.quantise(value), at)
            for model, value in zip((before, after), values, strict=True)
        ]
    torch.testing.assert_close(values[1][:, :16], values[0], atol=1e-4, rtol=1e-4)
    errors = [float((picture - image).square().mean()) for picture in pictures]
    assert errors[1] < 0.9 * errors[0]


def test_a_shortcut_keeps_what_it_learned_when_channels_are_added(sampler: CropSampler) -> None:
    old = dataclasses.replace(
        NARROW, layer_channels=(6, 10, 8), maximum_level=(126, 62, 62), layer_phases=(2, 2, 1), width_16=16
    )
    new = dataclasses.replace(
        old, layer_channels=(6, 10, 8, 8), maximum_level=(254, 62, 62, 62), layer_phases=(2, 2, 1, 1)
    )
    before = started(old, sampler, silent=False)
    for shortcut in (before.autoencoder.encoder.shortcut, before.autoencoder.decoder.shortcut):
        assert shortcut is not None
        torch.nn.init.normal_(shortcut.bias, std=0.05)
    after = widened(before, new, 24, sampler)
    image, at = crops(sampler), torch.ones(4)
    with torch.no_grad():
        values = [model.autoencoder.analyse(image, at) for model in (before, after)]
        without = torch.nn.functional.pad(values[0], (0, 0, 0, 0, 0, 8))
        pictures = [
            model.autoencoder.synthesise(value, at)
            for model, value in ((before, values[0]), (after, without), (after, values[1]))
        ]
    torch.testing.assert_close(values[1][:, :24], values[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(pictures[1], pictures[0], atol=1e-4, rtol=1e-4)
    assert (pictures[2] - image).square().mean() < 0.9 * (pictures[0] - image).square().mean()


def test_more_levels_are_used_where_the_old_ones_ended(sampler: CropSampler) -> None:
    """The gains of the first layer stop rising at its last level; with more levels, they go on."""
    old = dataclasses.replace(NARROW, maximum_level=(14, 62))
    new = dataclasses.replace(NARROW, maximum_level=(62, 62))
    few = started(old, sampler, silent=False)
    many = Objective(new, ObjectiveSettings()).eval()
    many.load_state_dict(few.state_dict())
    raise_levels(many, old)
    before, after = (model.autoencoder.gains.log_gain for model in (few, many))
    added = (after - before).detach()
    assert (added[:, 6:] == 0).all()
    assert added.min() >= 0
    assert float(added[-1, :6].max()) == pytest.approx(np.log(62 / 14))
    assert (added[1:] >= added[:-1] - 1e-6).all()
    inverse = [model.autoencoder.inverse_gains.log_gain.detach() for model in (few, many)]
    torch.testing.assert_close(inverse[1], inverse[0] - added)
    image = crops(sampler)
    errors = [mean_square(model, image, 1.0, rounded=True) for model in (few, many)]
    assert errors[1] < 0.8 * errors[0]
    with torch.no_grad():
        level, keep = torch.zeros(1, 24, 4, 4), torch.zeros(1, 2, 4, 4)
        scales = [model.prior(level, keep, torch.ones(1))[1] for model in (few, many)]
    torch.testing.assert_close(scales[1] - scales[0], added[-1][None, :, None, None].expand(1, 24, 4, 4))
    unchanged = {name: value.clone() for name, value in many.state_dict().items()}
    raise_levels(many, new)
    assert all(torch.equal(value, unchanged[name]) for name, value in many.state_dict().items())


def test_single_bits_code_as_thermometers_before_the_first_step(sampler: CropSampler) -> None:
    """Bits that share a component tell more of it, and with more bits the error is smaller."""
    bits = dataclasses.replace(NARROW, maximum_level=(1, 1), binariser="logistic")
    objective = started(bits, sampler, silent=True)
    image = sampler.batch(64, np.random.default_rng(6)).crops.float() / 255
    model = objective.autoencoder
    at = torch.full((len(image),), 0.5)
    with torch.no_grad():
        level = model.quantise(model.analyse(image, at))
    assert mean_square(objective, image, 0.5, rounded=True) < 0.2 * float(image.var())
    assert float((level.mean((0, 2, 3)).abs() < 0.5).float().mean()) > 0.95, "most bits have both values"
    fewer = started(
        dataclasses.replace(bits, layer_channels=(6,), maximum_level=(1,), layer_phases=(2,)),
        sampler,
        silent=True,
    )
    assert mean_square(objective, image, 0.5, rounded=True) < 0.6 * mean_square(
        fewer, image, 0.5, rounded=True
    )


def test_every_channel_says_something_and_few_are_saturated(sampler: CropSampler) -> None:
    objective = started(NARROW, sampler, silent=False)
    image = sampler.batch(64, np.random.default_rng(6)).crops.float() / 255
    with torch.no_grad():
        value = objective.autoencoder.analyse(image, torch.ones(len(image)))
    levels = objective.autoencoder.quantise(value)
    assert (levels.abs().amax((0, 2, 3)) > 0).all()
    assert (levels.abs() == objective.autoencoder.maximum / 2).float().mean() < 0.01


def test_the_prior_begins_near_the_channels_own_spread(sampler: CropSampler) -> None:
    objective = started(NARROW, sampler, silent=True)
    image = sampler.batch(64, np.random.default_rng(6)).crops.float() / 255
    for quality in (0.2, 0.8):
        at = torch.full((len(image),), quality)
        with torch.no_grad():
            value = objective.autoencoder.analyse(image, at)
        bias = objective.prior.head.bias + objective.prior.head_quality(
            torch.cos(torch.pi * torch.arange(8) * quality)
        )
        expected = bias[NARROW.channels :].exp().detach()
        seen = value.movedim(1, 0).flatten(1).std(1) * 3**0.5 / np.pi
        loud = seen > 0.5
        assert loud.sum() > 3
        assert (expected[loud] / seen[loud]).log().abs().max() < 1.0


@pytest.mark.parametrize(
    "change", [{"width_8": 256}, {"layer_channels": (6, 763)}, {"width_8": 32, "width_16": 192}]
)
def test_networks_that_cannot_carry_components_are_refused(
    change: dict[str, Any], sampler: CropSampler
) -> None:
    objective = Objective(dataclasses.replace(NARROW, **change), ObjectiveSettings())
    with pytest.raises(ValueError, match=r"principal components need width_8 \d+"):
        start_from_components(objective, sampler, np.random.default_rng(0))


def test_every_parameter_learns_at_one_rate(tmp_path: Path) -> None:
    """The weights that read plain pixels have the lowest rate, and the linear path has the second lowest."""
    shape = dataclasses.replace(NARROW, width_16=16)
    rates = OptimiserSettings()
    trainer = Trainer(
        RunSettings(shape, ObjectiveSettings(), rates, DataSettings(tmp_path, tmp_path)),
        tmp_path,
        torch.device("cpu"),
    )
    groups = [group for optimiser in trainer.optimisers for group in optimiser.param_groups]
    found = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    named = dict(trainer.objective.named_parameters())
    assert sum(len(group["params"]) for group in groups) == len(named) == len(found)
    assert found[id(named["autoencoder.encoder.shortcut.weight"])] == rates.shortcut_rate
    assert found[id(named["autoencoder.decoder.shortcut.weight"])] == rates.path_rate
    assert found[id(named["autoencoder.encoder.stem.weight"])] == rates.path_rate
    assert found[id(named["prior.head.weight"])] == rates.adam_rate
