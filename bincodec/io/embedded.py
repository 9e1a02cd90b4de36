"""Read the colour profiles in BMP and GIF files, which Pillow does not show."""

from __future__ import annotations

import struct

_BMP_HEADER = 14
_VERSION_5 = 124
_SPACE, _PROFILE = 56, 112
_EMBEDDED, _LINKED = b"DEBM", b"KNIL"
_IN_GIF = b"!\xff\x0bICCRGBG1012"


_DAMAGED = "the colour profile is damaged"


def read_bmp(data: bytes) -> tuple[bytes | None, str | None]:
    """Return the profile in a BMP of version 5, and what is wrong with it; both are None if it has none."""
    if len(data) < _BMP_HEADER + _VERSION_5 or struct.unpack_from("<I", data, _BMP_HEADER)[0] != _VERSION_5:
        return None, None
    kind = data[_BMP_HEADER + _SPACE : _BMP_HEADER + _SPACE + 4]
    if kind == _LINKED:
        return None, "the colour profile is in another file"
    if kind != _EMBEDDED:
        return None, None
    start, size = struct.unpack_from("<II", data, _BMP_HEADER + _PROFILE)
    profile = data[_BMP_HEADER + start : _BMP_HEADER + start + size]
    return (profile, None) if len(profile) == size > 0 else (None, _DAMAGED)


def read_gif(data: bytes) -> tuple[bytes | None, str | None]:
    """Return the profile in a GIF, and what is wrong with it; both are None if it has none."""
    position = data.find(_IN_GIF)
    if position < 0:
        return None, None
    position += len(_IN_GIF)
    profile = bytearray()
    while position < len(data) and (size := data[position]):
        profile += data[position + 1 : position + 1 + size]
        position += 1 + size
    return (bytes(profile), None) if profile and position < len(data) else (None, _DAMAGED)
