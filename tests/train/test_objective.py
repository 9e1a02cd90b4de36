"""The loss is finite, and every part that it should train gets a gradient."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from bincodec.coding import bernoulli
from bincodec.model.architecture import Architecture
from bincodec.train import states
from bincodec.train.objective import Objective
from bincodec.train.objective_settings import ObjectiveSettings
from bincodec.train.terms import Terms, psnr


def make(architecture: Architecture, truncated: float = 0.25, seed: int = 3) -> Objective:
    torch.manual_seed(seed)
    return Objective(architecture, ObjectiveSettings(truncated_share=truncated))


def crops(count: int = 4, size: int = 48) -> Tensor:
    """Draw smooth pictures with some noise."""
    generator = torch.manual_seed(8)
    rows = torch.linspace(0, 1, size)[:, None] * torch.rand((count, 3, 1, 1), generator=generator)
    return (
        rows.expand(count, 3, size, size) + 0.1 * torch.rand((count, 3, size, size), generator=generator)
    ).clamp(0, 1)


def run(objective: Objective, seed: int = 0, count: int = 4) -> Terms:
    torch.manual_seed(seed)
    quality = torch.linspace(0, 1, count)
    terms: Terms = objective(crops(count), quality, 0.5, np.random.default_rng(seed))
    return terms


def gradients(objective: Objective, name: str) -> list[Tensor | None]:
    return [p.grad for n, p in objective.named_parameters() if n.startswith(name)]


def felt(objective: Objective, name: str) -> bool:
    """Return whether every parameter under `name` has a finite gradient that is not all zero."""
    found = gradients(objective, name)
    assert found
    return all(g is not None and bool(torch.isfinite(g).all()) and bool((g != 0).any()) for g in found)


PARTS = (
    "autoencoder.encoder",
    "autoencoder.gains",
    "autoencoder.inverse_gains",
    "autoencoder.decoder",
    "prior",
)


def test_the_loss_teaches_every_part(small: Architecture) -> None:
    objective = make(small)
    # One draw measures one pass for each crop. A few together measure channels of every layer.
    for seed in range(4):
        terms = run(objective, seed)
        assert all(torch.isfinite(value) for value in vars(terms).values())
        terms.loss.backward()
    for part in PARTS:
        assert felt(objective, part), part


def test_the_terms_are_in_readable_units(small: Architecture) -> None:
    terms = run(make(small))
    assert 0 < terms.mse < 1
    assert 0 < terms.bits_per_pixel < 8
    assert 0 < terms.other_bits_per_pixel < 8
    assert not any(t.requires_grad for t in (terms.mse, terms.bits_per_pixel, terms.other_bits_per_pixel))


def test_the_rate_reaches_the_encoder_by_itself(small: Architecture) -> None:
    objective = make(small, truncated=0.0)
    value = torch.randn(3, small.channels, 3, 3, requires_grad=True)
    _, centred, noisy = objective._binarise(value)
    rate, _ = objective._rate(value, centred, noisy, 1.0, torch.rand(3), np.random.default_rng(0))
    rate.sum().backward()
    assert value.grad is not None
    assert torch.isfinite(value.grad).all()
    assert (value.grad != 0).any()


def test_other_states_teach_the_prior_only(small: Architecture) -> None:
    objective = make(small)
    hard, *_ = objective._binarise(torch.randn(6, small.channels, 4, 4))
    other = objective._other_states(hard, torch.rand(6), np.random.default_rng(1))
    other.sum().backward()
    assert felt(objective, "prior")
    assert all(g is None for g in gradients(objective, "autoencoder"))


def test_the_paper_s_bits_are_a_configuration(bits: Architecture) -> None:
    objective = make(bits)
    for seed in range(4):
        terms = run(objective, seed)
        assert torch.isfinite(terms.loss)
        terms.loss.backward()
    for part in PARTS:
        assert felt(objective, part), part


def test_logistic_bits_are_drawn_in_training_and_decided_in_use(bits: Architecture) -> None:
    objective = make(bits)
    value = torch.full((1, bits.channels, 40, 40), 0.4)
    torch.manual_seed(1)
    hard, centred, _ = objective._binarise(value)
    assert set(hard.unique().tolist()) == {-0.5, 0.5}
    assert torch.equal(centred, hard)
    assert (hard > 0).float().mean().item() == pytest.approx(
        torch.sigmoid(torch.tensor(0.4)).item(), abs=0.02
    )
    objective.eval()
    hard, *_ = objective._binarise(value)
    assert (hard == 0.5).all()


def test_the_logistic_rate_is_the_bits_cross_entropy(bits: Architecture) -> None:
    """The loss is -sigma(s) log2 p - (1 - sigma(s)) log2 (1 - p), by hand, with one pass for everything."""
    single = dataclasses.replace(bits, layer_channels=(3,), maximum_level=(1,), layer_phases=(1,))
    objective = make(single)
    value = torch.randn(2, 3, 2, 2)
    _, centred, noisy = objective._binarise(value)
    quality = torch.rand(2)
    with torch.no_grad():
        rate, _ = objective._rate(value, centred, noisy, 1.0, quality, np.random.default_rng(0))
        mu, log_scale = objective.prior(torch.zeros_like(value), torch.zeros(2, 1, 2, 2), quality)
    one = torch.sigmoid(mu / torch.exp(log_scale))
    share = torch.sigmoid(value)
    expected = -(share * one.log2() + (1 - share) * (1 - one).log2()).sum((1, 2, 3)) / (4 * 256)
    assert torch.allclose(rate, expected, rtol=1e-4)


def test_the_flip_target_turns_the_sign_for_noisy_bits_only(bits: Architecture) -> None:
    flips = dataclasses.replace(bits, target="flip")
    value, flip = make(bits), make(flips)
    flip.load_state_dict(value.state_dict())
    terms = run(flip)
    terms.loss.backward()
    assert felt(flip, "prior")
    assert torch.isfinite(terms.loss)
    hard, *_ = value._binarise(torch.randn(8, bits.channels, 4, 4))

    def other(objective: Objective) -> Tensor:
        torch.manual_seed(5)
        return objective._other_states(hard, torch.linspace(0, 1, 8), np.random.default_rng(2))

    # The eight crops are masked, masked, noise, noise, inpaint. Hidden bits mean the same to both.
    mine, its = other(value), other(flip)
    assert torch.equal(mine[:2], its[:2])
    assert not torch.isclose(mine[2:], its[2:]).any()


@pytest.mark.parametrize("change", [{"binariser": "logistic"}, {"target": "flip"}])
def test_the_paper_s_options_need_single_bits(small: Architecture, change: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="maximum level 1"):
        dataclasses.replace(small, **change)


def test_some_crops_lose_their_upper_layers(small: Architecture) -> None:
    objective = make(small, truncated=0.5)
    hard, *_ = objective._binarise(3 * torch.randn(4, small.channels, 4, 4))
    shown = objective.show(hard, torch.rand(4), np.random.default_rng(3))
    assert torch.equal(shown[:2], hard[:2])
    first = small.layer_slice(0)
    assert torch.equal(shown[2:, first], hard[2:, first])
    last = small.layer_slice(2)
    assert not torch.isclose(shown[2:, last], hard[2:, last]).all()
    assert (shown.abs() <= objective.autoencoder.maximum / 2).all()
    assert objective.settings.truncated_share == 0.5
    assert make(small, truncated=0.0).show(hard, torch.rand(4), np.random.default_rng(3)) is hard


def test_some_crops_are_disturbed(small: Architecture) -> None:
    """They keep about the share of levels that is asked for, and the other levels are even draws."""
    settings = ObjectiveSettings(truncated_share=0, disturbed_share=0.5, least_kept=0.6)
    objective = Objective(small, settings)
    hard, centred, _ = objective._binarise((3 * torch.randn(8, small.channels, 16, 16)).requires_grad_())
    shown = objective.show(centred, torch.rand(8), np.random.default_rng(3))
    assert torch.equal(shown[4:], centred[4:])
    maximum = objective.autoencoder.maximum
    assert (shown.abs() <= maximum / 2).all()
    assert ((shown + maximum / 2) % 1 == 0).all()
    changed = (shown != hard)[:4].float().mean((1, 2, 3))
    assert (changed > 0.01).all()
    assert (changed < 0.4).all()
    (gradient,) = torch.autograd.grad(shown.sum(), centred)
    assert ((gradient == 0) | (shown == hard)).all(), "a level drawn anew teaches the encoder nothing"


@pytest.mark.parametrize("name", ["truncated_share", "disturbed_share", "least_kept"])
def test_shares_lie_in_0_to_1(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 1.5, but must lie in 0..1"):
        ObjectiveSettings(**{name: 1.5})


def test_a_truncated_batch_still_teaches_encoder_and_decoder(small: Architecture) -> None:
    objective = make(small, truncated=1.0)
    terms = run(objective)
    assert torch.isfinite(terms.loss)
    terms.loss.backward()
    assert felt(objective, "autoencoder.decoder")
    assert felt(objective, "autoencoder.encoder")


def test_expectation_is_that_of_the_levels(small: Architecture) -> None:
    objective = make(small)
    context, keep = torch.zeros(1, small.channels, 2, 2), torch.zeros(1, small.layers, 2, 2)
    quality = torch.tensor([0.4])
    with torch.no_grad():
        found = objective.expectation(context, keep, quality)
        mu, log_scale = objective.prior(context, keep, quality)
    part = small.layer_slice(1)
    probabilities = bernoulli.level_log_probabilities(mu[:, part], log_scale[:, part], 3).exp()
    assert torch.allclose(found[:, part], (probabilities * (torch.arange(4) - 1.5)).sum(-1), atol=1e-4)


def test_hard_levels_leave_the_encoder_alone(small: Architecture) -> None:
    objective = make(small)
    objective.hard_levels = True
    run(objective).loss.backward()
    assert all(g is None for g in gradients(objective, "autoencoder.encoder"))
    assert all(g is None for g in gradients(objective, "autoencoder.gains"))
    assert felt(objective, "autoencoder.decoder")
    assert felt(objective, "autoencoder.inverse_gains")
    assert felt(objective, "prior")


def test_the_prior_alone_learns_on_the_levels_of_files(small: Architecture) -> None:
    objective = make(small)
    objective.learn_prior_only()
    terms = run(objective)
    terms.loss.backward()
    assert terms.mse == 0
    assert felt(objective, "prior")
    assert all(g is None for g in gradients(objective, "autoencoder"))
    # The ramp of a first stage does not apply, so the loss does not depend on the weight of the rate.
    torch.manual_seed(0)
    again = objective(crops(4), torch.linspace(0, 1, 4), 1.0, np.random.default_rng(0))
    assert again.loss == terms.loss


def test_the_mix_of_states_is_a_setting(small: Architecture) -> None:
    assert states.other_kinds(12, (2, 8, 2)) == ["masked"] * 2 + ["noise"] * 8 + ["inpaint"] * 2
    assert len(states.other_kinds(12, (9, 9, 9))) == 12
    objective = make(small)
    usual = run(objective).other_bits_per_pixel
    objective.settings = dataclasses.replace(objective.settings, other_states=(0, 12, 0))
    assert run(objective).other_bits_per_pixel != usual


def test_the_multiplier_is_log_spaced(small: Architecture) -> None:
    objective = make(small)
    low, middle, high = objective.multiplier(torch.tensor([0.0, 0.5, 1.0])).tolist()
    assert low == pytest.approx(objective.settings.lambda_lowest)
    assert high == pytest.approx(objective.settings.lambda_highest)
    assert middle == pytest.approx((low * high) ** 0.5)


def test_psnr() -> None:
    assert psnr(0.01) == pytest.approx(20)
    assert psnr(0.0) == pytest.approx(120)


def test_classes_teach_only_their_own_rows(small: Architecture) -> None:
    with_classes = dataclasses.replace(small, classes=3)
    torch.manual_seed(0)
    objective = Objective(with_classes, ObjectiveSettings())
    image, quality = torch.rand(12, 3, 32, 32), torch.linspace(0, 1, 12)
    objective(image, quality, 1.0, np.random.default_rng(0), torch.full((12,), 2)).loss.backward()
    for table in (objective.prior.stem_class, objective.prior.head_class):
        assert table.grad[1].abs().sum() > 0
        assert table.grad[[0, 2]].abs().sum() == 0


def test_without_classes_labels_change_nothing(small: Architecture) -> None:
    torch.manual_seed(0)
    objective = Objective(small, ObjectiveSettings())
    image, quality = torch.rand(4, 3, 32, 32), torch.linspace(0, 1, 4)

    def loss(label: torch.Tensor | None) -> float:
        torch.manual_seed(1)
        return float(objective(image, quality, 1.0, np.random.default_rng(0), label).loss.detach())

    assert loss(torch.zeros(4, dtype=torch.long)) == loss(None)
