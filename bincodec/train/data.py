"""Training crops: photos are decoded once into memory, then cropped, flipped and downscaled at random."""

from __future__ import annotations

import dataclasses
import itertools
import tarfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from bincodec.errors import BincodecError
from bincodec.io import collection, images

Photo = npt.NDArray[np.uint8]


@dataclasses.dataclass(frozen=True)
class CropSettings:
    """The side of crops in pixels, and how crops are varied.

    A share `scaled` of the crops is scaled by a factor drawn from `scales`. With a factor below 1, a larger
    part of the photo is made smaller. A share `plain` of the crops are flat areas and gradients. They are
    rare in photos, but errors in them are easy to see.
    """

    size: int = 128
    scaled: float = 0.25
    scales: tuple[float, float] = (0.6, 1.0)
    plain: float = 0.03


def read_photos(source: Path, under: str = "") -> list[Photo]:
    """Return all photos of a tar archive or a folder, or those under a path, uint8 (H, W, 3), by name.

    Raises:
        ValueError: if there are none, or if one of them cannot be read.
    """
    return [photo for _, photo in _read(source, under)]


def spread(photos: list[Photo], count: int | None) -> list[Photo]:
    """Return `count` photos at equal distances in a list, or all of them if it is None."""
    if count is None or count >= len(photos):
        return photos
    return [photos[index * len(photos) // count] for index in range(count)]


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Photos and the class of each. A class is a number from 1, and its name is `names[number - 1]`."""

    photos: list[Photo]
    labels: list[int]
    names: tuple[str, ...]


def read_labelled(source: Path, under: str = "") -> Labelled:
    """Return photos with their classes. The name of a photo's folder is its class.

    Raises:
        ValueError: if a photo is not in a folder.
    """
    found = _read(source, under)
    classes = [name.relative_to(under).parent.name for name, _ in found]
    if "" in classes:
        msg = f"a photo in {source} is in no folder, so it has no class"
        raise ValueError(msg)
    names = tuple(sorted(set(classes)))
    return Labelled([photo for _, photo in found], [names.index(name) + 1 for name in classes], names)


def _read(source: Path, under: str) -> list[tuple[PurePosixPath, Photo]]:
    """Return photos with their names relative to the source."""
    if source.is_file() and not tarfile.is_tarfile(source):
        msg = f"{source} is neither a folder nor a whole tar archive"
        raise ValueError(msg)
    try:
        found = collection.pictures(source, under)
        photos = [(name, images.load_opaque(data, name=str(name))) for name, data in found]
    except BincodecError as error:
        raise ValueError(str(error)) from error
    if not photos:
        where = f"{source} under {under}" if under else str(source)
        msg = f"there are no photos in {where}"
        raise ValueError(msg)
    return photos


class Batch(NamedTuple):
    """Crops, uint8 (B, 3, size, size), and labels (B,): 0 for no class, else the class's number, from 1."""

    crops: Tensor
    labels: Tensor


class CropSampler:
    """Draw batches of square crops. The probability of a photo is proportional to its area."""

    def __init__(self, photos: list[Photo], crops: CropSettings, labels: list[int] | None = None) -> None:
        labels = labels or [0] * len(photos)
        large = [i for i, photo in enumerate(photos) if min(photo.shape[:2]) >= crops.size]
        self._photos, self._labels = [photos[i] for i in large], np.array([labels[i] for i in large])
        if not self._photos:
            msg = f"no photo is at least {crops.size} pixels on its shorter side"
            raise ValueError(msg)
        areas = np.array([photo.shape[0] * photo.shape[1] for photo in self._photos], dtype=np.float64)
        self._shares = areas / areas.sum()
        self._crops = crops

    def batch(self, count: int, rng: np.random.Generator) -> Batch:
        """Draw `count` crops, and return them with the class of each."""
        chosen = rng.choice(len(self._photos), count, p=self._shares)
        plain = rng.random(count) < self._crops.plain
        crops = np.stack(
            [
                _plain_crop(self._crops.size, rng) if is_plain else self._crop(self._photos[index], rng)
                for index, is_plain in zip(chosen, plain, strict=True)
            ]
        )
        labels = torch.from_numpy(np.where(plain, 0, self._labels[chosen]))
        return Batch(torch.from_numpy(crops).permute(0, 3, 1, 2), labels)

    def _crop(self, photo: Photo, rng: np.random.Generator) -> Photo:
        size = source = self._crops.size
        if rng.random() < self._crops.scaled:
            source = min(int(size / rng.uniform(*self._crops.scales)), *photo.shape[:2])
        top = rng.integers(0, photo.shape[0] - source + 1)
        left = rng.integers(0, photo.shape[1] - source + 1)
        crop = photo[top : top + source, left : left + source]
        if source != size:
            # Downscaling removes the coding loss of a photo, so the crop is like an uncompressed original.
            crop = np.array(Image.fromarray(crop).resize((size, size), Image.Resampling.LANCZOS))
        return crop[:, ::-1] if rng.random() < 0.5 else crop


Drawn = TypeVar("Drawn", covariant=True)


class Sampler(Protocol[Drawn]):
    """What draws batches: of crops, or of codes."""

    def batch(self, count: int, rng: np.random.Generator) -> Drawn:
        """Draw a batch of `count`."""
        ...


def batches(
    sampler: Sampler[Drawn], count: int, seed: tuple[int, ...], first: int, workers: int
) -> Iterator[Drawn]:
    """Yield the batches `first`, `first` + 1 and so on. Each has a generator of `seed` and its own number.

    The batch of a step therefore depends neither on the threads that prepare it nor on interruptions of the
    run. With `workers` threads, batches are prepared in advance, as a GPU needs it. With 0, they are made
    when they are needed.
    """
    numbers = itertools.count(first)
    if workers == 0:
        for number in numbers:
            yield sampler.batch(count, np.random.default_rng((*seed, number)))
    with ThreadPoolExecutor(workers) as pool:
        ahead: deque[Future[Drawn]] = deque()
        try:
            for number in numbers:
                ahead.append(pool.submit(sampler.batch, count, np.random.default_rng((*seed, number))))
                if len(ahead) > 2 * workers:
                    yield ahead.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _plain_crop(size: int, rng: np.random.Generator) -> Photo:
    """Return a crop of one colour, or a gradient of two colours. Black, white and greys are frequent."""
    ends = rng.integers(0, 256, (2, 3)).astype(np.float64)
    if rng.random() < 0.5:
        ends[:] = rng.choice(np.array([0, 255, int(rng.integers(0, 256))]))
    if rng.random() < 0.6:
        ends[1] = ends[0]
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[0:size, 0:size] / max(1, size - 1) - 0.5
    place = np.clip(0.5 + rows * np.sin(angle) + columns * np.cos(angle), 0, 1)[..., None]
    crop: Photo = np.round(ends[0] + (ends[1] - ends[0]) * place).astype(np.uint8)
    return crop
