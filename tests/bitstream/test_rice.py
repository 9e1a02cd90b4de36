"""Rice codes: they decode to what was encoded, have the expected lengths, and nothing else is accepted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bincodec.bitstream import rice
from bincodec.bitstream.errors import Corrupt

numbers = st.lists(st.integers(-rice.LARGEST, rice.LARGEST), max_size=40)
small = st.lists(st.integers(-60, 60), max_size=40)


def by_hand(values: list[int], shift: int) -> str:
    """Return the codes of the definition, as characters."""
    text = ""
    for value in values:
        z = 2 * value if value >= 0 else -2 * value - 1
        text += "1" * (z // 2**shift) + "0"
        text += format(z % 2**shift, f"0{shift}b") if shift else ""
    return text


def packed(text: str) -> bytes:
    text += "0" * (-len(text) % 8)
    return bytes(int(text[start : start + 8], 2) for start in range(0, len(text), 8))


@given(small, st.integers(0, rice.MAX_SHIFT))
def test_codes_are_the_definition(values: list[int], shift: int) -> None:
    array = np.array(values, np.int64)
    text = by_hand(values, shift)
    assert rice.encode(array, shift) == packed(text)
    assert rice.bits(array, shift) == len(text)


@given(numbers)
def test_what_is_written_is_read(values: list[int]) -> None:
    array = np.array(values, np.int64)
    shift = rice.best_shift(array)
    assert np.array_equal(rice.decode(rice.encode(array, shift), len(values), shift), array)


@given(numbers)
def test_no_other_shift_is_shorter(values: list[int]) -> None:
    array = np.array(values, np.int64)
    best = rice.bits(array, rice.best_shift(array))
    assert all(best <= rice.bits(array, shift) for shift in range(16))


@given(st.binary(max_size=12), st.integers(0, 20), st.integers(0, 15))
def test_bytes_are_corrupt_or_the_code_of_what_they_give(data: bytes, count: int, shift: int) -> None:
    try:
        values = rice.decode(data, count, shift)
    except Corrupt:
        return
    assert len(values) == count
    assert rice.encode(values, shift) == data


@given(small.filter(bool), st.integers(0, 5))
def test_cut_short_or_followed_by_more_is_corrupt(values: list[int], shift: int) -> None:
    data = rice.encode(np.array(values, np.int64), shift)
    for wrong in (data[:-1], data + b"\0", b""):
        with pytest.raises(Corrupt, match="Rice codes"):
            rice.decode(wrong, len(values), shift)


def test_a_code_may_end_with_its_byte() -> None:
    """Seven ones and a zero are z = 7, that is -4. With one more low bit, z = 13."""
    assert rice.decode(b"\xfe", 1, 0).tolist() == [-4]
    assert rice.decode(b"\xfd", 1, 1).tolist() == [-7]
    for cut in (b"\xff", b"\xff\xff"):
        with pytest.raises(Corrupt, match="number 0 of 1 is cut short"):
            rice.decode(cut, 1, 0)
    with pytest.raises(Corrupt, match="number 1 of 2 is cut short"):
        rice.decode(b"\0\0\0", 2, 15)


def test_padding_must_be_zeros() -> None:
    data = rice.encode(np.array([0]), 0)
    assert data == b"\x00"
    with pytest.raises(Corrupt, match="1 numbers end after 1 bits"):
        rice.decode(b"\x01", 1, 0)


def test_too_large_is_refused_both_ways() -> None:
    with pytest.raises(ValueError, match="32767"):
        rice.encode(np.array([rice.LARGEST + 1]), 15)
    with pytest.raises(ValueError, match=r"0\.\.15"):
        rice.encode(np.array([1]), 16)
    with pytest.raises(ValueError, match=r"0\.\.15"):
        rice.encode(np.array([1]), -1)
    with pytest.raises(ValueError, match="32767"):
        rice.encode(np.array([0, -rice.LARGEST - 1]), 15)
    largest = rice.encode(np.array([rice.LARGEST, -rice.LARGEST]), 15)
    assert rice.decode(largest, 2, 15).tolist() == [rice.LARGEST, -rice.LARGEST]
    for z in (2 * rice.LARGEST + 1, 2 * rice.LARGEST + 2):
        text = "1" * (z >> 15) + "0" + format(z % 2**15, "015b")
        with pytest.raises(Corrupt, match="beyond 32767"):
            rice.decode(packed(text), 1, 15)


@pytest.mark.parametrize("shift", [0, 1, 7, 15])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 8])
def test_more_bytes_than_numbers_can_take_are_not_looked_at(
    monkeypatch: pytest.MonkeyPatch, shift: int, count: int
) -> None:
    """The largest numbers fill the allowed length, and one byte more is refused because of its length."""
    longest = rice.encode(np.full(count, rice.LARGEST), shift)
    assert rice.decode(longest, count, shift).tolist() == [rice.LARGEST] * count
    monkeypatch.setattr(np, "unpackbits", lambda *_: pytest.fail("looked at"))
    with pytest.raises(Corrupt, match=f"{len(longest) + 1} bytes, more than {count} numbers can take"):
        rice.decode(longest + b"\0", count, shift)
