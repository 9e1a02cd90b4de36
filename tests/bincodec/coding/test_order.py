"""The coding order has every position once, in at most sixteen passes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bincodec.coding.order import Pass, known_map, merged, passes, phase_map
from bincodec.model.architecture import Architecture

PROPERTY = settings(deadline=None, derandomize=True, max_examples=60)
SIDES = st.integers(1, 33)
PHASES = st.sampled_from([1, 2, 4])


@PROPERTY
@given(SIDES, SIDES, PHASES)
def test_phases_partition_the_grid(height: int, width: int, phases: int) -> None:
    found = phase_map(height, width, phases)
    assert found.shape == (height, width)
    assert found.min() >= 0
    assert found.max() < phases
    # For every size, phases repeat every two positions, and neighbours differ if there are several phases.
    if phases > 1:
        assert (found[:, 1:] != found[:, :-1]).all()
        assert (found[1:] != found[:-1]).all()
    assert (found[2:] == found[:-2]).all()
    assert (found[:, 2:] == found[:, :-2]).all()


@pytest.mark.parametrize("phases", [1, 2, 4])
def test_every_phase_has_its_share_of_an_even_grid(phases: int) -> None:
    counts = np.bincount(phase_map(8, 6, phases).ravel(), minlength=phases)
    assert (counts == 48 // phases).all()


def test_a_single_position_is_in_the_first_phase() -> None:
    for phases in (1, 2, 4):
        assert phase_map(1, 1, phases).tolist() == [[0]]


def test_two_phases_are_a_checkerboard_and_four_a_quadtree() -> None:
    assert phase_map(2, 4, 2).tolist() == [[0, 1, 0, 1], [1, 0, 1, 0]]
    assert phase_map(2, 4, 4).tolist() == [[0, 2, 0, 2], [3, 1, 3, 1]]


def test_the_map_is_read_only_and_other_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="read-only"):
        phase_map(4, 4, 2)[0, 0] = 1
    with pytest.raises(ValueError, match="3 phases"):
        phase_map(4, 4, 3)


def test_the_default_order_has_at_most_sixteen_passes() -> None:
    steps = passes(Architecture().layer_phases)
    assert len(steps) == sum(Architecture().layer_phases) <= 16
    assert list(steps) == sorted(steps)
    assert len(set(steps)) == len(steps)


@PROPERTY
@given(st.lists(PHASES, min_size=1, max_size=4), SIDES, SIDES)
def test_each_pass_adds_its_own_positions_to_what_is_known(
    layer_phases: list[int], height: int, width: int
) -> None:
    phases = tuple(layer_phases)
    steps = passes(phases)
    known = known_map(steps[0], phases, height, width)
    assert not known.any()
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        added = np.zeros_like(known)
        added[step.layer] = phase_map(height, width, phases[step.layer]) == step.phase
        assert not (known & added).any()
        grown = known | added
        if following is None:
            assert grown.all()
        else:
            known = known_map(following, phases, height, width)
            assert np.array_equal(known, grown)


def test_a_layer_begins_when_all_before_it_are_known() -> None:
    known = known_map(Pass(2, 0), (4, 2, 1), 3, 5)
    assert known[:2].all()
    assert not known[2].any()


@PROPERTY
@given(st.lists(PHASES, min_size=1, max_size=4), st.integers(1, 16))
def test_merging_keeps_the_order_in_groups_of_like_size(layer_phases: list[int], count: int) -> None:
    phases = tuple(layer_phases)
    steps = passes(phases)
    if count > len(steps):
        with pytest.raises(ValueError, match=f"{count} groups"):
            merged(phases, count)
        return
    groups = merged(phases, count)
    assert len(groups) == count
    assert tuple(step for group in groups for step in group) == steps
    sizes = {len(group) for group in groups}
    assert max(sizes) - min(sizes) <= 1


def test_two_groups_are_the_halves_and_no_group_is_refused() -> None:
    first, second = merged((4, 2, 2, 2), 2)
    assert (first[-1], second[0]) == (Pass(1, 0), Pass(1, 1))
    with pytest.raises(ValueError, match="0 groups"):
        merged((4,), 0)
