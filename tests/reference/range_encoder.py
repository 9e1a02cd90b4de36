"""The encoder of the range coder (FORMAT, "Range coder"), which is needed for the lengths of payloads."""

from __future__ import annotations

from collections.abc import Iterable

from .range_decoder import FIRST_WIDTH, LEAST_WIDTH, SHARES, WORD, shortest_payload, zero_share


class RangeEncoder:
    """The interval of 0..1 that is left after some bits, in units of the last byte of `_size`."""

    def __init__(self) -> None:
        self._lower, self._width, self._size = 0, FIRST_WIDTH, 8

    def put(self, bits: Iterable[bool], numerators: Iterable[int]) -> None:
        """Narrow the interval, given the probability of a one in 1/65536 for each bit."""
        for bit, numerator in zip(bits, numerators, strict=True):
            unit = self._width // SHARES
            border = unit * zero_share(numerator)
            if bit:
                self._lower += border
                self._width = unit * SHARES - border
            else:
                self._width = border
            if self._width < LEAST_WIDTH:
                self._lower, self._width, self._size = self._lower * WORD, self._width * WORD, self._size + 4

    def payload(self) -> bytes:
        """Return the bytes that a writer makes of the bits."""
        return shortest_payload(self._lower, self._width, self._size)
