"""What is expected of missing levels: the mean of the very distributions that they would be coded with."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bincodec.bitstream.levels import probability_of
from bincodec.coding import passes
from bincodec.model.architecture import Architecture

SHAPE = Architecture((1, 2), (3, 6), (1, 1), width_8=8, width_16=8, prior_width=8, prior_blocks=1)


class Fixed:
    """A predictor that always says the same."""

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
    """Files are coded with integer tables; a missing layer is shown by a formula. They must mean the same."""
    known = (np.zeros((1, 2, 3), np.uint8),)
    (expected,) = passes.expected(Fixed(mu, scale), 50, known)
    top = SHAPE.maximum_level[1]
    levels = np.arange(top + 1, dtype=np.uint8)[None]
    shares = probability_of(levels, *(np.full(levels.shape, n, np.int32) for n in (mu, scale)), top)
    mean = float((shares * (levels - top / 2)).sum() / shares.sum())
    assert expected.shape == (2, 2, 3)
    assert torch.allclose(expected, torch.tensor(mean, dtype=torch.float32), atol=2e-3)
