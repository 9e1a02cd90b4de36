"""The loop over passes: what the prior receives, when, and how its predictions are used."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bincodec.bitstream.levels import level_bits, probability_of
from bincodec.coding import passes
from bincodec.coding.order import Pass, known_map
from bincodec.coding.order import passes as all_passes
from bincodec.model.architecture import Architecture

SHAPE = Architecture((1, 2), (3, 6), (1, 1), width_8=8, width_16=8, prior_width=8, prior_blocks=1)


class Fixed:
    """A predictor that always predicts the same."""

    architecture = SHAPE

    def __init__(self, mu: int, scale: int) -> None:
        self._mu, self._scale = mu, scale

    def incremental(self) -> "Fixed":
        return self

    def predict(
        self, context: Tensor, quality: int, layer: int | None, positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        shape = (SHAPE.layer_channels[layer or 0], len(positions))
        return tuple(torch.full(shape, n, dtype=torch.int32) for n in (self._mu, self._scale))  # type: ignore[return-value]


@settings(deadline=None, max_examples=60)
@given(st.integers(-250, 250), st.integers(0, 63))
def test_the_expectation_is_the_mean_of_what_the_tables_say(mu: int, scale: int) -> None:
    """Files use integer tables, and missing layers use a formula. Both must give the same distribution."""
    context = passes.Context(SHAPE, 2, 3)
    (expected,) = passes.expected(Fixed(mu, scale), 50, context, np.arange(6), [1])
    top = SHAPE.maximum_level[1]
    levels = np.arange(top + 1, dtype=np.uint8)[None]
    shares = probability_of(levels, *(np.full(levels.shape, n, np.int32) for n in (mu, scale)), top)
    mean = float((shares * (levels - top / 2)).sum() / shares.sum())
    assert expected.shape == (2, 6)
    assert torch.allclose(expected, torch.tensor(mean, dtype=torch.float32), atol=2e-3)


PHASED = dataclasses.replace(SHAPE, layer_phases=(2, 4))
GRID = (3, 5)


class Recording(Fixed):
    """A predictor that records its inputs. Its location and scale depend on the positions."""

    architecture = PHASED

    def __init__(self) -> None:
        self.shown: list[Tensor] = []
        self.asked: list[tuple[int, int | None, list[int]]] = []

    def predict(
        self, context: Tensor, quality: int, layer: int | None, positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        self.shown.append(context.clone())
        self.asked.append((quality, layer, positions.tolist()))
        channels = torch.arange(PHASED.layer_channels[layer or 0])[:, None]
        return (7 * positions - 40 * channels).int(), (20 + positions + channels).int()


def some_levels() -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(5)
    return tuple(
        random.integers(0, top + 1, (channels, *GRID)).astype(np.uint8)
        for channels, top in zip(PHASED.layer_channels, PHASED.maximum_level, strict=True)
    )


def context_of(levels: tuple[np.ndarray, ...], step: Pass) -> Tensor:
    """Return the context when a pass begins: eighths of twice the centred level, and 64 where known."""
    known = known_map(step, PHASED.layer_phases, *GRID).astype(int)
    centred = [
        8 * (2 * part.astype(int) - top) * where
        for part, top, where in zip(levels, PHASED.maximum_level, known, strict=True)
    ]
    return torch.from_numpy(np.concatenate([*centred, 64 * known]).transpose(1, 2, 0)).short()


def test_each_pass_is_shown_what_the_passes_before_it_made_known() -> None:
    levels, prior, source = some_levels(), Recording(), passes.RateSource(some_levels())
    found = passes.run(prior, 31, GRID, 2, source)
    assert all(map(np.array_equal, found, levels))
    steps = all_passes(PHASED.layer_phases)
    for step, shown, (quality, layer, positions) in zip(steps, prior.shown, prior.asked, strict=True):
        assert torch.equal(shown, context_of(levels, step))
        assert (quality, layer) == (31, step.layer)
        assert positions == passes.phase_positions(PHASED, step, *GRID).tolist()


@pytest.mark.parametrize(
    ("groups", "begins"), [(1, [0] * 6), (2, [0, 0, 0, 3, 3, 3]), (4, [0, 1, 1, 3, 4, 4])]
)
def test_a_group_of_passes_is_shown_what_was_known_when_it_began(groups: int, begins: list[int]) -> None:
    levels, prior = some_levels(), Recording()
    passes.rate(prior, 31, levels, groups=groups)
    steps = all_passes(PHASED.layer_phases)
    for begin, shown in zip(begins, prior.shown, strict=True):
        assert torch.equal(shown, context_of(levels, steps[begin]))


def test_the_rate_is_the_cost_of_each_position_s_levels() -> None:
    levels = some_levels()
    found = passes.rate(Recording(), 50, levels)
    positions = torch.arange(GRID[0] * GRID[1])
    for layer, (part, top) in enumerate(zip(levels, PHASED.maximum_level, strict=True)):
        mu, scale = (answer.numpy() for answer in Recording().predict(torch.zeros(1), 50, layer, positions))
        bits = level_bits(part.reshape(len(part), -1), mu, scale, top).sum(0)
        assert found[layer] == pytest.approx(bits.reshape(GRID), rel=1e-12)


def test_fewer_layers_are_the_beginning_of_all() -> None:
    levels, prior = some_levels(), Recording()
    (found,) = passes.run(prior, 50, GRID, 1, passes.RateSource(levels))
    assert np.array_equal(found, levels[0])
    assert len(prior.asked) == 2


def test_a_phase_without_positions_is_not_asked_for() -> None:
    prior = Recording()
    levels = tuple(part[:, :1, :1] for part in some_levels())
    passes.rate(prior, 50, levels)
    assert [(layer, positions) for _, layer, positions in prior.asked] == [(0, [0]), (1, [0])]


def test_what_is_known_beforehand_is_shown_from_the_start() -> None:
    levels, prior, context = some_levels(), Recording(), passes.Context(PHASED, *GRID)
    positions, keep = np.array([4, 11]), np.array([64, 16], np.int32)
    context.add(1, positions, passes.at_positions(levels[1], positions), keep)
    before = context.values.clone().reshape(-1, 5)
    passes.run(prior, 50, GRID, 1, passes.RateSource(levels), context=context)
    assert torch.equal(prior.shown[0].reshape(-1, 5), before)
    twice = 2 * passes.at_positions(levels[1], positions).astype(int).T - 6
    assert before[positions, 1:3].tolist() == ((keep[:, None] * twice + 4) >> 3).tolist()
    assert before[positions, 4].tolist() == [64, 16]
    assert before.count_nonzero() == 2 + np.count_nonzero((keep[:, None] * twice + 4) >> 3)


def test_missing_layers_are_expected_from_the_known_ones() -> None:
    levels, prior, context = some_levels(), Recording(), passes.Context(PHASED, *GRID)
    everywhere = np.arange(15)
    context.add(0, everywhere, passes.at_positions(levels[0], everywhere))
    (found,) = passes.expected(prior, 70, context, everywhere, [1])
    (shown,) = prior.shown
    assert torch.equal(shown, context_of(levels, Pass(1, 0)))
    assert prior.asked == [(70, 1, list(range(15)))]
    assert found.shape == (2, 15)


def test_what_is_expected_is_asked_for_where_it_is_missing_only() -> None:
    prior, context = Recording(), passes.Context(PHASED, *GRID)
    found = passes.expected(prior, 70, context, np.array([3, 7, 8]), [0, 1])
    assert prior.asked == [(70, 0, [3, 7, 8]), (70, 1, [3, 7, 8])]
    assert [part.shape for part in found] == [(1, 3), (2, 3)]
