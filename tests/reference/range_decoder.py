"""The range coder's decoder in Python's integers (FORMAT, "Range coder")."""

from __future__ import annotations

from collections.abc import Iterable

from .errors import refuse

SHARES = 2**24
FIRST_WIDTH = 2**64 - 1
LEAST_WIDTH = 2**32
WORD = 2**32


def zero_share(numerator: int) -> int:
    """The share of a zero, of `SHARES`, given the probability of a one in 1/65536."""
    return (65536 - numerator) * (SHARES - 2) // 65536 + 1


class RangeDecoder:
    """Bits from a payload, in the order in which they were coded."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._width = FIRST_WIDTH
        self._distance = int.from_bytes(payload[:8].ljust(8, b"\0"), "big")
        self._read = 8
        """Bytes of the payload, or zeros after its end, that `_distance` was made of."""

    def bits(self, numerators: Iterable[int]) -> list[int]:
        """The next bits, given the probability of a one, in 1/65536, of each."""
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
        """After the last bit: the payload must be the shortest that names a number in the final interval.

        What was read of it is a number in units of the last byte, and `_distance` is how far that is from the
        interval's lower end; so both ends are known, although a decoder has no need of them otherwise.
        """
        number = int.from_bytes(self._payload[: self._read].ljust(self._read, b"\0"), "big")
        expected = shortest_payload(number - self._distance, self._width, self._read)
        if self._payload != expected:
            refuse("corrupt", f"a writer ends this payload after {len(expected)} bytes, or with others")


def shortest_payload(lower: int, width: int, size: int) -> bytes:
    """The shortest bytes that name a number in an interval, whose ends are in units of the last of `size`."""
    length = size
    while length and _rounded_up(lower, size - length + 1) < lower + width:
        length -= 1
    return _rounded_up(lower, size - length).to_bytes(size, "big")[:length]


def _rounded_up(number: int, zeros: int) -> int:
    """The least integer that is no smaller than `number` and ends in so many zero bytes."""
    return -(-number >> 8 * zeros) << 8 * zeros
