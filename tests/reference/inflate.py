"""Zlib streams inside payloads, which may unpack to so much and no more (FORMAT, "Alpha" and "Metadata")."""

from __future__ import annotations

import zlib

from .errors import Kind, refuse


def inflate(stream: bytes, limit: int, beyond: Kind) -> bytes:
    """What a whole stream unpacks to; `beyond` is why one is refused that unpacks to more than the limit."""
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
