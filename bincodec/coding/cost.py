"""What the levels of a code cost in a file, told without making one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bincodec.bitstream.tiles import Tile
from bincodec.code import BinaryCode
from bincodec.coding import passes
from bincodec.model.kernels import IntegerPrior
from bincodec.workers import in_order


def cost(prior: IntegerPrior, code: BinaryCode, *, groups: int | None = None) -> npt.NDArray[np.float64]:
    """-log2 of the probabilities that a file codes levels with, in bits: float64 (layers, h, w).

    Each tile is measured by itself, as it is coded; layers that it lacks cost nothing. `groups` is that of
    `passes.run`.
    """
    result = np.zeros((code.layers, *code.grid))

    def measured(tile: Tile) -> npt.NDArray[np.float64]:
        return passes.rate(prior, code.quality, code.levels_of(tile), groups=groups)

    tiles = [tile for tile in code.tiles if code.layers_of(tile)]
    for tile, bits in zip(tiles, in_order("measure", measured, tiles, prior.device.type), strict=True):
        result[: len(bits), *tile.place] = bits
    return result
