"""Represent levels as binary decisions (FORMAT, "Order of decisions").

A level L in 0..J is represented by the bits z_j = [L >= j]. The middle bit is asked first. Then, round by
round, levels above the middle are asked for the next higher j, and levels below it for the next lower j,
until every level is decided. `decide` is the one loop over the rounds. The caller provides the answers: they
come from known levels (to encode or measure them), from a decoder, or from a random generator (to sample).
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from bincodec.bitstream import probability
from bincodec.bitstream.coder import BitDecoder, BitEncoder
from bincodec.bitstream.probability import ONE, SCALES, Integers, Numerators, threshold

Levels = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.intp]
Answers = npt.NDArray[np.bool_]
Ask = Callable[[Positions, Integers, Numerators], Answers]
"""(indices into the flat pass, j of each, P(z_j = 1) of each in 1/65536) -> z_j of each."""

MAX_LEVELS = 255
"""The largest J. A level is stored in a byte."""


def decide(mu: Integers, scale: Integers, maximum: int, ask: Ask) -> Levels:
    """Ask for the bits of a pass and return its levels, uint8 of the shape of `mu`.

    Args:
        mu: locations in 1/64 level, where 0 is the middle of 0..J; shape (channels, positions) or any other.
        scale: scale indices 0..63, of the same shape.
        maximum: J, 1..255.
        ask: called once a round with the levels that are not decided yet, in order.

    Raises:
        ValueError: if an argument is out of range.
    """
    _check_pass(mu, scale, maximum)
    shape, mu, scale = mu.shape, mu.ravel().astype(np.int64), scale.ravel().astype(np.intp)
    middle = (maximum + 1) // 2
    active = np.arange(mu.size)
    rising = ask(active, np.full(mu.size, middle), probability.first(mu - threshold(middle, maximum), scale))
    levels = np.where(rising, middle, middle - 1).astype(np.uint8)
    for distance in range(1, middle + 1):
        above, below = middle + distance, middle - distance
        unfinished = np.where(rising, above <= maximum, below >= 1)
        active, rising = active[unfinished], rising[unfinished]
        if not active.size:
            break
        passed = threshold(above - 1, maximum), threshold(below + 1, maximum)
        numerators = _next_numerators(mu[active], scale[active], rising, *passed)
        onward = ask(active, np.where(rising, above, below), numerators) == rising
        active, rising = active[onward], rising[onward]
        levels[active] = np.where(rising, above, below - 1)
    return levels.reshape(shape)


def encode_levels(encoder: BitEncoder, levels: Levels, mu: Integers, scale: Integers, maximum: int) -> None:
    """Encode the levels of a pass. All arrays are (channels, positions); see `decide` for the others."""
    flat = _check_levels(levels, mu, maximum)

    def ask(where: Positions, j: Integers, numerators: Numerators) -> Answers:
        bits = flat[where] >= j
        encoder.put(bits, numerators)
        return bits

    decide(mu, scale, maximum, ask)


def decode_levels(
    decoder: BitDecoder, again: BitEncoder, mu: Integers, scale: Integers, maximum: int
) -> Levels:
    """Decode the levels of a pass, (channels, positions), and encode them again with `again`.

    See `decide` for the other arguments. What `again` receives is what `encode_levels` would give it, because
    both ask for the same bits with the same probabilities.
    """

    def ask(where: Positions, j: Integers, numerators: Numerators) -> Answers:
        bits = decoder.get(numerators).astype(np.bool_)
        again.put(bits, numerators)
        return bits

    return decide(mu, scale, maximum, ask)


def level_bits(levels: Levels, mu: Integers, scale: Integers, maximum: int) -> npt.NDArray[np.float64]:
    """Return the bits of each level, (channels, positions): the sum of -log2 of its integer probabilities."""
    flat = _check_levels(levels, mu, maximum)
    cost = np.zeros(flat.size)

    def ask(where: Positions, j: Integers, numerators: Numerators) -> Answers:
        bits = flat[where] >= j
        cost[where] -= np.log2(np.where(bits, numerators, ONE - numerators) / ONE)
        return bits

    decide(mu, scale, maximum, ask)
    return cost.reshape(levels.shape)


def probability_of(levels: Levels, mu: Integers, scale: Integers, maximum: int) -> npt.NDArray[np.float64]:
    """Return the probability of each level: the product over its decisions, multiplied in coding order.

    A product of the same numbers in the same order is the same on every machine. A logarithm is not.
    """
    flat = _check_levels(levels, mu, maximum)
    result = np.ones(flat.size)

    def ask(where: Positions, j: Integers, numerators: Numerators) -> Answers:
        bits = flat[where] >= j
        result[where] *= np.where(bits, numerators, ONE - numerators) / ONE
        return bits

    decide(mu, scale, maximum, ask)
    return result.reshape(levels.shape)


def _next_numerators(
    mu: Integers, scale: Integers, rising: Answers, passed_above: int, passed_below: int
) -> Numerators:
    """Return P(z_j = 1), given the last answer: z_{j-1} = 1 where `rising`, z_{j+1} = 0 elsewhere.

    `passed_above` and `passed_below` are the thresholds of these last answers.
    """
    distance = np.where(rising, mu - passed_above, passed_below - mu)
    onward = probability.onward(distance, scale)
    return np.where(rising, onward, ONE - onward)


def _check_pass(mu: Integers, scale: Integers, maximum: int) -> None:
    if not 1 <= maximum <= MAX_LEVELS:
        msg = f"maximum level is {maximum}, not within 1..{MAX_LEVELS}"
        raise ValueError(msg)
    if mu.shape != scale.shape:
        msg = f"locations {mu.shape} and scales {scale.shape} differ in shape"
        raise ValueError(msg)
    if scale.size and not 0 <= scale.min() <= scale.max() < SCALES:
        msg = f"scales reach from {scale.min()} to {scale.max()}, not within 0..{SCALES - 1}"
        raise ValueError(msg)


def _check_levels(levels: Levels, mu: Integers, maximum: int) -> Levels:
    if levels.dtype != np.uint8 or levels.shape != mu.shape:
        msg = f"levels are {levels.dtype} {levels.shape}, not uint8 {mu.shape}"
        raise ValueError(msg)
    if levels.size and levels.max() > maximum:
        msg = f"level {levels.max()} is over the maximum of {maximum}"
        raise ValueError(msg)
    return levels.ravel()
