"""Zlib streams inside payloads, which may only unpack to so much (FORMAT, "Alpha" and "Metadata")."""

from __future__ import annotations

import zlib

from .errors import Kind, refuse


def inflate(stream: bytes, limit: int, beyond: Kind) -> bytes:
    """Unpack a whole stream. If it unpacks to more than the limit, it is refused with the class `beyond`."""
    inflater = zlib.decompressobj()
    try:
        unpacked = inflater.decompress(stream, limit + 1)
    except zlib.error as error:
        refuse("corrupt", f"a zlib stream is damaged: {error}")
    if len(unpacked) > limit:
        refuse(beyond, f"a zlib stream unpacks to more than {limit} bytes")
    if not inflater.eof:
        refuse("corrupt", "a zlib stream is cut short")
    if inflater.unused_data:
        refuse("corrupt", f"{len(inflater.unused_data)} bytes follow a zlib stream")
    return unpacked
