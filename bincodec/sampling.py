"""The methods of `Codec` that draw: new pictures, filled holes, variations, and layers that a file lacks.

`bincodec.generation` draws codes. This module turns pictures into codes, and codes into pictures.
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


@dataclasses.dataclass(frozen=True, eq=False)
class Inpainted:
    """A picture whose hole has been filled.

    Args:
        image: the picture. If an image was given, its pixels outside the mask are kept.
        code: the drawn code, which can be packed like any other.
        known: the positions that kept their bits, bool (h, w).
    """

    image: Image.Image
    code: BinaryCode
    known: Mask


class Sampling(abc.ABC):
    """The methods of `Codec` that draw."""

    model: Model

    @abc.abstractmethod
    def encode(
        self, image: images.Source, quality: int | None = None, limits: Limits = DEFAULT_LIMITS
    ) -> BinaryCode:
        """Return the code of an image (see `Codec.encode`)."""

    @abc.abstractmethod
    def decode(self, code: BinaryCode, *, limits: Limits = DEFAULT_LIMITS) -> Image.Image:
        """Return the image of a code (see `Codec.decode`)."""

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
        """Draw `count` pictures of `size` (width, height) in pixels from the prior, and return their codes.

        If `size` is None, the model's default size is used. Picture i of a seed is the same however many
        pictures are drawn. `watch` is called with the present code after each step. The options are the
        fields of `SamplingSettings`.

        Raises:
            InvalidSetting: if a number is out of range, or if the model does not have the class.

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
        """Fill the part of a picture that `mask` marks, in `count` different ways.

        `mask` is bool (H, W), or an image whose white pixels mark the part to fill. Positions well outside
        the mask keep their bits. If `source` is an image, its pixels outside the mask are kept, except for a
        narrow rim. If it is a code, its own quality is used and not `quality`. Alpha and metadata are kept,
        also inside the mask. Extras of unknown kinds are not. For `watch` and the options, see `sample`.

        Raises:
            ImageError: if the mask has another size than the picture, is empty, or covers everything.
            WrongModel: if the code belongs to another model.
            InvalidSetting: as in `sample`, or if the code lacks layers.

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
        """Return the picture of a code inside the hole and the original outside, blended at the rim."""
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
        """Draw `count` pictures similar to a given one, and return their codes.

        Noise of time `strength` is added to the bits of the picture and removed again. With strength 0,
        nothing changes; with 1, nothing of the picture is left. If `source` is a code, its own quality is
        used and not `quality`. Alpha and metadata are kept, but extras of unknown kinds are not. For `watch`
        and the options, see `sample`.

        Raises:
            InvalidSetting: as in `sample`, or if the strength is outside 0..1, or if the code lacks layers.
            WrongModel: if the code belongs to another model.

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
        """Draw all layers that `code`, or its first `layers` layers, lacks.

        Raises:
            InvalidSetting: as in `sample`, or if `layers` is below 1 or above the code's number of layers.
            WrongModel: if the code belongs to another model.

        Example:
            >>> import bincodec, numpy
            >>> codec = bincodec.Codec.load("photo")
            >>> photo = numpy.zeros((32, 48, 3), numpy.uint8)
            >>> done = codec.complete(codec.encode(photo), layers=2, seed=7)
            >>> done.real_layers, done.code.layers == codec.model.card.architecture.layers
            (2, True)
        """
        settings = SamplingSettings(seed=seed, temperature=temperature)
        return editing.complete(self.model, code, layers, settings)
