"""The post-filter: one filter for the whole picture, which the encoder fits to the original.

A decoder that was trained on many photos makes small errors in each of them: a colour cast, too little
contrast, edges that are too soft or too sharp. The encoder knows the original, so it can fit

    filtered_c = a_c + offset_c + sum_i weight_ci feature_ci

by least squares (`fit`). Here a is the decoded picture clamped to 0..1, and `features` defines the features.
The encoder stores the filter as an extra of the file if the gain is worth its bytes (FORMAT).
"""

from __future__ import annotations

import dataclasses
import struct

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bincodec.bitstream import rice
from bincodec.bitstream.container import Extra
from bincodec.bitstream.index import POST_FILTER
from bincodec.errors import Corrupt
from bincodec.postfilter.features import SHARED, SIZE, View, compute, tiles

FILTER_VERSION = 1
"""The version of the features and of how they are applied. It is a part of every model's fingerprint."""

OFFSET_STEPS = 64
"""Offsets are in units of 1/64 of a step of 0..255."""

_OFFSETS = struct.Struct("<3h")
_MASK_BYTES = SIZE // 8


@dataclasses.dataclass(frozen=True)
class PostFilter:
    """A post-filter as integers.

    Args:
        offsets: (3,), in units of 1/64 of a step of 0..255.
        chosen: the numbers of the n features that have weights, in rising order.
        weights: (3, n), in units of 1/2^`steps`.
        steps: 0..15.
    """

    offsets: npt.NDArray[np.int64]
    chosen: tuple[int, ...]
    weights: npt.NDArray[np.int64]
    steps: int

    def payload(self) -> bytes:
        """Return the payload of an extra of kind 0x81.

        It holds the offsets, a bit for each feature, `steps` and the shift of the Rice codes in four bits
        each, and the weights, feature by feature.
        """
        mask = sum(1 << feature for feature in self.chosen).to_bytes(_MASK_BYTES, "little")
        offsets = _OFFSETS.pack(*self.offsets.tolist())
        if not self.chosen:
            return offsets + mask
        shift = rice.best_shift(self.weights)
        return offsets + mask + bytes([self.steps << 4 | shift]) + rice.encode(self.weights.T, shift)

    def matrix(self) -> Tensor:
        """Return the weights of all features, float32 (3, SIZE)."""
        weights = torch.zeros(3, SIZE, dtype=torch.float32)
        weights[:, self.chosen] = torch.from_numpy(self.weights).float() / 2**self.steps
        return weights


def read_filter(extras: tuple[Extra, ...]) -> PostFilter | None:
    """Return the post-filter among the extras of a file, or None.

    Raises:
        Corrupt: if there are several, or if no encoder writes such a payload.
    """
    chunks = [chunk for chunk in extras if chunk.kind == POST_FILTER]
    if not chunks:
        return None
    if len(chunks) > 1:
        msg = f"post-filter: the file has {len(chunks)} of them, but only one is allowed"
        raise Corrupt(msg)
    return _read(chunks[0].payload)


def _read(payload: bytes) -> PostFilter:
    head = _OFFSETS.size + _MASK_BYTES
    if len(payload) < head:
        msg = f"post-filter: it has {len(payload)} bytes, but needs at least {head}"
        raise Corrupt(msg)
    offsets = np.array(_OFFSETS.unpack_from(payload), np.int64)
    mask = int.from_bytes(payload[_OFFSETS.size : head], "little")
    chosen = tuple(feature for feature in range(SIZE) if mask >> feature & 1)
    if len(payload) == head and not chosen:
        return PostFilter(offsets, (), np.zeros((3, 0), np.int64), 0)
    if len(payload) == head or not chosen:
        msg = f"post-filter: its {len(payload)} bytes do not fit its {len(chosen)} features"
        raise Corrupt(msg)
    steps, shift = divmod(payload[head], 16)
    try:
        weights = rice.decode(payload[head + 1 :], 3 * len(chosen), shift)
    except Corrupt as error:
        msg = f"post-filter: {error}"
        raise Corrupt(msg) from error
    return PostFilter(offsets, chosen, weights.reshape(-1, 3).T, steps)


@torch.inference_mode()
def apply_filter(
    decoded: npt.NDArray[np.float32],
    post_filter: PostFilter | None,
    view: View | None = None,
    strength: float = 1.0,
) -> npt.NDArray[np.float32]:
    """Apply a post-filter to pixels (H, W, 3), about 0..1. Without a filter, return them unchanged.

    With `view`, `decoded` is a part of a picture, and the result holds the rows and columns of the view. What
    the filter adds is multiplied by `strength`.
    """
    view = view or View.whole(decoded)
    top, left = view.rows.start, view.columns.start
    if post_filter is None:
        down, right = top - view.top, left - view.left
        return decoded[down : down + len(view.rows), right : right + len(view.columns)]
    offsets = strength * torch.from_numpy(post_filter.offsets).float() / (255 * OFFSET_STEPS)
    matrix = strength * post_filter.matrix()
    result = np.empty((len(view.rows), len(view.columns), 3), np.float32)
    for tile in tiles(decoded, view):
        here = tile.here
        shown = here + offsets[:, None, None]
        if post_filter.chosen:
            shared, own = compute(tile)
            added = matrix[:, :SHARED] @ shared + (matrix[:, None, SHARED:] @ own)[:, 0]
            shown += added.reshape(here.shape)
        rows, columns = here.shape[1:]
        down, right = tile.top - top, tile.left - left
        result[down : down + rows, right : right + columns] = shown.permute(1, 2, 0).numpy()
    return result
