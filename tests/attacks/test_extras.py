"""Extras that lie: post-filters that are impossible or expensive, very many extras, and unknown kinds."""

import dataclasses
import struct
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from bincodec import BinaryCode, BincodecError, Codec, Corrupt, Limits, TooLarge
from bincodec.bitstream import container, rice
from bincodec.bitstream.container import Container, Extra
from bincodec.bitstream.extras import METADATA
from bincodec.errors import Unsupported

Forge = Callable[..., bytes]
Refuse = Callable[[bytes, type[BincodecError], str], None]

FILTER = 0x81
FEATURES = 56
HEAD = struct.calcsize("<3h") + FEATURES // 8


def with_extras(honest: Container, *extras: Extra) -> bytes:
    return container.write(honest.header, honest.groups, honest.chunks, extras)


def post_filter(offset: int, weights: Sequence[int], steps: int = 0, shift: int = 15) -> bytes:
    """Return the payload of a filter with all features, made by hand, with three `weights` for each."""
    head = struct.pack("<3h", *[offset] * 3) + b"\xff" * (FEATURES // 8) + bytes([steps << 4 | shift])
    return head + rice.encode(np.array(weights), shift)


# --- impossible post-filters ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (b"", "it has 0 bytes, but needs at least 13"),
        (bytes(12), "it has 12 bytes, but needs at least 13"),
        (bytes(14), "its 14 bytes do not fit its 0 features"),
        (bytes(6) + b"\1" + bytes(6), "its 13 bytes do not fit its 1 features"),
        (bytes(6) + b"\1" + bytes(7), "number 0 of 3 is cut short"),
        (bytes(6) + b"\1" + bytes(6) + b"\0" + b"\x1f", "3 numbers end after 3 bits, not with 1 bytes"),
        (bytes(6) + b"\1" + bytes(6) + b"\0" + bytes(2), "3 numbers end after 3 bits, not with 2 bytes"),
        (bytes(6) + b"\1" + bytes(6) + b"\x0f" + b"\xc0" + bytes(6), "a number beyond 32767"),
        (bytes(6) + b"\1" + bytes(6) + b"\0" + b"\xff" * 1000, "number 0 of 3 is cut short"),
        (post_filter(0, [0] * 168) + b"\0", "168 numbers end after 2688 bits, not with 337 bytes"),
        (post_filter(0, [0] * 168)[:-1], "number 167 of 168 is cut short"),
        (post_filter(0, [0] * 168) + bytes(2**24 - 350), "more than 168 numbers can take"),
    ],
)
@pytest.mark.usefixtures("unasked")
def test_a_post_filter_that_no_encoder_writes(
    honest: Container, refuse: Refuse, payload: bytes, says: str
) -> None:
    """It is refused whether it would be applied or not."""
    refuse(with_extras(honest, Extra(FILTER, payload)), Corrupt, f"post-filter: .*{says}")


# --- expensive post-filters -------------------------------------------------------------------------------

LARGEST = rice.LARGEST
RANDOM = np.random.default_rng(0)
ABSURD = {
    "up": post_filter(2**15 - 1, [LARGEST] * 168),
    "down": post_filter(-(2**15), [-LARGEST] * 168),
    "fine": post_filter(2**15 - 1, [-LARGEST] * 168, steps=15),
    "signs": post_filter(0, (LARGEST * RANDOM.choice([-1, 1], 168)).tolist()),
    "long codes": post_filter(-(2**15), [LARGEST] * 168, shift=0),
    "anything": post_filter(77, RANDOM.integers(-LARGEST, LARGEST, 168).tolist(), steps=3),
}


@pytest.mark.parametrize("name", ABSURD)
@pytest.mark.parametrize("picture", ["noise", "extremes", "grey", "one pixel"])
def test_an_absurd_post_filter_makes_a_picture(codec: Codec, name: str, picture: str) -> None:
    """With any weights, numbers stay finite, and there is no warning, which would be an error here."""
    pixels = np.random.default_rng(1).integers(0, 256, (40, 70, 3), np.uint8)
    if picture == "extremes":
        pixels = (pixels // 128 * 255).astype(np.uint8)
    elif picture == "grey":
        pixels = pixels[..., 0]
    elif picture == "one pixel":
        pixels = pixels[:1, :1]
    code = dataclasses.replace(codec.encode(pixels, 100), extras=(Extra(FILTER, ABSURD[name]),))
    image = codec.decompress(codec.pack(code))
    assert image.size == pixels.shape[1::-1]
    shown = np.asarray(image)
    assert shown.dtype == np.uint8
    if name in {"up", "down"}:
        # All have the same sign and are far out of range, so the picture is mostly black and white.
        assert np.isin(shown, (0, 255)).mean() > 0.9


# --- kinds and amounts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [0x80, FILTER, 0x41, 0xC5])
@pytest.mark.usefixtures("unasked")
def test_the_same_kind_twice(honest: Container, forge: Forge, refuse: Refuse, kind: int) -> None:
    chunks = [[dataclasses.astuple(chunk) for chunk in row if chunk] for row in honest.chunks]
    data = forge(honest.header.pack(), chunks, [(kind, b"one"), (kind, b"two")])
    refuse(data, Corrupt, f"extras {kind:#04x}, {kind:#04x} are not in order or not unique")


@pytest.mark.parametrize("kind", [0x00, 0x01, 0x40, 0x42, 0x7F])
@pytest.mark.usefixtures("unasked")
def test_a_critical_kind_that_is_not_known(
    honest: Container, forge: Forge, refuse: Refuse, kind: int
) -> None:
    chunks = [[dataclasses.astuple(chunk) for chunk in row if chunk] for row in honest.chunks]
    data = forge(honest.header.pack(), chunks, [(kind, b"what it says does not matter")])
    refuse(data, Unsupported, f"critical data of kind {kind:#04x} is not known")


def test_a_flood_of_kinds_that_nobody_knows_is_kept(codec: Codec, honest: Container) -> None:
    """The file has all unknown kinds that are possible, before and after the levels."""
    unknown = [kind for kind in (*range(0xC0, 0x100), *range(0x80, 0xC0)) if kind not in KNOWN]
    data = with_extras(honest, *(Extra(kind, bytes([kind]) * 5) for kind in unknown))
    code = codec.unpack(data)
    assert [extra.kind for extra in code.extras] == unknown
    assert codec.pack(code) == data
    assert codec.decode(code).size == (500, 20)


KNOWN = {FILTER, *METADATA.values()}
"""The ancillary kinds with a defined payload, which cannot hold anything else."""


@pytest.mark.usefixtures("unasked")
def test_more_bytes_than_are_read(codec: Codec, honest: Container, refuse: Refuse) -> None:
    """The index shows this before any of them are read."""
    data = with_extras(honest, Extra(0x90, bytes(2**24)), Extra(0xF0, b"."))
    refuse(data, TooLarge, "ancillary data is 16777217 bytes, over the limit ancillary_bytes=16777216")
    refuse(data[:200], TooLarge, "16777217 bytes")
    with pytest.raises(TooLarge, match="over the limit ancillary_bytes=3") as caught:
        codec.unpack(with_extras(honest, Extra(0x90, b"1234")), limits=Limits(ancillary_bytes=3))
    assert (caught.value.option, caught.value.value) == ("ancillary_bytes", 4)


@pytest.mark.usefixtures("unasked")
def test_an_extra_of_another_file(honest: Container, forge: Forge, refuse: Refuse) -> None:
    """It is intact, and as long as the extra whose place it takes, but was written after another header."""
    other = dataclasses.replace(honest.header, quality=51)
    mine, foreign = (
        container.write(header, honest.groups, honest.chunks, [Extra(0x90, b"kept")])
        for header in (honest.header, other)
    )
    refuse(mine[:-8] + foreign[-8:], Corrupt, "checksum of the extra of kind 0x90 does not match")


def test_an_extra_may_be_taken_out(codec: Codec, honest: Container) -> None:
    """The levels do not depend on it, so the rest is a valid file, as a writer makes it."""
    data = with_extras(honest, Extra(FILTER, bytes(13)))
    assert codec.unpack(data).extras
    without = with_extras(honest)
    code: BinaryCode = codec.unpack(without)
    assert code.intact
    assert codec.pack(code) == without
