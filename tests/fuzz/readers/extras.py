"""Alpha and metadata of a small picture: its size, the lengths of the payloads, and the payloads."""

import random
import tracemalloc
from collections.abc import Iterator

import mending
import numpy as np

from bincodec.bitstream import alpha, extras, plane
from bincodec.bitstream.container import Extra
from bincodec.bitstream.deflate import deflate
from bincodec.bitstream.errors import BincodecError
from bincodec.bitstream.index import ALPHA
from bincodec.bitstream.limits import Limits

MAX_BYTES = 512
KINDS = (ALPHA, *extras.METADATA.values())
HEAD = 2 + len(KINDS)
SIDE = 24
LIMITS = Limits(metadata_bytes=500)
MEMORY = 2**18
"""The bytes that reading may take at once: some 64-bit arrays with a value for each pixel, and tables."""


def check(data: bytes) -> None:
    """What is read has the right size, took little memory, and is the same after packing it again."""
    if len(data) < HEAD:
        return
    width, height, held = taken_apart(data)
    tracemalloc.start()
    try:
        found = extras.read(held, width, height, LIMITS)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < MEMORY, f"{peak} bytes"
    assert set(found.names) == {name for name, kind in names() if kind in {extra.kind for extra in held}}
    packed = [Extra(*one) for one in extras.payloads(found, LIMITS)]
    again = extras.read(packed, width, height, LIMITS)
    for name in found.names:
        if name != "alpha":
            assert 0 < len(getattr(found, name)) <= LIMITS.metadata_bytes
            assert getattr(again, name) == getattr(found, name)
    if found.alpha is not None:
        assert found.alpha.shape == (height, width)
        assert again.alpha is not None
        assert np.array_equal(again.alpha, found.alpha)


def names() -> Iterator[tuple[str, int]]:
    yield "alpha", ALPHA
    yield from extras.METADATA.items()


def taken_apart(data: bytes) -> tuple[int, int, list[Extra]]:
    """Return width, height, and extras. An extra without bytes is left out."""
    width, height = 1 + data[0] % SIDE, 1 + data[1] % SIDE
    rest, held = data[HEAD:], []
    for kind, length in zip(KINDS, data[2:HEAD], strict=True):
        if rest and length:
            held.append(Extra(kind, rest[:length]))
            rest = rest[length:]
    return width, height, held


def put_together(width: int, height: int, held: list[Extra]) -> bytes:
    payloads = {extra.kind: extra.payload[:255] for extra in held}
    ordered = [payloads.get(kind, b"") for kind in KINDS]
    return b"".join([bytes([width - 1, height - 1, *map(len, ordered)]), *ordered])


def seeds() -> Iterator[bytes]:
    dice = np.random.default_rng(0)
    ramp = np.add.outer(np.arange(9), np.arange(7)).astype(np.uint8)
    for shape in (ramp, np.minimum(ramp, 3) * 85, dice.integers(0, 256, (3, 5), np.uint8), ramp[:1]):
        found = extras.Extras(shape.astype(np.uint8), b"profile" * 9, b"II*\0", b"<x:xmpmeta/>")
        yield put_together(
            shape.shape[1], shape.shape[0], [Extra(*one) for one in extras.payloads(found, LIMITS)]
        )
        for payload in ways(shape.astype(np.uint8)):
            yield put_together(shape.shape[1], shape.shape[0], [Extra(ALPHA, payload)])


def ways(pixels: plane.Plane) -> Iterator[bytes]:
    """Yield a plane as each method stores it."""
    yield bytes([alpha.CODED]) + plane.encode(pixels)
    for method in range(alpha.CODED):
        yield bytes([method]) + deflate(pixels.tobytes())


def mutate(data: bytes, max_bytes: int, seed: int, change: mending.Change) -> bytes:
    """Change one extra, either as it is stored or as it is unpacked, and repair its own checksum."""
    dice = random.Random(seed)
    if len(data) < HEAD or dice.random() < 0.3:
        return change(data or b"\0", max_bytes)
    width, height, held = taken_apart(data)
    if not held:
        return change(data, max_bytes)
    place = dice.randrange(len(held))
    one = held[place]
    payload = one.payload
    if dice.random() < 0.5:
        payload = unpacked_and_changed(one, width, height, dice, change)
    else:
        payload = change(payload, 255)
        method = payload[: int(one.kind == ALPHA)]
        if method != bytes([alpha.CODED]):
            payload = method + mending.stream(payload[len(method) :])
    held[place] = Extra(one.kind, payload)
    return put_together(width, height, held)[:max_bytes]


def unpacked_and_changed(
    one: Extra, width: int, height: int, dice: random.Random, change: mending.Change
) -> bytes:
    """Return the payload of changed pixels or bytes. If they cannot be read, they are made up."""
    try:
        found = extras.read([one], width, height, LIMITS)
    except BincodecError:
        found = extras.Extras(np.zeros((height, width), np.uint8), b"i", b"e", b"x")
    if one.kind != ALPHA:
        name = next(name for name, kind in names() if kind == one.kind)
        return deflate(change(getattr(found, name), LIMITS.metadata_bytes + 8))
    assert found.alpha is not None
    most = width * height
    changed = change(found.alpha.tobytes(), most)[:most].ljust(most, b"\0")
    pixels = np.frombuffer(changed, np.uint8).reshape(height, width)
    return dice.choice(list(ways(pixels)))
