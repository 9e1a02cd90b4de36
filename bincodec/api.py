"""The two calls that most programs need: an image to bytes, bytes to an image."""

from __future__ import annotations

import functools
import threading
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from bincodec.arguments import DEFAULT_EFFORT, checked_integer
from bincodec.bitstream import container
from bincodec.bitstream.limits import DEFAULT_LIMITS, Limits
from bincodec.codec import Codec
from bincodec.io import files, images
from bincodec.model import store


def compress(
    image: images.Source,
    *,
    quality: int = 50,
    model: str = "photo",
    device: str = "cpu",
    effort: int = DEFAULT_EFFORT,
    verify: bool = True,
    limits: Limits = DEFAULT_LIMITS,
) -> bytes:
    """The bytes of a `.bld` file of `image`. By default they are decoded again before they are returned.

    `effort` 0..9 is how long to search for a better trade of bits against error, as `Codec.encode`; decoding
    takes the same time whatever it was.

    Raises:
        BincodecError: if the image, the quality, the model or the device will not do.
    """
    codec = _shared_codec(store.find(model).path, device)
    return codec.pack(codec.encode(image, quality, limits, effort=effort), verify=verify)


def decompress(
    data: bytes | str | Path | BinaryIO,
    *,
    layers: int | None = None,
    partial: bool = False,
    complete: bool = False,
    conceal: bool = False,
    seed: int = 0,
    temperature: float = 1.0,
    model: str | None = None,
    device: str = "cpu",
    limits: Limits = DEFAULT_LIMITS,
) -> Image.Image:
    """The picture in a `.bld` file, by the model that wrote it: found by its fingerprint, or named.

    `image.info["bld"]` says what was decoded.

    `layers` shows only the first few; `partial` accepts a truncated or damaged file and shows what is intact
    (then `image.info["bld"]["complete"]` is False), fewer layers than asked for where fewer are intact.

    What is missing then is shown as the prior expects it: smooth. `complete` draws it instead, as
    `Codec.complete`, and `conceal` does so for a damaged file. `image.info["bld"]` says how many layers,
    from the first, were read ("real_layers") and what share of the bits they are ("real_share", at the
    prior's price).

    Raises:
        BincodecError: of the kind that `bincodec.bitstream.errors` describes.
    """
    content = files.read(data)
    header = container.read_header(content, limits)
    card = store.find_fingerprint(header.fingerprint) if model is None else store.find(model)
    codec = _shared_codec(card.path, device)
    code = codec.unpack(content, partial=partial or conceal, limits=limits)
    if layers is not None and (partial or conceal):
        # Whoever asks for what is intact does not know how much that is.
        layers = min(checked_integer("layers", layers, 1, header.layers), code.layers)
    if not (complete or conceal):
        return codec.decode(code, layers)
    completed = codec.complete(code, layers, seed=seed, temperature=temperature)
    image = codec.decode(completed.code)
    image.info["bld"] |= {"real_layers": completed.real_layers, "real_share": completed.real_share}
    return image


_lock = threading.Lock()


def _shared_codec(path: Path, device: str) -> Codec:
    """The module-level functions share one codec a model and device."""
    with _lock:
        return _cached_codec(path, device)


@functools.lru_cache(maxsize=4)
def _cached_codec(path: Path, device: str) -> Codec:
    return Codec.load(str(path), device)
