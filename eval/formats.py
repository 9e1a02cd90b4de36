"""The image formats that Pillow writes, by itself or with a plugin, as codecs to measure.

A setting is an integer that rises with the rate. Encoders run on one thread if they have an option for it. A
sweep uses the other cores for other work, and some encoders write a different file with more threads.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from io import BytesIO
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, ImageFile, features

from bincodec.eval.errors import NotInstalled, needed
from bincodec.eval.spec import Option, numbers

Values = Mapping[str, str]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Format:
    """An image format of Pillow, and its options.

    Args:
        pillow: Pillow's name for the format.
        library: the library inside Pillow, or the distribution of the plugin.
        options: the options that a spec may set.
        settings: the default grid of settings of a sweep.
        limits: the lowest and the highest setting.
        save: a function that turns values of the options and a setting into arguments of `Image.save`.
        plugin: the module to import, or empty if Pillow needs no plugin.
        register: the function of the plugin that must be called, if any.
        meaning: the meaning of a setting.
    """

    pillow: str
    library: str
    options: tuple[Option, ...]
    settings: tuple[int, ...]
    limits: tuple[int, int]
    save: Callable[[Values, int], dict[str, Any]]
    plugin: str = ""
    register: str = ""
    meaning: str = "quality"

    def about(self, codec: str, values: Values) -> str:
        """Return the versions and all arguments of `Image.save`, and register the format with Pillow.

        Raises:
            NotInstalled: if Pillow cannot write the format.
        """
        made_of = self._load_plugin(codec) if self.plugin else self._own_library(codec)
        fixed = self.save(values, self.settings[0])
        shown = ", ".join(f"{key}={value}" for key, value in fixed.items() if key not in _VARYING)
        return f"Pillow {PIL.__version__}, {made_of}; {shown}; {self.meaning}"

    def encode(self, values: Values, pixels: Pixels, setting: int) -> bytes:
        """Return a complete file of uint8 (H, W, 3) pixels."""
        buffer = BytesIO()
        height, width, _ = pixels.shape
        with _room_for_a_file(width, height):
            Image.fromarray(pixels).save(buffer, format=self.pillow, **self.save(values, setting))
        return buffer.getvalue()

    def decode(self, data: bytes) -> Pixels:
        """Decode a complete file to uint8 (H, W, 3)."""
        with Image.open(BytesIO(data), formats=[self.pillow]) as image:
            return np.asarray(image.convert("RGB"))

    def _own_library(self, codec: str) -> str:
        Image.init()
        if self.pillow not in Image.SAVE:
            msg = f"{codec}: this Pillow was built without {self.pillow}"
            raise NotInstalled(msg)
        return f"{self.library} {features.version(self.library)}"

    def _load_plugin(self, codec: str) -> str:
        with needed(f"{codec} needs", self.library):
            module = importlib.import_module(self.plugin)
        if self.register:
            getattr(module, self.register)()
        made_of = f"{self.library} {version(self.library)}"
        if hasattr(module, "libheif_info"):
            facts = module.libheif_info()
            made_of += f" (libheif {facts['libheif']}, {facts['HEIF']})"
        return made_of


_VARYING = ("quality", "quality_layers")

_BLOCK = threading.Lock()


@contextmanager
def _room_for_a_file(width: int, height: int) -> Iterator[None]:
    """Make Pillow's buffer large enough for any JPEG file of a picture.

    An optimised or progressive file is written in one piece. Pillow expects at most two bytes a pixel and
    fails ("broken data stream") if a file is larger. This happens with noise, and with narrow pictures, which
    JPEG pads to multiples of 16. The size of the buffer is a global of Pillow's module, so only one thread at
    a time may change it.
    """
    padded = (width + -width % 16) * (height + -height % 16)
    with _BLOCK:
        before = ImageFile.MAXBLOCK
        ImageFile.MAXBLOCK = max(before, _MAX_BYTES_PER_PIXEL * padded)
        try:
            yield
        finally:
            ImageFile.MAXBLOCK = before


_MAX_BYTES_PER_PIXEL = 4
"""An upper bound. Noise of black and white samples takes 2.3 at quality 95 without subsampling."""


def _jpeg(values: Values, quality: int) -> dict[str, Any]:
    flags = {name: values[name] == "yes" for name in ("optimize", "progressive")}
    return {"quality": quality, "subsampling": ":".join(values["subsampling"]), **flags}


def _webp(values: Values, quality: int) -> dict[str, Any]:
    return {"quality": quality, "method": int(values["method"])}


def _avif(values: Values, quality: int) -> dict[str, Any]:
    tune = {} if values["tune"] == "default" else {"advanced": {"tune": values["tune"]}}
    fixed = {"speed": int(values["speed"]), "subsampling": ":".join(values["subsampling"])}
    # With more threads libavif divides large pictures into tiles.
    return {"quality": quality, **fixed, "max_threads": 1, **tune}


def _jp2(values: Values, hundredths: int) -> dict[str, Any]:
    # Pillow expects the ratio of 24 bits per pixel to the rate.
    ratio = round(2400 / hundredths, 2)
    return {"quality_mode": "rates", "quality_layers": [ratio], "irreversible": True, "mct": 1}


def _jxl(values: Values, quality: int) -> dict[str, Any]:
    return {"quality": quality, "effort": int(values["effort"]), "num_threads": 1}


def _heic(values: Values, quality: int) -> dict[str, Any]:
    return {"quality": quality, "chroma": int(values["subsampling"])}


_SUBSAMPLING = Option("subsampling", "420", ("420", "422", "444"))
_FLAG = ("yes", "no")

FORMATS = {
    "jpeg": Format(
        "JPEG",
        "libjpeg_turbo",
        (_SUBSAMPLING, Option("optimize", "yes", _FLAG), Option("progressive", "yes", _FLAG)),
        (5, 10, 15, 20, 25, 30, 40, 50, 60, 70, 75, 80, 85, 90, 95),
        (1, 95),
        _jpeg,
    ),
    "webp": Format(
        "WEBP",
        "webp",
        (Option("method", "6", numbers(0, 6)),),
        (0, 5, 10, 20, 30, 40, 50, 60, 70, 80, 85, 90, 95),
        (0, 100),
        _webp,
    ),
    "avif": Format(
        "AVIF",
        "avif",
        (
            Option("tune", "default", ("default", "psnr", "ssim", "iq", "ssimulacra2")),
            Option("speed", "6", numbers(0, 10)),
            _SUBSAMPLING,
        ),
        (10, 20, 25, 30, 35, 40, 50, 60, 70, 80, 90),
        (0, 100),
        _avif,
    ),
    "jp2": Format(
        "JPEG2000",
        "jpg_2000",
        (),
        (6, 9, 12, 18, 25, 35, 50, 65, 80, 100, 140, 200),
        (1, 2400),
        _jp2,
        meaning="hundredths of a bit per pixel",
    ),
    "jxl": Format(
        "JXL",
        "pillow-jxl-plugin",
        (Option("effort", "7", numbers(1, 10)),),
        (5, 8, 12, 20, 30, 40, 50, 60, 70, 80, 85, 90, 95),
        (0, 99),
        _jxl,
        plugin="pillow_jxl",
    ),
    "heic": Format(
        "HEIF",
        "pillow-heif",
        (_SUBSAMPLING,),
        (5, 10, 15, 20, 25, 30, 35, 40, 50, 60, 70, 80),
        (0, 100),
        _heic,
        plugin="pillow_heif",
        register="register_heif_opener",
    ),
}
