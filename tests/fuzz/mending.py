"""Change files so that their checksums hold again, in order to reach the code behind the checksums.

A file is split into parts, one part is changed, and the file is laid out again with the code of the tests,
which shares nothing with the reader that is fuzzed.
"""

from __future__ import annotations

import random
import runpy
import zlib
from collections.abc import Callable
from pathlib import Path

from bincodec.bitstream import container
from bincodec.bitstream.container import Container, Memory
from bincodec.bitstream.errors import BincodecError
from bincodec.bitstream.header import FIELD_BYTES, HEADER_BYTES

# Tests are not a package, so the functions that lay out files are loaded from their file.
_SHARED = runpy.run_path(str(Path(__file__).resolve().parents[1] / "conftest.py"))
forge, repair = (_SHARED[name] for name in ("forge", "repair"))

Change = Callable[[bytes, int], bytes]
"""A function of (bytes, most bytes) that returns other bytes: the fuzzer's own mutation."""

KINDS = (0x41, 0xC1, 0xC5, 0x81, 0x82, 0x83, 0xBF, 0x01)
"""The kinds of extras that may be inserted: all known ones, two unknown ones to keep, and one to refuse."""


def header(data: bytes, max_bytes: int, seed: int, change: Change) -> bytes:
    """Return another header, mostly with a valid checksum, and then sometimes with one wrong bit."""
    dice = random.Random(seed)
    fields = change(data[:FIELD_BYTES], FIELD_BYTES)
    if dice.random() < 0.1:
        return change(data, max_bytes)
    packed = fields + zlib.crc32(fields).to_bytes(4, "little")
    return _turned(packed, dice, HEADER_BYTES) if dice.random() < 0.3 else packed


def file(data: bytes, max_bytes: int, seed: int, change: Change) -> bytes:
    """Return another file with one part changed and valid checksums, in nine of ten cases.

    One of five files then has a wrong bit.
    """
    dice = random.Random(seed)
    if dice.random() < 0.1:
        return change(data, max_bytes)
    try:
        changed = _with_another_part(data, dice, change)
    except BincodecError:  # It is not a valid file, so it is changed anywhere.
        changed = repair(change(data, max_bytes))
    if dice.random() < 0.2:
        changed = _turned(changed, dice, dice.choice((HEADER_BYTES, 64, len(changed))))
    return changed[:max_bytes]


def stream(payload: bytes) -> bytes:
    """Return a zlib stream with the checksum of its contents, as far as it can be unpacked."""
    machine = zlib.decompressobj(-15)
    try:
        held = machine.decompress(payload[2:], 2**16)
    except zlib.error:
        return payload
    if not machine.eof:
        return payload
    body = payload[2 : len(payload) - len(machine.unused_data)]
    # Method and window have a check of their own, which almost no change would pass.
    return b"\x78\xda" + body + zlib.adler32(held).to_bytes(4, "big")


def laid_out(found: Container) -> bytes:
    """Return the bytes of a file that was split into parts, whatever it holds."""
    return _laid_out(found.header.pack(), _mask(found), _chunks(found), _extras(found))


def _with_another_part(data: bytes, dice: random.Random, change: Change) -> bytes:
    found = container.read(Memory(data))
    head, mask, chunks, extras = found.header.pack(), _mask(found), _chunks(found), _extras(found)
    row = dice.choice(chunks)
    tile = dice.randrange(len(row))
    payload, raw, crc = row[tile]
    match dice.choice(("header", "mask", "index", "payload", "payload", "chunk", "swap", "extra", "extras")):
        case "header":
            return repair(_changed_within(data, 8, FIELD_BYTES, change))
        case "mask":
            mask = change(mask, len(mask)).ljust(len(mask), b"\0")
        case "index":
            _, _, end = container.read_index(Memory(data))
            return repair(data[:HEADER_BYTES] + change(data[HEADER_BYTES : end - 4], 80) + data[end - 4 :])
        case "payload":
            row[tile] = change(payload or b"\0", len(payload) + 8), raw, crc
        case "chunk":
            row[tile] = payload, not raw, crc
        case "swap":
            other = dice.choice(chunks)
            place = dice.randrange(len(other))
            row[tile], other[place] = other[place], row[tile]
        case "extra" if extras:
            place = dice.randrange(len(extras))
            kind, held = extras[place]
            extras[place] = kind, change(held or b"\0", len(held) + 8)
        case _:
            if extras and dice.random() < 0.4:
                del extras[dice.randrange(len(extras))]
            else:
                extras.append((dice.choice(KINDS), change(b"any", 16)))
            if dice.random() < 0.8:
                extras.sort(key=lambda extra: (not extra[0] & 0x40, extra[0]))
    return _laid_out(head, mask, chunks, extras)


def _laid_out(
    head: bytes, mask: bytes, chunks: list[list[tuple[bytes, bool, int]]], extras: list[tuple[int, bytes]]
) -> bytes:
    laid: bytes = forge(head, chunks, extras, mask=mask)
    return laid


def _mask(found: Container) -> bytes:
    """Return the bits of the index that say with which layers groups end."""
    layers, mask = 0, 0
    for group in found.groups:
        layers += group
        mask |= 1 << layers - 1
    return mask.to_bytes(-(-layers // 8), "little")


def _chunks(found: Container) -> list[list[tuple[bytes, bool, int]]]:
    return [[(one.payload, one.raw, one.bits_crc) for one in row if one is not None] for row in found.chunks]


def _extras(found: Container) -> list[tuple[int, bytes]]:
    return [(extra.kind, extra.payload) for extra in found.extras]


def _changed_within(data: bytes, start: int, stop: int, change: Change) -> bytes:
    """Return data with other bytes from `start` up to `stop`, of the same number."""
    return data[:start] + change(data[start:stop], stop - start).ljust(stop - start, b"\0") + data[stop:]


def _turned(data: bytes, dice: random.Random, end: int) -> bytes:
    """Return data with one bit before byte `end` flipped."""
    bit = dice.randrange(8 * min(end, len(data)))
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]
