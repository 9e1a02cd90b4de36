"""The training mix: the kinds of states, how often they occur, and that the estimated rate is unbiased."""

import dataclasses
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bincodec.coding.order import passes
from bincodec.model.architecture import Architecture
from bincodec.train import states
from bincodec.train.objective import Objective
from bincodec.train.objective_settings import ObjectiveSettings
from bincodec.train.validate import layer_bits

PROPERTY = settings(deadline=None, derandomize=True, max_examples=40)
ARCHITECTURE = Architecture(layer_channels=(2, 3, 5), maximum_level=(6, 3, 2), layer_phases=(4, 2, 1))


class Always:
    """A generator that draws the same pass for every crop."""

    def __init__(self, index: int) -> None:
        self._index = index

    def choice(self, _: int, size: int, p: np.ndarray) -> np.ndarray:
        return np.full(size, self._index)


def test_the_mix_is_sixty_fifteen_fifteen_ten() -> None:
    counts = Counter(states.other_kinds(12))
    assert counts == {"masked": 3, "noise": 3, "inpaint": 2}
    for kind, share in (("masked", 0.15), ("noise", 0.15), ("inpaint", 0.10)):
        assert counts[kind] / (12 + counts.total()) == share


def test_a_share_of_zero_leaves_a_kind_out() -> None:
    assert states.other_kinds(12, (0, 3, 0)) == ["noise"] * 3
    assert states.other_kinds(12, (0, 0, 0)) == []


@pytest.mark.parametrize("crops", range(4, 65))
def test_other_batch_sizes_come_as_near_as_whole_crops_can(crops: int) -> None:
    counts = Counter(states.other_kinds(crops))
    for kind, share in (("masked", 3 / 12), ("noise", 3 / 12), ("inpaint", 2 / 12)):
        assert abs(counts[kind] - share * crops) <= 0.5
    assert counts.total() <= crops


@PROPERTY
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 1000))
def test_coding_states_count_what_is_hidden_and_can_be_seen_in_a_file(
    height: int, width: int, seed: int
) -> None:
    drawn = states.coding_states(ARCHITECTURE, 6, height, width, np.random.default_rng(seed))
    assert drawn.keep.shape == drawn.counted.shape == (6, 3, height, width)
    assert set(drawn.keep.unique().tolist()) <= {0.0, 1.0}
    assert not (drawn.keep * drawn.counted).any()
    for keep, counted in zip(drawn.keep, drawn.counted, strict=True):
        by_layer = keep.flatten(1).mean(1)
        # There are known layers, then one whose bits count in part, then hidden ones.
        assert torch.equal(by_layer, by_layer.sort(descending=True).values)
        assert (counted.flatten(1).any(1)).sum() <= 1


def test_every_pass_has_its_probability_and_its_weight() -> None:
    probabilities = states.pass_probabilities(ARCHITECTURE)
    steps = passes(ARCHITECTURE.layer_phases)
    assert probabilities.sum() == pytest.approx(1)
    assert (probabilities > 0.5 / len(steps)).all()
    draws = 30_000
    drawn = states.coding_states(ARCHITECTURE, draws, 2, 2, np.random.default_rng(5))
    # The mean of the weights is the number of passes only if passes are drawn with the right probabilities.
    assert drawn.weight.mean().item() == pytest.approx(len(steps), rel=0.02)
    shares = Counter(drawn.weight.tolist())
    for probability in set(probabilities.round(12)):
        share = sum(n for weight, n in shares.items() if abs(1 / weight - probability) < 1e-6) / draws
        times = (np.abs(probabilities - probability) < 1e-9).sum()
        assert share == pytest.approx(times * probability, abs=0.015)


def test_the_weighted_passes_add_up_to_the_whole_rate(small: Architecture) -> None:
    """The mean of the estimate over all passes is exactly the cost of coding everything in coding order."""
    torch.manual_seed(2)
    objective = Objective(small, ObjectiveSettings()).eval()
    objective.hard_levels = True
    with torch.no_grad():
        objective.prior.head.weight.normal_(0, 0.2)  # type: ignore[union-attr]
        value = 3 * torch.randn(2, small.channels, 5, 6)
        quality = torch.tensor([0.2, 0.7])
        hard, _, noisy = objective._binarise(value)
        total: Any = torch.zeros(2)
        for index, probability in enumerate(states.pass_probabilities(small)):
            rng: Any = Always(index)
            rate, _ = objective._rate(value, hard, noisy, 1.0, quality, rng)
            total = total + probability * rate
        exact = [layer_bits(objective, hard[i : i + 1], quality[i : i + 1]).sum().item() for i in range(2)]
    assert total.tolist() == pytest.approx([bits / (5 * 6 * 256) for bits in exact], rel=1e-4)


def test_a_cut_file_knows_whole_layers() -> None:
    keep = states.layer_start(ARCHITECTURE, 2, 3, 4)
    assert keep.dtype == torch.float32
    assert (keep[:2] == 1).all()
    assert (keep[2] == 0).all()


@PROPERTY
@given(st.integers(0, 10_000))
def test_masked_states_show_a_random_share(seed: int) -> None:
    keep = states.other_state("masked", 3, 6, 7, np.random.default_rng(seed))
    assert keep.shape == (3, 6, 7)
    assert set(keep.unique().tolist()) <= {0.0, 1.0}


@PROPERTY
@given(st.integers(0, 10_000))
def test_noise_is_even_and_never_certain(seed: int) -> None:
    keep = states.other_state("noise", 3, 6, 7, np.random.default_rng(seed))
    assert len(keep.unique()) == 1
    assert 0 <= keep[0, 0, 0] <= 0.98


@PROPERTY
@given(st.integers(0, 10_000))
def test_inpainting_puts_noise_into_a_rectangle_of_known_positions(seed: int) -> None:
    keep = states.other_state("inpaint", 3, 6, 7, np.random.default_rng(seed))
    hole = keep[0] < 1
    assert all(torch.equal(layer, keep[0]) for layer in keep)
    if hole.any():
        rows, columns = hole.any(1).nonzero().flatten(), hole.any(0).nonzero().flatten()
        assert hole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert len(keep[0][hole].unique()) == 1
        assert keep[0][hole].max() <= 0.98


def test_shares_and_keeps_vary() -> None:
    rng = np.random.default_rng(0)
    for kind, spread in (("masked", 0.8), ("noise", 0.8), ("inpaint", 0.2)):
        means = [states.other_state(kind, 2, 8, 8, rng).mean().item() for _ in range(60)]
        assert max(means) - min(means) > spread


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown kind of state 'guess'"):
        states.other_state("guess", 1, 1, 1, np.random.default_rng(0))


def test_states_are_frozen() -> None:
    drawn = states.coding_states(ARCHITECTURE, 1, 1, 1, np.random.default_rng(0))
    with pytest.raises(dataclasses.FrozenInstanceError):
        drawn.keep = drawn.counted  # type: ignore[misc]
