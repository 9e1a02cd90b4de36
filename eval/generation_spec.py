"""Specs of sampled sets: `option=value[:option=value]...`, such as `sampler=diffusion:steps=4,8,16:seed=1`.

A list of values, separated by commas, stands for one set for each value. Several lists stand for all
combinations of their values.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bincodec.arguments import MAX_SEED, checked_integer, checked_quality
from bincodec.errors import InvalidSetting
from bincodec.generation.settings import SamplingOptions, SamplingSettings

REAL = "real"
NONE = "none"

_READERS: Mapping[str, Callable[[str], Any]] = {
    "sampler": str,
    "steps": int,
    "temperature": float,
    "final_temperature": float,
    "guidance": float,
    "guided_by": str,
    "guidance_delay": float,
    "renewal": float,
    "schedule": str,
    "classes": str,
    "seed": int,
    "quality": int,
    "model": str,
}
_KINDS: Mapping[object, str] = {int: "an integer", float: "a number"}


@dataclass(frozen=True)
class Setting:
    """How one set of pictures is drawn. None stands for the model's default.

    Args:
        label: the name in tables, made of the options that were given.
        model: the name of a model, or a model file.
        classes: `REAL` for classes in the same shares as the real pictures, `NONE` to name none, or the name
            of a class.
    """

    label: str
    model: str
    quality: int
    sampler: str | None = None
    steps: int | None = None
    temperature: float | None = None
    guidance: float | None = None
    guided_by: str | None = None
    guidance_delay: float | None = None
    renewal: float | None = None
    final_temperature: float | None = None
    schedule: str | None = None
    classes: str = NONE
    seed: int = 0

    def how(self, name: str | None = None, number: int = 0) -> SamplingOptions:
        """Return keywords for `Codec.sample`, for the class called `name` with `number`, counted from 1.

        Each class has a seed of its own. With the same seed, the first picture of every class would be drawn
        from the same noise.
        """
        seed = (self.seed + (number << 32)) % (MAX_SEED + 1)
        every = {
            "sampler": self.sampler,
            "steps": self.steps,
            "temperature": self.temperature,
            "guidance": self.guidance,
            "guided_by": self.guided_by,
            "guidance_delay": self.guidance_delay,
            "renewal": self.renewal,
            "final_temperature": self.final_temperature,
            "schedule": self.schedule,
            "label": name,
        }
        found: Any = {key: value for key, value in every.items() if value is not None} | {"seed": seed}
        how: SamplingOptions = found
        return how

    def names(self, labels: Iterable[str]) -> list[str | None]:
        """Return the classes to draw if the real pictures have `labels`."""
        if self.classes == NONE:
            return [None]
        return [*sorted(set(labels))] if self.classes == REAL else [self.classes]


def parse(text: str, *, model: str, quality: int) -> list[Setting]:
    """Return the settings that a spec stands for. `model` and `quality` are the defaults of the spec.

    Raises:
        InvalidSetting: if a part of the spec is unknown or invalid. The message names it.
    """
    given: dict[str, list[Any]] = {}
    for part in re.split(r":(?=[A-Za-z_]+=)", text) if text else ():
        name, equals, values = part.partition("=")
        if name not in _READERS or not equals:
            msg = f"{text}: {name!r} is no setting; there are {', '.join(_READERS)}, each with =value"
            raise InvalidSetting(msg)
        if name in given:
            msg = f"{text}: {name} is given twice; several values are separated by commas"
            raise InvalidSetting(msg)
        given[name] = [_value(text, name, value) for value in values.split(",")]
    found = []
    for values in itertools.product(*given.values()):
        chosen = dict(zip(given, values, strict=True))
        label = ":".join(_shown(name, chosen[name]) for name in _READERS if name in chosen)
        setting = Setting(**{"label": label or "default", "model": model, "quality": quality, **chosen})
        _check(text, setting)
        found.append(setting)
    return found


def _shown(name: str, value: object) -> str:
    return f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"


def _value(text: str, name: str, value: str) -> Any:
    reader = _READERS[name]
    try:
        if not value:
            raise ValueError
        return reader(value)
    except ValueError as error:
        kind = _KINDS.get(reader, "a word")
        msg = f"{text}: {name}={value!r} is not {kind}"
        raise InvalidSetting(msg) from error


def _check(text: str, setting: Setting) -> None:
    """Check a setting as far as that is possible without the model."""
    try:
        checked_quality(setting.quality)
        checked_integer("seed", setting.seed, 0, MAX_SEED)
        SamplingSettings(**setting.how())
    except InvalidSetting as error:
        msg = f"{text}: {error}"
        raise InvalidSetting(msg) from error


def apportion(labels: Sequence[str], count: int) -> dict[str, int]:
    """Divide `count` pictures among classes in the shares of `labels`, by the largest-remainder method."""
    shares = Counter(labels)
    exact = {name: count * shares[name] / len(labels) for name in sorted(shares)}
    result = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (result[name] - exact[name], name))
    for name in by_remainder[: count - sum(result.values())]:
        result[name] += 1
    return result
