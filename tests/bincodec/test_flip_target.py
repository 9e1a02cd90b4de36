"""Priors that predict flips and priors that predict values draw the same, tested by enumeration."""

import dataclasses
from typing import Self

import numpy as np
import pytest
import torch

from bincodec.bitstream.probability import MU_BITS, SCALE_OFFSET
from bincodec.generation import samplers
from bincodec.model.architecture import Architecture
from bincodec.model.integer import KEEP_KNOWN, context_bits, keep_shown

LAW = np.array([[0.42, 0.05], [0.18, 0.35]])
"""P(first bit, second bit) at every position. Positions are independent."""
GRID = (100, 200)
BITS = Architecture(layer_channels=(2,), maximum_level=(1,), layer_phases=(1,))


@dataclasses.dataclass(frozen=True)
class Perfect:
    """Bayes' rule for `LAW`: the cavity of each bit from the other one, given as values or as flips."""

    architecture: Architecture
    says: str

    def incremental(self) -> Self:
        return self

    def predict(
        self, context: torch.Tensor, quality: int, layer: int | None, positions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        rows = context.reshape(-1, 3).numpy()[positions.numpy()]
        known = int(keep_shown(torch.tensor(KEEP_KNOWN), context_bits(self.architecture)))
        seen, keep = (rows[:, :2] > 0).astype(int), rows[:, 2] / known
        log_odds = np.stack([cavity(LAW, seen[:, 1], keep), cavity(LAW.T, seen[:, 0], keep)])
        if self.says == "flip":
            noisy = (keep > 0) & (keep < 1)
            log_odds = np.where(noisy, (1 - 2 * seen.T) * log_odds, log_odds)
        mu = np.round(log_odds * 2**MU_BITS).astype(np.int32)
        return torch.from_numpy(mu), torch.full(mu.shape, SCALE_OFFSET, dtype=torch.int32)


def cavity(law: np.ndarray, other: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Return the log-odds of a bit from what is seen of the other one. The first axis of `law` is the bit."""
    clean = np.arange(2)[:, None]
    seen = keep * (clean == other) + (1 - keep) / 2  # (clean other bit, position)
    joint = law @ seen
    result: np.ndarray = np.log(joint[1] / joint[0])
    return result


def drawn(says: str, target: str, hole: samplers.Hole | None = None, steps: int = 16) -> np.ndarray:
    prior = Perfect(dataclasses.replace(BITS, target=target), says)
    words = samplers.Words(3)
    start = samplers.add_noise((np.zeros((2, *GRID), np.uint8),), (1,), 0, words)
    return samplers.denoise(prior, 50, start, samplers.keeps("linear", steps), words, hole)[-1][0]


def frequencies(levels: np.ndarray) -> np.ndarray:
    pairs = 2 * levels[0].astype(int) + levels[1]
    return np.bincount(pairs.ravel(), minlength=4).reshape(2, 2) / pairs.size


def test_flips_and_values_draw_the_same_bits() -> None:
    assert np.array_equal(drawn("flip", "flip"), drawn("value", "value"))


def test_the_chain_draws_the_law_and_would_not_without_the_sign() -> None:
    # Both bits of a step are drawn at once, so few steps lose some of their correlation. 16 lose little.
    right, wrong = frequencies(drawn("flip", "flip")), frequencies(drawn("flip", "value"))
    assert np.abs(right - LAW).max() < 0.02
    assert np.abs(wrong - LAW).max() > 0.05


@pytest.mark.parametrize("says", ["flip", "value"])
def test_known_bits_are_no_flips(says: str) -> None:
    """Known positions beside noisy ones do not change, and never count as noisy."""
    rng = np.random.default_rng(0)
    own = rng.integers(0, 2, (2, *GRID)).astype(np.uint8)
    known = rng.random(GRID) < 0.5
    found = drawn(says, says, samplers.Hole((own,), known))
    assert np.array_equal(found[:, known], own[:, known])
    assert np.abs(frequencies(found[:, ~known]) - LAW).max() < 0.03


def test_locations_turn_only_where_a_bit_is_noisy_and_set() -> None:
    mu = np.array([[5, 5, 5, 5, 5, 5]], np.int32)
    levels = np.array([[1, 0, 1, 0, 1, 0]], np.uint8)
    keep = np.array([0, 0, 1, 63, 64, 64])
    assert samplers._of_values(mu, levels, keep).tolist() == [[5, 5, -5, 5, 5, 5]]
