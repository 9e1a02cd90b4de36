"""What the tests of the second decoder share: the tiny model in both decoders, and files of several tiles."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bincodec import Codec

from .container import File, read_file
from .decode import TABLES, Decoded, decode
from .integer_network import IntegerNetwork, integer_network
from .model_file import Model, read_model
from .probability import Tables, read_tables
from .writing import Draft, draft_of, group_ends, pieces_of

TINY = Path(__file__).resolve().parents[1] / "models" / "tiny-1.safetensors"


@pytest.fixture(scope="session")
def tables() -> Tables:
    return read_tables(TABLES.read_bytes())


@pytest.fixture(scope="session")
def model() -> Model:
    return read_model(TINY.read_bytes())


@pytest.fixture(scope="session")
def network(model: Model) -> IntegerNetwork:
    return integer_network(model)


@pytest.fixture(scope="session")
def tiny(model: Model, tables: Tables) -> Callable[[bytes], Decoded]:
    """Decode with the tiny model."""
    return lambda data: decode(model, tables, data)


@pytest.fixture(scope="session")
def codec() -> Codec:
    return Codec.load(str(TINY))


@pytest.fixture(scope="session")
def tiled(codec: Codec) -> Callable[..., bytes]:
    """Return a file of a picture of random patches, in tiles of at most `side` positions."""

    def file(height: int, width: int, *, quality: int = 50, side: int = 16, grey: bool = False) -> bytes:
        shape = (-(-height // 24), -(-width // 24)) if grey else (-(-height // 24), -(-width // 24), 3)
        patches = np.random.default_rng(height + width).integers(0, 256, shape, np.uint8)
        pixels = patches.repeat(24, 0).repeat(24, 1)[:height, :width]
        return codec.pack(dataclasses.replace(codec.encode(pixels, quality, effort=0), tile_side=side))

    return file


@pytest.fixture(scope="session")
def regrouped(
    network: IntegerNetwork, tables: Tables, tiny: Callable[[bytes], Decoded]
) -> Callable[[bytes, list[range]], Draft]:
    """Return the parts of a file with the same levels in other groups."""

    def draft(data: bytes, groups: list[range]) -> Draft:
        file: File = read_file(data)
        pieces = pieces_of(network, tables, file.header, tiny(data).levels, groups)
        return dataclasses.replace(draft_of(file), ends=group_ends(groups), groups=pieces)

    return draft
