"""From the payload of alpha to a plane of samples (FORMAT, "Alpha" and "Coded alpha").

The relation between coded samples and answers is written once. The decoder takes the answers from a payload,
and the tests take them from samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from .errors import Refused, refuse
from .inflate import inflate
from .probability import Integers
from .range_decoder import RangeDecoder

CODED = 4
"""The coded method. All lower methods are zlib streams."""

OPAQUE = 255
_SPREADS = np.array([1, 2, 3, 4, 6, 9, 14, 22, 35, 60, 100, 160])
_LEVELS = len(_SPREADS) + 1
_HIGHEST = 7
"""The highest bit of a distance below 256."""

Plane = npt.NDArray[np.uint8]
Places = tuple[Integers, Integers]
"""The rows and columns of samples."""

Bits = npt.NDArray[np.bool_]
Answer = Callable[[Places, Integers, Callable[[Integers], Bits]], Bits]
"""A function that answers a question. Its arguments are the places of the samples, the probabilities of a yes
in 1/65536, and a function that computes the answers from the samples, if they are known."""


def read_alpha(payload: bytes, size: tuple[int, int]) -> Plane:
    """Return the samples (rows, columns) of a picture of `size` (width, height)."""
    width, height = size
    if not payload or payload[0] > CODED:
        refuse("corrupt", f"alpha in {len(payload)} bytes, of method {payload[:1].hex() or 'none'}")
    method, rest = payload[0], payload[1:]
    if method == CODED:
        return _read_coded(rest, (height, width))
    samples = inflate(rest, width * height, "corrupt")
    if len(samples) != width * height:
        refuse("corrupt", f"alpha of {len(samples)} samples for {width} x {height} pixels")
    plane = np.frombuffer(samples, np.uint8).reshape(height, width)
    for axis, bit in ((0, 2), (1, 1)):
        if method & bit:
            plane = plane.cumsum(axis, dtype=np.uint8)
    return plane


def _read_coded(payload: bytes, shape: tuple[int, int]) -> Plane:
    if not payload:
        refuse("corrupt", "coded alpha without its first sample")
    decoder = RangeDecoder(payload[1:])

    def answer(places: Places, numerators: Integers, truth: Callable[[Integers], Bits]) -> Bits:
        del places, truth
        try:
            return np.array(decoder.bits(numerators.tolist()), np.bool_)
        except Refused as reason:
            refuse("corrupt", f"coded alpha: {reason}")

    plane = plane_of(payload[0], shape, answer)
    decoder.check_end()
    return plane


def plane_of(first: int, shape: tuple[int, int], answer: Answer) -> Plane:
    """Return all samples of a plane (rows, columns), given the first one and the answers to all questions."""
    plane = np.zeros(shape, np.int64)
    plane[0, 0] = first
    questions = _Questions(answer)
    told = 1
    for step, diagonal, places in _sets(shape):
        start, count = 0, len(places[0])
        while start < count:
            stop = start + min(max(told // 16, 128), 262144)
            run = places[0][start:stop], places[1][start:stop]
            plane[run] = _tell(
                questions, run, _around(plane, run, step, diagonal=diagonal), diagonal=diagonal
            )
            told += len(run[0])
            start = stop
    return plane.astype(np.uint8)


def _sets(shape: tuple[int, int]) -> Iterator[tuple[int, bool, Places]]:
    """Yield, from coarse to fine, the distance of neighbours, whether they are diagonal, and the samples."""
    step = (1 << (max(shape) - 1).bit_length()) // 2
    while step:
        for row, column in ((step, step), (0, step), (step, 0)):
            rows, columns = np.mgrid[row : shape[0] : 2 * step, column : shape[1] : 2 * step]
            yield step, row == column, (rows.ravel(), columns.ravel())
        step //= 2


def _around(plane: Integers, places: Places, step: int, *, diagonal: bool) -> Integers:
    """Return the neighbours a, b, c and d of each sample, (4, samples)."""
    shifts = ((-1, -1), (1, 1), (-1, 1), (1, -1)) if diagonal else ((-1, 0), (1, 0), (0, -1), (0, 1))
    values, inside = [], []
    for down, right in shifts:
        rows, columns = places[0] + down * step, places[1] + right * step
        there = (rows >= 0) & (rows < plane.shape[0]) & (columns >= 0) & (columns < plane.shape[1])
        values.append(np.where(there, plane[np.where(there, rows, 0), np.where(there, columns, 0)], 0))
        inside.append(there)
    return np.array([np.where(inside[i], values[i], values[i ^ 1]) for i in range(4)])


class _Questions:
    """Ask questions, and count their answers by context."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._counts = {
            "clear": np.zeros((162, 2), np.int64),
            "opaque": np.zeros((162, 2), np.int64),
            "expected": np.zeros((2 * _LEVELS, 2), np.int64),
            "above": np.zeros((2 * _LEVELS, 2), np.int64),
            "at least": np.zeros((2 * _LEVELS * _HIGHEST, 2), np.int64),
            "bit": np.zeros(((_HIGHEST + 1) * _HIGHEST, 2), np.int64),
        }

    def ask(
        self, question: str, places: Places, contexts: Integers, truth: Callable[[Integers], Bits]
    ) -> Bits:
        """Return the answers of a run's samples to one question."""
        counts = self._counts[question]
        zeros, ones = counts[contexts].T
        numerators = (65536 * (2 * ones + 1) // (2 * (zeros + ones) + 2)).clip(1, 65535)
        answers = self._answer(places, numerators, truth)
        np.add.at(counts, (contexts, answers.astype(np.int64)), 1)
        return answers


def _tell(questions: _Questions, places: Places, around: Integers, *, diagonal: bool) -> Integers:
    """Return the samples of a run."""
    kinds = np.where(around == 0, 0, np.where(around == OPAQUE, 2, 1))
    contexts = 81 * diagonal + np.array([27, 9, 3, 1]) @ kinds
    values = np.zeros(len(places[0]), np.int64)
    rest = np.flatnonzero(~questions.ask("clear", places, contexts, lambda v: v == 0))
    opaque = questions.ask("opaque", _of(places, rest), contexts[rest], lambda v: v == OPAQUE)
    values[rest[opaque]] = OPAQUE
    rest = rest[~opaque]
    values[rest] = _between(questions, _of(places, rest), around[:, rest], diagonal=diagonal)
    return values


def _between(questions: _Questions, places: Places, around: Integers, *, diagonal: bool) -> Integers:
    """Return samples that are neither clear nor opaque."""
    expected, spread = _expected(around)
    contexts = _LEVELS * diagonal + (spread[:, None] >= _SPREADS).sum(axis=1)
    values = expected.copy()
    hit = questions.ask("expected", places, contexts, lambda v: v == expected)
    other = np.flatnonzero(~hit)
    places, contexts, expected = _of(places, other), contexts[other], expected[other]
    above = questions.ask("above", places, contexts, lambda v: v > expected)
    values[other] += np.where(above, 1, -1) * _distances(questions, places, contexts, expected)
    if ((values < 1) | (values >= OPAQUE)).any():
        refuse("corrupt", "a sample of coded alpha that is neither clear nor opaque is beyond 1..254")
    return values


def _distances(questions: _Questions, places: Places, contexts: Integers, expected: Integers) -> Integers:
    """Return the distances of samples from their expected values, for those that differ."""
    highest, far = np.zeros(len(contexts), np.int64), np.arange(len(contexts))
    for number in range(_HIGHEST):
        bound, of = 2 << number, expected[far]
        farther = questions.ask(
            "at least",
            _of(places, far),
            _HIGHEST * contexts[far] + number,
            lambda v, of=of, bound=bound: np.abs(v - of) >= bound,
        )
        far = far[farther]
        highest[far] += 1
    distances = 1 << highest
    for bit in range(_HIGHEST - 1, -1, -1):
        far = np.flatnonzero(highest > bit)
        of = expected[far]
        distances[far] += (
            questions.ask(
                "bit",
                _of(places, far),
                _HIGHEST * highest[far] + bit,
                lambda v, of=of, bit=bit: (np.abs(v - of) >> bit & 1).astype(np.bool_),
            ).astype(np.int64)
            << bit
        )
    return distances


def _expected(around: Integers) -> tuple[Integers, Integers]:
    """Return the expected value of each sample, and the spread of its neighbours."""
    a, b, c, d = around
    one, other = np.abs(a - b), np.abs(c - d)
    p, q = (a + b + 1) // 2, (c + d + 1) // 2
    expected = np.where(one < other, p, np.where(one > other, q, (a + b + c + d + 2) // 4))
    return expected.clip(1, OPAQUE - 1), np.minimum(one, other) + np.abs(p - q) // 2


def _of(places: Places, which: Integers) -> Places:
    return places[0][which], places[1][which]
