"""Check what a caller asks for, such as qualities, efforts and devices. Each check is in one place.

Every check raises `InvalidSetting` if the value is not possible, and `TypeError` if it has a wrong type.
`bincodec.errors` says which of the two applies.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from bincodec.bitstream.header import BEST_QUALITY
from bincodec.bitstream.limits import Limits, checked_limits
from bincodec.defaults import DEFAULT_QUALITY
from bincodec.errors import InvalidSetting

DEVICES = ("cpu", "cuda")
MAX_SEED = 2**64 - 1
MAX_TEMPERATURE = 10.0
MAX_GUIDANCE = 16.0
MAX_SIZE = 2**40
MAX_BITS_PER_PIXEL = 1000.0
MAX_PSNR = 100.0

Region = tuple[int, int, int, int]
"""The left edge, top edge, width and height of a part of a picture, in pixels."""

STRIPPED = ("icc", "exif", "xmp")
"""The kinds of metadata that can be left out. "all" means all of them."""

SEARCH_ROUNDS = (0, 1, 2, 3, 5, 8, 12, 18, 26, 40)
"""The number of rounds of the encoder's search for each effort, 0..9 (`bincodec.encoder.search`)."""


def checked_integer(name: str, value: int, low: int, high: int) -> int:
    """Return `value` if it is an integer in low..high."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise TypeError(_wrong_type(name, f"an integer in {low}..{high}", value))
    if not low <= value <= high:
        msg = f"{name} {value!r} is not an integer in {low}..{high}"
        raise InvalidSetting(msg)
    return int(value)


def checked_number(name: str, value: float, high: float) -> float:
    """Return `value` if it is a number in 0..high."""
    if not isinstance(value, int | float | np.integer | np.floating) or isinstance(value, bool):
        raise TypeError(_wrong_type(name, f"a number in 0..{high:g}", value))
    if not 0 <= value <= high:  # NaN fails every comparison
        msg = f"{name} {value!r} is not a number in 0..{high:g}"
        raise InvalidSetting(msg)
    return float(value)


def checked_size(size: tuple[int, int], limits: Limits) -> tuple[int, int]:
    """Return width and height in pixels if a picture of that size is within the limits."""
    checked_limits(limits)
    try:
        width, height = size
    except ValueError as error:
        msg = f"size {size!r} is not a width and a height"
        raise InvalidSetting(msg) from error
    except TypeError:
        raise TypeError(_wrong_type("size", "a width and a height", size)) from None
    width = checked_integer("width", width, 1, limits.side)
    height = checked_integer("height", height, 1, limits.side)
    if width * height > limits.pixels:
        msg = f"size {width} x {height}: {width * height} is over the limit pixels={limits.pixels}"
        raise InvalidSetting(msg, option="pixels")
    return width, height


def checked_region(region: Region, width: int, height: int) -> Region:
    """Return `region` if it lies within a picture of `width` x `height` pixels."""
    try:
        left, top, across, down = region
    except ValueError as error:
        msg = f"region {region!r} is not a left, a top, a width and a height"
        raise InvalidSetting(msg) from error
    except TypeError:
        raise TypeError(_wrong_type("region", "a left, a top, a width and a height", region)) from None
    left, top = (
        checked_integer(f"{name} of the region", value, 0, side - 1)
        for name, value, side in (("left", left, width), ("top", top, height))
    )
    across = checked_integer("width of the region", across, 1, width - left)
    return left, top, across, checked_integer("height of the region", down, 1, height - top)


def checked_choice(name: str, value: str, choices: Iterable[str]) -> str:
    """Return `value` if it is one of `choices`."""
    if not isinstance(value, str):
        raise TypeError(_wrong_type(name, "a str", value))
    if value not in (known := tuple(choices)):
        msg = f"{name} {value!r} is not one of {', '.join(known)}"
        raise InvalidSetting(msg)
    return value


def checked_strip(strip: str | Iterable[str]) -> frozenset[str]:
    """Return the metadata to leave out, as names of STRIPPED. `strip` has one or more of them, or "all"."""
    if not isinstance(strip, str | Iterable):
        raise TypeError(_wrong_type("strip", "a str or several", strip))
    given = [strip] if isinstance(strip, str) else strip
    names = {checked_choice("strip", name, ("all", *STRIPPED)) for name in given}
    return frozenset(STRIPPED if "all" in names else names)


def checked_flag(name: str, value: bool) -> bool:
    """Return `value` if it is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(_wrong_type(name, "True or False", value))
    return bool(value)


def checked_quality(quality: int) -> int:
    """Return `quality` if it is an integer in 0..100."""
    return checked_integer("quality", quality, 0, BEST_QUALITY)


@dataclass(frozen=True)
class Target:
    """What a file has to reach instead of having a quality.

    Args:
        name: "size", "bits_per_pixel" or "psnr".
        value: the highest number of bytes or of bits per pixel, or the lowest PSNR in dB.
    """

    name: str
    value: float

    def bytes_of(self, pixels: int) -> int | None:
        """Return the highest number of bytes for a picture of so many pixels, or None for a PSNR."""
        if self.name == "psnr":
            return None
        return int(self.value if self.name == "size" else self.value * pixels / 8)


def checked_target(
    quality: int | None, size: int | None, bits_per_pixel: float | None, psnr: float | None
) -> int | Target:
    """Return the one that is not None, as a quality or a target. Without any, return the default quality."""
    given = {"quality": quality, "size": size, "bits_per_pixel": bits_per_pixel, "psnr": psnr}
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        msg = f"{' and '.join(names)} cannot go together: each of them decides how large the file is"
        raise InvalidSetting(msg)
    if size is not None:
        return Target("size", checked_integer("size", size, 1, MAX_SIZE))
    if bits_per_pixel is not None:
        value = checked_number("bits_per_pixel", bits_per_pixel, MAX_BITS_PER_PIXEL)
        return Target("bits_per_pixel", value)
    if psnr is not None:
        return Target("psnr", checked_number("psnr", psnr, MAX_PSNR))
    return DEFAULT_QUALITY if quality is None else checked_quality(quality)


def search_rounds(effort: int) -> int:
    """Return the rounds of search at `effort` if it is an integer in 0..9."""
    return SEARCH_ROUNDS[checked_integer("effort", effort, 0, len(SEARCH_ROUNDS) - 1)]


def checked_device(device: str) -> str:
    """Return `device` if this machine has it."""
    if not isinstance(device, str):
        raise TypeError(_wrong_type("device", 'a str such as "cpu" or "cuda:1"', device))

    import torch

    try:
        kind = torch.empty(0, device=device).device.type
    except (RuntimeError, AssertionError) as error:
        known = device.split(":")[0] in DEVICES
        reason = str(error).splitlines()[0] if known else f"only {' and '.join(DEVICES)} are supported"
        msg = f"device {device!r} cannot be used: {reason}"
        raise InvalidSetting(msg) from error
    if kind not in DEVICES:
        msg = f"device {device!r} cannot be used: only {' and '.join(DEVICES)} are supported"
        raise InvalidSetting(msg)
    return device


def _wrong_type(name: str, expected: str, value: object) -> str:
    return f"{name} must be {expected}, not {reprlib.repr(value)} ({type(value).__name__})"
