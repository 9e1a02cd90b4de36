"""Test vectors that every reader must refuse, and files that once broke our reader."""

import dataclasses
import zlib
from collections.abc import Iterator

import numpy as np
from vector_case import Case, encoded, forge, forge_header, repair, rewritten, two_tiles

from bincodec import Codec
from bincodec.bitstream import container
from bincodec.bitstream.container import Container, Extra, Memory


def must_fail(codec: Codec) -> Iterator[Case]:
    """Yield files that every reader must refuse: damage, which checksums show, and forgeries."""
    whole = container.read(Memory(codec.pack(two_tiles(codec))))
    beside = rewritten(whole, extras=(Extra(0xBF, b"kept"),))
    for name, error, shows, file, partial in (
        *damaged(beside),
        *forged_headers(whole),
        *forged(codec, whole),
    ):
        yield Case("must-fail", name, shows, file, error, partial)


Failing = tuple[str, str, str, bytes, tuple[int, ...] | None]
"""The name, the error, what it shows, the file, and the layers that are left with `partial`."""


def damaged(data: bytes) -> Iterator[Failing]:
    """Yield damage on the way. The last chunk ends 8 bytes before the end of the file, with an extra of 4."""
    index = slice(36, container.read_index(Memory(data))[2])
    yield "empty", "not-bld", "no bytes at all", b"", None
    yield "text-mode", "not-bld", "line ends were translated", data.replace(b"\r\n", b"\n"), None
    yield "cut-in-header", "truncated", "the first 20 bytes", data[:20], None
    yield "cut-in-index", "truncated", "the header and a part of the index", data[: index.stop - 1], None
    yield "cut-in-chunk", "truncated", "the second tile is cut short", data[:-30], (3, 0)
    yield "cut-in-extra", "truncated", "the last byte is missing; all levels are there", data[:-1], (3, 3)
    yield "trailing-byte", "corrupt", "a line end was appended", data + b"\n", (3, 3)
    yield "flipped-header", "corrupt", "a bit of the quality", flipped(data, 20), None
    yield "flipped-index", "corrupt", "a bit of the index's checksum", flipped(data, index.stop - 1), None
    yield (
        "flipped-chunk",
        "corrupt",
        "a bit of the first tile's levels",
        flipped(data, index.stop + 3),
        (0, 3),
    )
    yield "flipped-extra", "corrupt", "a bit of ancillary data", flipped(data, len(data) - 8), (3, 3)


def forged_headers(whole: Container) -> Iterator[Failing]:
    """Yield headers that no writer makes, with valid checksums."""
    data = rewritten(whole)
    changes = (
        ("unknown-version", "unsupported", 8, 9, "a major version that nobody has defined"),
        ("unknown-flag", "unsupported", 10, 2, "a flag that nobody has defined"),
        ("reserved-byte", "unsupported", 23, 1, "the byte that has to be 0 is not"),
        ("quality-101", "corrupt", 20, 101, "a quality beyond 100"),
        ("tile-side-15", "corrupt", 22, 15, "a tile side below 16"),
        ("tile-side-65", "corrupt", 22, 65, "a tile side beyond 64"),
        ("other-model", "wrong-model", 24, 0, "the fingerprint of another model than the tiny one"),
        ("other-quality", "bits-mismatch", 20, 51, "another quality than the levels were coded with"),
        ("other-side", "bits-mismatch", 22, 17, "a tile side that gives the same two tiles"),
    )
    for name, error, offset, value, shows in changes:
        yield name, error, shows, repair(data[:offset] + bytes([value]) + data[offset + 1 :]), None
    draft = repair(data[:8] + b"\0\2" + data[10:])
    yield "draft", "unsupported", "version 0.2: drafts are no longer read", draft, None
    own = {"layers": 3, "fingerprint": whole.header.fingerprint}
    for name, error, shows, fields in (
        ("no-width", "corrupt", "a width of 0", {"width": 0}),
        ("no-layers", "corrupt", "no layer", {"layers": 0}),
        ("more-layers", "corrupt", "four layers, of a model that has three", {"layers": 4}),
        (
            "too-wide",
            "too-large",
            "65536 pixels wide, one more than a reader takes unasked",
            {"width": 65536},
        ),
        ("too-many-pixels", "too-large", "65535 x 65535 pixels", {"width": 65535, "height": 65535}),
    ):
        yield (
            name,
            error,
            shows,
            forge(forge_header(**(own | fields)), [[(b"", False, 0)] * 2], mask=b"\x08"),
            None,
        )


def forged(codec: Codec, whole: Container) -> Iterator[Failing]:
    """Yield indices, chunks and extras that no writer makes, with valid checksums."""
    header, (one, two) = whole.header.pack(), whole.chunks[0]
    assert one is not None
    assert two is not None
    first, second = ((chunk.payload, chunk.raw, chunk.bits_crc) for chunk in (one, two))
    indices = (
        ("mask-ends-early", "corrupt", "the last group ends with layer 2 of 3", b"\x02\0\0\0"),
        ("mask-ends-late", "corrupt", "the last group ends with layer 4 of 3", b"\x0c\0\0\0\0\0"),
        ("number-too-long", "corrupt", "a length with a byte more than it needs", b"\x04\0\x80\0\0"),
        ("number-too-large", "corrupt", "a length of 2^31 bytes", b"\x04\0\x80\x80\x80\x80\x10\0"),
        ("length-beyond-end", "truncated", "a length of 2^31 - 1 bytes", b"\x04\0\xff\xff\xff\xff\x0f\0"),
        (
            "unknown-critical",
            "unsupported",
            "data of a critical kind that nobody has defined",
            b"\x04\1\x3f\0\0\0",
        ),
        ("extras-out-of-order", "corrupt", "kinds 0x91 and 0x90 in this order", b"\x04\2\x91\0\x90\0\0\0"),
        ("extra-twice", "corrupt", "kind 0x90 twice", b"\x04\2\x90\0\x90\0\0\0"),
        (
            "too-much-beside",
            "too-large",
            "16 MiB of ancillary data, and a byte",
            b"\x04\1\x90\x81\x80\x80\x08\0\0",
        ),
    )
    for name, error, shows, index in indices:
        yield name, error, shows, forge(header, index=index, tail=bytes(40)), None
    raw = 2 * 3 * 9
    chunks = (
        ("raw-length", "corrupt", "raw levels that are a byte short", (bytes(raw - 1), True, 0)),
        ("coded-length", "corrupt", "coded levels that are as long as raw ones", (b"\1" * raw, False, 0)),
        ("zero-appended", "corrupt", "a zero byte behind coded levels", (first[0] + b"\0", *first[1:])),
        ("other-levels", "bits-mismatch", "another CRC of the levels", (*first[:2], first[2] ^ 1)),
        ("raw-flag", "corrupt", "coded levels that the index calls raw", (first[0], True, first[2])),
        ("all-ones", "bits-mismatch", "a payload that no encoder makes", (b"\xff" * 30, False, first[2])),
    )
    for name, error, shows, chunk in chunks:
        yield name, error, shows, forge(header, [[chunk, second]]), None
    alike = container.read(Memory(codec.pack(two_tiles(codec, 320))))
    shows = "two tiles of one size in each other's place, as if they had been written there"
    swapped = rewritten(alike, chunks=(alike.chunks[0][::-1],))
    yield "tiles-swapped", "bits-mismatch", shows, swapped, None
    payloads = (("short", bytes(12)), ("long", bytes(14)), ("padding", bytes(6) + b"\1" + bytes(7) + b"\1"))
    for name, payload in payloads:
        file = rewritten(whole, extras=(Extra(0x81, payload),))
        yield (
            f"post-filter-{name}",
            "corrupt",
            f"a post-filter of {len(payload)} bytes that means nothing",
            file,
            None,
        )
    for name, kind, payload, error, shows in forged_extras():
        yield name, error, shows, rewritten(whole, extras=(Extra(kind, payload),)), None
    yield from forged_raw(codec)


def forged_extras() -> Iterator[tuple[str, int, bytes, str, str]]:
    """Yield alpha and metadata of 300 x 33 pixels that unpack to something wrong."""
    opaque = zlib.compress(b"\xff" * 300 * 33, 9)
    yield "alpha-method-5", 0x41, b"\5" + opaque, "corrupt", "alpha by a method that nobody has defined"
    short = zlib.compress(b"\xff" * (300 * 33 - 1), 9)
    yield "alpha-short", 0x41, b"\0" + short, "corrupt", "alpha that lacks the last sample"
    yield "alpha-trailing", 0x41, b"\0" + opaque + b"\0", "corrupt", "a byte behind the stream of alpha"
    yield "alpha-coded-zero", 0x41, b"\4\xff\0", "corrupt", "a zero byte behind coded alpha"
    yield "alpha-bomb", 0x41, b"\0" + zlib.compress(bytes(2**20), 9), "corrupt", "alpha of a million samples"
    yield "metadata-nothing", 0x83, zlib.compress(b"", 9), "corrupt", "XMP of no bytes"
    yield (
        "metadata-cut",
        0x82,
        zlib.compress(b"Exif" * 9, 9)[:-1],
        "corrupt",
        "Exif whose stream is cut short",
    )
    bomb = zlib.compress(bytes(2**22 + 1), 9)
    shows = "a colour profile of 4 MiB and a byte, which a reader does not take unasked"
    yield "metadata-bomb", 0xC1, bomb, "too-large", shows


def forged_raw(codec: Codec) -> Iterator[Failing]:
    """Yield files of one position and one layer: two levels of three bits, and two bits that must be 0.

    Correctly coded, two levels of 6 are `b"\xd8"`, and two of 0 take no bytes.
    """
    sixes, zeros = (one_position(codec, level) for level in (6, 0))
    for name, honest, payload, shows in (
        ("raw-padding", sixes, b"\xd9", "a bit that fills a byte of raw levels is 1"),
        ("raw-beyond-maximum", sixes, b"\xf8", "a raw level of 7, where 6 is the most"),
        ("raw-needlessly", zeros, b"\0", "raw levels of which coded ones take fewer bytes"),
    ):
        ((chunk,),) = honest.chunks
        assert chunk is not None
        assert chunk.payload == (b"\xd8" if chunk.raw else b"")
        data = forge(honest.header.pack(), [[(payload, True, chunk.bits_crc)]])
        yield name, "corrupt", shows, data, None


def one_position(codec: Codec, level: int) -> Container:
    """Return the parts of the file of one pixel that has only the first layer."""
    code = encoded(codec, np.zeros((1, 1, 3), np.uint8), 50)
    levels = (np.full_like(code.levels[0], level),)
    return container.read(Memory(codec.pack(dataclasses.replace(code, levels=levels, maximum=(6,)))))


def once_broke_us(codec: Codec) -> Iterator[Case]:
    """Yield small files that cost some version of our own reader far too much."""
    own = {"layers": 3, "fingerprint": codec.model.card.fingerprint, "side": 64}
    for name, error, size, payload, raw, shows in (
        ("large-raw", "corrupt", (8000, 8000), b"", True, "76 s and 4.2 GB, though the lengths tell"),
        ("large-empty", "bits-mismatch", (2000, 2000), b"", False, "83 s and 1.7 GB, though one tile tells"),
        ("large-ones", "bits-mismatch", (65535, 1024), b"\xff" * 8, False, "all tiles, though one tells"),
    ):
        header = forge_header(width=size[0], height=size[1], **own)
        tiles = -(-size[0] // 1024) * -(-size[1] // 1024)
        yield Case("once-broke-us", name, shows, forge(header, [[(payload, raw, 0)] * tiles]), error)
    header = forge_header(width=256, height=256, **own)
    crc = zlib.crc32(bytes(4 + 9 * 256), zlib.crc32(header[:32]))
    shows = "a picture of no payload at all, made without the model: all levels are 0"
    yield Case("once-broke-us", "all-zeros", shows, forge(header, [[(b"", False, crc)]]))
    header = forge_header(**(own | {"side": 16}))
    for name, shows, index in (
        (
            "endless-number",
            "a number that goes on to the end of the file, which was read to it",
            b"\x04\0" + b"\x80" * 4000,
        ),
        (
            "many-extras",
            "255 times the same kind, all of which were listed in one line",
            b"\x04\xff\1" + b"\x90\0" * 255,
        ),
    ):
        yield Case("once-broke-us", name, shows, forge(header, index=index + bytes(2)), "corrupt")
    header = forge_header(width=65535, height=1024, **(own | {"side": 16}))
    index = bytearray(forge(header, index=b"\x04\0" + bytes(1028)))
    index[40], index[400] = 1, 1
    shows = "an index with two wrong bits, each of whose bits was tried in turn, for seconds"
    yield Case("once-broke-us", "long-index", shows, bytes(index), "corrupt")
    whole = container.read(Memory(codec.pack(two_tiles(codec))))
    payload = bytes(6) + b"\1" + bytes(6) + b"\x0f" + bytes(4000)
    shows = "a post-filter longer than its numbers can be, whose every bit became a number of 8 bytes"
    yield Case(
        "once-broke-us",
        "long-post-filter",
        shows,
        rewritten(whole, extras=(Extra(0x81, payload),)),
        "corrupt",
    )


def flipped(data: bytes, at: int) -> bytes:
    """Return data with the lowest bit of a byte flipped."""
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
