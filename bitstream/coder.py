"""The range coder: turn bits and their probabilities into bytes, and back (FORMAT, "Range coder").

This is the only module that imports `constriction`. It translates the errors of that library.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import constriction
import numpy as np
import numpy.typing as npt

from bincodec.bitstream.errors import BitsMismatch
from bincodec.bitstream.probability import ONE, Integers

Bits = npt.NDArray[np.uint8]

_WORD = 32
_MODEL = constriction.stream.model.Bernoulli(perfect=False)


class BitEncoder:
    """Encode bits into one payload. Each bit has a probability of its own."""

    def __init__(self) -> None:
        self._encoder = constriction.stream.queue.RangeEncoder()

    def put(self, bits: npt.NDArray[np.bool_ | np.uint8], numerators: Integers) -> None:
        """Encode `bits` (flat, 0 or 1). The probability of a one is its numerator / 65536.

        Raises:
            ValueError: if the lengths differ, or if a numerator is not an integer in 1..65535.
        """
        if bits.shape != numerators.shape:
            msg = f"{bits.shape} bits do not go with {numerators.shape} probabilities"
            raise ValueError(msg)
        self._encoder.encode((bits != 0).astype(np.int32), _MODEL, _probabilities(numerators))

    @property
    def size(self) -> int:
        """The number of bytes that the payload would have if it ended here."""
        return len(self.finish())

    def finish(self) -> bytes:
        """Return the payload: the shortest bytes that name a number in the coder's final interval.

        The library ends with a whole word. The number may still grow by `slack` without leaving the interval.
        So it is rounded up until as many of its last bytes as possible are zero. These are dropped, because
        a reader appends zeros.
        """
        words = self._encoder.get_compressed()
        if not words.size:
            return b""
        position, (lower, width) = self._encoder.pos()
        number = int.from_bytes(words[: position + 1].astype(">u4").tobytes(), "big")
        slack = (width - 1 - ((number << _WORD) - lower) % 2 ** (2 * _WORD)) >> _WORD
        for shift in (32, 24, 16, 8, 0):
            rounded = -(-number >> shift) << shift
            if rounded - number <= slack:
                break
        return rounded.to_bytes(4 * (position + 1), "big").rstrip(b"\0")


class BitDecoder:
    """Decode a payload of `BitEncoder`, given the same probabilities.

    A payload that is too short is read as if zeros followed it. `stream.TileReader` detects this.
    """

    def __init__(self, payload: bytes) -> None:
        words = np.frombuffer(payload + bytes(-len(payload) % 4), ">u4").astype(np.uint32)
        self._decoder = constriction.stream.queue.RangeDecoder(words)

    def get(self, numerators: Integers) -> Bits:
        """Return the next bits, one for each of `numerators` (flat).

        Raises:
            ValueError: if a numerator is not an integer in 1..65535.
            BitsMismatch: if no encoder writes this payload with these probabilities.
        """
        with _typed_errors():
            bits = self._decoder.decode(_MODEL, _probabilities(numerators))
        return np.asarray(bits, np.uint8)


def _probabilities(numerators: Integers) -> npt.NDArray[np.float32]:
    """Return n / 65536, which float32 represents exactly. Check n first, because the coder would panic."""
    if numerators.dtype.kind not in "iu":
        msg = f"numerators are {numerators.dtype}, not integers"
        raise ValueError(msg)
    if numerators.size and not 1 <= numerators.min() <= numerators.max() < ONE:
        msg = f"numerators reach from {numerators.min()} to {numerators.max()}, not within 1..{ONE - 1}"
        raise ValueError(msg)
    return numerators.astype(np.float32) / np.float32(ONE)


@contextmanager
def _typed_errors() -> Iterator[None]:
    """Translate the errors of the coder. Its panics do not derive from `Exception` and have only a name."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, AssertionError) and type(error).__name__ != "PanicException":
            raise
        msg = "payload does not decode with these probabilities"
        raise BitsMismatch(msg) from error
