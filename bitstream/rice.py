"""Rice codes: represent small signed integers in few bits, without tables (FORMAT, "The post-filter").

An integer v is folded to z = 2 v, or to -2 v - 1 if it is negative. The code of v has z >> k ones, then a
zero, then the last k bits of z, the highest first.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bincodec.bitstream.errors import Corrupt

Integers = npt.NDArray[np.int64]

MAX_SHIFT = 15
"""The largest k."""
LARGEST = 2**15 - 1
"""The largest magnitude."""


def best_shift(values: Integers) -> int:
    """Return the k, 0..15, with which `values` take the fewest bits."""
    return min(range(MAX_SHIFT + 1), key=lambda shift: bits(values, shift))


def bits(values: Integers, shift: int) -> int:
    """Return the number of bits that `values` take with k = `shift`."""
    return int((_folded(values) >> shift).sum()) + values.size * (shift + 1)


def encode(values: Integers, shift: int) -> bytes:
    """Return the codes of `values`, one after the other, filled up with zeros to a whole byte.

    Raises:
        ValueError: if a magnitude is above `LARGEST`, or if `shift` is not within 0..15.
    """
    if np.abs(values).max(initial=0) > LARGEST or not 0 <= shift <= MAX_SHIFT:
        msg = f"values must be within -{LARGEST}..{LARGEST} and the shift within 0..{MAX_SHIFT}"
        raise ValueError(msg)
    stream: list[int] = []
    for z in _folded(values).ravel().tolist():
        stream += [1] * (z >> shift) + [0]
        stream += [z >> place & 1 for place in reversed(range(shift))]
    return np.packbits(np.array(stream, np.uint8)).tobytes()


def decode(data: bytes, count: int, shift: int) -> Integers:
    """Return the `count` integers that `encode` turned into `data`.

    Raises:
        Corrupt: if `encode` does not make exactly `data` of any integers.
    """
    most = count * ((2 * LARGEST >> shift) + 1 + shift)
    if 8 * len(data) >= most + 8:
        # This is checked before the bits are unpacked, which takes eight times the memory.
        msg = f"Rice codes: {len(data)} bytes, more than {count} numbers can take"
        raise Corrupt(msg)
    stream = np.unpackbits(np.frombuffer(data, np.uint8))
    zeros = np.flatnonzero(stream == 0)
    values = np.zeros(count, np.int64)
    place = 0
    for index in range(count):
        found = np.searchsorted(zeros, place)
        end = int(zeros[found]) + 1 if found < len(zeros) else len(stream) + 1
        high, low = end - place - 1, stream[end : end + shift].tolist()
        if len(low) < shift or end > len(stream):
            msg = f"Rice codes: number {index} of {count} is cut short"
            raise Corrupt(msg)
        z = high << shift | int("".join(map(str, low)) or "0", 2)
        values[index] = z >> 1 ^ -(z & 1)
        place = end + shift
    if np.abs(values).max(initial=0) > LARGEST:
        msg = f"Rice codes: a number beyond {LARGEST}"
        raise Corrupt(msg)
    if len(data) != -(-place // 8) or stream[place:].any():
        msg = f"Rice codes: {count} numbers end after {place} bits, not with {len(data)} bytes"
        raise Corrupt(msg)
    return values


def _folded(values: Integers) -> Integers:
    return np.where(values >= 0, 2 * values, -2 * values - 1)
