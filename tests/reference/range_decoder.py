"""The decoder of the range coder, in Python's integers (FORMAT, "Range coder")."""

from __future__ import annotations

from collections.abc import Iterable

from .errors import refuse

SHARES = 2**24
FIRST_WIDTH = 2**64 - 1
LEAST_WIDTH = 2**32
WORD = 2**32


def zero_share(numerator: int) -> int:
    """Return the share of a zero, of `SHARES`, given the probability of a one in 1/65536."""
    return (65536 - numerator) * (SHARES - 2) // 65536 + 1


class RangeDecoder:
    """Decode bits from a payload, in the order in which they were coded."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._width = FIRST_WIDTH
        self._distance = int.from_bytes(payload[:8].ljust(8, b"\0"), "big")
        self._read = 8
        """The bytes of the payload, or zeros after its end, from which `_distance` was computed."""

    def bits(self, numerators: Iterable[int]) -> list[int]:
        """Return the next bits, given the probability of a one in 1/65536 for each."""
        found = []
        width, distance = self._width, self._distance
        for numerator in numerators:
            unit = width // SHARES
            if distance >= unit * SHARES:
                refuse("bits mismatch", "no encoder makes such a payload with these probabilities")
            border = unit * zero_share(numerator)
            if distance < border:
                width = border
                found.append(0)
            else:
                distance -= border
                width = unit * SHARES - border
                found.append(1)
            if width < LEAST_WIDTH:
                width *= WORD
                distance = distance * WORD + self._next_word()
        self._width, self._distance = width, distance
        return found

    def _next_word(self) -> int:
        word = self._payload[self._read : self._read + 4].ljust(4, b"\0")
        self._read += 4
        return int.from_bytes(word, "big")

    def check_end(self) -> None:
        """After the last bit, check that the payload is the shortest that names a number in the interval.

        The bytes that were read are a number in units of the last byte. `_distance` is its distance from the
        lower end of the interval. Both ends of the interval are therefore known.
        """
        number = int.from_bytes(self._payload[: self._read].ljust(self._read, b"\0"), "big")
        expected = shortest_payload(number - self._distance, self._width, self._read)
        if self._payload != expected:
            refuse("corrupt", f"a writer ends this payload after {len(expected)} bytes, or with others")


def shortest_payload(lower: int, width: int, size: int) -> bytes:
    """Return the shortest bytes that name a number in an interval. Its ends are in units of byte `size`."""
    length = size
    while length and _rounded_up(lower, size - length + 1) < lower + width:
        length -= 1
    return _rounded_up(lower, size - length).to_bytes(size, "big")[:length]


def _rounded_up(number: int, zeros: int) -> int:
    """Return the smallest integer that is at least `number` and ends in so many zero bytes."""
    return -(-number >> 8 * zeros) << 8 * zeros
