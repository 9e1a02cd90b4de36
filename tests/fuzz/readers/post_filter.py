"""The payload of a post-filter."""

import struct
from collections.abc import Iterator

import numpy as np
import parts

from bincodec.bitstream import rice
from bincodec.bitstream.container import Extra
from bincodec.bitstream.index import POST_FILTER
from bincodec.postfilter.filter import PostFilter, read_filter

MAX_BYTES = 256


def check(data: bytes) -> None:
    """What is read is written again unchanged, with the shift that it had."""
    found = read_filter((Extra(POST_FILTER, data),))
    assert found is not None
    assert found.weights.shape == (3, len(found.chosen))
    head = struct.pack("<3h", *found.offsets) + sum(1 << i for i in found.chosen).to_bytes(7, "little")
    if not found.chosen:
        assert head == data
        return
    shift = data[len(head)] % 16
    assert head + bytes([found.steps << 4 | shift]) + rice.encode(found.weights.T, shift) == data


def seeds() -> Iterator[bytes]:
    for extra in parts.extras():
        if extra.kind == POST_FILTER:
            yield extra.payload
    random = np.random.default_rng(0)
    for features in ((), (0,), (0, 5, 55), tuple(range(56))):
        weights = random.integers(-40, 41, (3, len(features)))
        yield PostFilter(np.array([0, -5, 300]), features, weights, 7).payload()
