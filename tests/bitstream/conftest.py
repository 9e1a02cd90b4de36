"""A toy model for whole files: it predicts the same whatever was decoded before."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import settings

from bincodec.bitstream.coder import BitEncoder
from bincodec.bitstream.container import Ancillary, Container, read
from bincodec.bitstream.header import Header
from bincodec.bitstream.levels import encode_levels
from bincodec.bitstream.raw import pack_raw
from bincodec.bitstream.stream import LayerReader, LayerWriter

# A failure shows again on the next run, and a busy machine makes no failure.
settings.register_profile("bitstream", derandomize=True, deadline=None)
settings.load_profile("bitstream")


@dataclass(frozen=True)
class Layer:
    """Locations, scales and levels, each (channels, rows, columns), and the largest level; two passes."""

    mu: np.ndarray
    scale: np.ndarray
    levels: np.ndarray
    maximum: int


@dataclass(frozen=True)
class Toy:
    """Layers that pack to a file; `unpack` knows all of them but the levels."""

    layers: tuple[Layer, ...]
    header: Header

    def writer(self) -> LayerWriter:
        writer = LayerWriter(self.header)
        for layer in self.layers:
            for coded in passes([layer]):
                writer.put(*coded)
            writer.end_layer(layer.levels)
        return writer

    def pack(self, ancillary: Sequence[Ancillary] = ()) -> bytes:
        return self.writer().finish(ancillary)

    def unpack(self, data: bytes) -> "Toy":
        return self.decode(read(data))

    def decode(self, container: Container) -> "Toy":
        reader = LayerReader(container)
        decoded = []
        for layer in self.layers[: reader.layers_available]:
            levels = np.zeros_like(layer.levels)
            for start in (0, 1):
                found = reader.get(part(layer.mu, start), part(layer.scale, start), layer.maximum)
                part(levels, start)[:] = found
            reader.end_layer(levels)
            decoded.append(Layer(layer.mu, layer.scale, levels, layer.maximum))
        return Toy(tuple(decoded), container.header)

    def coded(self) -> bytes:
        """The payload of one range coded chunk, whatever the writer would rather do."""
        encoder = BitEncoder()
        for coded in passes(self.layers):
            encode_levels(encoder, *coded)
        return encoder.finish()

    def raw(self) -> bytes:
        """The payload of one raw chunk, whatever the writer would rather do."""
        return pack_raw([(levels, maximum) for levels, _, _, maximum in passes(self.layers)])

    def only(self, start: int, stop: int) -> "Toy":
        """Some of the layers, as a file of its own."""
        return make_toy(*self.layers[start:stop])

    def levels(self) -> list[list[int]]:
        return [layer.levels.ravel().tolist() for layer in self.layers]


def passes(layers: Sequence[Layer]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, int]]:
    """Levels, locations and scales, each (channels, positions), and the largest level of every pass."""
    for layer in layers:
        for start in (0, 1):
            yield (*(part(x, start) for x in (layer.levels, layer.mu, layer.scale)), layer.maximum)


def part(values: np.ndarray, start: int) -> np.ndarray:
    """Every other position, from `start`: (channels, positions), a view."""
    return values.reshape(len(values), -1)[:, start::2]


def make_layer(
    shape: tuple[int, int, int], maximum: int, scale: int, *, seed: int = 0, surprise: float = 1.0
) -> Layer:
    """Levels that follow the prediction, or stray from it by `surprise` times as much as they should."""
    random = np.random.default_rng(seed)
    mu = random.integers(-48, 49, shape)
    value = mu / 64 + surprise * np.exp((scale - 32) / 8) * random.logistic(size=shape)
    levels = np.clip(np.rint(value + maximum / 2), 0, maximum).astype(np.uint8)
    return Layer(mu, np.full(shape, scale), levels, maximum)


def make_toy(*layers: Layer) -> Toy:
    return Toy(layers, Header(48, 32, 50, len(layers), bytes(range(8))))


@pytest.fixture(scope="session")
def small() -> Toy:
    """Two layers in one coded chunk of a few dozen bytes."""
    return make_toy(make_layer((2, 2, 3), 30, 32), make_layer((6, 2, 3), 14, 30, seed=1))


@pytest.fixture(scope="session")
def mixed() -> Toy:
    """Chunks of every kind: two layers that share one, a large one, and noise that is stored raw."""
    return make_toy(
        make_layer((2, 6, 8), 62, 24),
        make_layer((24, 20, 24), 14, 26, seed=1),
        make_layer((60, 20, 24), 6, 28, seed=2),
        make_layer((4, 20, 24), 3, 8, seed=3, surprise=40.0),
    )


@pytest.fixture(name="make_layer", scope="session")
def make_layer_fixture() -> Callable[..., Layer]:
    return make_layer


@pytest.fixture(name="make_toy", scope="session")
def make_toy_fixture() -> Callable[..., Toy]:
    return make_toy
