"""The post-filter: one filter for the whole picture, fitted by the encoder to the original.

A decoder that was trained on many photos is off by a little on each: a colour cast, too little contrast, too
soft here, too sharp there. The encoder sees the original, so it fits

    filtered_c = a_c + offset_c + sum_i weight_ci feature_ci

by least squares (`fit`), a the decoded picture clamped to 0..1 and its features those of
`features`; and sends what is worth its bytes as an extra of the file (FORMAT).
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
from bincodec.errors import Corrupt
from bincodec.postfilter.features import SHARED, SIZE, View, compute, tiles

KIND = 0x81

FILTER_VERSION = 1
"""Of what the features mean and how they are applied: a part of every model's fingerprint."""

OFFSET_STEPS = 64
"""Offsets are in 1/64 of a level of 0..255."""

_OFFSETS = struct.Struct("<3h")
_MASK_BYTES = SIZE // 8


@dataclasses.dataclass(frozen=True)
class PostFilter:
    """Offsets (3,) in 1/64 level, and weights (3, n) of the features `chosen`, in 1/2^`steps`, 0..15."""

    offsets: npt.NDArray[np.int64]
    chosen: tuple[int, ...]
    weights: npt.NDArray[np.int64]
    steps: int

    def payload(self) -> bytes:
        """What an extra of kind 0x81 holds; of features in rising order.

        The offsets, a bit for each feature, `steps` and the Rice codes' shift in four bits each, and the
        weights, feature by feature.
        """
        mask = sum(1 << feature for feature in self.chosen).to_bytes(_MASK_BYTES, "little")
        offsets = _OFFSETS.pack(*self.offsets.tolist())
        if not self.chosen:
            return offsets + mask
        shift = rice.best_shift(self.weights)
        return offsets + mask + bytes([self.steps << 4 | shift]) + rice.encode(self.weights.T, shift)

    def matrix(self) -> Tensor:
        """The weights of all features, float32 (3, SIZE)."""
        weights = torch.zeros(3, SIZE, dtype=torch.float32)
        weights[:, self.chosen] = torch.from_numpy(self.weights).float() / 2**self.steps
        return weights


def read_filter(extras: tuple[Extra, ...]) -> PostFilter | None:
    """The post-filter among a file's extras, if there is one.

    Raises:
        Corrupt: if there are several, or one that no encoder can have written.
    """
    chunks = [chunk for chunk in extras if chunk.kind == KIND]
    if not chunks:
        return None
    if len(chunks) > 1:
        msg = f"post-filter: {len(chunks)} chunks, more than one"
        raise Corrupt(msg)
    return _read(chunks[0].payload)


def _read(payload: bytes) -> PostFilter:
    head = _OFFSETS.size + _MASK_BYTES
    if len(payload) < head:
        msg = f"post-filter: a chunk of {len(payload)} bytes, less than {head}"
        raise Corrupt(msg)
    offsets = np.array(_OFFSETS.unpack_from(payload), np.int64)
    mask = int.from_bytes(payload[_OFFSETS.size : head], "little")
    chosen = tuple(feature for feature in range(SIZE) if mask >> feature & 1)
    if len(payload) == head and not chosen:
        return PostFilter(offsets, (), np.zeros((3, 0), np.int64), 0)
    if len(payload) == head or not chosen:
        msg = f"post-filter: {len(chosen)} features in {len(payload)} bytes"
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
    decoded: npt.NDArray[np.float32], post_filter: PostFilter | None, view: View | None = None
) -> npt.NDArray[np.float32]:
    """Pixels (H, W, 3), nominally in 0..1, with the post-filter applied; unchanged if there is none.

    With `view`, `decoded` is a part of a picture, and the rows and columns that are meant come back.
    """
    view = view or View.whole(decoded)
    top, left = view.rows.start, view.columns.start
    if post_filter is None:
        down, right = top - view.top, left - view.left
        return decoded[down : down + len(view.rows), right : right + len(view.columns)]
    offsets = torch.from_numpy(post_filter.offsets).float() / (255 * OFFSET_STEPS)
    matrix = post_filter.matrix()
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
