"""The vector-quantised baseline: its quantiser, its prior's loss, its chain, and a few steps of training."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import vq
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data
from vq import Codebooks, VectorQuantiser, VqObjective

from bincodec.coding import bernoulli
from bincodec.generation import samplers
from bincodec.model.architecture import Architecture
from bincodec.model.quantiser import straight_through
from bincodec.train.data import CropSampler, CropSettings
from bincodec.train.loop import Stage, train_stage
from bincodec.train.objective_settings import ObjectiveSettings
from bincodec.train.settings import DataSettings, OptimiserSettings, RunSettings
from bincodec.train.trainer import Trainer

BITS = Architecture(
    layer_channels=(4, 8),
    maximum_level=(1, 1),
    layer_phases=(2, 1),
    binariser="logistic",
    width_8=8,
    width_16=12,
    blocks_8=1,
    blocks_16=1,
    prior_width=16,
    prior_blocks=1,
    classes=2,
)
CODEBOOKS = Codebooks(groups=3, bits=4)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def quantiser() -> VectorQuantiser:
    found = VectorQuantiser(CODEBOOKS, 12)
    found.restart(torch.randn(2, 12, 5, 6))
    return found


def test_indices_hold_as_many_bits_as_the_channels() -> None:
    CODEBOOKS.check(BITS)
    with pytest.raises(ValueError, match="are not the 12 bits a position"):
        Codebooks(groups=3, bits=5).check(BITS)
    with pytest.raises(ValueError, match="are not the 12 bits a position"):
        VqObjective(BITS, ObjectiveSettings(), Codebooks(groups=4, bits=4))


def test_the_nearest_entry_is_taken(quantiser: VectorQuantiser) -> None:
    value = torch.randn(2, 12, 3, 4)
    indices = quantiser.nearest(value)
    assert indices.shape == (2, 3, 3, 4)
    for group in range(3):
        rows = value[:, group::3].movedim(1, -1)  # (B, h, w, 4)
        distance = (rows[..., None, :] - quantiser.codebook[group]).norm(dim=-1)
        assert torch.equal(indices[:, group], distance.argmin(-1))
        found = quantiser.look_up(indices)[:, group::3].movedim(1, -1)
        assert torch.equal(found, quantiser.codebook[group][indices[:, group]])


def test_entries_are_found_where_they_lie(quantiser: VectorQuantiser) -> None:
    indices = torch.randint(CODEBOOKS.entries, (2, 3, 4, 4))
    value = quantiser.look_up(indices)
    assert torch.equal(quantiser.look_up(quantiser.nearest(value)), value)


def test_the_gradient_passes_straight_through(quantiser: VectorQuantiser) -> None:
    value = torch.randn(1, 12, 2, 2, requires_grad=True)
    entries = quantiser.look_up(quantiser.nearest(value))
    towards = torch.randn_like(entries)
    passed = straight_through(entries, value)
    assert torch.equal(passed, entries)
    (passed * towards).sum().backward()
    assert value.grad is not None
    assert torch.equal(value.grad, towards)


def test_entries_follow_the_averages_of_their_rows() -> None:
    quantiser = VectorQuantiser(Codebooks(groups=1, bits=1), 2)
    quantiser.codebook.copy_(torch.tensor([[[0.0, 0.0], [10.0, 10.0]]]))
    quantiser.sums.copy_(quantiser.codebook)
    quantiser.use.fill_(1.0)
    value = torch.tensor([[1.0, 2.0], [3.0, 0.0], [9.0, 9.0]]).T.reshape(1, 2, 3, 1)
    indices = quantiser.nearest(value)
    assert indices.flatten().tolist() == [0, 0, 1]
    quantiser.follow(value, indices)
    # 0.99 of the old value and 0.01 of this batch, which has two rows and one row.
    first = torch.tensor([0.01 * 4.0, 0.01 * 2.0]) / (0.99 + 0.02)
    second = torch.tensor([0.99 * 10 + 0.09, 0.99 * 10 + 0.09]) / 1.0
    torch.testing.assert_close(quantiser.codebook[0], torch.stack([first, second]))
    for _ in range(2000):
        quantiser.follow(value, indices)
    torch.testing.assert_close(
        quantiser.codebook[0], torch.tensor([[2.0, 1.0], [9.0, 9.0]]), atol=1e-3, rtol=0
    )


def test_dead_entries_start_anew_and_living_ones_stay(quantiser: VectorQuantiser) -> None:
    before = quantiser.codebook.clone()
    quantiser.use[1, 3] = 0.0
    value = 100 + torch.randn(1, 12, 4, 4)
    quantiser.restart(value)
    moved = (quantiser.codebook != before).any(2)
    assert moved.nonzero().tolist() == [[1, 3]]
    rows = value[0, 1::3].flatten(1).T
    assert (rows == quantiser.codebook[1, 3]).all(1).any()


@settings(max_examples=40)
@given(
    levels=st.integers(2, 9),
    keeps=st.tuples(st.floats(0, 0.98), st.floats(0.01, 1)).filter(lambda pair: pair[0] < pair[1]),
    seed=st.integers(0, 999),
)
def test_the_step_is_the_mixture_posterior(levels: int, keeps: tuple[float, float], seed: int) -> None:
    """The closed form with the cavity equals `bernoulli.posterior` with the observation, and sums to 1."""
    generator = torch.Generator().manual_seed(seed)
    cavity = torch.randn((7, levels), generator=generator, dtype=torch.float64).log_softmax(-1)
    observed = torch.randint(levels, (7,), generator=generator)
    keep_t, keep_s = keeps
    found = vq.less_noisy(cavity, observed, keep_t, keep_s)
    calibrated = bernoulli.with_own_observation(cavity, observed, torch.tensor(keep_t, dtype=torch.float64))
    torch.testing.assert_close(found, bernoulli.posterior(calibrated.exp(), observed, keep_s, keep_t))
    torch.testing.assert_close(found.sum(-1), torch.ones(7, dtype=torch.float64))


def certain(clean: torch.Tensor, entries: int) -> Callable[..., torch.Tensor]:
    """A predictor that knows the right answer."""

    def prior(state: torch.Tensor, keep: torch.Tensor, label: object) -> torch.Tensor:
        return torch.log(torch.nn.functional.one_hot(clean, entries).float().clamp(min=1e-12))

    return prior


@pytest.mark.parametrize("steps", [1, 2, 5, 70])
def test_the_chain_with_a_perfect_predictor_ends_at_the_clean_indices(steps: int) -> None:
    clean = torch.randint(16, (2, 3, 4, 5))
    keeps = [keep / 64 for keep in samplers.keeps("linear", steps)]
    generator = torch.Generator().manual_seed(1)
    found = vq.sample(certain(clean, 16), tuple(clean.shape), 16, keeps, generator)  # type: ignore[arg-type]
    assert torch.equal(found, clean)


def test_the_chain_draws_the_law_of_its_predictor() -> None:
    """If indices are independent of each other, the cavity is their distribution, whatever is observed."""
    law = torch.tensor([0.1, 0.2, 0.3, 0.4])

    def prior(state: torch.Tensor, keep: torch.Tensor, label: object) -> torch.Tensor:
        return law.log().expand(*state.shape, 4)

    generator = torch.Generator().manual_seed(2)
    keeps = [keep / 64 for keep in samplers.keeps("linear", 7)]
    for temperature, wanted in ((1.0, law), (0.5, law**2 / (law**2).sum())):
        found = vq.sample(
            prior,  # type: ignore[arg-type]
            (1, 2, 100, 100),
            4,
            keeps,
            generator,
            temperature=temperature,
        )
        shares = torch.bincount(found.flatten(), minlength=4) / found.numel()
        assert (shares - wanted).abs().max() < 0.02


def objective() -> VqObjective:
    return VqObjective(BITS, ObjectiveSettings(other_states=(1, 4, 1)), CODEBOOKS)


def test_an_ignorant_prior_needs_every_bit() -> None:
    """With uniform predictions, a hidden index costs its bits, a known one nothing, a noisy one less."""
    model = objective().eval()
    torch.nn.init.zeros_(model.prior.head.weight)  # type: ignore[arg-type, union-attr]
    torch.nn.init.zeros_(model.prior.head.bias)  # type: ignore[arg-type, union-attr]
    clean = torch.randint(CODEBOOKS.entries, (1, 3, 40, 40))
    cost = {
        keep: model.bits(clean, torch.full(clean.shape, keep)).item() / clean.numel()
        for keep in (0.0, 0.5, 1.0)
    }
    assert cost[0.0] == pytest.approx(4.0, abs=1e-4)
    assert cost[1.0] == 0.0
    stays = 0.5 + 0.5 / 16
    entropy = -stays * math.log2(stays) - 15 * (1 - stays) / 15 * math.log2((1 - stays) / 15)
    assert cost[0.5] == pytest.approx(entropy, rel=0.05)


def run_settings(folder: Path) -> RunSettings:
    return RunSettings(
        BITS,
        ObjectiveSettings(0.1, 1.0, other_states=(1, 4, 1)),
        OptimiserSettings(warmup_steps=5),
        DataSettings(folder, folder, batch=4, crop=32, plain_share=0.0),
    )


@pytest.fixture
def sampler() -> CropSampler:
    photos = [data.astronaut()[100:180, 100:180], data.coffee()[200:260, 100:180]]
    return CropSampler(photos, CropSettings(32, plain=0.0), [1, 2])


def test_training_lowers_the_error_and_the_prior_s_bits(sampler: CropSampler, tmp_path: Path) -> None:
    model = objective()
    trainer = Trainer(run_settings(tmp_path), tmp_path, torch.device("cpu"), model)
    trainer.start_from_components(sampler)
    batch = sampler.batch(32, np.random.default_rng(0))
    image = batch.crops.float() / 255

    def measured() -> tuple[float, float]:
        model.eval()
        with torch.no_grad():
            model.hard_levels = True
            torch.manual_seed(5)
            terms = model(image, torch.full((32,), 0.5), 1.0, np.random.default_rng(1), batch.labels)
            model.hard_levels = False
        model.train()
        return terms.mse.item(), terms.other_bits_per_pixel.item()

    train_stage(trainer, sampler, Stage(steps=3), resumable=False)
    early = measured()
    train_stage(trainer, sampler, Stage(steps=60), resumable=False)
    late = measured()
    assert late[0] < 0.8 * early[0]
    assert late[1] < early[1]
    used = torch.bincount(model.quantiser.nearest(model.analyse(image))[:, 0].flatten(), minlength=16)
    assert (used > 0).sum() > 8


def test_the_prior_alone_leaves_all_else_as_it_is(sampler: CropSampler, tmp_path: Path) -> None:
    model = objective()
    model.quantiser.restart(torch.randn(4, 12, 4, 4))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trainer = Trainer(run_settings(tmp_path), tmp_path, torch.device("cpu"), model)
    trainer.learn_prior_only()
    train_stage(trainer, sampler, Stage(steps=2), resumable=False)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert {name.split(".")[0] for name in moved} == {"prior"}
    assert {"prior.embedding", "prior.stem_class", "prior.head_class"} <= moved


def test_a_picture_comes_back_from_its_indices() -> None:
    model = objective().eval()
    photo = np.asarray(Image.fromarray(data.astronaut()).resize((32, 32)))
    image = torch.from_numpy(photo.copy()).permute(2, 0, 1)[None].float() / 255
    model.quantiser.restart(model.analyse(image.expand(4, 3, 32, 32)))
    found = model.reconstruct(image)
    assert found.shape == image.shape
    expected = model.synthesise(model.quantiser.look_up(model.quantiser.nearest(model.analyse(image))))
    assert torch.equal(found, expected)
