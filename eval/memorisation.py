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
"""As near as this share of held-out pictures is near."""

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
        feature_limit: the distance that 1 % of held-out pictures keep within; 0 means that these lie among
            the training pictures themselves, and measure nothing.
        feature_share: of pictures within the limit; 0.01 is as held-out ones.
        pixel_median, pixel_limit, pixel_share: the same in pixels.
        closest: the closest pairs, by features first.
    """

    feature_median: float
    feature_limit: float
    feature_share: float
    pixel_median: float
    pixel_limit: float
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
    return Memory(
        *_nearness(found.by_features[0], held_out.by_features[0]),
        *_nearness(found.by_pixels[0], held_out.by_pixels[0]),
        (*_closest("features", *found.by_features), *_closest("pixels", *found.by_pixels)),
    )


def _nearness(distances: Features, held_out: Features) -> tuple[float, float, float]:
    """Median, limit and the share within the limit."""
    limit = float(np.percentile(held_out, NEAR_PERCENT))
    return float(np.median(distances)), limit, float((distances <= limit).mean())


def _closest(kind: str, distances: Features, indices: NDArray[np.intp]) -> Sequence[Pair]:
    order = np.argsort(distances, kind="stable")[:PAIRS]
    return [Pair(kind, int(i), int(indices[i]), float(distances[i])) for i in order]
