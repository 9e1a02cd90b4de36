"""How to draw: what a caller may ask of the samplers, checked."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypedDict, get_args

from bincodec.generate import Sampler
from bincodec.guidance import HOTTEST, STRONGEST
from bincodec.schedule import SCHEDULES
from bincodec.settings import InvalidSetting, checked_choice, checked_integer, checked_number

if TYPE_CHECKING:
    from bincodec.models import ModelCard

SAMPLERS: tuple[str, ...] = get_args(Sampler)
DEFAULT_STEPS = 16
MOST_STEPS = 1000
MOST_SEED = 2**64 - 1


class Settings(TypedDict, total=False):
    """The fields of `Drawing`, as keywords."""

    steps: int | None
    sampler: Sampler
    temperature: float
    seed: int
    schedule: str
    label: str | None
    guidance: float | None


@dataclasses.dataclass(frozen=True)
class Drawing:
    """How to draw.

    Args:
        steps: of the noise sampler, 16 if None; or into how many groups the reveal sampler merges its passes,
            none if None.
        sampler: "reveal" or "noise" (`generate`). Where a unit has many levels, uniform noise drowns what is
            left of them, and a prior trained for a short while learns little from it.
        temperature: 0..10; the width of every distribution is multiplied by it. 0 always takes the middle.
        seed: 0..2^64 - 1.
        schedule: of the noise sampler: "linear", "cosine" or "sigmoid".
        label: the class to draw, by name; only for models that have classes.
        guidance: how much further to go from the model's average towards the class.

    Raises:
        InvalidSetting: for a value that does not exist.
    """

    steps: int | None = None
    sampler: Sampler = "reveal"
    temperature: float = 1.0
    seed: int = 0
    schedule: str = "linear"
    label: str | None = None
    guidance: float | None = None

    def __post_init__(self) -> None:
        if self.steps is not None:
            checked_integer("steps", self.steps, 1, MOST_STEPS)
        checked_integer("seed", self.seed, 0, MOST_SEED)
        checked_number("temperature", self.temperature, HOTTEST)
        checked_choice("sampler", self.sampler, SAMPLERS)
        checked_choice("schedule", self.schedule, SCHEDULES)
        if self.guidance is not None:
            checked_number("guidance", self.guidance, STRONGEST)

    @property
    def noise_steps(self) -> int:
        """Steps of the noise sampler."""
        return DEFAULT_STEPS if self.steps is None else self.steps

    def number(self, card: ModelCard) -> int:
        """The number of the class, from 1; 0 for none.

        Raises:
            InvalidSetting: for a class that the model does not have, or guidance towards none.
        """
        if self.label is None and self.guidance is None:
            return 0
        names = list(card.card.get("classes", []))
        if not names:
            msg = f"model {card.name} has no classes"
            raise InvalidSetting(msg)
        if self.label is None:
            msg = "guidance needs a class to go towards"
            raise InvalidSetting(msg)
        checked_choice("class", self.label, names)
        return names.index(self.label) + 1

    def check(self, card: ModelCard) -> None:
        """Raise `InvalidSetting` for what this model cannot do."""
        self.number(card)
        most = sum(card.architecture.layer_phases)
        if self.sampler == "reveal" and self.steps is not None and self.steps > most:
            msg = f"steps {self.steps} is over the {most} passes that model {card.name} can reveal in"
            raise InvalidSetting(msg)
