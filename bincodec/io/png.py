"""Read what the chunks of a PNG say, and make a file that Pillow can read.

Pillow refuses a whole file because of one text of more than 1 MB, or because of a wrong checksum in a chunk
without influence on the picture. It does not check the checksums of pixels. It ignores the chunk cICP, and
also a profile that it cannot unpack.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from bincodec.errors import ImageError
from bincodec.io import colour, spaces
from bincodec.io.spaces import Primaries, Space, Tag

MAGIC = b"\x89PNG\r\n\x1a\n"
_MOST_CHUNKS = 1_000_000
_MOST_NAMES = 8
_XMP_KEYWORD = b"XML:com.adobe.xmp"
_EXIF_KEYWORD = b"Raw profile type exif"
# The largest number of bytes of a text that Pillow unpacks.
_MOST_TEXT = 2**20
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_COLOURS = (b"iCCP", b"cICP", b"sRGB", b"gAMA", b"cHRM")


@dataclass(frozen=True)
class Png:
    """What the chunks of a PNG say.

    Args:
        data: the file without its texts, its profile, and damaged chunks that have no influence on the
            picture.
        profile: the ICC profile, or None if there is none or another chunk takes precedence.
        lost: what is wrong with a profile that cannot be used, or None.
        xmp: the XMP packet, or None.
        tag: what the file says about its colours without a profile, or None.
        notes: one sentence for each change that the user should know of.
    """

    data: bytes
    profile: bytes | None = None
    lost: str | None = None
    xmp: bytes | None = None
    tag: Tag | None = None
    notes: tuple[str, ...] = ()


@dataclass
class _Found:
    """What was found so far: payloads by kind, and the parts of the file that remain."""

    parts: list[bytes] = field(default_factory=lambda: [MAGIC])
    colours: dict[bytes, bytes] = field(default_factory=dict)
    xmp: bytes | None = None
    # Only one text of each keyword is unpacked. A malicious file could contain very many.
    unpacked: set[bytes] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


def read(data: bytes, most: int) -> Png:
    """Return what the chunks of a PNG say.

    At most `most` + 1 bytes of the profile and of XMP are unpacked, so that the caller can see that they are
    too long.

    Raises:
        ImageError: if 8 bits cannot represent the colours.
    """
    found, pixels_damaged, left_out = _Found(), False, set[str]()
    for kind, payload, chunk in _chunks(data):
        if kind and chunk[-4:] != struct.pack(">I", zlib.crc32(chunk[4:-4])):
            if kind == b"IDAT":
                pixels_damaged = True
            elif kind == b"iCCP":  # The packed profile has its own checksum, so it may still be whole.
                found.notes.append("the checksum of the chunk with the colour profile is wrong")
            elif kind[0] & 0x20:
                left_out.add(kind.decode() if kind.isalpha() else kind.hex())
                continue
        _sort(found, kind, payload, chunk, most)
    if left_out:
        found.notes.append(f"damaged PNG chunks are left out: {', '.join(sorted(left_out)[:_MOST_NAMES])}")
    if pixels_damaged:
        found.notes.append("the checksum of the pixels is wrong; a part of the picture may be damaged")
    profile, lost = _profile(found.colours, most, found.notes)
    profile, tag = _colours(found.colours, profile, found.notes)
    return Png(b"".join(found.parts), profile, lost, found.xmp, tag, tuple(found.notes))


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview, memoryview]]:
    """Yield the kind, the payload and all bytes of each chunk.

    If bytes that are no chunk follow, they come last, with an empty kind.
    """
    view, position, count = memoryview(data), len(MAGIC), 0
    while position + 12 <= len(data) and count < _MOST_CHUNKS:
        size, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + size
        if end > len(data):
            break
        yield kind, view[position + 8 : end - 4], view[position:end]
        position, count = end, count + 1
        if kind == b"IEND":
            return
    yield b"", view[:0], view[position:]


def _sort(found: _Found, kind: bytes, payload: memoryview, chunk: memoryview, most: int) -> None:
    """Read a chunk if Pillow should not, or else add it to the parts of the file that Pillow will read."""
    if kind in _COLOURS:
        found.colours.setdefault(kind, bytes(payload))
    elif kind in _TEXTS:
        keyword = bytes(payload[:80]).split(b"\0")[0]
        if keyword in found.unpacked:
            return
        if kind == b"iTXt" and keyword == _XMP_KEYWORD:
            found.unpacked.add(keyword)
            found.xmp = _international_text(bytes(payload), most)
            if found.xmp is None:
                found.notes.append("the XMP is damaged; it is left out")
        elif keyword == _EXIF_KEYWORD:
            found.unpacked.add(keyword)
            if kind == b"tEXt" or _fits(bytes(payload[len(keyword) + 2 :])):
                found.parts.append(bytes(chunk))
            else:
                found.notes.append("the Exif is damaged or too long; it is left out")
    else:
        found.parts.append(bytes(chunk))


def _inflated(data: bytes, most: int) -> bytes | None:
    """Return unpacked data, cut off after `most` + 1 bytes, or None if it is damaged or incomplete."""
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(data, most + 1)
    except zlib.error:
        return None
    return unpacked if unpacker.eof or len(unpacked) > most else None


def _begun(data: bytes) -> bytes:
    """Return the part of damaged data that can be unpacked before the damage."""
    unpacker, found = zlib.decompressobj(), bytearray()
    with suppress(zlib.error):
        for index in range(min(len(data), _MOST_TEXT)):
            found += unpacker.decompress(data[index : index + 1], _MOST_TEXT)
            if len(found) > _MOST_TEXT:
                break
    return bytes(found)


def _fits(data: bytes) -> bool:
    unpacked = _inflated(data, _MOST_TEXT - 1)
    return unpacked is not None and len(unpacked) < _MOST_TEXT


def _international_text(payload: bytes, most: int) -> bytes | None:
    """Return the text in an iTXt chunk, behind keyword, compression, language and translated keyword."""
    _, _, rest = payload.partition(b"\0")
    packed, _, rest = rest[:1], rest[1:2], rest[2:]
    _, _, rest = rest.partition(b"\0")
    _, _, text = rest.partition(b"\0")
    return _inflated(text, most) if packed == b"\1" else text


def _profile(there: dict[bytes, bytes], most: int, notes: list[str]) -> tuple[bytes | None, str | None]:
    """Return the profile, and what is wrong with it; both are None if there is none."""
    if b"iCCP" not in there:
        return None, None
    _, _, rest = there[b"iCCP"].partition(b"\0")
    profile = _inflated(rest[1:], most)
    if profile == b"":
        notes.append("the colour profile is empty; it is left out")
        return None, None
    if profile is None and (profile := colour.salvaged(_begun(rest[1:]))):
        notes.append("the colour profile is damaged; the rest contains all colours and is used")
    return profile, None if profile else "the colour profile is damaged"


def _colours(
    there: dict[bytes, bytes], profile: bytes | None, notes: list[str]
) -> tuple[bytes | None, Tag | None]:
    """Return the profile, or else a tag.

    The first of these counts, as in the third edition of PNG: cICP, iCCP, sRGB, gAMA and cHRM.
    """
    if len(there.get(b"cICP", b"")) == 4:
        primaries, transfer, _, full = there[b"cICP"]
        try:
            if not full:
                msg = "samples of a narrow range, which are not supported"
                raise spaces.Unknown(msg)
            return None, Tag("cICP", spaces.from_codes(primaries, transfer))
        except spaces.Unknown as error:
            if profile is None:
                msg = f"the cICP chunk names {error}"
                raise ImageError(msg) from error
            notes.append(f"the colour profile is used, because the cICP chunk names {error}")
    if profile is not None:
        return profile, None
    if b"sRGB" in there:
        return None, Tag("sRGB", spaces.SRGB)
    if (space := _measured(there, notes)) is None:
        return None, None
    return None, Tag(" and ".join(kind.decode() for kind in (b"gAMA", b"cHRM") if kind in there), space)


def _measured(there: dict[bytes, bytes], notes: list[str]) -> Space | None:
    """Return the space that gAMA and cHRM describe together, or None."""
    gamma, corners = there.get(b"gAMA"), there.get(b"cHRM")
    if gamma is None and corners is None:
        return None
    try:
        exponent = None if gamma is None else 100_000 / struct.unpack(">I", gamma)[0]
        primaries: Primaries | None = None
        if corners is not None:
            numbers = [number / 100_000 for number in struct.unpack(">8I", corners)]
            white, red, green, blue = zip(numbers[::2], numbers[1::2], strict=True)
            primaries = (red, green, blue, white)
        return spaces.from_numbers(exponent, primaries)
    except (struct.error, ZeroDivisionError, spaces.Unknown) as error:
        reason = error if isinstance(error, spaces.Unknown) else "no valid numbers"
        notes.append(f"the colours are taken for sRGB, because gAMA and cHRM contain {reason}")
        return None
