"""Alpha: every plane is stored without loss in few bytes, and payloads that no writer makes are refused."""

import re
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bincodec.bitstream import alpha, plane
from bincodec.bitstream.alpha import ACROSS, CODED, DOWN, pack, unpack
from bincodec.bitstream.deflate import deflate
from bincodec.bitstream.errors import BincodecError, Corrupt

SIDES = st.integers(1, 40)


def disc(width: int = 96, height: int = 64, softness: float = 1.0) -> np.ndarray:
    """Return a disc whose edge is `softness` pixels wide."""
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(y - height / 2, x - width / 2) - height / 3
    return np.clip(127.5 - 255 * distance / softness, 0, 255).round().astype(np.uint8)


def noise(shape: tuple[int, int], *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@st.composite
def planes(draw: st.DrawFn) -> np.ndarray:
    """Draw noise, few values, ramps or flat areas."""
    height, width, seed = draw(SIDES), draw(SIDES), draw(st.integers(0, 2**16))
    random = np.random.default_rng(seed)
    match draw(st.sampled_from(["noise", "few", "ramp", "flat", "disc"])):
        case "noise":
            return noise((height, width), seed=seed)
        case "few":
            values = random.integers(0, 256, draw(st.integers(1, 3)), np.uint8)
            return random.choice(values, (height, width))
        case "ramp":
            slopes = np.add.outer(np.arange(height), np.arange(width)) * draw(st.integers(0, 9))
            return slopes.astype(np.uint8)
        case "flat":
            return np.full((height, width), draw(st.integers(0, 255)), np.uint8)
        case _:
            return disc(width, height, draw(st.floats(0.1, 60)))


@given(planes())
def test_every_plane_comes_back_either_way(given_plane: np.ndarray) -> None:
    height, width = given_plane.shape
    ways = [alpha.deflated(given_plane, method) for method in range(4)]
    ways.append(bytes([CODED]) + plane.encode(given_plane))
    assert len(pack(given_plane)) == min(map(len, ways))
    for payload in (*ways, pack(given_plane)):
        found = unpack(payload, width, height)
        assert (found.dtype, found.shape) == (np.uint8, (height, width))
        assert np.array_equal(found, given_plane)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (1, 300), (300, 1), (3, 70), (64, 64), (65, 33)])
def test_every_shape_comes_back(shape: tuple[int, int]) -> None:
    for found in (noise(shape), np.full(shape, 255, np.uint8), disc(shape[1], shape[0], 9.0)):
        assert np.array_equal(unpack(bytes([CODED]) + plane.encode(found), shape[1], shape[0]), found)


def test_every_pixel_is_told_once_and_the_four_around_it_before() -> None:
    for height, width in ((1, 1), (1, 9), (7, 1), (5, 8), (16, 16), (37, 90)):
        told = np.zeros(height * width + 1, int)
        told[[0, -1]] = 1
        for run in plane._runs(height, width):
            assert told[run.around(height, width)].all()
            told[run.rows * width + run.columns] += 1
        assert (told == 1).all()


def test_runs_stay_within_their_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plane, "LONGEST_RUN", 300)
    lengths = [len(run.rows) for run in plane._runs(200, 200)]
    assert max(lengths) == 300
    assert np.array_equal(plane.decode(plane.encode(disc()), 96, 64), disc())


@pytest.mark.parametrize(
    ("made", "method"),
    [
        (disc, CODED),
        (lambda: disc(192, 128, 20.0), CODED),
        (lambda: (noise((64, 96)) < 128) * np.uint8(255), CODED),
        (lambda: noise((64, 96)), 0),
        (lambda: np.tile(np.linspace(0, 255, 96).round().astype(np.uint8), (64, 1)), ACROSS | DOWN),
        (lambda: np.tile(noise((1, 96)), (64, 1)), DOWN),
        (lambda: noise((64, 1)) + np.arange(0, 288, 3).astype(np.uint8), ACROSS),
    ],
    ids=["edge", "soft", "dust", "noise", "gradient", "rows", "columns"],
)
def test_the_writer_takes_what_suits_the_plane(made: Callable[[], np.ndarray], method: int) -> None:
    assert pack(made())[0] == method


def test_edges_take_a_fraction_of_what_deflate_needs() -> None:
    for softness, share in ((0.1, 0.4), (1.0, 0.75), (20.0, 0.95)):
        shape = disc(192, 128, softness)
        assert len(pack(shape)) < share * min(len(alpha.deflated(shape, method)) for method in range(4))
    assert len(pack(np.zeros((500, 700), np.uint8))) < 30


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((4, 4)), np.zeros((4, 4, 1), np.uint8), np.zeros((0, 4), np.uint8), np.zeros(4, np.uint8)],
    ids=lambda wrong: f"{wrong.dtype}{wrong.shape}",
)
def test_what_is_no_plane_is_not_packed(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="not uint8"):
        pack(wrong)


# --- payloads that no writer makes ------------------------------------------------------------------------


def deflated(count: int, method: int = 0) -> bytes:
    return bytes([method]) + deflate(bytes(count))


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"", "nothing is in it"),
        (b"\x05" + deflate(bytes(24)), "method 5 is not one of 0..4"),
        (b"\xff", "method 255"),
        (b"\0", "cut short after 0 bytes"),
        (deflated(24)[:-1], "cut short"),
        (deflated(24) + b"!", "1 bytes follow the zlib stream"),
        (deflated(23), "23 bytes unpacked, not 24"),
        (deflated(25), "more than 24 bytes unpacked"),
        (deflated(10**7, 3), "more than 24 bytes unpacked"),
        (b"\0nonsense", "the zlib stream is broken"),
        (deflated(24)[:-4] + bytes(4), "the zlib stream is broken"),
        (b"\x04", "the first pixel is missing"),
        (b"\x04\x80\xff\xff\xff", "its 4 coded bytes are not the ones that a writer makes of its pixels"),
        (b"\x04\x05\x80", "pixels reach from 0 to 3, not within 1..254"),
    ],
)
def test_other_payloads_are_corrupt(payload: bytes, words: str) -> None:
    with pytest.raises(Corrupt, match=words) as caught:
        unpack(payload, 6, 4)
    assert str(caught.value).startswith("alpha of 6 x 4 pixels: ")
    assert "\n" not in str(caught.value)


def test_another_size_is_noticed() -> None:
    for softness in (1.0, 30.0):
        payload = bytes([CODED]) + plane.encode(disc(softness=softness))
        for width, height in ((96, 65), (95, 64), (64, 96), (9, 9), (192, 128)):
            with pytest.raises(Corrupt, match=f"alpha of {width} x {height} pixels"):
                unpack(payload, width, height)


def test_coded_bytes_are_the_only_ones_for_their_plane() -> None:
    payload = bytes([CODED]) + plane.encode(disc())
    for forged in (payload + b"\0", payload + b"\x01", payload[:1] + b"\xff" + payload[2:]):
        with pytest.raises(Corrupt):
            unpack(forged, 96, 64)


@settings(max_examples=200)
@given(st.binary(max_size=60), SIDES, SIDES)
def test_any_bytes_are_a_plane_or_an_error(payload: bytes, width: int, height: int) -> None:
    for start in (b"", bytes([CODED])):
        try:
            found = unpack(start + payload, width, height)
        except Corrupt:
            continue
        assert found.shape == (height, width)


def test_damage_to_coded_bytes_is_noticed() -> None:
    soft = disc(softness=8.0)
    payload = bytes([CODED]) + plane.encode(soft)
    for place in range(1, len(payload)):
        for bit in (1, 16):
            damaged = bytearray(payload)
            damaged[place] ^= bit
            try:
                found = unpack(bytes(damaged), 96, 64)
            except BincodecError:
                continue
            # These are the bytes of another plane. The checksum of the extra detects such changes.
            assert not np.array_equal(found, soft)


def test_probabilities_follow_the_answers_and_stay_possible() -> None:
    learned = plane._Learned()
    contexts = np.array([0, 1, 1])
    assert learned.numerators(contexts).tolist() == [32768] * 3
    learned.add(contexts, np.array([True, False, False]))
    assert learned.numerators(np.array([0, 1, 2])).tolist() == [49152, 10922, 32768]
    learned._zeros_ones[3] = 2**40, 0
    learned._zeros_ones[4] = 0, 2**40
    assert learned.numerators(np.array([3, 4])).tolist() == [1, 65535]


def integer_disc(slope: int) -> np.ndarray:
    """Return a disc as `disc` does, but computed in integers, so that it is the same on every machine."""
    y, x = np.mgrid[:64, :96]
    return np.clip((480 - (y - 32) ** 2 - (x - 48) ** 2) * slope // 16, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("frozen", "checksum"),
    [(integer_disc(80), 1591301648), (integer_disc(4), 3607408547), (noise((37, 53)), 2077604196)],
)
def test_a_plane_is_written_in_these_bytes(frozen: np.ndarray, checksum: int) -> None:
    """The format must not change unnoticed."""
    assert zlib.crc32(plane.encode(frozen)) == checksum


def test_a_plane_that_can_be_followed_by_hand() -> None:
    tiny = np.array([[0, 100, 255], [0, 120, 255]], np.uint8)
    assert plane.encode(tiny) == bytes.fromhex("00 43 80 79 28")
    assert pack(tiny) == bytes.fromhex("04 00 43 80 79 28")


def test_the_example_of_the_document() -> None:
    rows = np.array([[0, 100, 255], [0, 120, 255]], np.uint8)
    document = (Path(__file__).parents[2] / "docs" / "FORMAT.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"0, 100, 255 and 0, 120, 255 are `([0-9a-f ]+)`", document)
    assert plane.encode(rows) == bytes.fromhex(example)
    assert np.array_equal(plane.decode(bytes.fromhex(example), 3, 2), rows)
