"""Store alpha without loss: how opaque each pixel is, from 0 (clear) to 255 (opaque) (FORMAT, "Alpha").

There are two ways to store a plane of alpha, and the writer takes the shorter one. A *coded* plane is coded
from coarse to fine with the range coder (`plane`). A *deflated* plane is compressed with zlib, either the
samples or their differences. Deflating is better where something repeats exactly, as in a drawn gradient
(docs/decisions/0018).
"""

import numpy as np

from bincodec.bitstream import plane
from bincodec.bitstream.deflate import deflate, inflate
from bincodec.bitstream.errors import Corrupt, TooLarge
from bincodec.bitstream.plane import Plane

ACROSS, DOWN = 1, 2
"""Bits in the method of a deflated plane: differences to the left neighbour, and to the row above."""
CODED = 4
"""The method of a coded plane."""


def pack(alpha: Plane) -> bytes:
    """Return the shortest payload of a plane, uint8 (height, width): a byte for the method, then the plane.

    Raises:
        ValueError: if the array is empty, or not uint8 with two dimensions.

    Example:
        >>> import numpy
        >>> from bincodec.bitstream import alpha
        >>> half = numpy.zeros((512, 768), numpy.uint8)
        >>> half[:, 384:] = 255
        >>> payload = alpha.pack(half)
        >>> len(payload) < 100, numpy.array_equal(alpha.unpack(payload, 768, 512), half)
        (True, True)
    """
    if alpha.dtype != np.uint8 or alpha.ndim != 2 or not alpha.size:
        msg = f"alpha is {alpha.dtype} {alpha.shape}, not uint8 (height, width)"
        raise ValueError(msg)
    ways = (deflated(alpha, method) for method in range(CODED))
    return min(bytes([CODED]) + plane.encode(alpha), *ways, key=len)


def deflated(alpha: Plane, method: int) -> bytes:
    """Return the payload of a plane with method 0 (its samples) or 1..3 (differences modulo 256)."""
    for bit, axis in ((ACROSS, 1), (DOWN, 0)):
        if method & bit:
            alpha = np.diff(alpha, axis=axis, prepend=np.uint8(0))
    return bytes([method]) + deflate(alpha.tobytes())


def unpack(payload: bytes, width: int, height: int) -> Plane:
    """Return the plane in a payload, uint8 (height, width). `width` and `height` must be at least 1.

    Time and memory are bounded by the number of pixels, whatever the payload contains.

    Raises:
        Corrupt: if the payload holds no plane of this size, or if no writer makes such a payload.
    """
    try:
        return _unpacked(payload, width, height)
    except (Corrupt, TooLarge) as error:
        msg = f"alpha of {width} x {height} pixels: {error}"
        raise Corrupt(msg) from error


def _unpacked(payload: bytes, width: int, height: int) -> Plane:
    if not payload or payload[0] > CODED:
        msg = f"method {payload[0]} is not one of 0..{CODED}" if payload else "nothing is in it"
        raise Corrupt(msg)
    if payload[0] == CODED:
        return plane.decode(payload[1:], width, height)
    data = inflate(payload[1:], width * height)
    if len(data) < width * height:
        msg = f"{len(data)} bytes unpacked, not {width * height}"
        raise Corrupt(msg)
    found = np.frombuffer(data, np.uint8).reshape(height, width)
    for bit, axis in ((DOWN, 0), (ACROSS, 1)):
        if payload[0] & bit:
            found = np.cumsum(found, axis=axis, dtype=np.uint8)
    return found
