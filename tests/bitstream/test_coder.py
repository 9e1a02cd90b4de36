from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bincodec.bitstream.coder import BitDecoder, BitEncoder
from bincodec.bitstream.errors import BitsMismatch
from bincodec.bitstream.probability import ONE

decisions = st.lists(st.tuples(st.booleans(), st.integers(1, ONE - 1)), max_size=200)


def split(numerator: int) -> int:
    """The share of a zero, of 2^24 (FORMAT, "Range coder")."""
    return (ONE - numerator) * (2**24 - 2) // ONE + 1


def reference_encode(bits: list[int], numerators: list[int]) -> bytes:
    """The coder of FORMAT.md in exact integers, without words and carries."""
    low, width, digits = 0, 2**64 - 1, 64
    for bit, numerator in zip(bits, numerators, strict=True):
        step, zero = width >> 24, split(numerator)
        low, width = (low + step * zero, step * (2**24 - zero)) if bit else (low, step * zero)
        if width < 2**32:
            low, width, digits = low << 32, width << 32, digits + 32
    size = 0
    while (value := -(-low >> (digits - 8 * size))) << (digits - 8 * size) >= low + width:
        size += 1
    return value.to_bytes(size, "big")


def reference_decode(payload: bytes, numerators: list[int]) -> list[int]:
    stream = iter(payload)
    word = lambda size: int.from_bytes(bytes(next(stream, 0) for _ in range(size)), "big")  # noqa: E731
    rest, width, bits = word(8), 2**64 - 1, []
    for numerator in numerators:
        step, zero = width >> 24, split(numerator)
        bit = rest >= step * zero
        rest, width = (rest - step * zero, step * (2**24 - zero)) if bit else (rest, step * zero)
        if width < 2**32:
            rest, width = rest << 32 | word(4), width << 32
        bits.append(int(bit))
    return bits


def encode(bits: list[int], numerators: list[int]) -> bytes:
    encoder = BitEncoder()
    encoder.put(np.array(bits, np.uint8), np.array(numerators, int))
    return encoder.finish()


def check_round_trip(bits: list[int], numerators: list[int]) -> None:
    payload = encode(bits, numerators)
    assert payload == reference_encode(bits, numerators)
    assert reference_decode(payload, numerators) == bits
    assert BitDecoder(payload).get(np.array(numerators, int)).tolist() == bits


@given(decisions)
def test_round_trip_and_reference(pairs: list[tuple[bool, int]]) -> None:
    check_round_trip([int(bit) for bit, _ in pairs], [numerator for _, numerator in pairs])


@pytest.mark.parametrize("improbable", [0.0, 0.02, 0.5])
def test_round_trip_at_extreme_probabilities(improbable: float) -> None:
    """Certain and surprising bits alternate, with carries, wide and narrow intervals, and empty payloads."""
    random = np.random.default_rng(0)
    for length in list(range(40)) * 10:
        numerators = random.choice([1, 2, ONE // 2 - 1, ONE // 2, ONE // 2 + 1, ONE - 2, ONE - 1], length)
        likely = numerators > ONE // 2
        bits = np.where(random.random(length) < improbable, ~likely, likely)
        check_round_trip(bits.astype(int).tolist(), numerators.tolist())


@pytest.mark.parametrize("count", [1, 10, 1000, 50000])
def test_size_is_the_sum_of_costs(count: int) -> None:
    random = np.random.default_rng(count)
    numerators = random.integers(1, ONE, count)
    bits = random.random(count) < numerators / ONE
    cost = -np.log2(np.where(bits, numerators, ONE - numerators) / ONE).sum() / 8
    encoder = BitEncoder()
    encoder.put(bits, numerators)
    assert encoder.size == len(encoder.finish())
    assert -1 <= encoder.size - cost <= 2 + 0.0005 * cost


def test_calls_may_be_cut_anywhere() -> None:
    random = np.random.default_rng(1)
    numerators = random.integers(1, ONE, 1000)
    bits = random.random(1000) < numerators / ONE
    whole, parts = BitEncoder(), BitEncoder()
    whole.put(bits, numerators)
    cuts = [0, 0, 1, 7, 7, 500, 1000, 1000]
    for start, stop in pairwise(cuts):
        parts.put(bits[start:stop], numerators[start:stop])
        assert parts.size <= whole.size + 4
    assert parts.finish() == whole.finish()
    decoder = BitDecoder(whole.finish())
    pieces = [decoder.get(numerators[a:b]) for a, b in pairwise(cuts)]
    assert np.array_equal(np.concatenate(pieces), bits)


def test_the_interval_s_last_number_may_be_named() -> None:
    """The last number of an interval may be the only short one, by chance once in 2^32 payloads."""

    class Finished:
        def get_compressed(self) -> np.ndarray:
            return np.array([1], np.uint32)

        def pos(self) -> tuple[int, tuple[int, int]]:
            return 0, (1 << 32, width)

    encoder = BitEncoder()
    encoder._encoder = Finished()
    width = (0xFF << 32) + 1
    assert encoder.finish() == b"\0\0\x01"
    width -= 1
    assert encoder.finish() == b"\0\0\0\x01"


def test_nothing_takes_no_bytes() -> None:
    assert encode([], []) == b""
    assert encode([0], [ONE // 2]) == b""
    empty = BitDecoder(b"").get(np.array([], int))
    assert empty.shape == (0,)


@pytest.mark.parametrize("numerator", [0, ONE, -1, 10**9])
def test_a_numerator_that_is_no_probability_never_reaches_the_library(numerator: int) -> None:
    numerators = np.array([1, numerator])
    says = f"from {min(1, numerator)} to {max(1, numerator)}, not within 1..65535"
    with pytest.raises(ValueError, match=says):
        BitEncoder().put(np.zeros(2, np.uint8), numerators)
    with pytest.raises(ValueError, match=says):
        BitDecoder(b"abcd").get(numerators)


def test_a_probability_is_an_integer() -> None:
    with pytest.raises(ValueError, match="float64, not integers"):
        BitDecoder(b"abcd").get(np.array([0.5]))


def test_bits_and_probabilities_must_pair() -> None:
    for bits, numerators in ((3, 2), (2, 3), (0, 1), (1, 0)):
        with pytest.raises(ValueError, match="do not go with"):
            BitEncoder().put(np.zeros(bits, np.uint8), np.ones(numerators, int))


@settings(max_examples=50)
@given(st.binary(max_size=64), st.integers(0, 2**32 - 1))
def test_any_payload_decodes_or_raises(payload: bytes, seed: int) -> None:
    numerators = np.random.default_rng(seed).integers(1, ONE, 600)
    try:
        bits = BitDecoder(payload).get(numerators)
    except BitsMismatch:
        return
    assert bits.tolist() == reference_decode(payload, numerators.tolist())


def test_an_impossible_payload_is_noticed() -> None:
    """No encoder makes a number above the last multiple of the 2^24 steps."""
    with pytest.raises(BitsMismatch):
        BitDecoder(b"\xff" * 8).get(np.array([ONE // 2]))


class PanicException(BaseException):
    """A replacement for the library's exception, which cannot be imported."""


@pytest.mark.parametrize(("raised", "seen"), [(PanicException, BitsMismatch), (KeyboardInterrupt,) * 2])
def test_panics_are_translated_and_interrupts_are_not(
    raised: type[BaseException], seen: type[BaseException]
) -> None:
    class Broken:
        def decode(self, *arguments: object) -> None:
            raise raised

    decoder = BitDecoder(b"")
    decoder._decoder = Broken()
    with pytest.raises(seen):
        decoder.get(np.array([1]))
