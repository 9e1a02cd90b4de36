"""The calls that most programs need: an image to bytes, bytes to an image, and what models there are."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from bincodec.arguments import Region
from bincodec.bitstream import container
from bincodec.bitstream.limits import DEFAULT_LIMITS, WRITING_LIMITS, Limits
from bincodec.codec import Codec, Missing
from bincodec.defaults import DEFAULT_EFFORT
from bincodec.io import files, images
from bincodec.isolation import outlives_forks
from bincodec.model import store
from bincodec.model.card import ModelCard

MAX_CACHED = 4


def compress(
    image: images.Source,
    *,
    quality: int | None = None,
    size: int | None = None,
    bits_per_pixel: float | None = None,
    psnr: float | None = None,
    model: str | os.PathLike[str] = "photo",
    device: str = "cpu",
    effort: int = DEFAULT_EFFORT,
    strip: str | Iterable[str] = (),
    srgb: bool = False,
    verify: bool = True,
    limits: Limits = WRITING_LIMITS,
) -> bytes:
    """The bytes of a `.bld` file of `image`: `Codec.compress` with a codec that later calls share.

    Args:
        image: a path, the bytes of an image file, a binary file object, a `PIL.Image`, or a uint8 array
            (H, W, 3) or (H, W); with alpha (H, W, 4) or (H, W, 2).
        quality: 0 (smallest) to 100 (best). If neither this nor one of the next three is given, it is 75:
            photographs look good at first sight there, at about 33.5 dB and one bit per pixel.
        size: at most so many bytes, instead of a quality.
        bits_per_pixel: at most so many bits for each pixel, instead of a quality.
        psnr: at least so many dB, instead of a quality; see `Codec.encode` about these three.
        model: a name that `models` lists, a family ("photo": its newest), or the path of a .safetensors file.
        device: "cpu", "cuda" or "cuda:1".
        effort: 0..9, how long to search for a better trade of bits against error; decoding takes the same
            time whatever it was.
        strip: metadata to leave out, one name or several: "icc", "exif", "xmp" or "all". What is not named
            is kept: the colour profile and XMP as they are, Exif but for its orientation, which is applied.
        srgb: whether to convert the pixels to sRGB, through their colour profile, instead of keeping it.
        verify: whether the finished bytes are decoded again before they are returned.
        limits: how large an image may be, and its metadata.

    Raises:
        BincodecError: if the image, the quality, the model or the device will not do, or if no quality
            reaches the target.

    Example:
        >>> import bincodec, numpy
        >>> data = bincodec.compress(numpy.zeros((32, 48, 3), numpy.uint8), quality=50)
        >>> data[1:4]
        b'BLD'
    """
    codec = shared_codec(store.find(model).path, device)
    return codec.compress(
        image,
        quality,
        size=size,
        bits_per_pixel=bits_per_pixel,
        psnr=psnr,
        effort=effort,
        strip=strip,
        srgb=srgb,
        verify=verify,
        limits=limits,
    )


def decompress(
    source: files.Source,
    *,
    layers: int | None = None,
    missing: Missing = "error",
    region: Region | None = None,
    decoder: str | None = None,
    realism: float | None = None,
    seed: int = 0,
    temperature: float = 1.0,
    model: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    limits: Limits = DEFAULT_LIMITS,
) -> Image.Image:
    """The picture in a `.bld` file, by the model that wrote it; `image.info["bld"]` says what was decoded.

    Args:
        source: a path, the bytes of the file, or a binary file object.
        layers: show only the first few layers, a coarser picture. Of the others only the checksums are looked
            at, unless `missing` says otherwise.
        missing: what becomes of layers that are missing because the file is damaged or cut short, or because
            fewer `layers` are to be shown. "error": a damaged file raises an error, and layers that are left
            out are shown as the prior expects them, which is smooth. "expect": a damaged file is shown as far
            as it is intact, and the rest as the prior expects it. "sample": the same, and the rest is drawn
            from the prior, which invents what fits.
        region: left, top, width and height in pixels: only this part of the picture is decoded, and of a path
            or a file object that can seek only what it needs is read.
        decoder: a name among `decoders` of the model's card. "fidelity", the default, shows what the file
            says. "realism", in models that have it, looks more like a photograph and invents detail for it,
            which is not what was there. The file is the same.
        realism: 0..1, a decoder between these two: 0 is "fidelity", and 1 is "realism".
        seed: of what is drawn, 0..2^64 - 1.
        temperature: of what is drawn, 0..10; see `SamplingSettings`.
        model: a name or the path of a .safetensors file, instead of the model that the file names.
        device: "cpu", "cuda" or "cuda:1".
        limits: how large a file and its image may be.

    Returns:
        A `PIL.Image` of mode "RGB", or "L" for a grey picture, or "RGBA" or "LA" with alpha. Its
        `info["bld"]` is a `DecodedInfo`; `info["icc_profile"]`, `info["exif"]` and `info["xmp"]` are there
        where the file has them.

    Raises:
        BincodecError: of the kind that `bincodec.errors` describes.

    Example:
        >>> import bincodec, numpy
        >>> data = bincodec.compress(numpy.zeros((32, 48, 3), numpy.uint8), quality=50)
        >>> image = bincodec.decompress(data)
        >>> image.size, image.info["bld"]["intact"]
        ((48, 32), True)
    """
    with files.opened(source, parts=region is not None) as opened:
        header = container.read_header(opened, limits, partial=missing != "error")
        codec = shared_codec(store.find_for(header.fingerprint, model).path, device)
        return codec.decompress(
            opened,
            layers=layers,
            missing=missing,
            region=region,
            decoder=decoder,
            realism=realism,
            seed=seed,
            temperature=temperature,
            limits=limits,
        )


def models() -> tuple[ModelCard, ...]:
    """The cards of all models that are installed here, by name and number.

    They are those of the package, and those in the folder that the environment variable BINCODEC_MODELS
    names.

    Example:
        >>> import bincodec
        >>> "clothing-1" in [card.name for card in bincodec.models()]
        True
    """
    return store.available()


def clear_cache() -> None:
    """Let go of the codecs that `compress` and `decompress` keep for their next call.

    They keep at most four, one for each model file and device, with some tens of megabytes of weights each.
    Nothing else stays in memory after a call. A `Codec` that you hold yourself is yours.

    Example:
        >>> import bincodec, numpy
        >>> _ = bincodec.compress(numpy.zeros((32, 48, 3), numpy.uint8))
        >>> bincodec.clear_cache()
    """
    with _lock:
        _cached_codec.cache_clear()


_lock = threading.Lock()
outlives_forks(_lock)


def shared_codec(path: Path, device: str) -> Codec:
    """The codec that all module-level functions use for a model file and device."""
    found = path.stat()
    state = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    with _lock:
        return _cached_codec(path, state, device)


@functools.lru_cache(maxsize=MAX_CACHED)
def _cached_codec(path: Path, _state: tuple[int, ...], device: str) -> Codec:
    """A codec by its file and the state of that: one that was replaced is read anew."""
    return Codec.load(str(path), device)
