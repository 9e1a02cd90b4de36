"""What a test vector is, and what several of them are made of."""

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

# Tests share no package, so what lays files out by hand is taken from where it is.
_SHARED = runpy.run_path(str(Path(__file__).resolve().parents[1] / "conftest.py"))
forge, forge_header, repair = (_SHARED[name] for name in ("forge", "forge_header", "repair"))


@dataclasses.dataclass(frozen=True)
class Case:
    """A folder: `error` is what a reader calls the file, or None for a picture.

    `partial` is how many layers of each tile a reader finds that is asked for what is intact. `packs_again`
    says whether a writer makes the same bytes of what was read.
    """

    kind: str
    name: str
    shows: str
    file: bytes
    error: str | None = None
    partial: tuple[int, ...] | None = None
    packs_again: bool = True


def crop(photo: npt.NDArray[np.uint8], top: int, left: int, height: int, width: int) -> npt.NDArray[np.uint8]:
    """A part of a picture of scikit-image: astronaut (NASA, public domain), camera, coffee, chelsea (CC0)."""
    return np.ascontiguousarray(photo[top : top + height, left : left + width])


def encoded(codec: Codec, pixels: npt.NDArray[np.uint8], quality: int, **changes: Any) -> BinaryCode:
    """Its code, without a post-filter if `changes` say nothing else of `extras`."""
    return dataclasses.replace(codec.encode(pixels, quality), **({"extras": ()} | changes))


def two_tiles(codec: Codec, width: int = 300) -> BinaryCode:
    """So many x 33 pixels in two coded tiles, at first of 3 x 9 and 3 x 10 positions."""
    return encoded(codec, crop(photos.astronaut(), 100, 100, 33, width), 50, tile_side=16)


def rewritten(file: Container, **changes: Any) -> bytes:
    """A file that was taken apart, with other parts, under checksums that hold."""
    file = dataclasses.replace(file, **changes)
    return container.write(file.header, file.groups, file.chunks, file.extras)
