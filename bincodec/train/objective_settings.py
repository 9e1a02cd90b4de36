"""The settings of the loss: the table `[objective]` of a configuration."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from bincodec.train import states


@dataclasses.dataclass(frozen=True)
class ObjectiveSettings:
    """The settings of the loss.

    Args:
        lambda_lowest: lambda at quality 0. Between qualities 0 and 100, lambda is spaced logarithmically.
        lambda_highest: lambda at quality 100.
        truncated_share: the share of crops in which the layers above a random one are dropped.
        disturbed_share: the share of crops in which the decoder sees levels with noise, and so learns to bear
            wrong ones. Of each of these crops, a share of the levels is kept, and the rest is uniform.
        least_kept: this share is drawn evenly from `least_kept`..1.
        other_states: the number of states of each of `states.KINDS` for 12 states of the coding order.
        qualities: rising qualities, 0..100. As many crops have a quality between the first two as between any
            other neighbours.
    """

    lambda_lowest: float = 0.0003
    lambda_highest: float = 0.15
    truncated_share: float = 0.125
    disturbed_share: float = 0.0
    least_kept: float = 0.6
    other_states: tuple[int, int, int] = states.OTHER_STATES
    qualities: tuple[float, ...] = (0.0, 100.0)

    def __post_init__(self) -> None:
        for name in ("truncated_share", "disturbed_share", "least_kept"):
            if not 0 <= getattr(self, name) <= 1:
                msg = f"[objective] {name} is {getattr(self, name)}, but must lie in 0..1"
                raise ValueError(msg)
        rising = list(self.qualities) == sorted(self.qualities)
        if len(self.qualities) < 2 or not rising or not 0 <= self.qualities[0] <= self.qualities[-1] <= 100:
            msg = f"qualities {self.qualities} are not two or more rising numbers in 0..100"
            raise ValueError(msg)

    def quality_at(self, places: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return qualities in 0..1 at places in 0..1 among the crops, if these are sorted by quality."""
        return np.interp(places, np.linspace(0, 1, len(self.qualities)), np.array(self.qualities) / 100)
