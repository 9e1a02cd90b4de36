"""Random damage under checksums that hold gives a picture or a `BincodecError`, and nothing else."""

import dataclasses
import random
from collections.abc import Callable
from typing import Literal

import pytest
from PIL import Image

from bincodec import BinaryCode, BincodecError, Codec, Limits
from bincodec.bitstream import container
from bincodec.bitstream.container import Container, Extra, Memory

EXTRAS = (Extra(0xC5, b"before"), Extra(0x81, bytes(6) + b"\1" + bytes(8)), Extra(0x90, b"behind"))
LIMITS = Limits(pixels=2**18)
"""The limits of the reader. The damage may ask for large pictures, which other tests cover."""


@pytest.fixture(scope="module")
def file(codec: Codec, code: BinaryCode) -> bytes:
    return codec.pack(dataclasses.replace(code, extras=EXTRAS))


def damaged(data: bytes, draw: random.Random) -> bytes:
    """Change, remove, insert or repeat one to three bytes, most often in the places of lengths."""
    result = bytearray(data)
    for _ in range(draw.randint(1, 3)):
        at = draw.randrange(60) if draw.random() < 0.5 else draw.randrange(len(result))
        size = draw.randint(1, 4)
        match draw.randrange(4):
            case 0:
                result[at : at + 1] = draw.randbytes(1)
            case 1:
                del result[at : at + size]
            case 2:
                result[at:at] = draw.randbytes(size)
            case 3:
                result[at:at] = result[at : at + size]
    return bytes(result)


def complaint(codec: Codec, data: bytes, missing: Literal["error", "expect"]) -> str:
    """Return the message if a file is refused, or nothing if it gives a picture."""
    try:
        image = codec.decompress(data, missing=missing, limits=LIMITS)
    except BincodecError as error:
        return str(error)
    assert isinstance(image, Image.Image)
    return ""


@pytest.mark.parametrize("missing", ["error", "expect"])
def test_damage_with_checksums_made_anew(
    codec: Codec, file: bytes, repair: Callable[..., bytes], missing: Literal["error", "expect"]
) -> None:
    draw = random.Random(missing)
    said = [complaint(codec, repair(damaged(file, draw)), missing) for _ in range(150)]
    assert "".join(said).isprintable()
    # Unknown ancillary extras may hold anything, and they are a part of the file.
    assert 0 < said.count("") < 75


def test_what_is_accepted_is_what_a_writer_makes(
    codec: Codec, file: bytes, honest: Container, repair: Callable[..., bytes]
) -> None:
    """Only extras are changed behind the header; the levels stay as they were."""
    draw, accepted = random.Random(5), 0
    for at in draw.sample(range(36, len(file)), 40):
        forged = bytearray(file)
        forged[at] ^= 1 << draw.randrange(8)
        data = repair(bytes(forged))
        try:
            code = codec.unpack(data)
        except BincodecError:
            continue
        assert codec.pack(code) == data
        assert container.read(Memory(data)).chunks == honest.chunks
        accepted += data != file
    assert accepted > 0
