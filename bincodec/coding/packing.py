"""From a code to the bytes of a file, and back: exact, whatever the machine (FORMAT; DESIGN §5, §6).

Tiles are independent of each other, so several are packed or unpacked at once (`bincodec.workers`).
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from bincodec.bitstream import container
from bincodec.bitstream.coder import BitDecoder
from bincodec.bitstream.container import Chunk, Container, name_of
from bincodec.bitstream.header import Header
from bincodec.bitstream.limits import Limits
from bincodec.bitstream.raw import bytes_of
from bincodec.bitstream.stream import TileReader, TileWriter, group_layers
from bincodec.bitstream.tiles import Tile, grid_of
from bincodec.code import BinaryCode, Levels
from bincodec.coding import passes
from bincodec.coding.order import Pass
from bincodec.coding.passes import Integers, Positions
from bincodec.errors import BitsMismatch, Corrupt, InvalidSetting, Truncated
from bincodec.io.interruption import postponed
from bincodec.model.architecture import Architecture
from bincodec.model.kernels import IntegerPrior, Kernel
from bincodec.model.weights import Model
from bincodec.postfilter.filter import read_filter
from bincodec.workers import in_order

SAFEST_KERNEL: Kernel = "float64"
_LOG_BITS = 8
_LOG_TABLE = np.round(2**_LOG_BITS * np.log2(np.arange(1024).clip(1))).astype(np.int64)

with postponed():
    # In its first use the coder's library calls Python, and takes a Ctrl-C that falls into it for a failure.
    BitDecoder(b"")


class _WritingSource:
    """A source that knows the levels of a tile and passes them on to a writer."""

    def __init__(self, levels: tuple[Levels, ...], writer: TileWriter) -> None:
        self._levels = levels
        self._writer = writer

    def take(self, step: Pass, positions: Positions, mu: Integers, scale: Integers, maximum: int) -> Levels:
        """Write the pass."""
        levels = passes.at_positions(self._levels[step.layer], positions)
        self._writer.put(levels, mu, scale, maximum)
        return levels

    def end_layer(self, layer: int, levels: Levels) -> None:
        """Let the writer close its chunk, if its group is over."""
        self._writer.end_layer(levels)


class _ReadingSource:
    """A source that reads the levels of a tile from a file, and keeps what its checksums have confirmed."""

    def __init__(self, reader: TileReader) -> None:
        self._reader = reader
        self._layers: list[Levels] = []

    def take(self, step: Pass, positions: Positions, mu: Integers, scale: Integers, maximum: int) -> Levels:
        """Read the pass."""
        return self._reader.get(mu, scale, maximum)

    def end_layer(self, layer: int, levels: Levels) -> None:
        """Let the reader check what it has decoded."""
        self._layers.append(levels)
        self._reader.end_layer(levels)

    @property
    def confirmed(self) -> list[Levels]:
        """The layers of all groups that are over."""
        return self._layers[: self._reader.confirmed]


@dataclasses.dataclass(frozen=True)
class _UnpackedTile:
    """The levels of a tile, by layer, as far as checksums confirm them, and what is wrong with the next."""

    tile: Tile
    levels: list[Levels]
    error: Corrupt | None = None


def pack(model: Model, code: BinaryCode) -> bytes:
    """The bytes of a `.bld` file of `code`, which is the model's.

    Raises:
        InvalidSetting: if the code is what was left of a damaged file, or only a region of one.
    """
    if code.damage or code.tile_layers is not None:
        msg = "the code lacks what was damaged or not read, so it does not make a file"
        raise InvalidSetting(msg)
    header = Header(
        code.width, code.height, code.quality, code.layers, code.fingerprint, code.grey, code.tile_side
    )
    groups = group_layers([_likely_bits(levels) for levels in code.levels], len(code.tiles))
    pack_tile = functools.partial(_pack_tile, model.prior, code, header, groups)
    by_tile = list(in_order("pack", pack_tile, code.tiles, model.device))
    return container.write(header, groups, tuple(zip(*by_tile, strict=True)), code.extras)


def _pack_tile(
    prior: IntegerPrior, code: BinaryCode, header: Header, groups: tuple[int, ...], tile: Tile
) -> list[Chunk]:
    """The chunks of a tile, by group."""
    writer = TileWriter(header, tile, groups)
    source = _WritingSource(code.levels_of(tile), writer)
    passes.run(prior, code.quality, tile.shape, code.layers, source)
    return writer.chunks


def _likely_bits(levels: Levels) -> int:
    """About what a layer (channels, h, w) takes: the entropy of each channel by itself.

    In integers alone, so that every machine groups the layers alike.
    """
    channels, top = len(levels), int(levels.max(initial=0)) + 1
    index = levels.reshape(channels, -1) + top * np.arange(channels)[:, None]
    counts = np.bincount(index.ravel(), minlength=channels * top).astype(np.int64)
    whole = np.array([index.shape[1]])
    bits: int = channels * int((whole * _logarithm(whole))[0]) - int((counts * _logarithm(counts)).sum())
    return bits >> _LOG_BITS


def _logarithm(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """2^8 log2 of integers, 0 for 0; of large ones from their ten highest bits."""
    shift = np.zeros_like(numbers)
    while (numbers >> shift).max(initial=0) >= len(_LOG_TABLE):
        shift += (numbers >> shift) >= len(_LOG_TABLE)
    result: npt.NDArray[np.int64] = _LOG_TABLE[numbers >> shift] + (shift << _LOG_BITS)
    return result


def limits_of(code: BinaryCode) -> Limits:
    """Limits that the file of `code` is within."""
    return Limits(
        pixels=code.width * code.height,
        side=max(code.width, code.height),
        ancillary_bytes=sum(len(extra.payload) for extra in code.extras),
    )


def unpack(model: Model, file: Container, *, partial: bool = False, layers: int | None = None) -> BinaryCode:
    """The code in a file that was taken apart; `pack` turns it into the same bytes again.

    With `partial`, tiles that do not decode to what was written keep the layers before that. If only the
    first `layers` are wanted, the groups that hold them are unpacked, and no others.

    Raises:
        WrongModel: if another model wrote the file.
        Corrupt, Truncated: for a file that does not decode to what was written.
    """
    header, architecture = file.header, model.card.architecture
    model.card.check(header.fingerprint)
    if header.layers > architecture.layers:
        own = f"{architecture.layers} of model {model.card.name}"
        msg = f"the file has {header.layers} layers, more than the {own}"
        raise Corrupt(msg)
    _check_sizes(file, architecture)
    read_filter(file.extras)  # a malformed post-filter makes the file corrupt, wanted or not
    available = file.tile_layers
    if layers is not None:
        enough = next((end for end in itertools.accumulate(file.groups) if end >= layers), header.layers)
        available = tuple(min(enough, there) for there in available)
    if not any(available):
        msg = "nothing arrived intact: the first chunk of every tile is damaged or cut short"
        raise Truncated(msg)
    tiles = [tile for tile in header.tiles if available[tile.number]]
    unpack_tile = functools.partial(_unpack_tile, _Priors(model.prior), file, available, partial)
    unpacked = in_order("unpack", unpack_tile, tiles, model.device)
    return _assembled(model, file, unpacked)


class _Priors:
    """The prior that reads, and the one that reads again what did not come out as it was written.

    A reader needs no self-test: checksums tell. Should a library have broken the exact arithmetic in some
    shape, the slowest dtype still gets it right.
    """

    def __init__(self, prior: IntegerPrior) -> None:
        self.first = prior.untested()

    @functools.cached_property
    def again(self) -> IntegerPrior:
        """Loaded when it is needed."""
        return self.first.with_kernel(SAFEST_KERNEL)


def _unpack_tile(
    priors: _Priors, file: Container, available: Sequence[int], partial: bool, tile: Tile
) -> _UnpackedTile:
    """The levels of a tile; those that its checksums confirm, if `partial` allows the rest to be damaged."""
    found = _attempt(priors.first, file, available[tile.number], tile)
    if isinstance(found.error, BitsMismatch):
        found = _attempt(priors.again, file, available[tile.number], tile)
    if found.error is not None and not partial:
        raise found.error
    return found


def _attempt(prior: IntegerPrior, file: Container, layers: int, tile: Tile) -> _UnpackedTile:
    header, chunks = file.header, [row[tile.number] for row in file.chunks]
    source = _ReadingSource(TileReader(header, tile, file.groups, chunks))
    try:
        passes.run(prior, header.quality, tile.shape, layers, source)
    except Corrupt as error:
        return _UnpackedTile(tile, source.confirmed, error)
    return _UnpackedTile(tile, source.confirmed)


def _assembled(model: Model, file: Container, unpacked: Iterable[_UnpackedTile]) -> BinaryCode:
    """The code of all tiles together; those that were not unpacked have no layers."""
    header, architecture = file.header, model.card.architecture
    grid, damage = grid_of(header.width, header.height), list(file.damage)
    tile_layers = [0] * len(header.tiles)
    levels: list[Levels] = []
    for found in unpacked:
        tile_layers[found.tile.number] = len(found.levels)
        for layer, part in enumerate(found.levels):
            if layer == len(levels):
                levels.append(np.zeros((len(part), *grid), np.uint8))
            levels[layer][:, *found.tile.place] = part
        if found.error is not None:
            damage.append(str(found.error))
    if not levels:
        msg = f"nothing of the picture decodes to what was written: {damage[-1]}"
        raise Corrupt(msg)
    return BinaryCode(
        tuple(levels),
        architecture.maximum_level[: len(levels)],
        header.width,
        header.height,
        header.quality,
        model.card.name,
        header.fingerprint,
        header.grey,
        file.extras,
        header.tile_side,
        tuple(tile_layers),
        tuple(damage),
    )


def _check_sizes(file: Container, architecture: Architecture) -> None:
    """Raise `Corrupt` for a payload whose length alone shows that no writer made it."""
    starts = [0, *itertools.accumulate(file.groups)]
    for group, row in enumerate(file.chunks):
        layers = range(starts[group], starts[group + 1])
        for tile, chunk in zip(file.header.tiles, row, strict=True):
            if chunk is None:
                continue
            height, width = tile.shape
            raw = bytes_of(
                (architecture.layer_channels[layer] * height * width, architecture.maximum_level[layer])
                for layer in layers
            )
            length = len(chunk.payload)
            if length != raw if chunk.raw else length >= raw:
                kind = "raw" if chunk.raw else "coded"
                name = name_of(tile, group, file.groups)
                msg = f"{name}: {length} bytes of {kind} levels, which take {raw} uncoded"
                raise Corrupt(msg)
