"""Which of a profile's tables is used: photographs are converted relative to white, not to taste."""

import io
import struct

import numpy as np
from PIL import Image

from bincodec.io import images


def table(lightness: int) -> bytes:
    """An lut8 table from RGB to Lab that says the same for every colour: this lightness 0..255, no hue."""
    head = b"mft1" + bytes(4) + bytes([3, 3, 2, 0])
    matrix = struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    identity = bytes(range(256))
    grid = bytes([lightness, 128, 128]) * 8
    return head + matrix + 3 * identity + grid + 3 * identity


def profile(perceptual: int, relative: int) -> bytes:
    """An ICC 2 profile that disagrees with itself: one table for looks, one for measured colours."""
    text = b"text" + bytes(4) + b"none\0\0\0\0"
    description = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78) + bytes(1)
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    tags = {
        b"desc": description,
        b"cprt": text,
        b"wtpt": white,
        b"A2B0": table(perceptual),
        b"A2B1": table(relative),
    }
    entries, data = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, payload in tags.items():
        data += bytes(-len(data) % 4)
        entries += name + struct.pack(">II", start + len(data), len(payload))
        data += payload
    body = struct.pack(">I", len(tags)) + entries + data
    header = struct.pack(">I4sI4s4s4s", 128 + len(body), b"", 0x02400000, b"scnr", b"RGB ", b"Lab ")
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + body


def test_colours_are_converted_relative_to_white() -> None:
    file = io.BytesIO()
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))
    photo.save(file, "PNG", icc_profile=profile(perceptual=0, relative=255))
    picture = images.load(file.getvalue())
    assert len(picture.notes) == 1
    assert picture.notes[0].startswith("colours converted to sRGB")
    assert picture.pixels.min() >= 250
