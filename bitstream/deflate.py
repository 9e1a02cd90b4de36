"""Bytes packed by zlib (RFC 1950), and unpacked without more memory than was allowed (FORMAT, "Extras")."""

import zlib

from bincodec.bitstream.errors import Corrupt, TooLarge

BEST = 9


def deflate(data: bytes) -> bytes:
    """A zlib stream of `data`.

    Example:
        >>> from bincodec.bitstream.deflate import deflate, inflate
        >>> inflate(deflate(b"as it was"), 100)
        b'as it was'
    """
    return zlib.compress(data, BEST)


def inflate(payload: bytes, most: int) -> bytes:
    """The bytes in a zlib stream, of which there may be at most `most`; memory ends there too.

    Raises:
        TooLarge: for more bytes than that.
        Corrupt: for anything but one whole stream.
    """
    machine = zlib.decompressobj()
    try:
        data = machine.decompress(payload, most + 1)
    except zlib.error as error:
        msg = f"the zlib stream is broken: {error}"
        raise Corrupt(msg) from error
    if len(data) > most:
        msg = f"more than {most} bytes unpacked"
        raise TooLarge(msg, limit=most)
    if not machine.eof:
        msg = f"the zlib stream is cut short after {len(data)} bytes"
        raise Corrupt(msg)
    if machine.unused_data:
        msg = f"{len(machine.unused_data)} bytes follow the zlib stream"
        raise Corrupt(msg)
    return data
