"""Rice codes: the count of numbers, their shift, and the bytes."""

from collections.abc import Iterator

import numpy as np

from bincodec.bitstream import rice

MAX_BYTES = 64


def check(data: bytes) -> None:
    """Whatever is read is written again unchanged."""
    if len(data) < 2:
        return
    count, shift, codes = data[0], data[1] % (rice.MAX_SHIFT + 1), data[2:]
    values = rice.decode(codes, count, shift)
    assert values.shape == (count,)
    assert rice.encode(values, shift) == codes


def seeds() -> Iterator[bytes]:
    for values in ([], [0], [-1, 1, 7], [300, -300], [rice.LARGEST, -rice.LARGEST]):
        numbers = np.array(values, np.int64)
        for shift in (rice.best_shift(numbers), rice.MAX_SHIFT):
            yield bytes([len(values), shift]) + rice.encode(numbers, shift)
