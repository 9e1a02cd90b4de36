"""Find the quality at which a file has a given size, or a picture a given PSNR.

Quality may be any number here. Between two integers, the encoder's gains and the weight of an error are
interpolated, and the file names the nearest integer (`analysis.encode`). Sizes therefore rise in much finer
steps than from one integer to the next (docs/cli.md, "Targets").
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from bincodec.arguments import Target
from bincodec.bitstream.container import Extra
from bincodec.bitstream.header import BEST_QUALITY
from bincodec.code import BinaryCode
from bincodec.coding import packing
from bincodec.decoder import reconstruct
from bincodec.encoder import analysis
from bincodec.errors import OutOfReach
from bincodec.io.images import Picture
from bincodec.model.weights import Model

MOST_ENCODES = 8
TOLERANCE = 0.02
"""A file may be smaller than its target by at most this share, if the picture allows it."""
DECIBELS = 0.05
"""The PSNR of a picture may exceed its target by at most this many decibels, if the picture allows it."""

_START = 60.0
_LOG_BYTES_A_QUALITY = 0.04
_DECIBELS_A_QUALITY = 0.16
_MOST_TIMES_FLATTER = 5
_LONGEST_STEP = 40.0
_STRIP = 64
"""The number of rows whose errors are added at once."""
_LEAST_SHARE = 0.05
"""The least distance of the next quality from both ends of the remaining range, as a share of that range."""


@dataclasses.dataclass(frozen=True)
class Aim:
    """The aim of a rising function of quality: a value in low..high, or the nearest one on one side.

    If `from_below`, a value may be too low, but not too high; otherwise, the reverse. `slope` is
    roughly how fast the function rises.
    """

    low: float
    high: float
    from_below: bool
    slope: float

    def allows(self, value: float) -> bool:
        """Return whether a value is on the allowed side."""
        return value <= self.high if self.from_below else value >= self.low

    def meets(self, value: float) -> bool:
        """Return whether a value is in the range."""
        return self.low <= value <= self.high

    @property
    def middle(self) -> float:
        """The value to try for."""
        return (self.low + self.high) / 2


@dataclasses.dataclass(frozen=True)
class Attempt:
    """A quality that was tried, and its value."""

    quality: float
    value: float


def attempts(measure: Callable[[float], float], aim: Aim) -> list[Attempt]:
    """Try at most MOST_ENCODES qualities in 0..100 until one meets the aim. `measure` returns its value.

    If any attempt meets the aim, it is the last one. If none is on the allowed side, the end of the range is
    among them.
    """
    made: list[Attempt] = []
    quality: float | None = _START
    while quality is not None:
        made.append(Attempt(quality, measure(quality)))
        quality = None if len(made) == MOST_ENCODES else _next(made, aim)
    return made


def _next(made: list[Attempt], aim: Aim) -> float | None:
    """Return the next quality to try, or None if nothing can be gained."""
    last = made[-1]
    if aim.meets(last.value):
        return None
    below = max((a for a in made if a.value < aim.low), key=lambda a: a.quality, default=None)
    above = min((a for a in made if a.value > aim.high), key=lambda a: a.quality, default=None)
    if below and above and below.quality < above.quality:
        return _between(below, above, made, aim)
    if below and above:
        return None  # It does not rise here: the steps of a small picture are coarser than the range.
    end = 0.0 if last.value > aim.high else float(BEST_QUALITY)
    if last.quality == end:
        return None
    if len(made) > MOST_ENCODES // 2:
        return end
    step = (aim.middle - last.value) / _slope(made, aim)
    step = min(max(step, -_LONGEST_STEP), _LONGEST_STEP)
    return min(max(last.quality + step, 0.0), float(BEST_QUALITY))


def _slope(made: list[Attempt], aim: Aim) -> float:
    """Return the slope between the last two attempts, or the usual one if they do not show it."""
    if len(made) > 1 and made[-1].quality != made[-2].quality:
        found = (made[-1].value - made[-2].value) / (made[-1].quality - made[-2].quality)
        if math.isfinite(found) and found > aim.slope / _MOST_TIMES_FLATTER:
            return found
    return aim.slope


def _between(below: Attempt, above: Attempt, made: list[Attempt], aim: Aim) -> float:
    """Return a quality between two attempts, where a straight line meets the middle of the aim.

    If one end has stayed while the other one moved twice, its distance is halved (the Illinois rule).
    Otherwise, the line would approach a curve slowly from one side.
    """
    short, beyond = aim.middle - below.value, above.value - aim.middle
    if len(made) > 1 and made[-2].value > aim.high and made[-1].value > aim.high:
        short /= 2
    if len(made) > 1 and made[-2].value < aim.low and made[-1].value < aim.low:
        beyond /= 2
    share = min(max(short / (short + beyond), _LEAST_SHARE), 1 - _LEAST_SHARE)
    return below.quality + share * (above.quality - below.quality)


def encode(
    model: Model, picture: Picture, target: Target, beside: tuple[Extra, ...], rounds: int
) -> BinaryCode:
    """Return the code of a picture that reaches `target`, with its post-filter and the extras in `beside`.

    Raises:
        OutOfReach: if no quality reaches the target. The message names the nearest value that one does.
    """
    pixels = picture.pixels.shape[0] * picture.pixels.shape[1]
    most = target.bytes_of(pixels)
    if most is None:
        aim = Aim(target.value, target.value + DECIBELS, False, _DECIBELS_A_QUALITY)
    else:
        high = math.log(most) if most else -math.inf
        aim = Aim(high + math.log1p(-TOLERANCE), high, True, _LOG_BYTES_A_QUALITY)
    # Only the best code so far is kept, because codes of large pictures take much memory.
    found: tuple[tuple[float, float], BinaryCode] | None = None

    def measure(quality: float) -> float:
        nonlocal found
        code = analysis.encode(model, picture, quality, rounds)
        code = dataclasses.replace(code, extras=(*code.extras, *beside))
        value = psnr(model, code, picture) if most is None else math.log(len(packing.pack(model, code)))
        # The nearest size is taken, and of equal sizes the best quality. Of pictures that are good enough,
        # that of the lowest quality is taken: the PSNR of flat pictures does not always rise with quality.
        order = (abs(value - aim.middle), -quality) if aim.from_below else (quality, value)
        if aim.allows(value) and (found is None or order < found[0]):
            found = order, code
        return value

    made = attempts(measure, aim)
    if found is None:
        raise OutOfReach(_out_of_reach(target, made, pixels))
    return found[1]


def _out_of_reach(target: Target, made: list[Attempt], pixels: int) -> str:
    values = [attempt.value for attempt in made]
    if target.name == "psnr":
        # The value is rounded down, so that it can be reached.
        highest = math.floor(100 * max(values)) / 100
        return f"psnr {target.value:g} is out of reach: this image reaches {highest:.2f} dB at most"
    smallest = round(math.exp(min(values)))
    if target.name == "size":
        return f"size {target.value:g} is out of reach: the smallest file of this image has {smallest} bytes"
    least = math.ceil(8e4 * smallest / pixels) / 1e4
    return (
        f"bits_per_pixel {target.value:g} is out of reach: the smallest file of this image has {least:.4f} "
        f"({smallest} bytes)"
    )


def psnr(model: Model, code: BinaryCode, picture: Picture) -> float:
    """Return the PSNR of a decoded code in dB, over all pixels that are not clear; inf if none differs."""
    shown = reconstruct(model, code, code.layers)
    total, samples = 0, 0
    # A large picture of wider integers would take gigabytes, so errors are added strip by strip.
    for top in range(0, code.height, _STRIP):
        rows = slice(top, top + _STRIP)
        error = shown[rows].astype(np.int64) - picture.pixels[rows, :, : shown.shape[2]]
        if picture.alpha is not None:
            error = error[picture.alpha[rows] > 0]
        total, samples = total + int((error**2).sum()), samples + error.size
    return 10 * math.log10(255**2 * samples / total) if total else math.inf
