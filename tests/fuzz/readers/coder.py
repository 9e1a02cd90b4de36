"""The range coder and the order of decisions, with predictions that the first bytes choose."""

from collections.abc import Iterator

import numpy as np
import parts

from bincodec.bitstream.coder import BitDecoder, BitEncoder
from bincodec.bitstream.levels import decode_levels, encode_levels
from bincodec.bitstream.probability import SCALES

MAX_BYTES = 48
MAXIMA = (1, 2, 3, 6, 15)
HEAD = 3
SHAPE = (2, 4)
ANY = np.random.default_rng(0)
MU = ANY.integers(-300, 301, SHAPE)
SCALE = ANY.integers(0, SCALES, SHAPE)


def check(data: bytes) -> None:
    """A payload decodes to levels. Encoded, they take no more bytes and decode to the same levels."""
    if len(data) < HEAD:
        return
    maximum, payload = MAXIMA[data[0] % len(MAXIMA)], data[HEAD:]
    mu, scale = MU * data[1] // 64, (SCALE + data[2]) % SCALES
    again, encoder = BitEncoder(), BitEncoder()
    levels = decode_levels(BitDecoder(payload), again, mu, scale, maximum)
    assert levels.max() <= maximum
    encode_levels(encoder, levels, mu, scale, maximum)
    written = encoder.finish()
    assert again.finish() == written
    assert len(written) <= len(payload)
    if written != payload:
        assert np.array_equal(decode_levels(BitDecoder(written), again, mu, scale, maximum), levels)


def seeds() -> Iterator[bytes]:
    for chunk in parts.chunks():
        if not chunk.raw:
            for choice in range(len(MAXIMA)):
                yield bytes([choice, 64, choice]) + chunk.payload[: MAX_BYTES - HEAD]
