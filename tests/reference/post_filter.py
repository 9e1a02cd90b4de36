"""The post-filter: what is added to the decoded picture (FORMAT, "The post-filter").

Pictures are (rows, columns, channels), float64.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from .errors import refuse

Floats = npt.NDArray[np.float64]

FEATURES = 56
_HEAD_BYTES = 6 + FEATURES // 8
_LARGEST_WEIGHT = 32767
_MARGIN = 8
"""The reach of features: 7 pixels for the widest square, and one more for a step from there."""
_NEAR = ((0, 1), (1, -1), (1, 0), (1, 1))


@dataclasses.dataclass(frozen=True, eq=False)
class PostFilter:
    """The offsets of the colours in 0..1, and for each feature the weight for each colour."""

    offsets: Floats
    weights: dict[int, Floats]


def read_post_filter(payload: bytes) -> PostFilter:
    """Read the filter in a payload."""
    if len(payload) < _HEAD_BYTES:
        refuse("corrupt", f"a post-filter of {len(payload)} bytes")
    offsets = np.array(struct.unpack("<3h", payload[:6])) / (64 * 255)
    mask = int.from_bytes(payload[6:_HEAD_BYTES], "little")
    chosen = [i for i in range(FEATURES) if mask >> i & 1]
    rest = payload[_HEAD_BYTES:]
    if bool(chosen) != bool(rest):
        refuse("corrupt", f"a post-filter of {len(chosen)} features and {len(rest)} bytes of weights")
    if not chosen:
        return PostFilter(offsets, {})
    exponent, low_bits = divmod(rest[0], 16)
    values = np.array(_rice_codes(rest[1:], 3 * len(chosen), low_bits)).reshape(-1, 3)
    return PostFilter(offsets, dict(zip(chosen, values / 2**exponent, strict=True)))


def _rice_codes(data: bytes, count: int, low_bits: int) -> list[int]:
    """Read so many integers. After them, only zeros up to a whole byte may follow."""
    bits = "".join(f"{byte:08b}" for byte in data)
    values, place = [], 0
    for _ in range(count):
        end = bits.find("0", place)
        if end < 0 or end + 1 + low_bits > len(bits):
            refuse("corrupt", "the weights of a post-filter are cut short")
        folded = int(f"0{bits[end + 1 : end + 1 + low_bits]}", 2) + (end - place << low_bits)
        values.append(folded // 2 if folded % 2 == 0 else -(folded + 1) // 2)
        place = end + 1 + low_bits
    if len(bits) - place >= 8 or "1" in bits[place:]:
        refuse("corrupt", "bits follow the weights of a post-filter")
    if any(abs(value) > _LARGEST_WEIGHT for value in values):
        refuse("corrupt", "a weight of a post-filter is too large")
    return values


def apply_post_filter(colours: Floats, post_filter: PostFilter) -> Floats:
    """Return the picture (rows, columns, 3) with the filter applied."""
    result = colours.clip(0, 1) + post_filter.offsets
    if post_filter.weights:
        for i, feature in enumerate(features(colours)):
            if i in post_filter.weights:
                result += post_filter.weights[i] * feature
    return result


class _Surroundings:
    """A picture with a margin in which its border is repeated."""

    def __init__(self, extended: Floats, margin: int) -> None:
        self.extended, self.margin = extended, margin

    def at(self, down: int, right: int) -> Floats:
        """Return, for each pixel of the picture, the value so many pixels further down and to the right."""
        rows, columns = (side - 2 * self.margin for side in self.extended.shape[:2])
        top, left = self.margin + down, self.margin + right
        return self.extended[top : top + rows, left : left + columns]

    def second_difference(self, down: int, right: int) -> Floats:
        """Return D of the format: the sum of the values on both sides of a pixel, minus twice the pixel."""
        return self.at(down, right) + self.at(-down, -right) - 2 * self.at(0, 0)

    def near(self) -> list[Floats]:
        """Return the second differences for the four near steps."""
        return [self.second_difference(*step) for step in _NEAR]

    def square(self, side: int) -> Iterator[Floats]:
        """Yield the pixels of the square around each pixel, one after the other."""
        reach = range(-(side // 2), side // 2 + 1)
        return (self.at(down, right) for down in reach for right in reach)

    def mean(self, side: int) -> Floats:
        """Return means over the square around each pixel."""
        return _mean(self.square(side))

    def texture(self, side: int) -> Floats:
        """Return t_n of the format for a picture of one channel. It reads one pixel beyond its square."""
        detail = _mean(abs(part) for part in _Surroundings(self.extended, 1).near())
        mean = _Surroundings(detail, self.margin - 1).mean(side)
        return mean / (mean + 0.02)


def features(colours: Floats) -> Iterator[Floats]:
    """Yield the features in the order of the format's table, (rows, columns, 1) or (rows, columns, 3)."""
    margin = ((_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0))
    picture = _Surroundings(np.pad(colours.clip(0, 1), margin, mode="edge"), _MARGIN)
    grey = _Surroundings(_over_colours(picture.extended), _MARGIN)
    a, y = picture.at(0, 0), grey.at(0, 0)
    x = 2 * a - 1
    own_detail = -_mean(picture.near())
    textures = grey.texture(3), grey.texture(15)
    rows, columns = a.shape[:2]
    across = np.broadcast_to(((2 * np.arange(columns) + 1) / columns - 1)[:, None], y.shape)
    down = np.broadcast_to(((2 * np.arange(rows) + 1) / rows - 1)[:, None, None], y.shape)
    yield from _tones(x, 2 * grey.mean(9) - 1)
    yield from _shared_detail(_over_colours(own_detail), 2 * y - 1, textures, grey, across)
    yield from _shared_neighbours(picture, grey)
    yield from (_line(grey, grey, 5, 0.0001), _line(grey, grey, 9, 0.001))
    yield from (across / 128, down / 128)
    yield from _own_detail(own_detail, x, textures, across, down)
    yield from (picture.mean(9) - a, _line(grey, picture, 5, 0.0001))
    yield from (picture.second_difference(*step) / 8 for step in ((0, 2), (2, 0)))


def _mean(parts: Iterable[Floats]) -> Floats:
    """Return the mean of pictures, pixel by pixel. No two of them are held in memory at once."""
    total, count = np.zeros(1), 0
    for part in parts:
        total, count = total + part, count + 1
    return total / count


def _over_colours(values: Floats) -> Floats:
    mean: Floats = values.mean(axis=2, keepdims=True)
    return mean


def _legendre(degree: int, x: Floats) -> Floats:
    polynomial = np.polynomial.legendre.Legendre.basis(degree)
    value: Floats = polynomial(x)
    return value


def _tones(x: Floats, surrounding: Floats) -> Iterator[Floats]:
    """Yield features 0 to 25."""
    red, green, blue = np.split(x, 3, axis=2)
    for degree, factor in zip(range(1, 6), (1, 1, 1 / 2, 1 / 8, 1 / 8), strict=True):
        for colour in (red, green, blue):
            yield factor * _legendre(degree, colour) / 2
    for pair in (red * green, green * blue, red * blue):
        yield pair / 2
    for square, others in ((red, (green, blue)), (green, (red, blue)), (blue, (red, green))):
        for other in others:
            yield square**2 * other / 2
    for degree in (2, 3):
        yield _legendre(degree, surrounding) / 16


def _shared_detail(
    detail: Floats, y: Floats, textures: tuple[Floats, Floats], grey: _Surroundings, across: Floats
) -> Iterator[Floats]:
    """Yield features 26 to 34."""
    horizontal, vertical = grey.second_difference(0, 1), grey.second_difference(1, 0)
    yield from (detail, detail * y, detail * y**2)
    yield from (4 * detail * texture for texture in textures)
    yield np.maximum(detail, 0) / 2
    yield from ((horizontal + vertical) / 2, vertical / 8, detail * across**2 / 2)


def _shared_neighbours(picture: _Surroundings, grey: _Surroundings) -> Iterator[Floats]:
    """Yield features 35 to 39."""
    bulge = grey.mean(9) - grey.at(0, 0)
    yield from (bulge, np.maximum(bulge, 0), grey.mean(5) - grey.at(0, 0))
    around = list(picture.square(3))
    yield _over_colours(np.max(around, axis=0) - picture.at(0, 0))
    yield _over_colours(picture.at(0, 0) - np.min(around, axis=0))


def _line(grey: _Surroundings, picture: _Surroundings, side: int, least: float) -> Floats:
    """Return features 40, 41 and 53: the difference between each pixel and the line of its square.

    For y itself, this is m + (s - v)(y - m) / s - y, which is the format's -v (y - m) / s.
    """
    y, values = list(grey.square(side)), list(picture.square(side))
    m, own = _mean(y), _mean(values)
    away = (grey.at(0, 0) - m) / (np.maximum(_mean(part**2 for part in y) - m**2, 0) + least)
    if picture is grey:
        return -least * away
    together = _mean(one * other for one, other in zip(y, values, strict=True)) - m * own
    return own + together * away - picture.at(0, 0)


def _own_detail(
    detail: Floats, x: Floats, textures: tuple[Floats, Floats], across: Floats, down: Floats
) -> Iterator[Floats]:
    """Yield features 44 to 51."""
    saturation = (x.max(axis=2, keepdims=True) - x.min(axis=2, keepdims=True)) / 2
    yield from (detail * x, detail * x**2, detail * saturation)
    yield from (4 * detail * texture for texture in textures)
    yield from (np.maximum(detail, 0) / 2, detail * across / 8, detail * down / 8)
