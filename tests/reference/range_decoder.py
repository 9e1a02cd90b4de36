"""The range coder's decoder in Python's integers (FORMAT, "Range coder")."""

from __future__ import annotations

from collections.abc import Iterable

from .errors import refuse

_SHARES = 2**24
_LEAST_WIDTH = 2**32
_WORD = 2**32


class RangeDecoder:
    """Bits from a payload, in the order in which they were coded."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._width = 2**64 - 1
        self._distance = int.from_bytes(payload[:8].ljust(8, b"\0"), "big")
        self._read = 8
        """Bytes of the payload, or zeros after its end, that `_distance` was made of."""

    def bits(self, numerators: Iterable[int]) -> list[int]:
        """The next bits, given the probability of a one, in 1/65536, of each."""
        found = []
        width, distance = self._width, self._distance
        for numerator in numerators:
            share = (65536 - numerator) * (_SHARES - 2) // 65536 + 1
            unit = width // _SHARES
            if distance >= unit * _SHARES:
                refuse("bits mismatch", "no encoder makes such a payload with these probabilities")
            border = unit * share
            if distance < border:
                width = border
                found.append(0)
            else:
                distance -= border
                width = unit * _SHARES - border
                found.append(1)
            if width < _LEAST_WIDTH:
                width *= _WORD
                distance = distance * _WORD + self._next_word()
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
        lower, dropped, shortest = number - self._distance, 0, number
        while dropped <= self._read and (first := _rounded_up(lower, dropped)) < lower + self._width:
            dropped, shortest = dropped + 1, first
        expected = shortest.to_bytes(self._read, "big")[: self._read - (dropped - 1)]
        if self._payload != expected:
            refuse("corrupt", f"a writer ends this payload after {len(expected)} bytes, or with others")


def _rounded_up(number: int, zeros: int) -> int:
    """The least integer that is no smaller than `number` and ends in so many zero bytes."""
    return -(-number >> 8 * zeros) << 8 * zeros
