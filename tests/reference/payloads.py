"""From the chunks of a tile to levels, with a check that a writer makes such chunks (FORMAT, "Chunks")."""

from __future__ import annotations

from collections.abc import Sequence

from .container import Chunk, Header
from .cursor import crc_of, u32
from .errors import refuse
from .integer_network import IntegerNetwork
from .levels import CodedLevels, Levels
from .model_file import Architecture
from .passes import decode_passes
from .probability import Tables
from .raw import RawLevels


def check_length(architecture: Architecture, chunk: Chunk, grid: tuple[int, int]) -> None:
    """Refuse a payload that is too long, or too short if it is raw, before anything in it is decoded."""
    length, raw = len(chunk.payload), raw_length(architecture, chunk.layers, grid)
    if chunk.raw and length != raw:
        refuse("corrupt", f"a raw payload of {length} bytes, not {raw}")
    if not chunk.raw and length >= raw:
        refuse("corrupt", f"a coded payload of {length} bytes, no shorter than the {raw} of a raw one")


def raw_length(architecture: Architecture, layers: range, grid: tuple[int, int]) -> int:
    """Return the bytes of so many raw levels."""
    positions = grid[0] * grid[1]
    bits = sum(
        positions * architecture.layer_channels[layer] * architecture.maximum_level[layer].bit_length()
        for layer in layers
    )
    return -(-bits // 8)


def decode_tile(
    network: IntegerNetwork,
    tables: Tables,
    header: Header,
    number: int,
    chunks: Sequence[Chunk],
    grid: tuple[int, int],
) -> list[Levels]:
    """Return the levels of a tile, layer by layer, each (channels, rows, columns)."""
    readers = [(RawLevels if chunk.raw else CodedLevels)(chunk.payload, tables) for chunk in chunks]
    by_layer = [reader for reader, chunk in zip(readers, chunks, strict=True) for _ in chunk.layers]
    levels = decode_passes(network, by_layer, header.quality, grid)
    for reader, chunk in zip(readers, chunks, strict=True):
        so_far = [part.astype("u1").tobytes() for part in levels[: chunk.layers.stop]]
        if chunk.bits_crc != crc_of(header.head, u32(number), *so_far):
            refuse("bits mismatch", f"tile {number}, layers {chunk.layers.start} to {chunk.layers.stop - 1}")
        reader.check_end()
    return levels
