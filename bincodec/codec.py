"""The codec: compress and decompress, and the steps between them.

    image -> encode -> BinaryCode -> pack -> bytes of a .bld -> unpack -> BinaryCode -> decode -> image

`encode` and `decode` are float networks (pixels may differ by rounding between machines); `pack` and `unpack`
are exact (bits never do).
"""

from __future__ import annotations

import dataclasses
import functools
import threading
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from bincodec import coding, files, images, models, offset
from bincodec.architecture import QUALITIES, STRIDE, grid_of
from bincodec.bitstream import container
from bincodec.bitstream.errors import BincodecError, BitsMismatch, Corrupt, Truncated, WrongModel
from bincodec.bitstream.header import Header
from bincodec.bitstream.limits import DEFAULT_LIMITS, Limits
from bincodec.bitstream.stream import LayerReader, LayerWriter
from bincodec.code import BinaryCode
from bincodec.exact import IntegerPrior

if TYPE_CHECKING:
    from bincodec.exact import Kernel

SAFEST_KERNEL: Kernel = "float64"
DEVICES = ("cpu", "cuda")


class InvalidSetting(BincodecError, ValueError):
    """A quality, a number of layers or a device that does not exist."""


class VerificationFailed(BincodecError):
    """A finished file did not give back the code it was made from; it was not returned."""


@dataclasses.dataclass(frozen=True)
class Codec:
    """One model, loaded. Immutable: threads may share it."""

    model: models.Model
    device: str

    @classmethod
    def load(cls, name: str = "photo", device: str = "cpu", kernel: Kernel = "auto") -> Self:
        """The model called `name` (or in that .safetensors file) on `device`.

        Raises:
            WrongModel: if there is no such model.
            InvalidSetting: if there is no such device.
        """
        return cls(models.load(models.find(name), checked_device(device), kernel), device)

    def encode(self, image: images.Source, quality: int = 50, limits: Limits = DEFAULT_LIMITS) -> BinaryCode:
        """The bits of an image: a path, bytes, a file, a `PIL.Image` or (H, W, 3) or (H, W) uint8.

        Raises:
            ImageError: if it is not an image that can be coded.
            InvalidSetting: if quality is not an integer in 0..100.
        """
        quality = checked_quality(quality)
        picture = images.load(image, limits=limits)
        height, width = picture.pixels.shape[:2]
        with torch.inference_mode():
            value = self.model.autoencoder.analyse(self._padded(picture.pixels), self._at(quality))
            maximum = self.model.autoencoder.maximum
            levels = (self.model.autoencoder.quantise(value) + maximum / 2).round()
            flat = levels[0].to("cpu", torch.uint8).numpy()
        architecture, card = self.model.card.architecture, self.model.card
        parts = (flat[architecture.layer_slice(layer)] for layer in range(architecture.layers))
        code = BinaryCode(
            tuple(np.ascontiguousarray(part) for part in parts),
            architecture.maximum_level,
            width,
            height,
            quality,
            card.name,
            card.fingerprint,
            picture.grey,
        )
        correction = offset.measure(picture.pixels, self._render(code, code.layers))
        return dataclasses.replace(code, ancillary=correction)

    def pack(self, code: BinaryCode, *, verify: bool = False) -> bytes:
        """The bytes of a `.bld` file. With `verify` they are unpacked again before they are returned.

        Raises:
            WrongModel: if the code is another model's.
            InvalidSetting: if the code is what was left of a damaged file.
            VerificationFailed: if the bytes did not give the code back.
        """
        self._check(code)
        if not code.complete:
            msg = (
                "the code is what was left of a damaged file; it packs only when marked complete=True by hand"
            )
            raise InvalidSetting(msg)
        header = Header(code.width, code.height, code.quality, code.layers, code.fingerprint, code.grey)
        writer = LayerWriter(header)
        source = coding.Known(code.levels, writer)
        coding.run(self.model.prior, code.quality, code.grid, code.layers, source)
        data = writer.finish(code.ancillary)
        if verify:
            self._verify(data, code)
        return data

    def _verify(self, data: bytes, code: BinaryCode) -> None:
        try:
            limits = Limits(pixels=code.width * code.height, side=max(code.width, code.height))
            if self.unpack(data, limits=limits).digest() == code.digest():
                return
            reason = "other levels came out"
        except BincodecError as error:
            reason = str(error)
        msg = f"the finished file does not decode to the code it was made from: {reason}"
        raise VerificationFailed(msg)

    def unpack(self, data: bytes, *, partial: bool = False, limits: Limits = DEFAULT_LIMITS) -> BinaryCode:
        """The code in the bytes of a `.bld` file; `pack` turns it into the same bytes again.

        With `partial`, the intact layers of a truncated or damaged file are taken, and the code says
        `complete=False`.

        Raises:
            BincodecError: of the kind that `bincodec.bitstream.errors` describes.
        """
        read = container.read(data, limits, partial=partial)
        self._check_model(read.header.fingerprint)
        architecture = self.model.card.architecture
        if read.header.layers > architecture.layers:
            most = f"{self.model.card.name}'s {architecture.layers}"
            msg = f"the file has {read.header.layers} layers, more than model {most}"
            raise Corrupt(msg)
        try:
            return self._unpack(self.model.prior, read)
        except BitsMismatch:
            # Every payload arrived as it was written. Should a library have broken the exact arithmetic
            # in a shape that the self-test did not see, the slowest carrier still gets it right.
            return self._unpack(self.model.prior.with_kernel(SAFEST_KERNEL), read)

    def _unpack(self, prior: IntegerPrior, read: container.Container) -> BinaryCode:
        header = read.header
        reader = LayerReader(read)
        if not reader.layers_available:
            msg = "no layer of the file arrived intact: there is no picture to show"
            raise Truncated(msg)
        grid = grid_of(header.width, header.height)
        offset.read(read.ancillary)  # a malformed correction makes the file corrupt, wanted or not
        levels = coding.run(prior, header.quality, grid, reader.layers_available, coding.Coded(reader))
        return BinaryCode(
            levels,
            self.model.card.architecture.maximum_level[: len(levels)],
            header.width,
            header.height,
            header.quality,
            self.model.card.name,
            header.fingerprint,
            header.grey,
            read.complete,
            tuple(read.ancillary),
        )

    def decode(self, code: BinaryCode, layers: int | None = None) -> Image.Image:
        """The picture of a code, or of its first `layers` layers; the rest enters as the prior's expectation.

        Raises:
            WrongModel: if the code is another model's.
            InvalidSetting: if `layers` is not between 1 and the code's.
        """
        self._check(code)
        shown = code.layers if layers is None else layers
        if not _is_integer(shown) or not 1 <= shown <= code.layers:
            msg = f"layers {shown!r} is not an integer in 1..{code.layers}, what the file holds"
            raise InvalidSetting(msg)
        pixels = self._render(code, shown)
        if shown == self.model.card.architecture.layers:
            pixels += offset.read(code.ancillary)
        if code.grey:
            pixels = pixels.mean(2, keepdims=True)
        levels = np.round(255 * pixels.clip(0, 1)).astype(np.uint8)
        image = images.to_image(levels, grey=code.grey)
        image.info["bld"] = {
            "model": code.model,
            "quality": code.quality,
            "layers": shown,
            "complete": code.complete,
        }
        return image

    def _render(self, code: BinaryCode, layers: int) -> npt.NDArray[np.float32]:
        """Pixels (H, W, 3), nominally in 0..1, of the first `layers` layers."""
        with torch.inference_mode():
            centred = self._centred(code, layers).to(self.device)[None]
            centred = centred.contiguous(memory_format=torch.channels_last)
            image = self.model.autoencoder.synthesise(centred, self._at(code.quality))
            cropped = image[0, :, : code.height, : code.width].permute(1, 2, 0)
            return cropped.cpu().contiguous().numpy()

    def _centred(self, code: BinaryCode, layers: int) -> Tensor:
        """Centred levels (units, h, w) of the first `layers` layers, expectations of the others."""
        known = [
            torch.from_numpy(part.astype(np.float32)) - top / 2
            for part, top in zip(code.levels[:layers], code.maximum, strict=False)
        ]
        missing: list[Tensor] = []
        if layers < self.model.card.architecture.layers:
            missing = coding.expected(self.model.prior, code.quality, code.levels[:layers])
        return torch.cat([*known, *missing])

    def cost(self, code: BinaryCode) -> npt.NDArray[np.float64]:
        """-log2 of the coded probabilities in bits, by layer and site: (layers, h, w)."""
        self._check(code)
        priced = coding.Priced(code.levels)
        coding.run(self.model.prior, code.quality, code.grid, code.layers, priced)
        return priced.bits

    def _check(self, code: BinaryCode) -> None:
        self._check_model(code.fingerprint)
        architecture = self.model.card.architecture
        units = tuple(len(levels) for levels in code.levels)
        if (units, code.maximum) != (
            architecture.layer_units[: code.layers],
            architecture.maximum_level[: code.layers],
        ):
            msg = f"the code's layers {units} with levels up to {code.maximum} are not {code.model}'s"
            raise WrongModel(msg)

    def _check_model(self, fingerprint: bytes) -> None:
        card = self.model.card
        if fingerprint != card.fingerprint:
            msg = f"the code is of model {fingerprint.hex()}, not of {card.name} ({card.fingerprint.hex()})"
            raise WrongModel(msg)

    def _padded(self, pixels: npt.NDArray[np.uint8]) -> Tensor:
        """Pixels as (1, 3, H, W) in 0..1, both sides continued to multiples of 16 by their last pixels."""
        height, width = pixels.shape[:2]
        padding = ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0))
        padded = torch.from_numpy(np.pad(pixels, padding, mode="edge")).to(self.device)
        return (padded.permute(2, 0, 1)[None].float() / 255).contiguous(memory_format=torch.channels_last)

    def _at(self, quality: int) -> Tensor:
        return torch.full((1,), quality / (QUALITIES - 1), dtype=torch.float32, device=self.device)


def compress(
    image: images.Source,
    *,
    quality: int = 50,
    model: str = "photo",
    device: str = "cpu",
    verify: bool = True,
    limits: Limits = DEFAULT_LIMITS,
) -> bytes:
    """The bytes of a `.bld` file of `image`. By default they are decoded again before they are returned.

    Raises:
        BincodecError: if the image, the quality, the model or the device will not do.
    """
    codec = _shared_codec(models.find(model).path, device)
    return codec.pack(codec.encode(image, quality, limits), verify=verify)


def decompress(
    data: bytes | str | Path | BinaryIO,
    *,
    layers: int | None = None,
    partial: bool = False,
    model: str | None = None,
    device: str = "cpu",
    limits: Limits = DEFAULT_LIMITS,
) -> Image.Image:
    """The picture in a `.bld` file, by the model that wrote it: found by its fingerprint, or named.

    `image.info["bld"]` says what was decoded.

    `layers` shows only the first few; `partial` accepts a truncated or damaged file and shows what is intact
    (then `image.info["bld"]["complete"]` is False).

    Raises:
        BincodecError: of the kind that `bincodec.bitstream.errors` describes.
    """
    content = files.read(data)
    header = container.read_header(content, limits)
    card = models.find_fingerprint(header.fingerprint) if model is None else models.find(model)
    codec = _shared_codec(card.path, device)
    return codec.decode(codec.unpack(content, partial=partial, limits=limits), layers)


def checked_quality(quality: int) -> int:
    """`quality`, if it is an integer in 0..100."""
    if not _is_integer(quality) or not 0 <= quality < QUALITIES:
        msg = f"quality {quality!r} is not an integer in 0..{QUALITIES - 1}"
        raise InvalidSetting(msg)
    return int(quality)


def _is_integer(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def checked_device(device: str) -> str:
    """`device`, if this machine has it."""
    try:
        kind = torch.empty(0, device=device).device.type
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        msg = f"device {device!r} cannot be used: {reason}"
        raise InvalidSetting(msg) from error
    if kind not in DEVICES:
        msg = f"device {device!r} cannot be used: only {' and '.join(DEVICES)} are supported"
        raise InvalidSetting(msg)
    return device


_lock = threading.Lock()


def _shared_codec(path: Path, device: str) -> Codec:
    """The module-level functions share one codec a model and device."""
    with _lock:
        return _cached_codec(path, device)


@functools.lru_cache(maxsize=4)
def _cached_codec(path: Path, device: str) -> Codec:
    return Codec.load(str(path), device)
