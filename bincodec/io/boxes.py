"""Read what the boxes of AVIF and JPEG 2000 files say about colours and bits.

Pillow does not show this information. Both formats are sequences of boxes, each with a length, a kind of four
characters, and a body that may contain further boxes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from bincodec.io import spaces
from bincodec.io.spaces import SRGB, Tag

JPEG_2000_MAGIC = b"\0\0\0\x0cjP  \r\n\x87\n"
_CODESTREAM_MAGIC = b"\xff\x4f\xff\x51"
_AVIF_BRANDS = (b"avif", b"avis")
_MOST_BOXES = 1000
_SRGB, _GREY, _SYCC, _CMYK = 16, 17, 18, 12


@dataclass(frozen=True)
class Told:
    """What a file says about its picture.

    Args:
        profile: the ICC colour profile, or None if the file has none.
        tag: what the file says about its colours without a profile, or None.
        bits: the number of bits of a sample. It is 8 if the file does not say it.
    """

    profile: bytes | None = None
    tag: Tag | None = None
    bits: int = 8


def is_avif(data: bytes) -> bool:
    """Return whether the bytes begin like an AVIF file."""
    if data[4:8] != b"ftyp":
        return False
    brands = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
    return any(brand in brands for brand in _AVIF_BRANDS)


def is_jpeg_2000(data: bytes) -> bool:
    """Return whether the bytes begin like a JPEG 2000 file, with boxes or as a bare codestream."""
    return data.startswith((JPEG_2000_MAGIC, _CODESTREAM_MAGIC))


def read_jpeg_2000(data: bytes) -> Told:
    """Return the profile, the colour space and the bits of a JPEG 2000 file.

    If the file has several colr boxes, the first valid one counts.

    Raises:
        spaces.Unknown: if 8 bits cannot represent the colours.
    """
    if data.startswith(_CODESTREAM_MAGIC):
        return Told(bits=_bits_of_codestream(data))
    header = next((body for kind, body in _boxes(memoryview(data)) if kind == b"jp2h"), None)
    profile, tag, bits, unknown = None, None, 8, None
    for kind, body in _boxes(header) if header is not None else ():
        if kind == b"ihdr" and len(body) >= 11 and body[10] != 255:
            bits = (body[10] & 127) + 1
        elif kind == b"bpcc":
            bits = max(((value & 127) + 1 for value in body), default=bits)
        elif kind == b"colr" and profile is None and tag is None and len(body) >= 3:
            try:
                profile, tag = _colours_of_jpeg_2000(body)
            except spaces.Unknown as error:
                unknown = error
    if unknown and profile is None and tag is None:
        raise unknown
    return Told(profile, tag, bits)


def _colours_of_jpeg_2000(body: memoryview) -> tuple[bytes | None, Tag | None]:
    method = body[0]
    if method in (2, 3):
        return bytes(body[3:]) or None, None
    if method == 1 and len(body) >= 7:
        (code,) = struct.unpack_from(">I", body, 3)
        if code in (_SRGB, _GREY, _SYCC, _CMYK):
            return None, Tag("colr", SRGB)
        msg = f"the colour space with the number {code}, which is not supported"
        raise spaces.Unknown(msg)
    if method == 5 and len(body) >= 9:
        primaries, transfer = struct.unpack_from(">HH", body, 3)
        return None, Tag("colr", spaces.from_codes(primaries, transfer))
    return None, None


def _bits_of_codestream(data: bytes) -> int:
    """Return the largest number of bits of any component. The SIZ marker, which comes first, names them."""
    if len(data) < 43:
        return 8
    (count,) = struct.unpack_from(">H", data, 40)
    return max(((value & 127) + 1 for value in data[42 : 42 + 3 * min(count, 16) : 3]), default=8)


def read_avif(data: bytes) -> Told:
    """Return the colours and the bits of the primary item of an AVIF file.

    Raises:
        spaces.Unknown: if 8 bits cannot represent the colours.
    """
    meta = next((body for kind, body in _boxes(memoryview(data)) if kind == b"meta"), None)
    if meta is None:
        return Told()
    parts = dict(_boxes(meta[4:]))
    properties = dict(_boxes(parts[b"iprp"])) if b"iprp" in parts else {}
    known = list(_boxes(properties.get(b"ipco", memoryview(b""))))
    try:
        wanted = _properties_of(_primary(parts[b"pitm"]), properties[b"ipma"])
    except (KeyError, struct.error, IndexError):
        return Told()
    profile, codes, bits = None, None, 8
    for kind, body in (known[index - 1] for index in wanted if 0 < index <= len(known)):
        named = bytes(body[:4])
        if kind == b"colr" and named == b"nclx" and len(body) >= 10:
            codes = struct.unpack_from(">HH", body, 4)
        elif kind == b"colr" and named in (b"prof", b"rICC"):
            profile = bytes(body[4:])
        elif kind == b"pixi" and len(body) > 5:
            bits = max(body[5:])
    # If there is a profile, the codes only say how the samples of the file are converted to RGB.
    tag = Tag("nclx", spaces.from_codes(*codes)) if codes and not profile else None
    return Told(profile, tag, bits)


def _primary(body: memoryview) -> int:
    return int(struct.unpack_from(">H" if body[0] == 0 else ">I", body, 4)[0])


def _properties_of(item: int, body: memoryview) -> list[int]:
    """Return the numbers of the properties that belong to an item. They count from 1."""
    wide_items, wide_numbers = body[0] >= 1, body[3] & 1
    (count,), position = struct.unpack_from(">I", body, 4), 8
    for _ in range(min(count, _MOST_BOXES)):
        (found,) = struct.unpack_from(">I" if wide_items else ">H", body, position)
        position += 4 if wide_items else 2
        size, entries, position = 1 + wide_numbers, body[position], position + 1
        if found == item:
            form = f">{entries}{'H' if wide_numbers else 'B'}"
            mask = 0x7FFF if wide_numbers else 0x7F
            return [number & mask for number in struct.unpack_from(form, body, position)]
        position += size * entries
    return []


def _boxes(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the kind and the body of each box. The first box that is not whole ends the sequence."""
    position = 0
    for _ in range(_MOST_BOXES):
        if position + 8 > len(view):
            return
        size, kind = struct.unpack_from(">I4s", view, position)
        start = position + 8
        if size == 1 and start + 8 <= len(view):
            (size,), start = struct.unpack_from(">Q", view, start), start + 8
        end = len(view) if size == 0 else position + size
        if end < start or end > len(view):
            return
        yield kind, view[start:end]
        position = end
