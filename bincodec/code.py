"""`BinaryCode`: the levels of one image, which the encoder makes and files hold."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from bincodec.arguments import checked_integer, checked_quality
from bincodec.bitstream.container import Extra, in_file_order
from bincodec.bitstream.header import FINGERPRINT_BYTES, LAST_MINOR
from bincodec.bitstream.index import KNOWN_KINDS
from bincodec.bitstream.tiles import DEFAULT_SIDE, LARGEST_SIDE, SMALLEST_SIDE, Tile, grid_of, tiles_of
from bincodec.errors import InvalidSetting, WrongModel
from bincodec.model.card import ModelCard

Levels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
"""True where something holds, such as "known" or "to be inpainted", for each pixel or position."""


class DecodedInfo(TypedDict):
    """The contents of `image.info["bld"]` of a decoded picture.

    Args:
        model: the name of the model.
        quality: the quality, 0..100.
        layers: the number of layers that the picture shows.
        decoder: the name of the decoder. Every decoder but the main one, "fidelity", may invent detail.
        realism: how far its weights are from those of the main decoder, 0, towards those of `decoder`, 1.
        intact: whether the file was whole and undamaged.
        damage: one sentence for each part that was missing or damaged.
        real_layers: the number of layers, from the first, that came from the file; the others are sampled.
        real_share: the share of these layers in the bits, 0..1.
    """

    model: str
    quality: int
    layers: int
    decoder: str
    realism: float
    intact: bool
    damage: tuple[str, ...]
    real_layers: int
    real_share: float


@dataclasses.dataclass(frozen=True, eq=False)
class BinaryCode:
    """The levels of an image, and everything else that decoding needs.

    `levels` holds an array for each layer, uint8 (channels, h, w) with values 0..`maximum[layer]`. `width`
    and `height` are those of the image in pixels, and the grid is (ceil(height / 16), ceil(width / 16)). A
    code may have fewer layers than the model: a prefix of a file is a picture too.

    `tile_side` says how files cut the grid into tiles (`bincodec.bitstream.tiles`). If a file was damaged or
    cut short, or if only a region of it was read, `tile_layers` is the number of layers of each tile, and the
    levels of the other layers have no meaning. It is None if all tiles have all `layers`. `damage` has one
    sentence for each part that was missing or damaged.

    `minor_version` is that of the format of the file, 0..255. It is 0 unless the file was written by a later
    program, which may have put extras into it that are unknown here.

    Raises:
        InvalidSetting: if a value is out of range, or if shapes do not go with each other.
        TypeError: if an argument has a wrong type.

    Example:
        >>> import bincodec, numpy
        >>> code = bincodec.Codec.load("photo").encode(numpy.zeros((32, 48, 3), numpy.uint8))
        >>> [levels.shape for levels in code.levels][:2]
        [(8, 2, 3), (16, 2, 3)]
    """

    levels: tuple[Levels, ...]
    maximum: tuple[int, ...]
    width: int
    height: int
    quality: int
    model: str
    fingerprint: bytes
    grey: bool = False
    extras: tuple[Extra, ...] = ()
    tile_side: int = DEFAULT_SIDE
    tile_layers: tuple[int, ...] | None = None
    damage: tuple[str, ...] = ()
    minor_version: int = 0

    def __post_init__(self) -> None:
        # NumPy's integers overflow, and Python's do not.
        object.__setattr__(self, "quality", checked_quality(self.quality))
        for name in ("width", "height"):
            object.__setattr__(self, name, checked_integer(name, getattr(self, name), 1, 2**32 - 1))
        object.__setattr__(
            self, "minor_version", checked_integer("minor_version", self.minor_version, 0, LAST_MINOR)
        )
        _check_types(self)
        if not self.levels or len(self.levels) != len(self.maximum):
            msg = f"{len(self.levels)} layers of levels do not go with {len(self.maximum)} maximum levels"
            raise InvalidSetting(msg)
        grid = grid_of(self.width, self.height)
        for layer, (levels, top) in enumerate(zip(self.levels, self.maximum, strict=True)):
            _check_levels(layer, levels, top, grid)
        side = checked_integer("tile_side", self.tile_side, SMALLEST_SIDE, LARGEST_SIDE)
        object.__setattr__(self, "tile_side", side)
        if self.tile_layers is not None:
            object.__setattr__(self, "tile_layers", _checked_tile_layers(self, self.tile_layers))
        object.__setattr__(self, "extras", _in_order(self.extras))

    @property
    def tiles(self) -> tuple[Tile, ...]:
        """The tiles of the file."""
        return tiles_of(self.width, self.height, self.tile_side)

    @property
    def intact(self) -> bool:
        """Whether no part of the file was missing or damaged."""
        return not self.damage

    def layers_of(self, tile: Tile) -> int:
        """Return the number of layers that a tile has."""
        return self.layers if self.tile_layers is None else self.tile_layers[tile.number]

    def levels_of(self, tile: Tile) -> tuple[Levels, ...]:
        """Return the levels of a tile by layer, for the layers that it has."""
        return tuple(levels[:, *tile.place] for levels in self.levels[: self.layers_of(tile)])

    @property
    def grid(self) -> tuple[int, int]:
        """The height and width in positions."""
        height, width = self.levels[0].shape[1:]
        return height, width

    @property
    def layers(self) -> int:
        """The number of layers."""
        return len(self.levels)

    def bits(self) -> tuple[npt.NDArray[np.bool_], ...]:
        """Return the bits z_j = [L >= j] for j = 1..J by layer, bool (channels, J, h, w)."""
        return tuple(
            levels[:, None] >= np.arange(1, top + 1)[:, None, None]
            for levels, top in zip(self.levels, self.maximum, strict=True)
        )

    def check_model(self, card: ModelCard) -> None:
        """Raise `WrongModel` unless the code belongs to the model that `card` describes."""
        card.check(self.fingerprint)
        own, layers = card.architecture, self.layers
        channels = tuple(len(levels) for levels in self.levels)
        if (channels, self.maximum) != (own.layer_channels[:layers], own.maximum_level[:layers]):
            msg = f"the code's layers {channels} with levels up to {self.maximum} are not {card.name}'s"
            raise WrongModel(msg)

    def same_as(self, other: BinaryCode) -> bool:
        """Return whether both codes are equal: levels, size, quality, model, extras and all other fields."""
        names = [field.name for field in dataclasses.fields(self) if field.name != "levels"]
        alike = all(getattr(self, name) == getattr(other, name) for name in names)
        return alike and self.digest() == other.digest()

    def digest(self) -> str:
        """Return the SHA-256 of the levels of all layers, each after its shape, in hexadecimal.

        It is equal exactly if all bits are.
        """
        digest = hashlib.sha256()
        for levels in self.levels:
            digest.update(repr(levels.shape).encode())
            digest.update(np.ascontiguousarray(levels).tobytes())
        return digest.hexdigest()


def without_unknown(code: BinaryCode) -> BinaryCode:
    """Return a code as format 1.0 can hold it: without extras of unknown kinds.

    This is for codes that get other levels. Extras of unknown kinds may depend on them (FORMAT, "Extras").
    """
    known = tuple(extra for extra in code.extras if extra.kind in KNOWN_KINDS)
    return dataclasses.replace(code, extras=known, minor_version=0)


def _check_types(code: BinaryCode) -> None:
    if not isinstance(code.fingerprint, bytes) or len(code.fingerprint) != FINGERPRINT_BYTES:
        msg = f"fingerprint must be {FINGERPRINT_BYTES} bytes, not {code.fingerprint!r}"
        raise TypeError(msg)
    for name, fits, kind in (
        ("levels", _is_tuple_of(np.ndarray, code.levels), "a tuple of arrays"),
        ("maximum", _is_tuple_of(int, code.maximum), "a tuple of int"),
        ("model", isinstance(code.model, str), "a str"),
        ("grey", isinstance(code.grey, bool), "a bool"),
        ("extras", _is_tuple_of(Extra, code.extras), "a tuple of Extra"),
        ("damage", _is_tuple_of(str, code.damage), "a tuple of str"),
        ("tile_layers", code.tile_layers is None or isinstance(code.tile_layers, tuple), "a tuple or None"),
    ):
        if not fits:
            msg = f"{name} must be {kind}, not {getattr(code, name)!r}"
            raise TypeError(msg)


def _is_tuple_of(kind: type, value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(item, kind) for item in value)


def _checked_tile_layers(code: BinaryCode, tile_layers: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the number of layers of each tile, or None if all tiles have all layers."""
    if len(tile_layers) != len(code.tiles):
        msg = f"{len(tile_layers)} numbers of layers do not go with {len(code.tiles)} tiles"
        raise InvalidSetting(msg)
    found = tuple(
        checked_integer(f"layers of {tile}", layers, 0, code.layers)
        for tile, layers in zip(code.tiles, tile_layers, strict=True)
    )
    return None if set(found) == {code.layers} else found


def _in_order(extras: tuple[Extra, ...]) -> tuple[Extra, ...]:
    """Return extras in the order of a file. Each kind may occur once."""
    kinds = [extra.kind for extra in extras]
    for kind in kinds:
        if kinds.count(kind) > 1:
            msg = f"{kinds.count(kind)} extras are of kind {kind:#04x}; a file holds one of each"
            raise InvalidSetting(msg)
    return tuple(in_file_order(extras))


def _check_levels(layer: int, levels: Levels, top: int, grid: tuple[int, int]) -> None:
    fits = isinstance(levels, np.ndarray) and levels.dtype == np.uint8 and levels.ndim == 3
    if not fits or levels.shape[1:] != grid:
        found = f"{levels.dtype} {levels.shape}" if isinstance(levels, np.ndarray) else type(levels).__name__
        msg = f"levels of layer {layer} are {found}, not uint8 (channels, {grid[0]}, {grid[1]})"
        raise InvalidSetting(msg)
    checked_integer(f"maximum of layer {layer}", top, 1, 255)
    if levels.size and levels.max() > top:
        msg = f"layer {layer} has a level of {levels.max()}, beyond its maximum of {top}"
        raise InvalidSetting(msg)
