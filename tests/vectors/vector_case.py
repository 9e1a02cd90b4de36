"""The definition of a test vector, and the parts that several vectors are made of."""

import dataclasses
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from skimage import data as photos

from bincodec import BinaryCode, Codec
from bincodec.bitstream import container
from bincodec.bitstream.container import Container

# Tests are not a package, so the functions that lay out files are loaded from their file.
_SHARED = runpy.run_path(str(Path(__file__).resolve().parents[1] / "conftest.py"))
forge, forge_header, repair = (_SHARED[name] for name in ("forge", "forge_header", "repair"))


@dataclasses.dataclass(frozen=True)
class Case:
    """The folder of a test vector. `error` is the reader's class of error, or None for a picture.

    `partial` is the number of layers of each tile that a reader finds with `partial`. `packs_again` says
    whether a writer makes the same bytes of what was read.
    """

    kind: str
    name: str
    shows: str
    file: bytes
    error: str | None = None
    partial: tuple[int, ...] | None = None
    packs_again: bool = True


def crop(photo: npt.NDArray[np.uint8], top: int, left: int, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Return a part of a picture of scikit-image.

    The pictures are astronaut (NASA, public domain), camera, coffee and chelsea (CC0).
    """
    return np.ascontiguousarray(photo[top : top + height, left : left + width])


def encoded(codec: Codec, pixels: npt.NDArray[np.uint8], quality: int, **changes: Any) -> BinaryCode:
    """Return the code of a picture, without a post-filter unless `changes` contain `extras`."""
    return dataclasses.replace(codec.encode(pixels, quality), **({"extras": ()} | changes))


def two_tiles(codec: Codec, width: int = 300) -> BinaryCode:
    """Return a code of so many x 33 pixels in two coded tiles, by default of 3 x 9 and 3 x 10 positions."""
    return encoded(codec, crop(photos.astronaut(), 100, 100, 33, width), 50, tile_side=16)


def rewritten(file: Container, **changes: Any) -> bytes:
    """Return a file with some parts replaced and valid checksums."""
    file = dataclasses.replace(file, **changes)
    return container.write(file.header, file.groups, file.chunks, file.extras)
