"""Test whether a model has memorised training pictures: how near is the nearest one to each drawn picture?

Distances are measured in features and in pixels. Held-out pictures define what counts as near, because a
model cannot have memorised them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bincodec.eval.set_distances import Features, nearest

THUMBNAIL = 32
"""The side of thumbnails. Pixels are compared at this size, so that small shifts and coding loss do not hide
a copy."""

NEAR_PERCENT = 1
"""A picture is near if it is as near as this share, in percent, of the held-out pictures."""

PAIRS = 4
"""The number of closest pairs of each kind that are kept."""


@dataclass(frozen=True)
class Known:
    """The features of training pictures, and their thumbnails as rows of numbers."""

    features: Features
    thumbnails: Features


@dataclass(frozen=True)
class Nearest:
    """The distance of each picture of a set to the nearest training picture, and the index of that picture.

    Args:
        by_features: the Euclidean distance of features.
        by_pixels: the root mean square difference of thumbnails in 8-bit steps. The picture may also be
            mirrored, because training mirrors pictures too.
    """

    by_features: tuple[Features, NDArray[np.intp]]
    by_pixels: tuple[Features, NDArray[np.intp]]


@dataclass(frozen=True)
class Pair:
    """A picture of a set and the training picture nearest to it, both by their numbers."""

    kind: str
    picture: int
    training: int
    distance: float


@dataclass(frozen=True)
class Memory:
    """The results of a set about memorisation.

    Args:
        feature_median: the median of the distances to the nearest training picture.
        feature_limit: the distance that 1 % of the held-out pictures do not exceed. 0 means that held-out
            pictures are among the training pictures, so the results say nothing.
        feature_share: the share of pictures within the limit. It is 0.01 for held-out pictures.
        pixel_median, pixel_limit, pixel_share: the same in pixels.
        closest: the closest pairs, first by features, then by pixels.
    """

    feature_median: float
    feature_limit: float
    feature_share: float
    pixel_median: float
    pixel_limit: float
    pixel_share: float
    closest: tuple[Pair, ...]


def known(pixels: NDArray[np.uint8], features: Features) -> Known:
    """Prepare training pictures (N, H, W, 3) and their features for `look`."""
    return Known(features, thumbnails(pixels))


def thumbnails(pixels: NDArray[np.uint8]) -> Features:
    """Return thumbnails of pictures (N, H, W, 3) as rows of 3072 numbers.

    Euclidean distances between rows are the pixel distances of `Nearest`.
    """
    size = (THUMBNAIL, THUMBNAIL)
    small = [np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BOX)) for one in pixels]
    rows = np.stack(small).reshape(len(small), -1)
    result: Features = rows / np.sqrt(rows.shape[1])
    return result


def look(training: Known, pixels: NDArray[np.uint8], features: Features) -> Nearest:
    """Find the nearest training picture of each picture."""
    plain = nearest(thumbnails(pixels), training.thumbnails)
    mirrored = nearest(thumbnails(np.ascontiguousarray(pixels[:, :, ::-1])), training.thumbnails)
    turned = mirrored[0] < plain[0]
    by_pixels = (np.where(turned, mirrored[0], plain[0]), np.where(turned, mirrored[1], plain[1]))
    return Nearest(nearest(features, training.features), by_pixels)


def memory(found: Nearest, held_out: Nearest) -> Memory:
    """Compare a set's distances to training pictures with those of held-out pictures."""
    return Memory(
        *_nearness(found.by_features[0], held_out.by_features[0]),
        *_nearness(found.by_pixels[0], held_out.by_pixels[0]),
        (*_closest("features", *found.by_features), *_closest("pixels", *found.by_pixels)),
    )


def _nearness(distances: Features, held_out: Features) -> tuple[float, float, float]:
    """Return the median, the limit, and the share within the limit."""
    limit = float(np.percentile(held_out, NEAR_PERCENT))
    return float(np.median(distances)), limit, float((distances <= limit).mean())


def _closest(kind: str, distances: Features, indices: NDArray[np.intp]) -> Sequence[Pair]:
    order = np.argsort(distances, kind="stable")[:PAIRS]
    return [Pair(kind, int(i), int(indices[i]), float(distances[i])) for i in order]
