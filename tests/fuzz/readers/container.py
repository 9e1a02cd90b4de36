"""A whole file, as far as it is read without a model."""

from collections.abc import Iterator

import mending
import parts

from bincodec.bitstream import container
from bincodec.bitstream.container import Container, Memory
from bincodec.bitstream.errors import BincodecError
from bincodec.bitstream.limits import Limits

MAX_BYTES = 1024
LIMITS = Limits(ancillary_bytes=500)


def check(data: bytes) -> None:
    """What is read is written again unchanged, and reading with `partial` finds the same."""
    partial = found_in(data)
    if partial is not None and partial.intact:
        assert mending.laid_out(partial) == data
    if partial is not None and all(what.endswith("has been corrected") for what in partial.damage):
        whole = container.write(partial.header, partial.groups, partial.chunks, partial.extras)
        assert len(whole) == len(data)
        assert (int.from_bytes(whole) ^ int.from_bytes(data)).bit_count() == len(partial.damage)
    found = container.read(Memory(data), LIMITS)
    assert found == partial
    assert container.write(found.header, found.groups, found.chunks, found.extras) == data


def found_in(data: bytes) -> Container | None:
    """Return what is intact, or None if nothing is."""
    try:
        return container.read(Memory(data), LIMITS, partial=True)
    except BincodecError:
        return None


def seeds() -> Iterator[bytes]:
    yield from parts.files()


mutate = mending.file
