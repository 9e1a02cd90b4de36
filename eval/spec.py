"""Specs of codecs to measure: `NAME[:option=value]...`, such as `avif:tune=psnr:speed=4`."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from bincodec.eval.errors import UnknownCodec

SETTINGS = "settings"
"""The option that every codec has: a grid of settings, separated by commas."""

# A value may contain colons (4:4:4). An option begins after a colon that is followed by a name and =.
_BETWEEN = re.compile(r":(?=[a-z_]+=)")


@dataclass(frozen=True)
class Option:
    """One option of a codec.

    `values` lists all possible values. With `most`, the value is a number in 0..`most`. If both are None, any
    text is possible.
    """

    name: str
    default: str
    values: tuple[str, ...] | None = None
    most: int | None = None

    def read(self, text: str) -> str:
        """Return the value that `text` spells. 4:2:0 and 420 are the same value, and so are 0.5 and 0.50.

        Raises:
            UnknownCodec: if there is no such value.
        """
        if self.most is not None:
            return self._number(text, self.most)
        value = text if self.values is None else text.replace(":", "").lower()
        if not value or (self.values is not None and value not in self.values):
            known = "no empty text" if self.values is None else f"one of {', '.join(self.values)}"
            msg = f"{self.name}={text!r}: it must be {known}"
            raise UnknownCodec(msg)
        return value

    def _number(self, text: str, most: int) -> str:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 <= value <= most:  # NaN fails every comparison.
            msg = f"{self.name}={text!r}: it must be a number in 0..{most}"
            raise UnknownCodec(msg)
        return str(abs(value)).removesuffix(".0")  # -0 is 0.


@dataclass(frozen=True)
class Spec:
    """A codec with values for all of its options.

    Args:
        codec: the name of the codec.
        label: the name in tables: the codec and the options that differ from their defaults.
        options: the values of all options, by name.
        settings: the grid of settings, or empty for the default grid of the adapter.
    """

    codec: str
    label: str
    options: tuple[tuple[str, str], ...]
    settings: tuple[int, ...] = ()
    values: Mapping[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", dict(self.options))


def parse(
    text: str, known: Mapping[str, tuple[Option, ...]], usual: Mapping[str, Mapping[str, str]] | None = None
) -> Spec:
    """Read a spec. `known` lists the options of every codec, and `usual` replaces some of their defaults.

    Raises:
        UnknownCodec: if a part of the spec is unknown. The message names it.
    """
    codec, *parts = _BETWEEN.split(text)
    if codec not in known:
        raise UnknownCodec(_no_codec(text, codec, known))
    given = _given(text, parts)
    settings = _read_settings(text, given.pop(SETTINGS)) if SETTINGS in given else ()
    missing = given.keys() - {option.name for option in known[codec]}
    if missing:
        names = ", ".join([*(option.name for option in known[codec]), SETTINGS])
        msg = f"{text}: {codec} has no option {min(missing)!r}; there are {names}"
        raise UnknownCodec(msg)
    options, shown = [], [codec]
    for option in known[codec]:
        default = (usual or {}).get(codec, {}).get(option.name, option.default)
        try:
            value = option.read(given.get(option.name, default))
        except UnknownCodec as error:
            msg = f"{text}: {error}"
            raise UnknownCodec(msg) from error
        options.append((option.name, value))
        if value != default:
            shown.append(f"{option.name}={value}")
    return Spec(codec, ":".join(shown), tuple(options), settings)


def _given(text: str, parts: list[str]) -> dict[str, str]:
    """Return the values that a spec gives, by option."""
    given: dict[str, str] = {}
    for name, value in (part.split("=", 1) for part in parts):
        if name in given:
            msg = f"{text}: option {name} is given twice"
            raise UnknownCodec(msg)
        given[name] = value
    return given


def _no_codec(text: str, codec: str, known: Mapping[str, tuple[Option, ...]]) -> str:
    """Describe what is wrong with the part of a spec before its first option."""
    name, _, rest = codec.partition(":")
    if name not in known:
        return f"no codec is called {codec!r}; there are {', '.join(known)}"
    option, equals, _ = rest.partition("=")
    return f"{text}: {option!r} is no option" if equals else f"{text}: option {rest} needs =value"


def numbers(first: int, last: int) -> tuple[str, ...]:
    """Return the values of an option whose values are the integers from `first` to `last`."""
    return tuple(map(str, range(first, last + 1)))


def _read_settings(spec: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError as error:
        msg = f"{spec}: settings={text!r} is not a list of integers such as 10,20,30"
        raise UnknownCodec(msg) from error
