"""What the tests of several folders share."""

import zlib
from collections.abc import Callable

import pytest


def repair(data: bytes, *, header: bool = True) -> bytes:
    """Recompute the checksums of all chunks, as far as the lengths lead, and of the header."""
    fixed = bytearray(data)
    if header:
        fixed[32:36] = zlib.crc32(fixed[:32]).to_bytes(4, "little")
    start = 36
    while start + 12 <= len(fixed):
        stop = start + 4 + int.from_bytes(fixed[start + 1 : start + 4], "little") + 4
        if stop + 4 > len(fixed):
            break
        fixed[stop : stop + 4] = zlib.crc32(fixed[start:stop]).to_bytes(4, "little")
        start = stop + 4
    return bytes(fixed)


@pytest.fixture(name="repair", scope="session")
def repair_fixture() -> Callable[..., bytes]:
    """`repair`, for modules that cannot import this one."""
    return repair
