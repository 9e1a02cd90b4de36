"""Read the colour profile and the bits of a JPEG file, and find out whether its pixels are damaged.

Pillow ignores a profile if one of its parts is missing. It also ignores damaged pixels, which libjpeg fills
up.
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
# The markers SOF0 to SOF15. Three of the numbers between them belong to other markers: DHT, JPG and DAC.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# The warnings of libjpeg-turbo about damaged pixels. It also warns about unusual markers, which do no harm.
_DAMAGED = re.compile(
    "premature end|bad huffman code|bad arithmetic code|extraneous bytes|found marker", re.IGNORECASE
)


@dataclass(frozen=True)
class Jpeg:
    """What the markers of a JPEG file say.

    Args:
        bits: the number of bits of a sample. It is 8 if the file does not say it.
        profile: the colour profile, or None if there is none that can be used.
        lost: what is wrong with a profile that cannot be used, or None.
        notes: one sentence for each change that the user should know of.
    """

    bits: int = 8
    profile: bytes | None = None
    lost: str | None = None
    notes: tuple[str, ...] = ()


def read(data: bytes) -> Jpeg:
    """Return what the markers before the pixels say."""
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
        lacking = f"part {missing[0]} of {count} of the colour profile is missing"
        if profile is None:
            return Jpeg(bits, lost=lacking)
        return Jpeg(bits, profile, notes=(f"{lacking}; the rest contains all colours and is used",))
    if empty:
        return Jpeg(bits, notes=("the colour profile is empty; it is left out",))
    return Jpeg(bits, b"".join(parts[number] for number in range(1, count + 1)))


def damage(data: bytes) -> str | None:
    """Return what libjpeg-turbo says about damaged pixels, or None if it finds none."""
    try:
        # An eighth of the size is enough, because all entropy-coded data is read for it too.
        simplejpeg.decode_jpeg(data, "GRAY", fastdct=True, min_height=1, min_width=1, min_factor=8)
    except ValueError as error:
        text = str(error)
        return text if _DAMAGED.search(text) else None
    return None


def _markers(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield each marker that has a length, and its payload, up to the first scan."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker, size = data[position + 1], struct.unpack_from(">H", data, position + 2)[0]
        if marker == 0xFF:  # This is a fill byte.
            position += 1
            continue
        if marker == _START_OF_SCAN or size < 2:
            return
        yield marker, data[position + 4 : position + 2 + size]
        position += 2 + size
