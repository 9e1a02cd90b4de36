"""A whole file of a small picture, read with the tiny model of the tests."""

import dataclasses
import functools
import random
import re
from collections.abc import Iterator
from pathlib import Path

import mending
import parts
import torch

from bincodec import Codec
from bincodec.bitstream import container
from bincodec.bitstream.container import Memory
from bincodec.bitstream.errors import BincodecError, BitsMismatch
from bincodec.bitstream.limits import Limits
from bincodec.code import BinaryCode

MAX_BYTES = 1024
LIMITS = Limits(pixels=2**17, ancillary_bytes=500, metadata_bytes=1000)
"""The reader's limit: 512 positions allow two tiles of 16 by 16, or smaller ones with seams."""
MODEL = Path(__file__).resolve().parents[2] / "models" / "tiny-1.safetensors"
SAID = re.compile(r"decoded levels have CRC 0x([0-9a-f]{8})")


@functools.cache
def codec() -> Codec:
    torch.set_num_threads(1)
    return Codec.load(MODEL)


def check(data: bytes) -> None:
    """What is read makes the same file, or a file of the same levels if its groups differ from ours."""
    partial = found_in(data)
    code = codec().unpack(data, limits=LIMITS)
    assert partial is not None
    assert not partial.damage
    assert partial.same_as(code)
    packed = codec().pack(code)
    whole, ours = (container.read(Memory(one)) for one in (data, packed))
    if whole.groups == ours.groups:
        assert packed == data
    else:
        assert (ours.header, ours.extras) == (whole.header, whole.extras)
        assert codec().unpack(packed).same_as(code)


def found_in(data: bytes) -> BinaryCode | None:
    """Return what is intact, or None if nothing is."""
    try:
        return codec().unpack(data, partial=True, limits=LIMITS)
    except BincodecError:
        return None


def seeds() -> Iterator[bytes]:
    yield from parts.files()


def mutate(data: bytes, max_bytes: int, seed: int, change: mending.Change) -> bytes:
    """Change a file as `mending.file` does, and often repair the checksums of its levels too."""
    changed = mending.file(data, max_bytes, seed, change)
    return with_its_levels(changed) if random.Random(seed).random() < 0.7 else changed


def with_its_levels(data: bytes) -> bytes:
    """Return a file with the checksums of the levels that its chunks decode to, if they are reported."""
    for _ in range(8):  # A small file may have this many chunks that are reported one after the other.
        try:
            codec().unpack(data, limits=LIMITS)
        except BitsMismatch as error:
            said = SAID.search(str(error))
            if said is None:
                return data
            found = container.read(Memory(data))
            name = str(error).partition(":")[0]
            rows = [list(row) for row in found.chunks]
            for group, row in enumerate(rows):
                for tile, chunk in zip(found.header.tiles, row, strict=True):
                    if chunk is not None and container.name_of(tile, group, found.groups) == name:
                        rows[group][tile.number] = dataclasses.replace(chunk, bits_crc=int(said[1], 16))
            data = mending.laid_out(dataclasses.replace(found, chunks=tuple(map(tuple, rows))))
        except BincodecError:
            return data
    return data
