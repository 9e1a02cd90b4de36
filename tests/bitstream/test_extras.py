"""Alpha and metadata as extras: they are stored without change, and nothing is unpacked beyond its limit."""

import tracemalloc
import zlib
from dataclasses import dataclass
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bincodec.bitstream.deflate import deflate, inflate
from bincodec.bitstream.errors import Corrupt, TooLarge
from bincodec.bitstream.extras import METADATA, TITLES, Extras, payloads, read
from bincodec.bitstream.index import ALPHA
from bincodec.bitstream.limits import Limits

PLANE = np.arange(24, dtype=np.uint8).reshape(4, 6)


@dataclass(frozen=True)
class Chunk:
    kind: int
    payload: bytes


def chunks(found: Extras, limits: Limits | None = None) -> list[Chunk]:
    return [Chunk(*each) for each in payloads(found, limits or Limits())]


# --- deflate ----------------------------------------------------------------------------------------------


@given(st.binary(max_size=3000), st.integers(0, 100))
def test_bytes_come_back(data: bytes, more: int) -> None:
    assert inflate(deflate(data), len(data) + more) == data


@given(st.binary(min_size=1, max_size=3000), st.data())
def test_nothing_is_unpacked_beyond_the_limit(data: bytes, drawn: st.DataObject) -> None:
    most = drawn.draw(st.integers(0, len(data) - 1))
    with pytest.raises(TooLarge, match=f"more than {most} bytes unpacked") as caught:
        inflate(deflate(data), most)
    assert caught.value.limit == most


def test_a_bomb_takes_no_memory() -> None:
    bomb = deflate(bytes(2**26))
    tracemalloc.start()
    with pytest.raises(TooLarge):
        inflate(bomb, 2**16)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


@given(st.binary(max_size=60), st.integers(0, 200))
def test_any_bytes_unpack_or_are_an_error(payload: bytes, most: int) -> None:
    try:
        found = inflate(payload, most)
    except (Corrupt, TooLarge):
        return
    assert len(found) <= most


def test_other_streams_are_corrupt() -> None:
    whole = deflate(b"metadata" * 10)
    for cut in range(len(whole)):
        with pytest.raises(Corrupt, match="cut short"):
            inflate(whole[:cut], 80)
    for more in (b"\0", whole):
        with pytest.raises(Corrupt, match=f"{len(more)} bytes follow"):
            inflate(whole + more, 80)
    raw = zlib.compressobj(wbits=-15)
    with pytest.raises(Corrupt, match="broken"):
        inflate(raw.compress(b"raw") + raw.flush(), 80)
    foreign = zlib.compressobj(zdict=b"metadata")
    with pytest.raises(Corrupt, match="broken"):
        inflate(foreign.compress(b"metadata") + foreign.flush(), 80)


# --- extras -----------------------------------------------------------------------------------------------


METADATA_BYTES = st.none() | st.binary(min_size=1, max_size=300)


@given(st.booleans(), METADATA_BYTES, METADATA_BYTES, METADATA_BYTES, st.randoms())
def test_extras_come_back(alpha: bool, icc: bytes, exif: bytes, xmp: bytes, random: Random) -> None:
    given_extras = Extras(PLANE if alpha else None, icc, exif, xmp)
    written = chunks(given_extras)
    assert len({chunk.kind for chunk in written}) == len(written)
    # Other extras may stand between them, and the order does not matter.
    shuffled = [Chunk(0x80, b"another"), *written, Chunk(0xBF, b"")]
    random.shuffle(shuffled)
    found = read(shuffled, 6, 4)
    assert (found.icc, found.exif, found.xmp) == (icc, exif, xmp)
    assert (found.alpha is not None) == alpha
    assert found.alpha is None or np.array_equal(found.alpha, PLANE)
    assert found.names == given_extras.names
    assert len(found.names) == len(written)


def test_nothing_takes_no_chunk() -> None:
    assert chunks(Extras()) == chunks(Extras(icc=b"", exif=b"", xmp=b"")) == []
    assert read((), 6, 4).names == ()


def test_each_has_a_kind_and_a_title() -> None:
    assert len({ALPHA, *METADATA.values()}) == 4
    assert list(TITLES) == ["alpha", *METADATA]
    assert Extras(alpha=PLANE, xmp=b"x").names == ("alpha", "xmp")


@pytest.mark.parametrize("name", METADATA)
def test_metadata_has_a_limit_for_each(name: str) -> None:
    limits = Limits(metadata_bytes=1000)
    whole = Extras(icc=bytes(1000), exif=bytes(1000), xmp=bytes(1000))
    assert read(chunks(whole, limits), 6, 4, limits).names == tuple(METADATA)
    over = Extras(**{name: bytes(1001)})
    with pytest.raises(TooLarge, match=f"{TITLES[name]}: 1001 bytes, over the limit metadata_bytes=1000"):
        payloads(over, limits)
    with pytest.raises(TooLarge, match=f"{TITLES[name]}: more than 1000 bytes unpacked, over the") as caught:
        read(chunks(over), 6, 4, limits)
    assert (caught.value.option, caught.value.limit) == ("metadata_bytes", 1000)


def test_all_chunks_together_have_a_limit() -> None:
    noise = np.random.default_rng(0).bytes(3000)
    everything = Extras(icc=noise, exif=noise, xmp=noise)
    size = sum(len(payload) for _, payload in payloads(everything))
    assert payloads(everything, Limits(ancillary_bytes=size))
    with pytest.raises(TooLarge, match=f"takes {size} bytes, over the limit ancillary_bytes=8999") as caught:
        payloads(everything, Limits(ancillary_bytes=8999))
    assert (caught.value.option, caught.value.value, caught.value.limit) == ("ancillary_bytes", size, 8999)


@pytest.mark.parametrize("name", METADATA)
@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"", "cut short"),
        (b"nonsense", "broken"),
        (deflate(b""), "nothing is in it"),
        (deflate(b"a")[:-1], "cut"),
    ],
)
def test_malformed_metadata_is_corrupt(name: str, payload: bytes, words: str) -> None:
    with pytest.raises(Corrupt, match=f"^{TITLES[name]}: .*{words}"):
        read([Chunk(METADATA[name], payload)], 6, 4)


def test_alpha_must_have_the_size_of_the_picture() -> None:
    (chunk,) = chunks(Extras(alpha=PLANE))
    with pytest.raises(Corrupt, match="alpha of 6 x 5 pixels: "):
        read([chunk], 6, 5)


def test_a_bomb_in_a_chunk_takes_no_memory() -> None:
    bomb = deflate(bytes(2**26))
    for chunk, error in ((Chunk(METADATA["icc"], bomb), TooLarge), (Chunk(ALPHA, b"\0" + bomb), Corrupt)):
        tracemalloc.start()
        with pytest.raises(error):
            read([chunk], 6, 4, Limits(metadata_bytes=2**16))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 2**20
