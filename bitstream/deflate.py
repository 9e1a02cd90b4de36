"""Compress bytes with zlib (RFC 1950), and unpack them within a limit of memory (FORMAT, "Extras")."""

import zlib

from bincodec.bitstream.errors import Corrupt, TooLarge

BEST = 9


def deflate(data: bytes) -> bytes:
    """Return a zlib stream of `data`.

    Example:
        >>> from bincodec.bitstream.deflate import deflate, inflate
        >>> inflate(deflate(b"as it was"), 100)
        b'as it was'
    """
    return zlib.compress(data, BEST)


def inflate(payload: bytes, most: int) -> bytes:
    """Return the bytes in a zlib stream, at most `most`. The memory for them is bounded by `most` too.

    Raises:
        TooLarge: if the stream unpacks to more bytes than that.
        Corrupt: if the payload is anything other than one whole stream.
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
