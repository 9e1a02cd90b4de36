import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bincodec.bitstream.errors import Corrupt
from bincodec.bitstream.raw import RawDecoder, bytes_of, pack_raw, raw_size


@given(st.lists(st.tuples(st.integers(1, 255), st.integers(0, 4), st.integers(0, 9)), min_size=1, max_size=4))
def test_round_trip(sizes: list[tuple[int, int, int]]) -> None:
    random = np.random.default_rng(0)
    passes = [
        (random.integers(0, j + 1, (channels, positions)).astype(np.uint8), j)
        for j, channels, positions in sizes
    ]
    payload = pack_raw(passes)
    assert len(payload) == raw_size(passes)
    bits = "".join(f"{level:0{j.bit_length()}b}" for levels, j in passes for level in levels.flat)
    assert payload == b"".join(
        int(bits[at : at + 8].ljust(8, "0"), 2).to_bytes(1) for at in range(0, len(bits), 8)
    )
    decoder = RawDecoder(payload)
    for levels, maximum in passes:
        assert np.array_equal(decoder.get(levels.shape, maximum), levels)


def test_the_size_follows_from_counts_alone() -> None:
    """A level takes three bits for a maximum of 7, and one bit for 1. Only the total is rounded up."""
    assert bytes_of([]) == 0
    assert bytes_of([(3, 7)]) == bytes_of([(4, 6)]) == 2
    assert bytes_of([(8, 4), (1, 1)]) == 4
    assert bytes_of([(1, 1)] * 8) == 1
    assert bytes_of([(10**6, 255)]) == 10**6


def test_layout() -> None:
    assert pack_raw([(np.array([[5, 0, 6]], np.uint8), 6), (np.array([[1]], np.uint8), 1)]) == b"\xa3\x40"


def test_levels_beyond_the_maximum() -> None:
    with pytest.raises(Corrupt, match="raw level 7 is over the maximum of 6"):
        RawDecoder(b"\xe0").get((1, 1), 6)


def test_too_few_bits() -> None:
    decoder = RawDecoder(b"\x00")
    decoder.get((1, 2), 6)
    with pytest.raises(Corrupt, match="has 8 bits, needs 9 or more"):
        decoder.get((1, 1), 6)
    with pytest.raises(Corrupt, match="has 16 bits, needs 18 or more"):
        RawDecoder(b"\x00\x00").get((2, 3), 6)
