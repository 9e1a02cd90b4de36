"""The codec: compress and decompress, and the steps between them.

    image -> encode -> BinaryCode -> pack -> bytes of a .bld -> unpack -> BinaryCode -> decode -> image

`encode` and `decode` are float networks (pixels may differ by rounding between machines); `pack` and `unpack`
are exact (bits never do).
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Self, Unpack

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from bincodec import coding, images, models, offset
from bincodec import effort as effort_search
from bincodec.architecture import QUALITIES, STRIDE, grid_of
from bincodec.bitstream import container
from bincodec.bitstream.errors import BincodecError, BitsMismatch, Corrupt, Truncated, WrongModel
from bincodec.bitstream.header import Header
from bincodec.bitstream.limits import DEFAULT_LIMITS, Limits
from bincodec.bitstream.stream import LayerReader, LayerWriter
from bincodec.code import BinaryCode
from bincodec.exact import IntegerPrior
from bincodec.settings import (
    DEFAULT_EFFORT,
    InvalidSetting,
    checked_device,
    checked_integer,
    checked_quality,
    checked_search,
    search_rounds,
)

if TYPE_CHECKING:
    from bincodec import drawing, painting
    from bincodec.exact import Kernel

SAFEST_KERNEL: Kernel = "float64"


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

    def encode(
        self,
        image: images.Source,
        quality: int = 50,
        limits: Limits = DEFAULT_LIMITS,
        *,
        effort: int = DEFAULT_EFFORT,
    ) -> BinaryCode:
        """The bits of an image: a path, bytes, a file, a `PIL.Image` or (H, W, 3) or (H, W) uint8.

        More `effort` searches longer for a better trade of bits against error at this quality; bytes and PSNR
        each may move either way (`bincodec.effort`). It takes about half a gigabyte a megapixel.

        Raises:
            ImageError: if it is not an image that can be coded.
            InvalidSetting: if quality is not an integer in 0..100, or effort not one in 0..9; or if effort is
                not 0 and the image is too large for it, or the model does not say its multipliers.
        """
        quality, rounds = checked_quality(quality), search_rounds(effort)
        picture = images.load(image, limits=limits)
        height, width = picture.pixels.shape[:2]
        with torch.no_grad():
            padded = self._padded(picture.pixels)
            centred = self.model.autoencoder.quantise(
                self.model.autoencoder.analyse(padded, self._at(quality))
            )
            if rounds:
                checked_search(width * height)
                weight = effort_search.error_weight(self._lagrangian(quality))
                target = effort_search.Target(padded, height, width, quality, weight)
                centred = effort_search.search(
                    self.model.autoencoder, self.model.prior, centred, target, rounds
                )
            levels = (centred + self.model.autoencoder.maximum / 2).round()
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
        self.check(code)
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
        self.check(code)
        shown = code.layers if layers is None else layers
        shown = checked_integer("layers", shown, 1, code.layers)
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
        self.check(code)
        priced = coding.Priced(code.levels)
        coding.run(self.model.prior, code.quality, code.grid, code.layers, priced)
        return priced.bits

    def sample(
        self,
        count: int = 1,
        size: tuple[int, int] = (256, 256),
        quality: int = 50,
        *,
        limits: Limits = DEFAULT_LIMITS,
        **how: Unpack[drawing.Settings],
    ) -> list[BinaryCode]:
        """`count` pictures of `size` (width, height), drawn from the prior; keywords as `drawing.Drawing`.

        Picture i of a seed is the same however many are drawn.

        Raises:
            InvalidSetting: for a number out of range, or a class that the model does not have.
        """
        from bincodec import drawing, painting

        return painting.sample(self, count, size, quality, drawing.Drawing(**how), limits)

    def inpaint(
        self,
        source: images.Source | BinaryCode,
        mask: images.Source,
        quality: int = 50,
        count: int = 1,
        *,
        limits: Limits = DEFAULT_LIMITS,
        **how: Unpack[drawing.Settings],
    ) -> list[painting.Painted]:
        """`count` ways to paint what `mask` marks; keywords as `drawing.Drawing`.

        `mask` is bool (H, W), or an image in which white marks. Sites well outside keep their bits. Of an
        image all pixels outside stay, but for a narrow rim; a code keeps its own quality.

        Raises:
            ImageError: for a mask of another size, an empty one, or one that leaves nothing.
            WrongModel: for another model's code.
            InvalidSetting: as `sample`; for a code that lacks layers.
        """
        from bincodec import drawing, painting

        return painting.inpaint(self, source, mask, quality, count, drawing.Drawing(**how), limits)

    def vary(
        self,
        source: images.Source | BinaryCode,
        strength: float,
        quality: int = 50,
        count: int = 1,
        *,
        limits: Limits = DEFAULT_LIMITS,
        **how: Unpack[drawing.Settings],
    ) -> list[BinaryCode]:
        """`count` pictures like a given one: noise of time `strength` is added to its bits and taken away.

        0 changes nothing, 1 leaves nothing. Keywords as `drawing.Drawing`; a code keeps its own quality.

        Raises:
            InvalidSetting: as `sample`; for a strength outside 0..1, a code that lacks layers.
            WrongModel: for another model's code.
        """
        from bincodec import drawing, painting

        how = {"sampler": "noise", **how}
        return painting.vary(self, source, strength, quality, count, drawing.Drawing(**how), limits)

    def complete(
        self, code: BinaryCode, layers: int | None = None, *, seed: int = 0, temperature: float = 1.0
    ) -> painting.Completed:
        """`code`, or its first `layers` layers, with all layers that are missing drawn from the prior.

        Raises:
            InvalidSetting: as `sample`; if `layers` is not between 1 and the code's.
            WrongModel: for another model's code.
        """
        from bincodec import drawing, painting

        return painting.complete(self, code, layers, drawing.Drawing(seed=seed, temperature=temperature))

    def check(self, code: BinaryCode) -> None:
        """Raise `WrongModel` unless the code is this model's."""
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

    def _lagrangian(self, quality: int) -> float:
        """lambda at `quality`, as the model was trained (DESIGN §3)."""
        try:
            lowest, highest = (float(value) for value in self.model.card.card["lagrangian"])
            if not 0 < lowest <= highest < math.inf:
                raise ValueError
        except (KeyError, TypeError, ValueError) as error:
            msg = f"model {self.model.card.name} does not say its Lagrange multipliers: only effort 0"
            raise InvalidSetting(msg) from error
        return float(lowest * (highest / lowest) ** (quality / (QUALITIES - 1)))

    def _padded(self, pixels: npt.NDArray[np.uint8]) -> Tensor:
        """Pixels as (1, 3, H, W) in 0..1, both sides continued to multiples of 16 by their last pixels."""
        height, width = pixels.shape[:2]
        padding = ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0))
        padded = torch.from_numpy(np.pad(pixels, padding, mode="edge")).to(self.device)
        return (padded.permute(2, 0, 1)[None].float() / 255).contiguous(memory_format=torch.channels_last)

    def _at(self, quality: int) -> Tensor:
        return torch.full((1,), quality / (QUALITIES - 1), dtype=torch.float32, device=self.device)
