"""Code a plane of alpha from coarse to fine with the range coder (FORMAT, "Alpha").

Pixels are coded in the order of a quadtree: a lattice of known pixels is made twice as fine, again and again,
until all pixels are known. For each pixel, the first question is whether it is clear, and the second whether
it is opaque. If it is neither, further questions give its distance from a value that is expected from the
four known pixels around it. Each answer is coded with a probability that is estimated from the earlier
answers in the same context.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bincodec.bitstream.coder import BitDecoder, BitEncoder
from bincodec.bitstream.errors import BitsMismatch, Corrupt
from bincodec.bitstream.probability import ONE

Plane = npt.NDArray[np.uint8]
"""Samples of alpha, (height, width)."""
Whole = npt.NDArray[np.int64]
Answers = npt.NDArray[np.bool_]
Ask = Callable[[Whole, Answers], Answers]
"""(contexts, answers) -> answers. An encoder passes the true answers; a decoder ignores the ones it gets."""

CLEAR, OPAQUE = 0, 255

ADAPTING = 16
SHORTEST_RUN = 128
LONGEST_RUN = 2**18
"""The probabilities are updated after each run of pixels. The length of a run is the number of pixels that
were coded before it, divided by ADAPTING and limited to these bounds."""

_SPREADS = np.array([1, 2, 3, 4, 6, 9, 14, 22, 35, 60, 100, 160])
"""The lowest spread of each class but the first. The spread says how much the four pixels differ."""
_CLASSES = np.array([0, *[1] * 254, 2])
"""The class of each value of a pixel: 0 for clear, 1 for values between, 2 for opaque."""

_WAYS = 2
"""Contexts distinguish pixels whose four neighbours are straight (0) or diagonal (1)."""
_AROUND = 3**4
_SPREAD = len(_SPREADS) + 1
_LENGTHS = 8
_IS_CLEAR = 0
_IS_OPAQUE = _IS_CLEAR + _WAYS * _AROUND
_IS_EXACT = _IS_OPAQUE + _WAYS * _AROUND
_IS_ABOVE = _IS_EXACT + _WAYS * _SPREAD
_IS_LONGER = _IS_ABOVE + _WAYS * _SPREAD
_IS_ONE = _IS_LONGER + _WAYS * _SPREAD * _LENGTHS
_CONTEXTS = _IS_ONE + _LENGTHS * _LENGTHS
"""The first context of each question, and the number of all contexts."""


def encode(plane: Plane) -> bytes:
    """Return the first pixel as a byte, and then the bytes of the range coder for all other pixels."""
    encoder, learned = BitEncoder(), _Learned()

    def ask(contexts: Whole, answers: Answers) -> Answers:
        if contexts.size:
            encoder.put(answers, learned.numerators(contexts))
            learned.add(contexts, answers)
        return answers

    _walk(plane, ask)
    return plane.tobytes()[:1] + encoder.finish()


def decode(payload: bytes, width: int, height: int) -> Plane:
    """Return the plane, uint8 (height, width), that `encode` turns into `payload`.

    Raises:
        Corrupt: if there is no such plane.
    """
    if not payload:
        msg = "the first pixel is missing"
        raise Corrupt(msg)
    decoder, again, learned = BitDecoder(payload[1:]), BitEncoder(), _Learned()

    def ask(contexts: Whole, answers: Answers) -> Answers:
        if contexts.size:
            numerators = learned.numerators(contexts)
            answers = decoder.get(numerators).astype(np.bool_)
            again.put(answers, numerators)
            learned.add(contexts, answers)
        return answers

    try:
        plane = _walk(np.full((height, width), payload[0], np.uint8), ask)
    except BitsMismatch as error:
        raise Corrupt(str(error)) from error
    if again.finish() != payload[1:]:
        msg = f"its {len(payload)} coded bytes are not the ones that a writer makes of its pixels"
        raise Corrupt(msg)
    return plane


class _Learned:
    """The counts of zeros and ones among the answers so far, by context."""

    def __init__(self) -> None:
        self._zeros_ones = np.zeros((_CONTEXTS, 2), np.int64)

    def numerators(self, contexts: Whole) -> Whole:
        """Return the probabilities of ones in 1/65536: (ones + 1/2) / (all + 1), rounded down to 1..65535."""
        zeros, ones = self._zeros_ones.T
        every = (2 * ones + 1) * ONE // (2 * (zeros + ones) + 2)
        found: Whole = np.minimum(np.maximum(every, 1), ONE - 1)[contexts]
        return found

    def add(self, contexts: Whole, answers: Answers) -> None:
        """Count the answers in their contexts."""
        seen = np.bincount(2 * contexts + answers, minlength=2 * _CONTEXTS)
        self._zeros_ones += seen.reshape(_CONTEXTS, 2)


def _walk(known: Plane, ask: Ask) -> Plane:
    """Ask for all pixels but the first, and return the plane.

    An encoder passes the whole plane as `known`. A decoder only knows the first pixel, and `ask` ignores the
    others.
    """
    height, width = known.shape
    # One more pixel, which is clear, stands for everything outside the picture.
    values = np.full(height * width + 1, CLEAR, np.int16)
    values[0], truth = known[0, 0], known.ravel()
    for run in _runs(height, width):
        where, around = run.rows * width + run.columns, values[run.around(height, width)]
        values[where] = _told(truth[where].astype(np.int64), around.astype(np.int64), run.diagonal, ask)
    return values[:-1].astype(np.uint8).reshape(height, width)


@dataclass(frozen=True)
class _Run:
    """Pixels that are coded together. Each has four known neighbours at a distance of `reach`."""

    rows: Whole
    columns: Whole
    reach: int
    diagonal: bool

    def around(self, height: int, width: int) -> Whole:
        """Return the indices of the four neighbours in the flat picture as two opposite pairs, (4, n).

        If one of a pair is outside the picture, the other takes its place. If both are outside, the index is
        height * width.
        """
        found = []
        for down, across in ((1, 1), (1, -1)) if self.diagonal else ((1, 0), (0, 1)):
            pair = []
            for step in (-self.reach, self.reach):
                rows, columns = self.rows + step * down, self.columns + step * across
                inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
                pair.append(np.where(inside, rows * width + columns, height * width))
            found += [np.where(one == height * width, other, one) for one, other in (pair, pair[::-1])]
        return np.stack(found)


def _runs(height: int, width: int) -> Iterator[_Run]:
    """Yield all pixels but the first, in coding order.

    Each refinement of the lattice adds the pixels in the middle of four known ones, then the pixels between
    two known ones of a row, then those between two known ones of a column.
    """
    done, reach = 1, (1 << (max(height, width) - 1).bit_length()) >> 1
    while reach:
        step = 2 * reach
        for row, column in ((reach, reach), (0, reach), (reach, 0)):
            per_row = len(range(column, width, step))
            start, stop = 0, per_row * len(range(row, height, step))
            while start < stop:
                length = min(max(done // ADAPTING, SHORTEST_RUN), LONGEST_RUN, stop - start)
                places = np.arange(start, start + length)
                rows, columns = row + step * (places // per_row), column + step * (places % per_row)
                yield _Run(rows, columns, reach, row == column)
                done, start = done + length, start + length
        reach //= 2


def _told(truth: Whole, around: Whole, diagonal: bool, ask: Ask) -> Whole:
    """Return the pixels of a run, (n,), given their neighbours (4, n). `truth` holds them for an encoder."""
    contexts = np.full(len(truth), int(diagonal))
    for one in _CLASSES[around]:
        contexts = 3 * contexts + one
    clear = ask(_IS_CLEAR + contexts, truth == CLEAR)
    values = np.where(clear, CLEAR, OPAQUE)
    (rest,) = np.nonzero(~clear)
    opaque = ask(_IS_OPAQUE + contexts[rest], truth[rest] == OPAQUE)
    between = rest[~opaque]
    values[between] = _between(truth[between], around[:, between], diagonal, ask)
    return values


def _between(truth: Whole, around: Whole, diagonal: bool, ask: Ask) -> Whole:
    """Return pixels that are neither clear nor opaque. Each is coded as a distance from its expected value.

    Raises:
        Corrupt: if a distance leads outside 1..254.
    """
    expected, spread = _expected(around)
    contexts = _SPREAD * int(diagonal) + np.searchsorted(_SPREADS, spread, side="right")
    distance = np.abs(truth - expected)
    exact = ask(_IS_EXACT + contexts, distance == 0)
    (off,) = np.nonzero(~exact)
    above = ask(_IS_ABOVE + contexts[off], truth[off] > expected[off])
    found = _distances(distance[off], contexts[off], ask)
    values = expected.copy()
    values[off] += np.where(above, found, -found)
    if values.size and not CLEAR < values.min() <= values.max() < OPAQUE:
        msg = f"pixels reach from {values.min()} to {values.max()}, not within {CLEAR + 1}..{OPAQUE - 1}"
        raise Corrupt(msg)
    return values


def _expected(around: Whole) -> tuple[Whole, Whole]:
    """Return the expected value of each pixel, 1..254, and the spread of its four neighbours.

    The expected value is the mean of the pair of opposite neighbours that differ less from each other. If
    both pairs differ equally, it is the mean of all four.
    """
    first, second = np.abs(around[0] - around[1]), np.abs(around[2] - around[3])
    means = (around[0] + around[1] + 1) // 2, (around[2] + around[3] + 1) // 2
    expected = np.where(first < second, *means)
    expected = np.where(first == second, (around.sum(0) + 2) // 4, expected)
    spread = np.minimum(first, second) + np.abs(means[0] - means[1]) // 2
    return expected.clip(CLEAR + 1, OPAQUE - 1), spread


def _distances(truth: Whole, contexts: Whole, ask: Ask) -> Whole:
    """Return numbers from 1 to 255: the place of the highest bit comes in unary, then the bits below it."""
    length = np.zeros_like(truth)
    going = np.arange(len(truth))
    for bits in range(_LENGTHS - 1):
        longer = ask(_IS_LONGER + _LENGTHS * contexts[going] + bits, truth[going] >> bits > 1)
        going = going[longer]
        length[going] += 1
    found = 1 << length
    for bit in reversed(range(_LENGTHS - 1)):
        (has,) = np.nonzero(length > bit)
        ones = ask(_IS_ONE + _LENGTHS * length[has] + bit, truth[has] >> bit & 1 == 1)
        found[has] += ones.astype(np.int64) << bit
    return found
