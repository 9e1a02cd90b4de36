"""Compute `probability_tables.zlib` again: `python -m bincodec.bitstream.make_tables`.

The tables are part of the format. This script shows how they were computed and must reproduce them exactly.
The codec never runs it. If it prints another checksum than `probability.TABLES_SHA256`, there is a bug.
"""

import hashlib
import zlib
from decimal import Decimal, localcontext

import numpy as np
import numpy.typing as npt

from bincodec.bitstream.probability import ONE, REACH, SCALES, SPAN, STEPS, TABLES_PATH

DIGITS = 60
"""The precision in decimal digits. It is ample: entries have 5 digits, and none is a tie when rounded."""


def numerator(probability: Decimal) -> int:
    """Round to the nearest n / 65536 within 1..65535."""
    return min(ONE - 1, max(1, int(probability * ONE + Decimal("0.5"))))


def rows(scale: int) -> tuple[list[int], list[int]]:
    """Return F and U of one scale index, for the distances -REACH..REACH in 1/64 level."""
    with localcontext() as context:
        context.prec = DIGITS
        width = STEPS * (Decimal(scale - 32) / 8).exp()
        factor = (-1 / width).exp()
        # inverse[k] = 1 + e^(-d / width) = 1 / sigmoid(d / width). It starts one level below the lowest d.
        power = (Decimal(REACH + STEPS) / width).exp()
        inverse = []
        for _ in range(SPAN + STEPS):
            inverse.append(1 + power)
            power *= factor
        first = [numerator(1 / inverse[k + STEPS]) for k in range(SPAN)]
        onward = [numerator(inverse[k + STEPS] / inverse[k]) for k in range(SPAN)]
        return first, onward


def make() -> npt.NDArray[np.uint16]:
    """Return F and U, shape (2, SCALES, SPAN)."""
    return np.array([rows(scale) for scale in range(SCALES)], np.uint16).swapaxes(0, 1)


def main() -> None:
    """Write the file and print its checksum."""
    values = make()
    differences = np.diff(np.diff(values, prepend=np.uint16(0)), prepend=np.uint16(0))
    TABLES_PATH.write_bytes(zlib.compress(differences.astype("<u2").tobytes(), 9))
    print(hashlib.sha256(values.astype("<u2").tobytes()).hexdigest())


if __name__ == "__main__":
    main()
