"""Indices that lie, under a checksum that holds."""

import tracemalloc
from collections.abc import Callable

import pytest

from bincodec import BincodecError, Codec, Corrupt, TooLarge, Truncated
from bincodec.errors import Unsupported

Forge = Callable[..., bytes]
Refuse = Callable[[bytes, type[BincodecError], str], None]

pytestmark = pytest.mark.usefixtures("unasked")

GROUP = b"\x04"
"""The mask of one group of three layers."""
NONE = b"\0"
"""The field of an index without extras."""
LARGEST = b"\xff\xff\xff\xff\x0f"
"""The entry of a raw chunk of 2^31 - 1 bytes."""


@pytest.mark.parametrize(
    ("index", "error", "says"),
    [
        (GROUP + NONE + LARGEST * 2, Truncated, "within or before the chunk of layers 1 to 3 of tile 0"),
        (GROUP + NONE + b"\0" + LARGEST, Corrupt, "checksum of the chunk of layers 1 to 3 of tile 0"),
        (GROUP + b"\1\x41" + LARGEST[:4] + b"\7\0\0", Truncated, "within or before the alpha"),
        (GROUP + b"\1\xc0\x7f\0\0", Truncated, "within or before the extra of kind 0xc0"),
        (GROUP + NONE + b"\x80\x80\x80\x80\x10" * 2, Corrupt, "a number at byte 42 is over 4294967295"),
        (GROUP + NONE + b"\x80" * 1000, Corrupt, "a number at byte 42 is over 4294967295 or longer"),
        (GROUP + b"\x80" * 1000, Corrupt, "a number at byte 38 is over 255 or longer"),
        (GROUP + NONE + b"\x80\0\0", Corrupt, "a number at byte 39 .* longer than it has to be"),
        (b"\0" + NONE + b"\0\0", Corrupt, "the last group ends with layer 0 of 3"),
        (b"\x03" + NONE + b"\0\0", Corrupt, "the last group ends with layer 2 of 3"),
        (b"\x0c" + NONE + b"\0\0\0\0", Corrupt, "the last group ends with layer 4 of 3"),
        (b"\xff" + NONE + b"\0" * 16, Corrupt, "the last group ends with layer 8 of 3"),
        (GROUP + b"\xff\1" + b"\x80\0" * 255 + b"\0\0", Corrupt, "not in order or not unique"),
        (GROUP + b"\x80\2" + b"\x80\0" * 256 + b"\0\0", Corrupt, "a number at byte 38 is over 255"),
        (
            GROUP + b"\1\x80\x81\x80\x80\x08\0\0",
            TooLarge,
            "is 16777217 bytes, over the limit ancillary_bytes=16777216",
        ),
        (GROUP + b"\2\x80\x80\x80\x80\x08\x81\1\0\0", TooLarge, "16777217 bytes, over the limit ancillary"),
        (GROUP + b"\1\x01\0\0\0", Unsupported, "critical data of kind 0x01 is not known"),
        (GROUP + b"\2\x81\0\x81\0\0\0", Corrupt, "extras 0x81, 0x81 are not in order"),
    ],
)
def test_an_index_that_lies(
    header: Forge, forge: Forge, refuse: Refuse, index: bytes, error: type[BincodecError], says: str
) -> None:
    """There are 20 bytes behind the index, and nothing reads more than that."""
    refuse(forge(header(), index=index, tail=bytes(20)), error, says)


@pytest.mark.parametrize("partial", [False, True])
def test_lengths_cost_nothing_before_there_are_bytes(
    codec: Codec, header: Forge, forge: Forge, partial: bool
) -> None:
    """A hundred bytes promise gigabytes."""
    data = forge(header(), index=GROUP + NONE + LARGEST * 2, tail=bytes(20))
    tracemalloc.start()
    with pytest.raises(Truncated, match=r"nothing arrived intact|file ends at byte \d+"):
        codec.unpack(data, partial=partial)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


def test_many_entries_in_a_short_file(header: Forge, forge: Forge, refuse: Refuse) -> None:
    """1024 tiles in three groups need an index of 3072 bytes."""
    lying = header(width=8192, height=8192, side=16)
    data = forge(lying, index=b"\x07" + NONE + bytes(3000))
    refuse(data, Truncated, f"file ends at byte {len(data)}, within the index")


def test_lengths_that_share_the_bytes_differently(header: Forge, forge: Forge, refuse: Refuse) -> None:
    """There are as many bytes in total, but one more of them belongs to the first chunk."""
    data = forge(header(), [[(b"abc", False, 1), (b"def", False, 2)]])
    assert data[36:40] == GROUP + NONE + b"\6\6"
    shifted = forge(header(), index=GROUP + NONE + b"\x08\x04", tail=data[44:])
    refuse(shifted, Corrupt, "checksum of the chunk of layers 1 to 3 of tile 0")


def test_a_chunk_in_another_group(header: Forge, forge: Forge, refuse: Refuse) -> None:
    """The index says two groups, but chunks were written for one. Their checksums cover their places."""
    data = forge(header(), [[(b"abc", False, 1), (b"def", False, 2)]])
    regrouped = forge(header(), index=b"\x05" + NONE + b"\6\6\0\0", tail=data[44:])
    refuse(regrouped, Truncated, "before the chunk of layers 2 to 3 of tile 0")


@pytest.mark.parametrize("tail", [b"\0", b"\n", bytes(10000)])
def test_trailing_bytes(header: Forge, forge: Forge, refuse: Refuse, tail: bytes) -> None:
    data = forge(header(), [[(b"", False, 0)] * 2], tail=tail)
    refuse(data, Corrupt, f"{len(tail)} bytes follow the end of the file")
