"""The codec: compress and decompress, and the steps between them.

    image -> encode -> BinaryCode -> pack -> bytes of a .bld -> unpack -> BinaryCode -> decode -> image

`encode` and `decode` are float networks (`pixels`: they may differ by rounding between machines); `pack` and
`unpack` are exact (`coding`: bits never do).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Self, Unpack

import numpy as np
import numpy.typing as npt
from PIL import Image

from bincodec.arguments import (
    DEFAULT_EFFORT,
    InvalidSetting,
    checked_device,
    checked_integer,
    checked_quality,
    search_rounds,
)
from bincodec.bitstream import container
from bincodec.bitstream.errors import BincodecError, BitsMismatch, Corrupt, Truncated, WrongModel
from bincodec.bitstream.header import Header
from bincodec.bitstream.limits import DEFAULT_LIMITS, Limits
from bincodec.bitstream.stream import LayerReader, LayerWriter
from bincodec.code import BinaryCode
from bincodec.coding import passes
from bincodec.encoder import analysis
from bincodec.io import images
from bincodec.model import store
from bincodec.model.architecture import grid_of
from bincodec.model.kernels import IntegerPrior
from bincodec.postfilter import filter, fit

if TYPE_CHECKING:
    from bincodec.generation import editing, settings
    from bincodec.model.kernels import Kernel

SAFEST_KERNEL: Kernel = "float64"


class VerificationFailed(BincodecError):
    """A finished file did not give back the code it was made from; it was not returned."""


@dataclasses.dataclass(frozen=True)
class Codec:
    """One model, loaded. Immutable: threads may share it."""

    model: store.Model
    device: str

    @classmethod
    def load(cls, name: str = "photo", device: str = "cpu", kernel: Kernel = "auto") -> Self:
        """The model called `name` (or in that .safetensors file) on `device`.

        Raises:
            WrongModel: if there is no such model.
            InvalidSetting: if there is no such device.
        """
        return cls(store.load(store.find(name), checked_device(device), kernel), device)

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
        each may move either way (`bincodec.encoder.search`). It takes about three quarters of a gigabyte a
        megapixel.

        Raises:
            ImageError: if it is not an image that can be coded.
            InvalidSetting: if quality is not an integer in 0..100, or effort not one in 0..9; or if effort is
                not 0 and the image is too large for it, or the model does not say its multipliers.
        """
        quality, rounds = checked_quality(quality), search_rounds(effort)
        picture = images.load(image, limits=limits)
        height, width = picture.pixels.shape[:2]
        card = self.model.card
        code = BinaryCode(
            analysis.analyse(self.model, picture.pixels, quality, rounds, self.device, grey=picture.grey),
            card.architecture.maximum_level,
            width,
            height,
            quality,
            card.name,
            card.fingerprint,
            picture.grey,
        )
        rendered = analysis.render(self.model, code, code.layers, self.device)
        weight = analysis.price_of_error(self.model, quality) or 0.0
        return dataclasses.replace(code, ancillary=fit.measure(picture.pixels, rendered, weight))

    def pack(self, code: BinaryCode, *, verify: bool = False) -> bytes:
        """The bytes of a `.bld` file. With `verify` they are unpacked again before they are returned.

        Raises:
            WrongModel: if the code is another model's.
            InvalidSetting: if the code is what was left of a damaged file.
            VerificationFailed: if the bytes did not give the code back.
        """
        self.check(code)
        if not code.complete:
            msg = "the code is what was left of a damaged file; it packs only if marked complete=True by hand"
            raise InvalidSetting(msg)
        header = Header(code.width, code.height, code.quality, code.layers, code.fingerprint, code.grey)
        writer = LayerWriter(header)
        source = passes.Known(code.levels, writer)
        passes.run(self.model.prior, code.quality, code.grid, code.layers, source)
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
        card = self.model.card
        if read.header.layers > card.architecture.layers:
            most = f"{card.name}'s {card.architecture.layers}"
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
            msg = "nothing arrived intact: the first chunk, all of a small file, is damaged or cut short"
            raise Truncated(msg)
        grid = grid_of(header.width, header.height)
        filter.read(read.ancillary)  # a malformed correction makes the file corrupt, wanted or not
        levels = passes.run(prior, header.quality, grid, reader.layers_available, passes.Coded(reader))
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
            Corrupt: if the code's correction cannot be read; a file's always can.
        """
        self.check(code)
        shown = code.layers if layers is None else layers
        shown = checked_integer("layers", shown, 1, code.layers)
        rendered = analysis.render(self.model, code, shown, self.device)
        if shown == self.model.card.architecture.layers:
            rendered = filter.corrected(rendered, filter.read(code.ancillary))
        if code.grey:
            rendered = rendered[..., :1]
        image = images.to_image(np.round(255 * rendered.clip(0, 1)).astype(np.uint8), grey=code.grey)
        image.info["bld"] = {
            "model": code.model,
            "quality": code.quality,
            "layers": shown,
            "complete": code.complete,
        }
        return image

    def cost(self, code: BinaryCode) -> npt.NDArray[np.float64]:
        """-log2 of the coded probabilities in bits, by layer and position: (layers, h, w)."""
        self.check(code)
        priced = passes.Priced(code.levels)
        passes.run(self.model.prior, code.quality, code.grid, code.layers, priced)
        return priced.bits

    def sample(
        self,
        count: int = 1,
        size: tuple[int, int] | None = None,
        quality: int = 50,
        *,
        limits: Limits = DEFAULT_LIMITS,
        **how: Unpack[settings.Settings],
    ) -> list[BinaryCode]:
        """`count` pictures of `size` (width, height), drawn from the prior; keywords as
        `drawing.SamplingSettings`.

        The size is the model's own if None. Picture i of a seed is the same however many are drawn.

        Raises:
            InvalidSetting: for a number out of range, or a class that the model does not have.
        """
        from bincodec.generation import editing, settings

        return editing.sample(self, count, size, quality, settings.SamplingSettings(**how), limits)

    def inpaint(
        self,
        source: images.Source | BinaryCode,
        mask: images.Source,
        quality: int = 50,
        count: int = 1,
        *,
        limits: Limits = DEFAULT_LIMITS,
        **how: Unpack[settings.Settings],
    ) -> list[editing.Inpainted]:
        """`count` ways to paint what `mask` marks; keywords as `drawing.SamplingSettings`.

        `mask` is bool (H, W), or an image in which white marks. Positions well outside keep their bits. Of an
        image all pixels outside stay, but for a narrow rim; a code keeps its own quality.

        Raises:
            ImageError: for a mask of another size, an empty one, or one that leaves nothing.
            WrongModel: for another model's code.
            InvalidSetting: as `sample`; for a code that lacks layers.
        """
        from bincodec.generation import editing, settings

        return editing.inpaint(self, source, mask, quality, count, settings.SamplingSettings(**how), limits)

    def vary(
        self,
        source: images.Source | BinaryCode,
        strength: float,
        quality: int = 50,
        count: int = 1,
        *,
        limits: Limits = DEFAULT_LIMITS,
        **how: Unpack[settings.Settings],
    ) -> list[BinaryCode]:
        """`count` pictures like a given one: noise of time `strength` is added to its bits and taken away.

        0 changes nothing, 1 leaves nothing. Keywords as `drawing.SamplingSettings`; a code keeps its own
        quality.

        Raises:
            InvalidSetting: as `sample`; for a strength outside 0..1, a code that lacks layers.
            WrongModel: for another model's code.
        """
        from bincodec.generation import editing, settings

        return editing.vary(self, source, strength, quality, count, settings.SamplingSettings(**how), limits)

    def complete(
        self, code: BinaryCode, layers: int | None = None, *, seed: int = 0, temperature: float = 1.0
    ) -> editing.Completed:
        """`code`, or its first `layers` layers, with all layers that are missing drawn from the prior.

        Raises:
            InvalidSetting: as `sample`; if `layers` is not between 1 and the code's.
            WrongModel: for another model's code.
        """
        from bincodec.generation import editing, settings

        return editing.complete(
            self, code, layers, settings.SamplingSettings(seed=seed, temperature=temperature)
        )

    def check(self, code: BinaryCode) -> None:
        """Raise `WrongModel` unless the code is this model's."""
        self._check_model(code.fingerprint)
        own, layers = self.model.card.architecture, code.layers
        channels = tuple(len(levels) for levels in code.levels)
        if (channels, code.maximum) != (own.layer_channels[:layers], own.maximum_level[:layers]):
            msg = f"the code's layers {channels} with levels up to {code.maximum} are not {code.model}'s"
            raise WrongModel(msg)

    def _check_model(self, fingerprint: bytes) -> None:
        card = self.model.card
        if fingerprint != card.fingerprint:
            msg = f"the code is of model {fingerprint.hex()}, not of {card.name} ({card.fingerprint.hex()})"
            raise WrongModel(msg)
