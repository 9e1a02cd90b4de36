"""How to draw: what a caller may ask of the samplers, checked."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypedDict, get_args

from bincodec.arguments import MAX_SEED, MAX_TEMPERATURE, checked_choice, checked_integer, checked_number
from bincodec.errors import InvalidSetting
from bincodec.generation.guidance import STRONGEST
from bincodec.generation.samplers import Sampler
from bincodec.generation.schedule import SCHEDULES

if TYPE_CHECKING:
    from bincodec.model.card import ModelCard

SAMPLERS: tuple[str, ...] = get_args(Sampler)
DIFFUSION_STEPS = 16
MAX_STEPS = 1000


class SamplingOptions(TypedDict, total=False):
    """The fields of `SamplingSettings`, as keywords."""

    steps: int | None
    sampler: Sampler | None
    temperature: float
    seed: int
    schedule: str
    label: str | None
    guidance: float | None


@dataclasses.dataclass(frozen=True)
class SamplingSettings:
    """How to draw.

    Args:
        steps: of the diffusion sampler, 16 if None; or into how many groups the autoregressive sampler merges
            its passes, none if None.
        sampler: "autoregressive" or "diffusion" (`samplers`); the model's own if None (`own_sampler`).
        temperature: 0..10; the width of every distribution is multiplied by it, rounded to a power of e^(1/8)
            where channels have many levels. 0 takes the likeliest level of each.
        seed: 0..2^64 - 1.
        schedule: of the diffusion sampler: "linear", "cosine" or "sigmoid".
        label: the class to draw, by name; only for models that have classes.
        guidance: how much further to go from the model's average towards the class.

    Raises:
        InvalidSetting: for a value that does not exist.

    Example:
        >>> import bincodec
        >>> bincodec.SamplingSettings(seed=7, temperature=0.8).temperature
        0.8
    """

    steps: int | None = None
    sampler: Sampler | None = None
    temperature: float = 1.0
    seed: int = 0
    schedule: str = "linear"
    label: str | None = None
    guidance: float | None = None

    def __post_init__(self) -> None:
        if self.steps is not None:
            checked_integer("steps", self.steps, 1, MAX_STEPS)
        checked_integer("seed", self.seed, 0, MAX_SEED)
        checked_number("temperature", self.temperature, MAX_TEMPERATURE)
        if self.sampler is not None:
            checked_choice("sampler", self.sampler, SAMPLERS)
        checked_choice("schedule", self.schedule, SCHEDULES)
        if self.guidance is not None:
            checked_number("guidance", self.guidance, STRONGEST)

    def plan(self, card: ModelCard) -> SamplingPlan:
        """What this means for a model.

        Raises:
            InvalidSetting: for what the model cannot do: another class than its own, guidance towards none,
                more autoregressive steps than it has passes.
        """
        sampler, passes = self.sampler or own_sampler(card), sum(card.architecture.layer_phases)
        if sampler == "autoregressive" and self.steps is not None and self.steps > passes:
            msg = f"steps {self.steps} is over the {passes} passes that model {card.name} can be drawn in"
            raise InvalidSetting(msg)
        steps = self.steps or (DIFFUSION_STEPS if sampler == "diffusion" else passes)
        label, guidance = self._class_number(card), float(self.guidance or 0.0)
        return SamplingPlan(
            sampler, steps, float(self.temperature), self.seed, self.schedule, label, guidance
        )

    def _class_number(self, card: ModelCard) -> int:
        """The number of the class, from 1; 0 for none."""
        if self.label is None and self.guidance is None:
            return 0
        if not card.classes:
            msg = f"model {card.name} has no classes"
            raise InvalidSetting(msg)
        if self.label is None:
            msg = "guidance needs a class to go towards"
            raise InvalidSetting(msg)
        checked_choice("class", self.label, card.classes)
        return card.classes.index(self.label) + 1


@dataclasses.dataclass(frozen=True)
class SamplingPlan:
    """A `SamplingSettings` for one model: nothing is left open.

    Args:
        steps: of the diffusion sampler; or groups into which the autoregressive one merges its passes.
        label: number of the class, from 1; 0 for none.
        guidance: 0 for none.
    """

    sampler: Sampler
    steps: int
    temperature: float
    seed: int
    schedule: str
    label: int
    guidance: float


def own_sampler(card: ModelCard) -> Sampler:
    """The sampler that suits a model: "diffusion" where every channel is one bit, else "autoregressive".

    The bits that one autoregressive pass draws are independent of each other given the passes before;
    diffusion lets all bits settle together. But where a channel has many levels, uniform noise drowns what is
    left of them, and a prior trained for a short while learns little from it.
    """
    return "diffusion" if card.architecture.single_bits else "autoregressive"
