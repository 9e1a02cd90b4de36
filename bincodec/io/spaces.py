"""Describe colour spaces that files name by numbers, and make ICC profiles for them.

PNG, AVIF and JPEG 2000 name primaries and a curve by the codes of ITU-T H.273 (cICP, nclx). PNG also has
coordinates and an exponent (cHRM, gAMA). The Exif of a camera says "R03" for Adobe RGB.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Chromaticity: TypeAlias = tuple[float, float]
Primaries: TypeAlias = tuple[Chromaticity, Chromaticity, Chromaticity, Chromaticity]
"""The CIE coordinates x and y of red, green, blue and white."""

LINEAR = 1.0
"""The exponent of linear samples, which are proportional to light."""

_D65 = (0.3127, 0.3290)
_SRGB: Primaries = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), _D65)
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50 = np.array([0.9642, 1.0, 0.8249])
# The curve is ((x + 0.055) / 1.055) ** 2.4 if x is at least 0.04045, and x / 12.92 otherwise.
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
# Programs round these numbers. They write sRGB's curve as an exponent of 2.2, which differs by a few levels
# in the dark.
_SAME_CHROMATICITY = 0.003
_LIKE_SRGB = (2.17, 2.23)
# Eight linear bits are too coarse in the dark, and the errors of the codec would be visible there.
_NEARLY_LINEAR = 1.5
_GREATEST_EXPONENT = 4.0


@dataclass(frozen=True)
class Space:
    """A colour space.

    Args:
        name: its usual name.
        primaries: the chromaticities of red, green, blue and white.
        exponent: the power of a sample that is proportional to light, or None for sRGB's curve.
    """

    name: str
    primaries: Primaries = _SRGB
    exponent: float | None = None

    def is_srgb(self, *, grey: bool) -> bool:
        """Return whether this is sRGB under another name. For a grey picture, only the curve counts."""
        if self.exponent is not None and not _LIKE_SRGB[0] <= self.exponent <= _LIKE_SRGB[1]:
            return False
        return grey or bool(np.allclose(self.primaries, _SRGB, rtol=0, atol=_SAME_CHROMATICITY))

    @property
    def is_nearly_linear(self) -> bool:
        """Whether samples are so nearly proportional to light that eight bits are too coarse for them."""
        return self.exponent is not None and self.exponent < _NEARLY_LINEAR

    def with_srgb_curve(self) -> Space:
        """Return the space with the same primaries and sRGB's curve."""
        return replace(self, exponent=None)

    def to_srgb_curve(self, fractions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert samples 0..1 of this space to samples 0..1 of the space with sRGB's curve."""
        light = fractions if self.exponent is None else fractions**self.exponent
        return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


@dataclass(frozen=True)
class Tag:
    """What a file says about its colours without a profile.

    Args:
        source: the part of the file that says it, such as "cICP" or "nclx".
        space: the colour space that it names.
    """

    source: str
    space: Space


class Unknown(Exception):
    """The numbers of a file name no colours that eight bits could hold. The message says which numbers."""


SRGB = Space("sRGB")
ADOBE_RGB = Space("Adobe RGB (1998)", ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), _D65), 563 / 256)
ADOBE_RGB_IN_EXIF = Tag("Exif", ADOBE_RGB)
"""The meaning of "R03" in Exif."""
# The primaries by their codes in table 2 of ITU-T H.273.
_BY_CODE: dict[int, tuple[str, Primaries]] = {
    1: ("BT.709", _SRGB),
    4: ("BT.470 M", ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), (0.310, 0.316))),
    5: ("BT.470 BG", ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), _D65)),
    6: ("BT.601", ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65)),
    7: ("SMPTE 240M", ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65)),
    8: ("film", ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), (0.310, 0.316))),
    9: ("BT.2020", ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65)),
    11: ("DCI-P3", ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351))),
    12: ("Display P3", ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65)),
    22: ("EBU 3213", ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65)),
}
# The exponents by their codes in table 3. Picture viewers show the camera curves of television (1, 6, 7, 11,
# 14, 15) like sRGB.
_EXPONENTS: dict[int, float | None] = {
    **dict.fromkeys((1, 6, 7, 11, 13, 14, 15), None),
    4: 2.2,
    5: 2.8,
    8: LINEAR,
    17: 2.6,
}
_HIGH_DYNAMIC_RANGE = {16: "PQ", 18: "HLG"}
_UNSPECIFIED = 2


def from_codes(primaries: int, transfer: int) -> Space:
    """Return the space that two codes of ITU-T H.273 name. Where a code is "unspecified", sRGB is assumed.

    Raises:
        Unknown: if a code is not supported, or names a high dynamic range.
    """
    if transfer in _HIGH_DYNAMIC_RANGE:
        msg = f"a high dynamic range ({_HIGH_DYNAMIC_RANGE[transfer]}), which 8 bits cannot hold"
        raise Unknown(msg)
    primaries = 1 if primaries == _UNSPECIFIED else primaries
    transfer = 13 if transfer == _UNSPECIFIED else transfer
    if primaries not in _BY_CODE or transfer not in _EXPONENTS:
        msg = f"colours by the codes {primaries} and {transfer}, which are not supported"
        raise Unknown(msg)
    name, chromaticities = _BY_CODE[primaries]
    return Space(name, chromaticities, _EXPONENTS[transfer])


def from_numbers(exponent: float | None, primaries: Primaries | None) -> Space:
    """Return the space of measured primaries and an exponent. Where one is None, that of sRGB is taken.

    Raises:
        Unknown: if the numbers describe no colours.
    """
    if exponent is not None and not 0 < exponent <= _GREATEST_EXPONENT:
        msg = f"an exponent of {exponent:.3g}, which is not in 0..{_GREATEST_EXPONENT:g}"
        raise Unknown(msg)
    name = "primaries of its own" if primaries else "sRGB primaries"
    for known, chromaticities in _BY_CODE.values():
        if primaries and np.allclose(primaries, chromaticities, rtol=0, atol=_SAME_CHROMATICITY):
            name = known
            break
    if exponent is not None and _LIKE_SRGB[0] <= exponent <= _LIKE_SRGB[1]:
        exponent = None  # This is how programs write sRGB's curve.
    space = Space(name, primaries or _SRGB, exponent)
    _to_xyz(space.primaries)
    return space


def profile(space: Space, *, grey: bool) -> bytes:
    """Return an ICC profile, version 4.3, for a space, or only for its grey axis if `grey` is set."""
    curve = _curve(space.exponent)
    matrix, adaptation = _to_xyz(space.primaries)
    tags = {
        b"desc": _text(space.name if space.exponent is None else f"{space.name}, {space.exponent:.4g}"),
        b"cprt": _text("no copyright"),
        b"wtpt": _point(_D50),
        b"chad": b"sf32" + bytes(4) + _fixed(adaptation.ravel()),
    }
    if grey:
        tags[b"kTRC"] = curve
    else:
        for index, letter in enumerate((b"r", b"g", b"b")):
            tags |= {letter + b"XYZ": _point(matrix[:, index]), letter + b"TRC": curve}
    entries, data, places = b"", b"", dict[bytes, int]()
    start = 132 + 12 * len(tags)
    for tag, payload in tags.items():
        if payload not in places:  # Tags with the same payload, such as the curves, share it.
            data += bytes(-len(data) % 4)
            places[payload] = start + len(data)
            data += payload
        entries += tag + struct.pack(">II", places[payload], len(payload))
    body = struct.pack(">I", len(tags)) + entries + data
    kind = b"GRAY" if grey else b"RGB "
    head = struct.pack(">I4sI4s4s4s", 128 + len(body), b"", 0x04300000, b"mntr", kind, b"XYZ ")
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    return (head + _fixed(_D50)).ljust(128, b"\0") + body


def _to_xyz(primaries: Primaries) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a matrix whose columns are red, green and blue in CIE XYZ for D50, and the adaptation to D50.

    Raises:
        Unknown: if the primaries span no colours.
    """
    corners = np.array([[x, y, 1 - x - y] for x, y in primaries]).T
    if (corners[1] <= 0).any() or abs(np.linalg.det(corners[:, :3])) < 1e-4:
        msg = "primaries that span no colours"
        raise Unknown(msg)
    white = corners[:, 3] / corners[1, 3]
    cones = _BRADFORD @ white
    if (cones <= 0).any():
        msg = "a white point that is not white"
        raise Unknown(msg)
    adaptation = np.linalg.inv(_BRADFORD) @ np.diag(_BRADFORD @ _D50 / cones) @ _BRADFORD
    return adaptation @ (corners[:, :3] * np.linalg.solve(corners[:, :3], white)), adaptation


def _curve(exponent: float | None) -> bytes:
    kind, numbers = (3, _SRGB_CURVE) if exponent is None else (0, (exponent,))
    return b"para" + struct.pack(">4xHxx", kind) + _fixed(np.array(numbers))


def _text(text: str) -> bytes:
    encoded = text.encode("utf-16-be")
    return b"mluc" + struct.pack(">4xII4sII", 1, 12, b"enUS", len(encoded), 28) + encoded


def _point(xyz: NDArray[np.float64]) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(xyz)


def _fixed(numbers: NDArray[np.float64]) -> bytes:
    return struct.pack(f">{len(numbers)}i", *(round(65536 * float(number)) for number in numbers))
