"""One adapter a codec, all of one shape: pixels and a setting to real bytes, real bytes to pixels.

A setting is an integer that rises with the rate. What it means is the codec's own affair.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, features

from bincodec.bitstream.errors import BincodecError

if TYPE_CHECKING:
    from bincodec.codec import Codec

Pixels = NDArray[np.uint8]

QUALITIES = (0, 17, 33, 50, 67, 83, 100)
"""The seven steps in which bincodec's range of qualities is reported."""


class UnknownCodec(BincodecError, ValueError):
    """No adapter has that name."""


class NotInstalled(BincodecError):
    """A codec that there is an adapter for, but that this Pillow was built without."""


@dataclass(frozen=True)
class Encoded:
    """A complete file and what it decodes to: `pixels` is uint8 (H, W, 3)."""

    data: bytes
    pixels: Pixels


@dataclass(frozen=True)
class Peer:
    """A codec under measurement.

    Args:
        name: what tables call it.
        about: versions and fixed options, and what a setting is.
        settings: the grid that a sweep takes by default.
        limits: the lowest and highest setting there is.
        encode: uint8 (H, W, 3) and a setting to a complete file.
        decode: a complete file to uint8 (H, W, 3).
    """

    name: str
    about: str
    settings: tuple[int, ...]
    limits: tuple[int, int]
    encode: Callable[[Pixels, int], bytes]
    decode: Callable[[bytes], Pixels]

    def __call__(self, pixels: Pixels, setting: int) -> Encoded:
        """Encode, then decode from nothing but the bytes."""
        data = self.encode(pixels, setting)
        return Encoded(data, self.decode(data))


def find(name: str, *, model: str = "photo", device: str = "cpu") -> Peer:
    """The codec called `name`; `model` and `device` are for bincodec.

    Raises:
        UnknownCodec: if there is no such adapter.
        NotInstalled: if this Pillow cannot write the format.
        WrongModel, Unsupported: as `Codec.load`.
    """
    if name == "bincodec":
        from bincodec.codec import Codec

        return bincodec(Codec.load(model, device))
    if name not in _PILLOW:
        msg = f"no codec is called {name!r}; there are {', '.join(NAMES)}"
        raise UnknownCodec(msg)
    return _PILLOW[name]()


def bincodec(codec: Codec) -> Peer:
    """A loaded codec of this project; a setting is its quality."""

    def decode(data: bytes) -> Pixels:
        return np.asarray(codec.decode(codec.unpack(data)).convert("RGB"))

    return Peer(
        "bincodec",
        f"model {codec.model.card.name} ({codec.model.card.fingerprint.hex()}) on {codec.device}; quality",
        QUALITIES,
        (0, 100),
        lambda pixels, quality: codec.pack(codec.encode(pixels, quality)),
        decode,
    )


def jpeg() -> Peer:
    """JPEG with optimised Huffman tables, progressive scans and 4:2:0 chroma: the anchor of BD-rates."""
    grid = (5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90, 95)
    fixed = {"optimize": True, "progressive": True, "subsampling": "4:2:0"}
    return _through_pillow("jpeg", "JPEG", "libjpeg_turbo", grid, (1, 95), lambda q: {"quality": q, **fixed})


def webp() -> Peer:
    """Lossy WebP with its slowest, best method."""
    grid = (0, 5, 10, 20, 30, 40, 50, 60, 70, 80, 85, 90, 95)
    return _through_pillow("webp", "WEBP", "webp", grid, (0, 100), lambda q: {"quality": q, "method": 6})


def avif() -> Peer:
    """AVIF as Pillow writes it unless told otherwise: 4:2:0, speed 6, the encoder's default tuning."""
    grid = (10, 20, 25, 30, 35, 40, 50, 60, 70, 80, 90)
    return _through_pillow("avif", "AVIF", "avif", grid, (0, 100), lambda q: {"quality": q, "speed": 6})


def jp2() -> Peer:
    """JPEG 2000 with the 9/7 wavelet and a rate target; a setting is hundredths of a bit per pixel."""
    grid = (6, 9, 12, 18, 25, 35, 50, 65, 80, 100, 140, 200)

    def options(setting: int) -> dict[str, Any]:
        # Pillow takes the ratio to 24 bits per pixel.
        layers = [round(2400 / setting, 2)]
        return {"quality_mode": "rates", "quality_layers": layers, "irreversible": True, "mct": 1}

    return _through_pillow("jp2", "JPEG2000", "jpg_2000", grid, (1, 2400), options)


_PILLOW = {"jpeg": jpeg, "webp": webp, "avif": avif, "jp2": jp2}
NAMES = ("bincodec", *_PILLOW)


def _through_pillow(
    name: str,
    file_format: str,
    feature: str,
    settings: tuple[int, ...],
    limits: tuple[int, int],
    options: Callable[[int], dict[str, Any]],
) -> Peer:
    Image.init()
    if file_format not in Image.SAVE:
        msg = f"{name}: this Pillow was built without {file_format}"
        raise NotInstalled(msg)

    def encode(pixels: Pixels, setting: int) -> bytes:
        buffer = BytesIO()
        Image.fromarray(pixels).save(buffer, format=file_format, **options(setting))
        return buffer.getvalue()

    def decode(data: bytes) -> Pixels:
        with Image.open(BytesIO(data), formats=[file_format]) as image:
            return np.asarray(image.convert("RGB"))

    library = f"{feature} {features.version(feature)}"
    shown = ", ".join(f"{key}={value}" for key, value in options(settings[0]).items() if key != "quality")
    about = f"Pillow {PIL.__version__}, {library}; {shown}"
    return Peer(name, about, settings, limits, encode, decode)
