"""Compute what the levels of a code cost in a file, without making the file."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bincodec.bitstream.tiles import Tile
from bincodec.code import BinaryCode
from bincodec.coding import passes
from bincodec.model.kernels import IntegerPrior
from bincodec.workers import in_order


def cost(prior: IntegerPrior, code: BinaryCode, *, groups: int | None = None) -> npt.NDArray[np.float64]:
    """Return the bits of all levels in a file by layer and position, float64 (layers, h, w).

    A level costs -log2 of the probability that it is coded with. Each tile is measured by itself, because it
    is coded by itself. Layers that a tile does not have cost nothing. For `groups`, see `passes.run`.
    """
    result = np.zeros((code.layers, *code.grid))

    def measured(tile: Tile) -> npt.NDArray[np.float64]:
        return passes.rate(prior, code.quality, code.levels_of(tile), groups=groups)

    tiles = [tile for tile in code.tiles if code.layers_of(tile)]
    for tile, bits in zip(tiles, in_order("measure", measured, tiles, prior.device.type), strict=True):
        result[: len(bits), *tile.place] = bits
    return result
