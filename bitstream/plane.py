"""A plane of alpha from coarse to fine, by the range coder (FORMAT, "Alpha").

Pixels come as those of a quadtree do: a lattice of known ones is made twice as fine, and again, until all are
known. Of each pixel is asked whether it is clear, then whether it is opaque, and else how far it is from what
the four known ones around it let expect. Every answer is coded with a probability that follows from the
answers before it in the same context.
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
"""(height, width)."""
Whole = npt.NDArray[np.int64]
Answers = npt.NDArray[np.bool_]
Ask = Callable[[Whole, Answers], Answers]
"""(contexts, the answers where they are known already) -> the answers."""

CLEAR, OPAQUE = 0, 255

ADAPTING = 16
SHORTEST_RUN = 128
LONGEST_RUN = 2**18
"""Probabilities follow after each run of pixels: as many as were told before it, divided by ADAPTING, and
within these bounds."""

_SPREADS = np.array([1, 2, 3, 4, 6, 9, 14, 22, 35, 60, 100, 160])
"""Where the classes of spread begin, but for the first one: how far the four pixels disagree."""
_CLASSES = np.array([0, *[1] * 254, 2])
"""Clear, between, opaque."""

_WAYS = 2
"""Contexts differ between pixels whose four are straight (0) and diagonal (1)."""
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
"""Where the contexts of each question begin, and how many there are in all."""


def encode(plane: Plane) -> bytes:
    """The first pixel, and the range coder's bytes of all others."""
    encoder, learned = BitEncoder(), _Learned()

    def ask(contexts: Whole, answers: Answers) -> Answers:
        if contexts.size:
            encoder.put(answers, learned.numerators(contexts))
            learned.add(contexts, answers)
        return answers

    _walk(plane, ask)
    return plane.tobytes()[:1] + encoder.finish()


def decode(payload: bytes, width: int, height: int) -> Plane:
    """The plane (height, width) that `encode` made these bytes of.

    Raises:
        Corrupt: if there is none.
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
        msg = f"its {len(payload)} coded bytes are not those that its pixels make"
        raise Corrupt(msg)
    return plane


class _Learned:
    """The share of ones among the answers so far, by context."""

    def __init__(self) -> None:
        self._zeros_ones = np.zeros((_CONTEXTS, 2), np.int64)

    def numerators(self, contexts: Whole) -> Whole:
        """Probabilities of ones in 1/65536: (ones + 1/2) / (all + 1), rounded down, within 1..65535."""
        zeros, ones = self._zeros_ones.T
        every = (2 * ones + 1) * ONE // (2 * (zeros + ones) + 2)
        found: Whole = np.minimum(np.maximum(every, 1), ONE - 1)[contexts]
        return found

    def add(self, contexts: Whole, answers: Answers) -> None:
        """Learn from answers."""
        seen = np.bincount(2 * contexts + answers, minlength=2 * _CONTEXTS)
        self._zeros_ones += seen.reshape(_CONTEXTS, 2)


def _walk(known: Plane, ask: Ask) -> Plane:
    """The plane that the answers tell; `known` has its first pixel, and all others where they are known."""
    height, width = known.shape
    # Beyond the picture is one more pixel, which is clear.
    values = np.full(height * width + 1, CLEAR, np.int16)
    values[0], truth = known[0, 0], known.ravel()
    for run in _runs(height, width):
        where, around = run.rows * width + run.columns, values[run.around(height, width)]
        values[where] = _told(truth[where].astype(np.int64), around.astype(np.int64), run.diagonal, ask)
    return values[:-1].astype(np.uint8).reshape(height, width)


@dataclass(frozen=True)
class _Run:
    """Pixels that are told together: each knows four others, `reach` away, diagonally or straight."""

    rows: Whole
    columns: Whole
    reach: int
    diagonal: bool

    def around(self, height: int, width: int) -> Whole:
        """Where the four are in the flat picture, two opposite pairs: (4, n).

        For one beyond the picture stands its opposite; height * width where that is beyond it as well.
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
    """All pixels but the first, in the order that they are told in.

    The lattice gets the pixels in the middle of four known ones, then those between two of a row, then those
    between two of a column.
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
    """The pixels of a run (n,), given those around them (4, n); `truth` is what is known of them already."""
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
    """Pixels neither clear nor opaque, by how far they are from what is expected."""
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
        msg = f"pixels from {values.min()} to {values.max()} where {CLEAR + 1} to {OPAQUE - 1} are possible"
        raise Corrupt(msg)
    return values


def _expected(around: Whole) -> tuple[Whole, Whole]:
    """What a pixel is expected to be, 1..254, and how far the four around it disagree.

    The mean of the two opposite ones that are nearer to each other, or of all four if neither pair is.
    """
    first, second = np.abs(around[0] - around[1]), np.abs(around[2] - around[3])
    means = (around[0] + around[1] + 1) // 2, (around[2] + around[3] + 1) // 2
    expected = np.where(first < second, *means)
    expected = np.where(first == second, (around.sum(0) + 2) // 4, expected)
    spread = np.minimum(first, second) + np.abs(means[0] - means[1]) // 2
    return expected.clip(CLEAR + 1, OPAQUE - 1), spread


def _distances(truth: Whole, contexts: Whole, ask: Ask) -> Whole:
    """Numbers from 1 to 255: the number of bits below the highest, as so many ones and a zero; then they."""
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
