"""Read sets of pictures of one size from files, folders and tar archives."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from bincodec.errors import ImageError
from bincodec.io import collection, files, images


@dataclass(frozen=True)
class PictureSet:
    """Pictures of one size.

    Args:
        names: the path of each picture, or its name in an archive.
        labels: the name of the folder of each picture. If pictures are sorted by class, it is the class.
        pixels: the pictures, uint8 (N, H, W, 3).
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    pixels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def size(self) -> tuple[int, int]:
        """The width and height in pixels."""
        height, width = self.pixels.shape[1:3]
        return width, height


def read(
    paths: Sequence[str], *, under: str = "", size: tuple[int, int] | None = None, fit: bool = False
) -> PictureSet:
    """Read all pictures of files, folders (with their sub-folders) and tar archives, in order of name.

    From folders and archives, only pictures in the folder `under` are read. All pictures
    must have the `size` (width, height), or that of the first picture if it is None. With `fit`, other
    pictures are cropped around their middle to the same shape and resized (Lanczos).

    Raises:
        Unreadable: if the system does not allow reading a path.
        ImageError: if a picture cannot be read or has another size, or if a path has no pictures.
    """
    names: list[str] = []
    labels: list[str] = []
    pixels: list[NDArray[np.uint8]] = []
    for path in paths:
        before = len(names)
        for name, source in _sources(path, under):
            found = images.load_opaque(source, name=None if isinstance(source, str) else name)
            if size is None:
                size = (found.shape[1], found.shape[0])
            names.append(name)
            labels.append(PurePosixPath(name).parent.name)
            pixels.append(_of_size(name, found, size, fit))
        if len(names) == before:
            msg = f"{path}: there are no pictures in it" + (f" under {under}" if under else "")
            raise ImageError(msg)
    return PictureSet(tuple(names), tuple(labels), np.stack(pixels))


def _of_size(name: str, pixels: NDArray[np.uint8], size: tuple[int, int], fit: bool) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    if (width, height) == size:
        return pixels
    if not fit:
        msg = f"{name}: {width} x {height} pixels, but others have {size[0]} x {size[1]}: use --size"
        raise ImageError(msg)
    return np.asarray(ImageOps.fit(Image.fromarray(pixels), size, Image.Resampling.LANCZOS))


def _sources(path: str, under: str) -> Iterator[tuple[str, str | bytes]]:
    """Yield the names of pictures with their paths or bytes."""
    if os.path.isdir(path) or _is_archive(path):
        for name, source in collection.pictures(Path(path), under):
            yield (Path(source).as_posix() if isinstance(source, str) else str(name)), source
    else:
        yield Path(path).absolute().as_posix(), path


def _is_archive(path: str) -> bool:
    files.read(path, 1)
    try:
        return tarfile.is_tarfile(path)
    except OSError:
        return False
