"""JPEG files: a profile in several parts, bits a sample, and whether the pixels are whole.

Pillow passes over a profile of which a part is missing, and over damaged pixels, which libjpeg fills up.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import simplejpeg

from bincodec.io import colour

MAGIC = b"\xff\xd8\xff"
_PROFILE = b"ICC_PROFILE\0"
_START_OF_SCAN, _APP2 = 0xDA, 0xE2
# SOF0 to SOF15, but for DHT, JPG and DAC, which stand between them.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# What libjpeg-turbo says of damaged pixels; of odd markers it warns as well.
_DAMAGED = re.compile(
    "premature end|bad huffman code|bad arithmetic code|extraneous bytes|found marker", re.IGNORECASE
)


@dataclass(frozen=True)
class Jpeg:
    """What the markers of a JPEG say.

    Args:
        bits: bits a sample, 8 if nothing is said.
        profile: its colour profile, None if there is none or it is incomplete.
        lost: what is wrong with a profile that it has and that cannot be used.
        notes: one sentence for each change that the user should know of.
    """

    bits: int = 8
    profile: bytes | None = None
    lost: str | None = None
    notes: tuple[str, ...] = ()


def read(data: bytes) -> Jpeg:
    """What the markers before the pixels say."""
    bits, parts = 8, dict[int, bytes]()
    count, empty = 0, False
    for marker, payload in _markers(data):
        if marker in _FRAMES and payload:
            bits = payload[0]
        elif marker == _APP2 and payload.startswith(_PROFILE) and len(payload) >= len(_PROFILE) + 2:
            number, count = payload[len(_PROFILE)], payload[len(_PROFILE) + 1]
            parts.setdefault(number, payload[len(_PROFILE) + 2 :])
            empty = not any(parts.values())
    if not parts:
        return Jpeg(bits)
    missing = [number for number in range(1, count + 1) if number not in parts]
    if missing:
        whole = [number for number in range(1, missing[0]) if parts[number]]
        profile = colour.salvaged(b"".join(parts[number] for number in whole))
        lacking = f"its colour profile lacks part {missing[0]} of {count}"
        if profile is None:
            return Jpeg(bits, lost=lacking)
        return Jpeg(bits, profile, notes=(f"{lacking}: the rest has all colours, and is used",))
    if empty:
        return Jpeg(bits, notes=("its colour profile is empty, and left out",))
    return Jpeg(bits, b"".join(parts[number] for number in range(1, count + 1)))


def damage(data: bytes) -> str | None:
    """What libjpeg-turbo says of damaged pixels, if it says anything."""
    try:
        # An eighth of the size: only the entropy-coded data has to be read.
        simplejpeg.decode_jpeg(data, "GRAY", fastdct=True, min_height=1, min_width=1, min_factor=8)
    except ValueError as error:
        text = str(error)
        return text if _DAMAGED.search(text) else None
    return None


def _markers(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Markers that have a length, and what they hold, up to the first scan."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker, size = data[position + 1], struct.unpack_from(">H", data, position + 2)[0]
        if marker == 0xFF:  # Bytes to fill up.
            position += 1
            continue
        if marker == _START_OF_SCAN or size < 2:
            return
        yield marker, data[position + 4 : position + 2 + size]
        position += 2 + size
