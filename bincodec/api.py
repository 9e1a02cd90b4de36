"""The functions that most programs need: compress an image, decompress a file, list the models."""

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
    """Return the bytes of a `.bld` file of `image`.

    This is `Codec.compress` with a codec that is kept for later calls.

    Args:
        image: a path, the bytes of an image file, a binary file object, a `PIL.Image`, or a uint8 array
            (H, W, 3) or (H, W). With alpha, the array is (H, W, 4) or (H, W, 2).
        quality: 0 (smallest) to 100 (best). If neither this nor one of the next three is given, it is 75.
            At 75, photographs look good at first sight, with 35 dB and 0.8 bits per pixel for the
            Kodak photos.
        size: the highest number of bytes, instead of a quality.
        bits_per_pixel: the highest number of bits for each pixel, instead of a quality.
        psnr: the lowest PSNR in dB, instead of a quality. `Codec.encode` describes these three targets.
        model: a name that `models` lists, a family such as "photo", which means its newest model, or the path
            of a .safetensors file.
        device: "cpu", "cuda" or "cuda:1".
        effort: 0..9, how long to search for a better balance of bits and errors. It does not change the time
            for decoding.
        strip: metadata to leave out, one name or several: "icc", "exif", "xmp" or "all". All other metadata
            are kept as they are, except that the orientation in Exif and XMP is applied to the pixels.
        srgb: whether to convert the pixels to sRGB instead of keeping their colour profile.
        verify: whether the finished bytes are decoded as a check before they are returned.
        limits: how large an image and its metadata may be.

    Raises:
        BincodecError: if the image cannot be coded, if the quality, the model or the device does not exist,
            or if no quality reaches the target.

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
    """Return the picture in a `.bld` file. `image.info["bld"]` says what was decoded.

    The codec is kept for later calls.

    Args:
        source: a path, the bytes of the file, or a binary file object.
        layers: the number of layers to show. Fewer layers give a coarser picture. For the other layers, only
            the checksums are compared, unless `missing` is set.
        missing: what is shown in place of layers that are missing because the file is damaged or cut short,
            or because fewer `layers` are shown. "error": a damaged file raises an error, and layers that are
            not shown are replaced by the expectation of the prior, which is smooth. "expect": the intact
            parts of a damaged file are shown, and the rest is replaced by the expectation of the prior.
            "sample": the same, but the rest is drawn from the prior, which invents something that fits.
        region: left, top, width and height in pixels. Only this part of the picture is decoded. From a path
            or a file object that can seek, only the bytes that it needs are read.
        decoder: a name among `decoders` of the model's card. "fidelity", the default, shows what the file
            says. "realism", which some models have, looks more like a photograph. It invents detail for this,
            which is not what was there. The file is the same for both.
        realism: 0..1, for a decoder between these two. 0 is "fidelity", and 1 is "realism".
        seed: the seed of what is drawn, 0..2^64 - 1.
        temperature: the temperature of what is drawn, 0..10 (`SamplingSettings`).
        model: a name or the path of a .safetensors file, instead of the model that the file names.
        device: "cpu", "cuda" or "cuda:1".
        limits: how large a file and its image may be.

    Returns:
        A `PIL.Image` of mode "RGB", or "L" for a grey picture. With alpha, the mode is "RGBA" or "LA". Its
        `info["bld"]` is a `DecodedInfo`. If the file has them, `info["icc_profile"]`, `info["exif"]` and
        `info["xmp"]` are set too.

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
    """Return the cards of all installed models, sorted by name and number.

    These are the models of the package, and those in the folder that the environment variable BINCODEC_MODELS
    names.

    Example:
        >>> import bincodec
        >>> "clothing-1" in [card.name for card in bincodec.models()]
        True
    """
    return store.available()


def clear_cache() -> None:
    """Free the codecs that `compress` and `decompress` keep for their next call.

    There are at most four, one for each model file and device. Each has some tens of megabytes of weights.
    Nothing else stays in memory after a call. A `Codec` that you have loaded yourself is not affected.

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
    """Return the codec that all module-level functions use for a model file and device."""
    found = path.stat()
    state = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    with _lock:
        return _cached_codec(path, state, device)


@functools.lru_cache(maxsize=MAX_CACHED)
def _cached_codec(path: Path, _state: tuple[int, ...], device: str) -> Codec:
    """Return the codec of a file. If the file was replaced, its state differs, and it is read again."""
    return Codec.load(str(path), device)
