"""A toy model for whole files, whose predictions do not depend on what was decoded before."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from bincodec.bitstream import container
from bincodec.bitstream.coder import BitEncoder
from bincodec.bitstream.container import Chunks, Container, Extra, Memory
from bincodec.bitstream.errors import Corrupt
from bincodec.bitstream.header import Header
from bincodec.bitstream.levels import encode_levels
from bincodec.bitstream.raw import pack_raw
from bincodec.bitstream.stream import TileReader, TileWriter
from bincodec.bitstream.tiles import Tile, grid_of

# This reads docs/FORMAT.md, which describes another version.


@dataclass(frozen=True)
class Layer:
    """Locations, scales and levels, each (channels, rows, columns), and the largest level, in two passes."""

    mu: np.ndarray
    scale: np.ndarray
    levels: np.ndarray
    maximum: int

    def of(self, tile: Tile) -> "Layer":
        """Return the part of the layer in a tile."""
        return Layer(*(x[:, *tile.place] for x in (self.mu, self.scale, self.levels)), self.maximum)


@dataclass(frozen=True)
class Toy:
    """Layers that pack to a file. `unpack` knows everything about them except the levels."""

    layers: tuple[Layer, ...]
    header: Header
    groups: tuple[int, ...]

    def writer(self, tile: Tile) -> TileWriter:
        """Return a writer that has written a whole tile."""
        writer = TileWriter(self.header, tile, self.groups)
        for layer in self.layers:
            own = layer.of(tile)
            for coded in passes([own]):
                writer.put(*coded)
            writer.end_layer(own.levels)
        return writer

    def chunks(self) -> Chunks:
        return tuple(zip(*(self.writer(tile).chunks for tile in self.header.tiles), strict=True))

    def pack(self, extras: Sequence[Extra] = ()) -> bytes:
        return container.write(self.header, self.groups, self.chunks(), extras)

    def unpack(self, data: bytes) -> "Toy":
        return self.decode(container.read(Memory(data)))

    def decode(self, file: Container) -> "Toy":
        """Return the toy with the levels of a file. A layer is zero where the file lacks it.

        Like a model, it refuses a file with another grid or with more layers than it has.
        """
        grid = grid_of(file.header.width, file.header.height)
        if grid != self.layers[0].mu.shape[1:] or file.header.layers > len(self.layers):
            msg = "not a file of this toy"
            raise Corrupt(msg)
        found = [np.zeros_like(layer.levels) for layer in self.layers[: file.header.layers]]
        for tile in file.header.tiles:
            reader = self.reader(file, tile)
            for number in range(file.tile_layers[tile.number]):
                read_layer(reader, self.layers[number].of(tile), found[number][:, *tile.place])
        layers = tuple(replace(layer, levels=x) for layer, x in zip(self.layers, found, strict=False))
        return Toy(layers, file.header, file.groups)

    def reader(self, file: Container, tile: Tile) -> TileReader:
        return TileReader(file.header, tile, file.groups, [row[tile.number] for row in file.chunks])

    def coded(self) -> bytes:
        """Return the payload of one range-coded chunk, even if the writer would store it raw."""
        encoder = BitEncoder()
        for coded in passes(self.layers):
            encode_levels(encoder, *coded)
        return encoder.finish()

    def raw(self) -> bytes:
        """Return the payload of one raw chunk, even if the writer would code it."""
        return pack_raw([(levels, maximum) for levels, _, _, maximum in passes(self.layers)])

    def levels(self) -> list[list[int]]:
        return [layer.levels.ravel().tolist() for layer in self.layers]


def read_layer(reader: TileReader, layer: Layer, levels: np.ndarray) -> None:
    """Read a tile's layer into `levels`, which may be a part of a larger array."""
    decoded = np.zeros(levels.shape, np.uint8)
    for start in (0, 1):
        if part(layer.mu, start).size:
            found = reader.get(part(layer.mu, start), part(layer.scale, start), layer.maximum)
            part(decoded, start)[:] = found
    reader.end_layer(decoded)
    levels[:] = decoded


def passes(layers: Sequence[Layer]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, int]]:
    """Yield levels, locations and scales, each (channels, positions), and the maximum, of every pass."""
    for layer in layers:
        for start in (0, 1):
            if part(layer.mu, start).size:
                yield (*(part(x, start) for x in (layer.levels, layer.mu, layer.scale)), layer.maximum)


def part(values: np.ndarray, start: int) -> np.ndarray:
    """Return every other position from `start`, (channels, positions), as a view if the array is whole."""
    return values.reshape(len(values), -1)[:, start::2]


def make_layer(
    shape: tuple[int, int, int], maximum: int, scale: int, *, seed: int = 0, surprise: float = 1.0
) -> Layer:
    """Draw levels that follow the prediction, or stray from it by `surprise` times as much as they should."""
    random = np.random.default_rng(seed)
    mu = random.integers(-48, 49, shape)
    value = mu / 64 + surprise * np.exp((scale - 32) / 8) * random.logistic(size=shape)
    levels = np.clip(np.rint(value + maximum / 2), 0, maximum).astype(np.uint8)
    return Layer(mu, np.full(shape, scale), levels, maximum)


def make_toy(*layers: Layer, groups: tuple[int, ...] = (), side: int = 16) -> Toy:
    """Return a file of these layers, in one group by default."""
    rows, columns = layers[0].mu.shape[1:]
    header = Header(16 * columns, 16 * rows, 50, len(layers), bytes(range(8)), tile_side=side)
    return Toy(layers, header, groups or (len(layers),))


@pytest.fixture(scope="session")
def small() -> Toy:
    """Return one tile and one group: two layers in one coded chunk of a few dozen bytes."""
    return make_toy(make_layer((2, 2, 3), 30, 32), make_layer((6, 2, 3), 14, 30, seed=1))


@pytest.fixture(scope="session")
def mixed() -> Toy:
    """Return two tiles and three groups: a chunk that layers share, a large one, and raw noise."""
    return make_toy(
        make_layer((2, 12, 17), 62, 24),
        make_layer((8, 12, 17), 14, 26, seed=1),
        make_layer((20, 12, 17), 6, 28, seed=2),
        make_layer((4, 12, 17), 3, 8, seed=3, surprise=40.0),
        groups=(2, 1, 1),
    )


@pytest.fixture(name="make_layer", scope="session")
def make_layer_fixture() -> Callable[..., Layer]:
    return make_layer


@pytest.fixture(name="make_toy", scope="session")
def make_toy_fixture() -> Callable[..., Toy]:
    return make_toy
