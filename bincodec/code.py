"""`BinaryCode`: the bits of one image, between the networks and the file."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import numpy.typing as npt

from bincodec.bitstream.container import Ancillary
from bincodec.model.architecture import grid_of

Levels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
"""True where something is: known, to be painted. Of pixels or of positions."""


@dataclasses.dataclass(frozen=True, eq=False)
class BinaryCode:
    """Levels by layer, each uint8 (channels, h, w) with values 0..`maximum[layer]`, and what decoding needs.

    `width` and `height` are the image's, in pixels; the grid is (ceil(height / 16), ceil(width / 16)).
    There may be fewer layers than the model has: a prefix of a file is a picture too. `complete` is False
    where the layers are what was left of a damaged or truncated file.
    """

    levels: tuple[Levels, ...]
    maximum: tuple[int, ...]
    width: int
    height: int
    quality: int
    model: str
    fingerprint: bytes
    grey: bool = False
    complete: bool = True
    ancillary: tuple[Ancillary, ...] = ()

    def __post_init__(self) -> None:
        grid = grid_of(self.width, self.height)
        if not self.levels or any(levels.shape[1:] != grid for levels in self.levels):
            shapes = [levels.shape for levels in self.levels]
            msg = f"levels {shapes} do not lie on the grid {grid} of {self.width} x {self.height} pixels"
            raise ValueError(msg)

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width in positions."""
        height, width = self.levels[0].shape[1:]
        return height, width

    @property
    def layers(self) -> int:
        """How many layers there are."""
        return len(self.levels)

    def bits(self) -> tuple[npt.NDArray[np.bool_], ...]:
        """The bits z_j = [L >= j], j = 1..J, by layer: (channels, J, h, w)."""
        return tuple(
            levels[:, None] >= np.arange(1, top + 1)[:, None, None]
            for levels, top in zip(self.levels, self.maximum, strict=True)
        )

    def digest(self) -> str:
        """SHA-256 of the levels, in hexadecimal: equal exactly when the bits are."""
        digest = hashlib.sha256()
        for levels in self.levels:
            digest.update(repr(levels.shape).encode())
            digest.update(np.ascontiguousarray(levels).tobytes())
        return digest.hexdigest()
