"""The metadata beside a picture: colour profile, Exif and XMP (FORMAT, "Metadata")."""

from __future__ import annotations

from collections.abc import Mapping

from .errors import refuse
from .index import EXIF, EXTRAS, ICC, XMP
from .inflate import inflate

_LARGEST = 2**22


def read_metadata(extras: Mapping[int, bytes]) -> dict[str, bytes]:
    """Return the unpacked bytes of the metadata in the file, by their names in `EXTRAS`."""
    return {EXTRAS[kind]: _read(EXTRAS[kind], extras[kind]) for kind in (ICC, EXIF, XMP) if kind in extras}


def _read(name: str, payload: bytes) -> bytes:
    unpacked = inflate(payload, _LARGEST, "too large")
    if not unpacked:
        refuse("corrupt", f"{name} is there, but empty")
    return unpacked
