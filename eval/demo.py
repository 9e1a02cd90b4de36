"""What the demonstration page shows, without the page: a picture in, pictures and numbers out."""

from __future__ import annotations

import contextlib
import dataclasses
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from bincodec.arguments import checked_integer
from bincodec.bitstream.tiles import POSITION
from bincodec.eval import match, metrics, peers
from bincodec.eval.errors import NotInstalled, UnknownCodec
from bincodec.io import images

if TYPE_CHECKING:
    from bincodec import BinaryCode, Codec
    from bincodec.eval.peers import Pixels

LARGEST_SIDE = 1024
"""Pixels. A larger picture is made smaller, so that every answer comes within seconds on one CPU core."""

BESIDE = {"jpeg": "jpeg", "webp": "webp", "avif": "avif:tune=psnr"}
"""The codecs that stand beside ours, by the names that the page shows."""

_HOTTEST = 0.8
"""How much of the picture the brightest spot of the heat map hides, 0..1."""


@dataclasses.dataclass(frozen=True, eq=False)
class Compressed:
    """A picture as a .bld file.

    Args:
        original: uint8 (H, W, 3).
        code: its levels, as the file holds them.
        data: the whole file.
        bits: what the levels cost by layer and position, float64 (layers, h, w).
    """

    original: Pixels
    code: BinaryCode
    data: bytes
    bits: npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Shown:
    """A decoded picture and what it cost.

    Args:
        pixels: uint8 (H, W, 3).
        size: bytes of the file.
        bits_per_pixel: 8 `size` over the number of pixels.
        psnr: in dB; inf where nothing was lost.
        setting: what the codec was told; the quality, for ours.
    """

    pixels: Pixels
    size: int
    bits_per_pixel: float
    psnr: float
    setting: int


def read(data: bytes) -> Pixels:
    """The pixels of an image file in sRGB, made smaller where a side is longer than LARGEST_SIDE.

    Raises:
        ImageError: for what is no image, or for one with transparency.
        TooLarge: beyond the usual limits.
    """
    image = Image.fromarray(images.load_opaque(data))
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    return np.asarray(image)


def compress(codec: Codec, pixels: Pixels, quality: int) -> Compressed:
    """A picture as a file of `quality` 0..100, and what each level of it costs."""
    code = codec.encode(pixels, quality)
    return Compressed(pixels, code, codec.pack(code), codec.cost(code))


def decode(codec: Codec, compressed: Compressed, layers: int, realism: int = 0) -> Shown:
    """The picture as its first `layers` layers show it, which is how it looks while the file arrives.

    `realism` is that of `Codec.decode` in percent. The size is that of the file without the bits of the other
    layers. It is exact for all layers, and right within a few bytes for fewer.

    Raises:
        InvalidSetting: if `realism` is not in 0..100, or if the model has no such decoder.
    """
    share = checked_integer("realism", realism, 0, 100) / 100
    pixels = np.asarray(codec.decode(compressed.code, layers, realism=share).convert("RGB"))
    size = len(compressed.data) - round(float(compressed.bits[layers:].sum()) / 8)
    return _shown(compressed.original, pixels, size, compressed.code.quality)


def beside(name: str, pixels: Pixels, size: int) -> Shown:
    """The picture by one of BESIDE, at the setting whose file comes nearest to `size` bytes.

    Raises:
        UnknownCodec: if `name` is none of BESIDE.
        NotInstalled: if this Pillow cannot write the format.
    """
    if name not in BESIDE:
        msg = f"codec {name!r} is not one of {', '.join(BESIDE)}"
        raise UnknownCodec(msg)
    found = match.nearest(peers.find(BESIDE[name]), pixels, size)
    return _shown(pixels, found.encoded.pixels, len(found.encoded.data), found.setting)


def besides() -> list[str]:
    """The codecs of BESIDE that this Pillow can write."""
    found = []
    for name, spec in BESIDE.items():
        with contextlib.suppress(NotInstalled):
            peers.find(spec)
            found.append(name)
    return found


def heat_map(compressed: Compressed) -> Image.Image:
    """Where the bits go: an RGBA picture to lay over the decoded one, clear where few bits are."""
    bits = compressed.bits.sum(0)
    share = bits / max(float(bits.max()), 1e-9)
    colours = np.zeros((*bits.shape, 4), np.uint8)
    colours[..., 0] = 255
    colours[..., 1] = np.round(220 * share)
    colours[..., 3] = np.round(255 * _HOTTEST * share)
    height, width = compressed.original.shape[:2]
    whole = Image.fromarray(colours).resize((POSITION * bits.shape[1], POSITION * bits.shape[0]), 0)
    return whole.crop((0, 0, width, height))


def fill(codec: Codec, pixels: Pixels, mask: bytes, quality: int, seed: int) -> Image.Image:
    """The picture with what is white in the image file `mask` filled by the model.

    Raises:
        ImageError: for a mask of another size, an empty one, or one that leaves nothing.
    """
    (filled,) = codec.inpaint(pixels, mask, quality, seed=seed)
    return filled.image


def draw(codec: Codec, label: str | None, quality: int, seed: int) -> Image.Image:
    """A new picture of the class `label`, in the model's own size.

    Raises:
        InvalidSetting: for a class that the model does not have.
    """
    (code,) = codec.sample(quality=quality, seed=seed, label=label)
    return codec.decode(code)


def png(picture: Pixels | Image.Image) -> bytes:
    """A PNG file, written fast."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _shown(original: Pixels, pixels: Pixels, size: int, setting: int) -> Shown:
    height, width = original.shape[:2]
    return Shown(pixels, size, 8 * size / (height * width), metrics.psnr(original, pixels), setting)
