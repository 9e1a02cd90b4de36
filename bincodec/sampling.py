"""What a codec draws: new pictures, filled holes, variations, layers that a file lacks.

The draws themselves work on codes (`bincodec.generation`); here pictures become codes, and codes pictures.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import TYPE_CHECKING, Unpack

import numpy as np
from PIL import Image

from bincodec.arguments import checked_quality, checked_size
from bincodec.bitstream.limits import DEFAULT_LIMITS, Limits
from bincodec.code import BinaryCode, Mask
from bincodec.defaults import DRAWN_QUALITY
from bincodec.generation import editing, masks
from bincodec.generation.editing import Completed, Watch
from bincodec.generation.settings import SamplingOptions, SamplingSettings
from bincodec.io import images
from bincodec.io.extras import beside, restored
from bincodec.io.filling import fill
from bincodec.isolation import isolated

if TYPE_CHECKING:
    from bincodec.model.weights import Model


@dataclasses.dataclass(frozen=True)
class Inpainted:
    """A picture with its hole filled.

    Args:
        image: the picture; where an image was given, its own pixels outside the mask.
        code: what was drawn, as a code that packs like any other.
        known: the positions (h, w) that kept their bits.
    """

    image: Image.Image
    code: BinaryCode
    known: Mask


class Sampling(abc.ABC):
    """The half of `Codec` that draws."""

    model: Model

    @abc.abstractmethod
    def encode(
        self, image: images.Source, quality: int | None = None, limits: Limits = DEFAULT_LIMITS
    ) -> BinaryCode:
        """As `Codec.encode`."""

    @abc.abstractmethod
    def decode(self, code: BinaryCode, *, limits: Limits = DEFAULT_LIMITS) -> Image.Image:
        """As `Codec.decode`."""

    @isolated()
    def sample(
        self,
        count: int = 1,
        size: tuple[int, int] | None = None,
        quality: int = DRAWN_QUALITY,
        *,
        limits: Limits = DEFAULT_LIMITS,
        watch: Watch | None = None,
        **options: Unpack[SamplingOptions],
    ) -> list[BinaryCode]:
        """`count` pictures of `size` (width, height), drawn from the prior; options as `SamplingSettings`.

        The size is the model's own if None. Picture i of a seed is the same however many are drawn. `watch`
        is called with the code as it stands after each step.

        Raises:
            InvalidSetting: for a number out of range, or a class that the model does not have.

        Example:
            >>> import bincodec
            >>> codec = bincodec.Codec.load("clothing")
            >>> codes = codec.sample(2, size=(32, 32), seed=7, label="dress", steps=2)
            >>> [codec.decode(code).size for code in codes]
            [(32, 32), (32, 32)]
        """
        size = checked_size(self.model.card.size if size is None else size, limits)
        settings = SamplingSettings(**options)
        return editing.sample(self.model, count, size, checked_quality(quality), settings, watch)

    @isolated()
    def inpaint(
        self,
        source: images.Source | BinaryCode,
        mask: images.Source,
        quality: int = DRAWN_QUALITY,
        count: int = 1,
        *,
        limits: Limits = DEFAULT_LIMITS,
        watch: Watch | None = None,
        **options: Unpack[SamplingOptions],
    ) -> list[Inpainted]:
        """`count` ways to fill what `mask` marks; options as `SamplingSettings`, `watch` as `sample`.

        `mask` is bool (H, W), or an image in which white marks. Positions well outside keep their bits. Of an
        image all pixels outside stay, but for a narrow rim; a code keeps its own quality. Alpha and metadata
        stay as well, in the hole too.

        Raises:
            ImageError: for a mask of another size, an empty one, or one that leaves nothing.
            WrongModel: for another model's code.
            InvalidSetting: as `sample`; for a code that lacks layers.

        Example:
            >>> import bincodec, numpy
            >>> codec = bincodec.Codec.load("photo")
            >>> photo = numpy.zeros((32, 48, 3), numpy.uint8)
            >>> mask = numpy.zeros((32, 48), bool)
            >>> mask[10:20, 30:40] = True
            >>> (filled,) = codec.inpaint(photo, mask, seed=7)
            >>> filled.image.size
            (48, 32)
        """
        settings = SamplingSettings(**options)
        if isinstance(source, BinaryCode):
            editing.require_whole(self.model, source)
            hole = masks.load(mask, source.width, source.height, limits)
            known = masks.known_positions(hole)
            codes = editing.inpaint(self.model, source, known, count, settings, watch)
            return [Inpainted(self.decode(code, limits=limits), code, known) for code in codes]
        original = images.load(source, limits=limits)
        height, width = original.pixels.shape[:2]
        hole = masks.load(mask, width, height, limits)
        known = masks.known_positions(hole)
        without_hole = dataclasses.replace(original, pixels=fill(original.pixels, hole))
        start = self.encode(without_hole, quality, limits)
        codes = editing.inpaint(self.model, start, known, count, settings, watch)
        return [Inpainted(self._blended(original, code, hole, limits), code, known) for code in codes]

    def _blended(self, original: images.Picture, code: BinaryCode, hole: Mask, limits: Limits) -> Image.Image:
        """The picture of a code inside the hole, the original outside, faded into each other at the rim."""
        drawn = np.array(self.decode(code, limits=limits).convert("RGB"))
        image = images.to_image(masks.blend(original.pixels, drawn, hole), grey=original.grey)
        return restored(image, beside(original))

    @isolated()
    def vary(
        self,
        source: images.Source | BinaryCode,
        strength: float,
        quality: int = DRAWN_QUALITY,
        count: int = 1,
        *,
        limits: Limits = DEFAULT_LIMITS,
        watch: Watch | None = None,
        **options: Unpack[SamplingOptions],
    ) -> list[BinaryCode]:
        """`count` pictures like a given one: noise of time `strength` is added to its bits and taken away.

        0 changes nothing, 1 leaves nothing. Options as `SamplingSettings`, `watch` as `sample`; a code keeps
        its own quality. Alpha and metadata stay.

        Raises:
            InvalidSetting: as `sample`; for a strength outside 0..1, a code that lacks layers.
            WrongModel: for another model's code.

        Example:
            >>> import bincodec, numpy
            >>> photo = numpy.zeros((32, 48, 3), numpy.uint8)
            >>> codec = bincodec.Codec.load("clothing")
            >>> (code,) = codec.vary(photo, 0.2, seed=7, steps=2)
            >>> code.width, code.height
            (48, 32)
        """
        settings = SamplingSettings(**options)
        code = source if isinstance(source, BinaryCode) else self.encode(source, quality, limits)
        return editing.vary(self.model, code, strength, count, settings, watch)

    @isolated()
    def complete(
        self, code: BinaryCode, layers: int | None = None, *, seed: int = 0, temperature: float = 1.0
    ) -> Completed:
        """`code`, or its first `layers` layers, with all layers that are missing drawn from the prior.

        Raises:
            InvalidSetting: as `sample`; if `layers` is not between 1 and the code's.
            WrongModel: for another model's code.

        Example:
            >>> import bincodec, numpy
            >>> codec = bincodec.Codec.load("photo")
            >>> photo = numpy.zeros((32, 48, 3), numpy.uint8)
            >>> done = codec.complete(codec.encode(photo), layers=2, seed=7)
            >>> done.real_layers, done.code.layers == codec.model.card.architecture.layers
            (2, True)
        """
        return editing.complete(
            self.model, code, layers, SamplingSettings(seed=seed, temperature=temperature)
        )
