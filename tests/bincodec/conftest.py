"""The frozen tiny model, loaded once, and damage to files with checksums that hold again."""

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from bincodec import Codec

TINY = Path(__file__).resolve().parents[1] / "models" / "tiny-1.safetensors"


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """The networks of the tests are so small that a second thread only costs."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def codec() -> "Codec":
    """A codec with the tiny model."""
    from bincodec import Codec

    return Codec.load(str(TINY))


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
