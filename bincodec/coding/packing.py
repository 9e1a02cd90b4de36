"""Turn a code into the bytes of a file, and back, exactly and on any machine (FORMAT; DESIGN §5, §6).

Tiles are independent of each other, so several of them are packed or unpacked at once (`bincodec.workers`).
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import threading
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from bincodec.bitstream import container
from bincodec.bitstream.coder import BitDecoder
from bincodec.bitstream.container import Chunk, Container, name_of
from bincodec.bitstream.header import FORMAT_VERSION, Header
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
    # When the coder's library is first used, it calls Python. It would treat a Ctrl-C there as a failure.
    BitDecoder(b"")


class _WritingSource:
    """A source that knows the levels of a tile and passes them to a writer."""

    def __init__(self, levels: tuple[Levels, ...], writer: TileWriter) -> None:
        self._levels = levels
        self._writer = writer

    def take(self, step: Pass, positions: Positions, mu: Integers, scale: Integers, maximum: int) -> Levels:
        """Write the levels of the pass and return them."""
        levels = passes.at_positions(self._levels[step.layer], positions)
        self._writer.put(levels, mu, scale, maximum)
        return levels

    def end_layer(self, layer: int, levels: Levels) -> None:
        """Let the writer finish its chunk if the layer is the last one of its group."""
        self._writer.end_layer(levels)


class _ReadingSource:
    """A source that reads the levels of a tile from a file and keeps those that checksums have confirmed."""

    def __init__(self, reader: TileReader) -> None:
        self._reader = reader
        self._layers: list[Levels] = []

    def take(self, step: Pass, positions: Positions, mu: Integers, scale: Integers, maximum: int) -> Levels:
        """Read the levels of the pass and return them."""
        return self._reader.get(mu, scale, maximum)

    def end_layer(self, layer: int, levels: Levels) -> None:
        """Let the reader check the levels that it has decoded."""
        self._layers.append(levels)
        self._reader.end_layer(levels)

    @property
    def confirmed(self) -> list[Levels]:
        """The layers of all groups that have been read and checked."""
        return self._layers[: self._reader.confirmed]


@dataclasses.dataclass(frozen=True)
class _UnpackedTile:
    """The levels of a tile by layer, as far as checksums confirm them, and the error that came after them.

    `doubtful` says whether wrong predictions may be the reason of the error.
    """

    tile: Tile
    levels: list[Levels]
    error: Corrupt | None = None
    doubtful: bool = False


def pack(model: Model, code: BinaryCode) -> bytes:
    """Return the bytes of a `.bld` file of `code`, which must belong to `model`.

    Raises:
        InvalidSetting: if the code comes from a damaged file, or is only a region of a file.
    """
    if code.damage or code.tile_layers is not None:
        msg = "the code is incomplete, as parts of its file were damaged or not read: it cannot be packed"
        raise InvalidSetting(msg)
    header = Header(
        code.width,
        code.height,
        code.quality,
        code.layers,
        code.fingerprint,
        code.grey,
        code.tile_side,
        (FORMAT_VERSION[0], code.minor_version),
    )
    groups = group_layers([_likely_bits(levels) for levels in code.levels], len(code.tiles))
    pack_tile = functools.partial(_pack_tile, model.prior, code, header, groups)
    by_tile = list(in_order("pack", pack_tile, code.tiles, model.device))
    return container.write(header, groups, tuple(zip(*by_tile, strict=True)), code.extras)


def _pack_tile(
    prior: IntegerPrior, code: BinaryCode, header: Header, groups: tuple[int, ...], tile: Tile
) -> list[Chunk]:
    """Return the chunks of a tile, by group."""
    writer = TileWriter(header, tile, groups)
    source = _WritingSource(code.levels_of(tile), writer)
    passes.run(prior, code.quality, tile.shape, code.layers, source)
    return writer.chunks


def _likely_bits(levels: Levels) -> int:
    """Estimate the bits of a layer (channels, h, w) by the sum of the entropies of its channels.

    The estimate is computed with integers only, so that every machine groups the layers in the same way.
    """
    channels, top = len(levels), int(levels.max(initial=0)) + 1
    index = levels.reshape(channels, -1) + top * np.arange(channels)[:, None]
    counts = np.bincount(index.ravel(), minlength=channels * top).astype(np.int64)
    whole = np.array([index.shape[1]])
    bits: int = channels * int((whole * _logarithm(whole))[0]) - int((counts * _logarithm(counts)).sum())
    return bits >> _LOG_BITS


def _logarithm(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return 2^8 log2 of integers, and 0 for 0. For large ones, only their ten highest bits are used."""
    shift = np.zeros_like(numbers)
    while (numbers >> shift).max(initial=0) >= len(_LOG_TABLE):
        shift += (numbers >> shift) >= len(_LOG_TABLE)
    result: npt.NDArray[np.int64] = _LOG_TABLE[numbers >> shift] + (shift << _LOG_BITS)
    return result


def limits_of(code: BinaryCode) -> Limits:
    """Return limits that the file of `code` does not exceed."""
    return Limits(
        pixels=code.width * code.height,
        side=max(code.width, code.height),
        ancillary_bytes=sum(len(extra.payload) for extra in code.extras),
    )


def unpack(model: Model, file: Container, *, partial: bool = False, layers: int | None = None) -> BinaryCode:
    """Return the code in a file. `pack` turns it into the same bytes again.

    With `partial`, a tile that does not decode to what was written keeps the layers before the error. With
    `layers`, only the groups that hold the first `layers` layers are unpacked.

    Raises:
        WrongModel: if another model wrote the file.
        Corrupt, Truncated: if the file does not decode to what was written.
    """
    header, architecture = file.header, model.card.architecture
    model.card.check(header.fingerprint)
    if header.layers > architecture.layers:
        own = f"model {model.card.name} has only {architecture.layers}"
        msg = f"the file has {header.layers} layers, but {own}"
        raise Corrupt(msg)
    file = _with_possible_sizes(file, architecture, partial=partial)
    read_filter(file.extras)  # A malformed post-filter makes the file corrupt, even if it is not applied.
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
    """The prior that reads tiles, and the one that reads a tile again if its checksum does not hold.

    A reader needs no self-test of the kernel, because checksums show wrong results. If a library is not exact
    for the shape of a tile, the second prior still is: it uses the safest kernel.
    """

    def __init__(self, prior: IntegerPrior) -> None:
        self.first = prior.untested()
        self.one_at_a_time = threading.Lock()
        """Held while a tile is read again. The safest kernel is slow and takes much memory."""
        self.failed = False
        """Whether a tile that was read again was still wrong."""

    @functools.cached_property
    def again(self) -> IntegerPrior:
        """The second prior. It is made when it is first needed."""
        return self.first.with_kernel(SAFEST_KERNEL)


def _unpack_tile(
    priors: _Priors, file: Container, available: Sequence[int], partial: bool, tile: Tile
) -> _UnpackedTile:
    """Return the levels of a tile. With `partial`, return those before an error, and the error."""
    found = _attempt(priors.first, file, available[tile.number], tile)
    if found.doubtful:
        with priors.one_at_a_time:
            # One wrong tile is enough to refuse a whole file, so no other tile is read again for it.
            if partial or not priors.failed:
                found = _attempt(priors.again, file, available[tile.number], tile)
                priors.failed = found.error is not None
    if found.error is not None and not partial:
        raise found.error
    return found


def _attempt(prior: IntegerPrior, file: Container, layers: int, tile: Tile) -> _UnpackedTile:
    header, chunks = file.header, [row[tile.number] for row in file.chunks]
    reader = TileReader(header, tile, file.groups, chunks)
    source = _ReadingSource(reader)
    try:
        passes.run(prior, header.quality, tile.shape, layers, source)
    except Corrupt as error:
        # In a raw chunk, the levels do not depend on predictions, but the choice to store it raw does.
        doubtful = isinstance(error, BitsMismatch) or reader.rewritten_differs
        return _UnpackedTile(tile, source.confirmed, error, doubtful)
    return _UnpackedTile(tile, source.confirmed)


def _assembled(model: Model, file: Container, unpacked: Iterable[_UnpackedTile]) -> BinaryCode:
    """Return the code of all tiles together. Tiles that were not unpacked have no layers."""
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
        header.version[1],
    )


def _with_possible_sizes(file: Container, architecture: Architecture, *, partial: bool) -> Container:
    """Return a file without the chunks whose length shows that no writer made them, or raise `Corrupt`."""
    starts = [0, *itertools.accumulate(file.groups)]
    damage = list(file.damage)
    chunks = []
    for group, row in enumerate(file.chunks):
        layers = range(starts[group], starts[group + 1])
        kept = list(row)
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
                if not partial:
                    raise Corrupt(msg)
                damage.append(msg)
                kept[tile.number] = None
        chunks.append(tuple(kept))
    return dataclasses.replace(file, chunks=tuple(chunks), damage=tuple(damage))
