"""The settings of the samplers, and the checks of their values."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypedDict, get_args

from bincodec.arguments import (
    MAX_GUIDANCE,
    MAX_SEED,
    MAX_TEMPERATURE,
    checked_choice,
    checked_integer,
    checked_number,
)
from bincodec.errors import InvalidSetting
from bincodec.generation.samplers import Sampler, Words
from bincodec.generation.schedule import SCHEDULES
from bincodec.model.card import GUIDED_BY, GuidedBy, OwnSampling

if TYPE_CHECKING:
    from bincodec.model.card import ModelCard

SAMPLERS: tuple[str, ...] = get_args(Sampler)
DIFFUSION_STEPS = 16
TEMPERATURE = 0.8
"""The temperature without guidance. At 1, models then draw mostly texture (docs/generation.md)."""
CLASS_GUIDANCE = 1.0
"""The guidance towards a class, if none is given, of models whose channels have many levels."""
MAX_STEPS = 1000

_CLASS_STREAM = 1
"""The stream of random words that chooses classes. Stream 0 draws the levels."""


class SamplingOptions(TypedDict, total=False):
    """The fields of `SamplingSettings`, as keywords."""

    steps: int | None
    sampler: Sampler | None
    temperature: float | None
    seed: int
    schedule: str
    label: str | None
    guidance: float | None
    guided_by: GuidedBy | None
    guidance_delay: float | None
    renewal: float | None
    final_temperature: float | None


@dataclasses.dataclass(frozen=True)
class SamplingSettings:
    """The settings of a draw.

    Args:
        steps: the number of steps of the diffusion sampler, 16 if None. For the autoregressive sampler, the
            number of groups into which its passes are merged; if None, they are not merged.
        sampler: "autoregressive" or "diffusion" (`samplers`). None means the one that suits the model
            (`own_sampler`).
        temperature: 0..10. The width of every distribution is multiplied by it. For channels of many levels,
            it is rounded to a power of e^(1/8). At 0, every level is the likeliest one. If it is None, it is
            what the model's card says for guided models of single bits, and 0.8 otherwise.
        seed: 0..2^64 - 1.
        schedule: the noise schedule of the diffusion sampler: "linear", "cosine" or "sigmoid".
        label: the name of the class to draw, for models that have classes. If it is None, and guidance needs
            a class, `Codec.sample` draws one for each picture (`with_class`).
        guidance: how far to move away from the prediction of a weaker form of the model, 0..16
            (`bincodec.generation.guidance`). More of it makes pictures clearer, and more alike. If it is
            None, it is what the model's card says for models whose channels are single bits. Other models
            need a class for it, and then it is 1.
        guided_by: what the weaker form lacks: the "class", one "block" of the network, or "both". None means
            what the model's card says. Where pictures are filled or varied and no class is given, guidance by
            the class means none. Models whose channels have many levels are always guided by the class.
        guidance_delay: 0..1, the part of the way from noise to a picture that the diffusion sampler goes
            before guidance begins. Guidance in the first steps makes pictures alike. If it is None, it is
            what the model's card says, or 0.
        renewal: 0..1, the share of the levels that the diffusion sampler draws and noises anew, instead of
            removing a part of their noise, while it takes a sixteenth of all noise away. So it is the share
            in each of 16 steps, and more steps renew less each. More of it undoes more mistakes. If it is
            None, it is what the model's card says, or 0.
        final_temperature: the temperature of the last step of the diffusion sampler, 0..10. From the first
            step, at `temperature`, it changes by the same amount in each step. None means no change.

    Raises:
        InvalidSetting: if a value is out of range or unknown.

    Example:
        >>> import bincodec
        >>> bincodec.SamplingSettings(seed=7, temperature=0.8).temperature
        0.8
    """

    steps: int | None = None
    sampler: Sampler | None = None
    temperature: float | None = None
    seed: int = 0
    schedule: str = "linear"
    label: str | None = None
    guidance: float | None = None
    guided_by: GuidedBy | None = None
    guidance_delay: float | None = None
    renewal: float | None = None
    final_temperature: float | None = None

    def __post_init__(self) -> None:
        if self.steps is not None:
            checked_integer("steps", self.steps, 1, MAX_STEPS)
        checked_integer("seed", self.seed, 0, MAX_SEED)
        if self.temperature is not None:
            checked_number("temperature", self.temperature, MAX_TEMPERATURE)
        if self.sampler is not None:
            checked_choice("sampler", self.sampler, SAMPLERS)
        checked_choice("schedule", self.schedule, SCHEDULES)
        if self.guidance is not None:
            checked_number("guidance", self.guidance, MAX_GUIDANCE)
        if self.guided_by is not None:
            checked_choice("guided_by", self.guided_by, GUIDED_BY)
        for name, share in (("guidance_delay", self.guidance_delay), ("renewal", self.renewal)):
            if share is not None:
                checked_number(name, share, 1)
        if self.final_temperature is not None:
            checked_number("final_temperature", self.final_temperature, MAX_TEMPERATURE)

    def plan(self, card: ModelCard) -> SamplingPlan:
        """Return the settings completed for a model.

        Raises:
            InvalidSetting: if the model does not have the class, if there is guidance without a class for a
                model of many levels, or if there are more autoregressive steps than the model has passes.
        """
        sampler, passes = self.sampler or own_sampler(card), sum(card.architecture.layer_phases)
        if sampler == "autoregressive" and self.steps is not None and self.steps > passes:
            msg = f"steps {self.steps} is over the limit of {passes}, the passes of model {card.name}"
            raise InvalidSetting(msg)
        steps = self.steps or (DIFFUSION_STEPS if sampler == "diffusion" else passes)
        label, single_bits = self._class_number(card), card.architecture.single_bits
        own = card.sampling if single_bits else OwnSampling(CLASS_GUIDANCE, "class", TEMPERATURE)
        guidance, guided_by = self._guidance(own)
        if guided_by == "class" and not label:
            guidance = 0.0
        temperature = own.temperature if guidance > 0 else TEMPERATURE
        if self.temperature is not None:
            temperature = self.temperature
        delay = own.guidance_delay if self.guidance_delay is None else self.guidance_delay
        renewal = own.renewal if self.renewal is None else self.renewal
        return SamplingPlan(
            sampler,
            steps,
            float(temperature),
            self.seed,
            self.schedule,
            label,
            float(guidance),
            guided_by if single_bits else "class",
            float(delay),
            float(renewal),
            temperature if self.final_temperature is None else float(self.final_temperature),
        )

    def with_class(self, card: ModelCard, image: int) -> SamplingSettings:
        """Return the settings for drawing a whole new picture, which has the number `image` under the seed.

        If guidance by the class needs a class and none is given, the picture gets one, drawn evenly.
        """
        guidance, guided_by = self._guidance(card.sampling)
        needed = guidance > 0 and guided_by != "block"
        if self.label is not None or not card.classes or not card.architecture.single_bits or not needed:
            return self
        number = Words(self.seed, image, _CLASS_STREAM).choice(len(card.classes))
        return dataclasses.replace(self, label=card.classes[number])

    def _guidance(self, own: OwnSampling) -> tuple[float, GuidedBy]:
        """Return the guidance and what it is by: what is given, or else the model's own."""
        guidance = own.guidance if self.guidance is None else self.guidance
        return guidance, self.guided_by or own.guided_by

    def _class_number(self, card: ModelCard) -> int:
        """Return the number of the class, from 1, or 0 for no class."""
        if self.label is None and (card.architecture.single_bits or self.guidance is None):
            return 0
        if not card.classes:
            msg = f"model {card.name} has no classes"
            raise InvalidSetting(msg)
        if self.label is None:
            msg = "guidance needs a class, but none is given"
            raise InvalidSetting(msg)
        checked_choice("class", self.label, card.classes)
        return card.classes.index(self.label) + 1


@dataclasses.dataclass(frozen=True)
class SamplingPlan:
    """The settings of a draw, completed for one model.

    Args:
        sampler: "autoregressive" or "diffusion".
        steps: the steps of the diffusion sampler, or the groups of passes of the autoregressive one.
        temperature: the temperature, or that of the first step if it changes.
        seed: as in `SamplingSettings`.
        schedule: as in `SamplingSettings`.
        label: the number of the class, from 1, or 0 for no class.
        guidance: as in `SamplingSettings`; 0 for none.
        guided_by: as in `SamplingSettings`.
        guidance_delay: as in `SamplingSettings`.
        renewal: as in `SamplingSettings`.
        final_temperature: the temperature of the last step of the diffusion sampler.
    """

    sampler: Sampler
    steps: int
    temperature: float
    seed: int
    schedule: str
    label: int
    guidance: float
    guided_by: GuidedBy
    guidance_delay: float
    renewal: float
    final_temperature: float

    def guidance_at(self, way: float) -> float:
        """Return the guidance of a step that begins this far on the way from noise, 0, to a picture, 1."""
        # A step at the end of the delay is guided, in spite of the rounding of `way`.
        return self.guidance if way > self.guidance_delay - 1e-9 else 0.0

    def temperature_of(self, step: int) -> float:
        """Return the temperature of a step of the diffusion sampler, counted from 0."""
        share = step / max(1, self.steps - 1)
        return self.temperature + (self.final_temperature - self.temperature) * share


def own_sampler(card: ModelCard) -> Sampler:
    """Return the sampler that suits a model: "diffusion" if every channel is a single bit, else
    "autoregressive".

    Given the earlier passes, the bits that one autoregressive pass draws are independent of each other. In
    diffusion, all bits settle together. But if a channel has many levels, uniform noise hides what is left of
    them, and a prior learns little from such states in a short training.
    """
    return "diffusion" if card.architecture.single_bits else "autoregressive"
