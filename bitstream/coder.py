"""The range coder: bits and their probabilities to bytes and back (FORMAT, "Range coder").

The only module that imports `constriction`, whose errors stay inside.
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
    """Codes bits, each at its own probability, into one payload."""

    def __init__(self) -> None:
        self._encoder = constriction.stream.queue.RangeEncoder()

    def put(self, bits: npt.NDArray[np.bool_ | np.uint8], numerators: Integers) -> None:
        """Code `bits` (flat, 0 or 1) where `numerators` / 65536 are the probabilities of ones.

        Raises:
            ValueError: for lengths that differ or a numerator that is no integer within 1..65535.
        """
        if bits.shape != numerators.shape:
            msg = f"{bits.shape} bits do not go with {numerators.shape} probabilities"
            raise ValueError(msg)
        self._encoder.encode((bits != 0).astype(np.int32), _MODEL, _probabilities(numerators))

    @property
    def size(self) -> int:
        """Bytes of the payload, if it ended here."""
        return len(self.finish())

    def finish(self) -> bytes:
        """Return the payload: the shortest bytes that name a number within the coder's last interval.

        The library ends on a whole word, whose value may still grow by `slack` without leaving the interval:
        round it up to as many zero bytes as that allows, and drop them, since a reader appends zeros.
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
    """Decodes what `BitEncoder` made, given the same probabilities.

    A payload that is too short reads as if zeros followed; `stream.TileReader` finds out.
    """

    def __init__(self, payload: bytes) -> None:
        words = np.frombuffer(payload + bytes(-len(payload) % 4), ">u4").astype(np.uint32)
        self._decoder = constriction.stream.queue.RangeDecoder(words)

    def get(self, numerators: Integers) -> Bits:
        """Return the next bits, one for each of `numerators` (flat).

        Raises:
            ValueError: for a numerator that is no integer within 1..65535.
            BitsMismatch: for a payload that no encoder writes with such probabilities.
        """
        with _typed_errors():
            bits = self._decoder.decode(_MODEL, _probabilities(numerators))
        return np.asarray(bits, np.uint8)


def _probabilities(numerators: Integers) -> npt.NDArray[np.float32]:
    """Check, since the coder panics on what is no probability; n / 65536 is exact in float32."""
    if numerators.dtype.kind not in "iu":
        msg = f"numerators are {numerators.dtype}, not integers"
        raise ValueError(msg)
    if numerators.size and not 1 <= numerators.min() <= numerators.max() < ONE:
        msg = f"numerators reach from {numerators.min()} to {numerators.max()}, not within 1..{ONE - 1}"
        raise ValueError(msg)
    return numerators.astype(np.float32) / np.float32(ONE)


@contextmanager
def _typed_errors() -> Iterator[None]:
    """Translate the coder's complaints; its panics are no `Exception` and are known by name only."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, AssertionError) and type(error).__name__ != "PanicException":
            raise
        msg = "payload does not decode with these probabilities"
        raise BitsMismatch(msg) from error
