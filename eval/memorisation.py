"""Whether drawn pictures are training pictures: how near the nearest one is, in features and in pixels.

Held-out pictures are the measure of what is near: they cannot have been learned by heart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bincodec.eval.set_distances import Features, nearest

THUMBNAIL = 32
"""Pixels are compared as 32 x 32, so that neither a small shift nor what the codec loses hides a copy."""

NEAR_PERCENT = 1
"""Nearer than this share of held-out pictures is near."""

PAIRS = 4
"""Closest pairs that are kept of each kind."""


@dataclass(frozen=True)
class Known:
    """Training pictures: features, and thumbnails as rows of numbers."""

    features: Features
    thumbnails: Features


@dataclass(frozen=True)
class Nearest:
    """Of every picture of a set, the distance to the nearest training picture, and which that is.

    Args:
        by_features: Euclidean.
        by_pixels: root mean square difference of thumbnails in 8-bit steps, the picture mirrored if that is
            nearer: training mirrors pictures too.
    """

    by_features: tuple[Features, NDArray[np.intp]]
    by_pixels: tuple[Features, NDArray[np.intp]]


@dataclass(frozen=True)
class Pair:
    """A picture of a set, by its number, and the training picture nearest to it."""

    kind: str
    picture: int
    training: int
    distance: float


@dataclass(frozen=True)
class Memory:
    """What a set says of memorisation.

    Args:
        feature_median: of the distances to the nearest training picture.
        feature_share: of pictures nearer to one than 99 % of held-out ones are; 0.01 is as held-out ones.
        pixel_median: as `feature_median`, in pixels.
        pixel_share: as `feature_share`, in pixels.
        closest: the closest pairs, by features first.
    """

    feature_median: float
    feature_share: float
    pixel_median: float
    pixel_share: float
    closest: tuple[Pair, ...]


def known(pixels: NDArray[np.uint8], features: Features) -> Known:
    """Training pictures (N, H, W, 3) and their features, ready for `look`."""
    return Known(features, thumbnails(pixels))


def thumbnails(pixels: NDArray[np.uint8]) -> Features:
    """Pictures (N, H, W, 3) as rows of 3072 numbers; Euclidean distances of rows are those of `Nearest`."""
    size = (THUMBNAIL, THUMBNAIL)
    small = [np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BOX)) for one in pixels]
    rows = np.stack(small).reshape(len(small), -1)
    result: Features = rows / np.sqrt(rows.shape[1])
    return result


def look(training: Known, pixels: NDArray[np.uint8], features: Features) -> Nearest:
    """The nearest training picture of each picture."""
    plain = nearest(thumbnails(pixels), training.thumbnails)
    mirrored = nearest(thumbnails(np.ascontiguousarray(pixels[:, :, ::-1])), training.thumbnails)
    turned = mirrored[0] < plain[0]
    by_pixels = (np.where(turned, mirrored[0], plain[0]), np.where(turned, mirrored[1], plain[1]))
    return Nearest(nearest(features, training.features), by_pixels)


def memory(found: Nearest, held_out: Nearest) -> Memory:
    """A set's nearness to training pictures, against that of held-out ones."""
    features, pixels = found.by_features[0], found.by_pixels[0]
    return Memory(
        float(np.median(features)),
        _share(features, held_out.by_features[0]),
        float(np.median(pixels)),
        _share(pixels, held_out.by_pixels[0]),
        (*_closest("features", *found.by_features), *_closest("pixels", *found.by_pixels)),
    )


def _share(distances: Features, held_out: Features) -> float:
    return float((distances < np.percentile(held_out, NEAR_PERCENT)).mean())


def _closest(kind: str, distances: Features, indices: NDArray[np.intp]) -> Sequence[Pair]:
    order = np.argsort(distances, kind="stable")[:PAIRS]
    return [Pair(kind, int(i), int(indices[i]), float(distances[i])) for i in order]
