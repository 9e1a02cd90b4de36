"""Raw levels in passes. The first bytes choose their sizes and maximum levels."""

from collections.abc import Iterator

import numpy as np
import parts

from bincodec.bitstream.raw import RawDecoder, pack_raw

MAX_BYTES = 96
HEAD = 4


def check(data: bytes) -> None:
    """The levels that are read give the same bits when they are written."""
    if len(data) < HEAD:
        return
    first, second, payload = data[:2], data[2:HEAD], data[HEAD:]
    decoder = RawDecoder(payload)
    passes, bits = [], 0
    for positions, maximum in ((first[0] % 40, max(1, first[1])), (second[0] % 40, max(1, second[1]))):
        levels = decoder.get((2, positions), maximum)
        assert levels.shape == (2, positions)
        passes.append((levels, maximum))
        bits += levels.size * maximum.bit_length()
    written = np.unpackbits(np.frombuffer(pack_raw(passes), np.uint8))
    assert np.array_equal(written[:bits], np.unpackbits(np.frombuffer(payload, np.uint8))[:bits])
    assert not written[bits:].any()


def seeds() -> Iterator[bytes]:
    for chunk in parts.chunks():
        if chunk.raw:
            for maximum in (1, 3, 15):  # With these maxima, any bits are levels.
                yield bytes([1, maximum, 1, maximum]) + chunk.payload[: MAX_BYTES - HEAD]
    for maximum in (6, 200):
        levels = np.arange(24, dtype=np.uint8) % (maximum + 1)
        yield bytes([5, maximum, 7, maximum]) + pack_raw([(levels, maximum)])
