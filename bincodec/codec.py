"""The codec: one model, and everything that can be done with it.

    image -> encode -> BinaryCode -> pack -> bytes of a .bld -> unpack -> BinaryCode -> decode -> image

`encode` (`bincodec.encoder`) and `decode` (`bincodec.decoder`) are float networks, which may differ by
rounding between machines; `pack` and `unpack` (`bincodec.coding`) are exact, so bits never do. New pictures
come from `bincodec.generation`, which works on codes: here they become pictures.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal, Self, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from bincodec.arguments import (
    MAX_SEED,
    MAX_TEMPERATURE,
    Region,
    checked_choice,
    checked_device,
    checked_flag,
    checked_integer,
    checked_number,
    checked_region,
    checked_strip,
    checked_target,
    search_rounds,
)
from bincodec.bitstream import container, extras
from bincodec.bitstream.container import Memory
from bincodec.bitstream.limits import DEFAULT_LIMITS, WRITING_LIMITS, Limits
from bincodec.bitstream.tiles import grid_of
from bincodec.code import BinaryCode, DecodedInfo
from bincodec.coding import packing
from bincodec.coding.cost import cost
from bincodec.decoder import needed, reconstruct
from bincodec.defaults import DEFAULT_EFFORT
from bincodec.encoder import analysis, targets
from bincodec.errors import BincodecError, InvalidSetting, VerificationFailed
from bincodec.io import files, images
from bincodec.io.extras import restored, to_extras
from bincodec.io.filling import without_hidden
from bincodec.isolation import isolated
from bincodec.model import store, weights
from bincodec.model.card import ModelCard
from bincodec.model.decoders import DecoderChoice, choose
from bincodec.sampling import Sampling
from bincodec.windows import of_pixels, tiles_under

if TYPE_CHECKING:
    from bincodec.model.kernels import Kernel

Missing = Literal["error", "expect", "sample"]
"""What becomes of layers that are not there; see `decompress`."""

_OWN_METADATA = Limits(metadata_bytes=2**40)
"""Verification reads what was written a moment ago, under whatever limits that was."""


@dataclasses.dataclass(frozen=True, eq=False)
class Codec(Sampling):
    """One model, loaded. It does not change, and threads may share it.

    Example:
        >>> import bincodec, numpy
        >>> codec = bincodec.Codec.load("photo")
        >>> code = codec.encode(numpy.zeros((32, 48, 3), numpy.uint8), quality=50)
        >>> data = codec.pack(code)
        >>> codec.decode(codec.unpack(data)).size
        (48, 32)
    """

    model: weights.Model

    @property
    def device(self) -> str:
        """Where it computes: "cpu", "cuda" or "cuda:1"."""
        return self.model.device

    def __repr__(self) -> str:
        return f"<Codec {self.model.card.name} on {self.model.device}>"

    def __reduce__(self) -> tuple[Callable[..., Codec], tuple[object, ...]]:
        """A pickle says which model this is, and where it is opened the weights come from their file.

        The kernel that codes has to be proven on the machine that it runs on, and a file is read faster than
        a pickle.
        """
        card = self.model.card
        card = dataclasses.replace(card, path=card.path.absolute())
        return _opened_again, (type(self), card, self.device, self.model.prior.asked_for)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    @classmethod
    @isolated()
    def load(
        cls, name: str | os.PathLike[str] = "photo", device: str = "cpu", kernel: Kernel = "auto"
    ) -> Self:
        """The model called `name` (or in that .safetensors file) on `device`.

        `kernel` chooses how the exact integers are computed (`bincodec.model.kernels`); "auto" takes the
        fastest that is exact here.

        Raises:
            UnknownModel: if there is no such model.
            DamagedModel: if its file is not what it says it is.
            InvalidSetting: if there is no such device.

        Example:
            >>> import bincodec
            >>> bincodec.Codec.load("photo").model.card.name.startswith("photo-")
            True
        """
        return cls(weights.load(store.find(name), checked_device(device), kernel))

    def compress(
        self,
        image: images.Source,
        quality: int | None = None,
        *,
        size: int | None = None,
        bits_per_pixel: float | None = None,
        psnr: float | None = None,
        effort: int = DEFAULT_EFFORT,
        strip: str | Iterable[str] = (),
        srgb: bool = False,
        verify: bool = True,
        limits: Limits = WRITING_LIMITS,
    ) -> bytes:
        """The bytes of a `.bld` file of `image`: `encode`, then `pack`; as `bincodec.compress`.

        Example:
            >>> import bincodec, numpy
            >>> codec = bincodec.Codec.load("photo")
            >>> photo = numpy.zeros((32, 48, 3), numpy.uint8)
            >>> codec.compress(photo, quality=30)[1:4]
            b'BLD'
        """
        code = self.encode(
            image,
            quality,
            limits,
            size=size,
            bits_per_pixel=bits_per_pixel,
            psnr=psnr,
            effort=effort,
            strip=strip,
            srgb=srgb,
        )
        return self.pack(code, verify=verify)

    def decompress(
        self,
        source: files.Source,
        *,
        layers: int | None = None,
        missing: Missing = "error",
        region: Region | None = None,
        decoder: str | None = None,
        realism: float | None = None,
        seed: int = 0,
        temperature: float = 1.0,
        limits: Limits = DEFAULT_LIMITS,
    ) -> Image.Image:
        """The picture in a `.bld` file of this model: `unpack`, then `decode`; as `bincodec.decompress`.

        Example:
            >>> import bincodec, numpy
            >>> codec = bincodec.Codec.load("photo")
            >>> photo = numpy.zeros((32, 48, 3), numpy.uint8)
            >>> codec.decompress(codec.compress(photo)).size
            (48, 32)
        """
        checked_choice("missing", missing, get_args(Missing))
        checked_integer("seed", seed, 0, MAX_SEED)
        checked_number("temperature", temperature, MAX_TEMPERATURE)
        choice = choose(self.model.card, decoder, realism)
        if region is not None and missing == "sample":
            msg = "a region cannot be sampled: what is drawn depends on the whole picture"
            raise InvalidSetting(msg)
        only = layers if missing == "error" else None
        code, beside = self._unpacked(source, region, limits, partial=missing != "error", layers=only)
        if layers is not None and missing != "error":
            # Whoever asks for what is intact does not know how much that is.
            layers = min(
                checked_integer("layers", layers, 1, self.model.card.architecture.layers), code.layers
            )
        if missing != "sample":
            return self._shown(code, beside, choice, layers, region)
        completed = self.complete(code, layers, seed=seed, temperature=temperature)
        image = self._shown(completed.code, beside, choice)
        image.info["bld"] |= {"real_layers": completed.real_layers, "real_share": completed.real_share}
        return image

    @isolated()
    def encode(
        self,
        image: images.Source,
        quality: int | None = None,
        limits: Limits = WRITING_LIMITS,
        *,
        size: int | None = None,
        bits_per_pixel: float | None = None,
        psnr: float | None = None,
        effort: int = DEFAULT_EFFORT,
        strip: str | Iterable[str] = (),
        srgb: bool = False,
    ) -> BinaryCode:
        """The bits of an image: a path, bytes, a file, a `PIL.Image` or a uint8 array (`images.load`).

        Alpha is kept without loss, and colours under alpha 0 are not kept: they become what codes well. The
        colour profile, Exif and XMP are kept but for what `strip` names: "icc", "exif", "xmp" or "all". The
        pixels are coded as they are, to be read with that profile; with `srgb` they are converted to sRGB.

        Instead of a quality there may be one target: at most `size` bytes or `bits_per_pixel`, of the whole
        file with all that it holds, or at least `psnr` in dB. Up to eight qualities are tried, and those
        between two integers as well. The file has at most 2 % less than asked for and the picture at most
        0.05 dB more, unless its own steps are coarser or quality 100 (or 0) is already on the right side.

        More `effort` searches longer for a better trade of bits against error at this quality; bytes and PSNR
        each may move either way (`bincodec.encoder.search`). It takes about three quarters of a gigabyte a
        megapixel, and no more than that of the largest tile and its surroundings: 1.4 gigabytes.

        Raises:
            ImageError: if it is not an image that can be coded.
            TooLarge: beyond the limits; `limits.metadata_bytes` is one.
            InvalidSetting: if quality is not an integer in 0..100, or effort not one in 0..9; or if effort is
                not 0 and the model does not say its multipliers; for more than one of quality and targets.
            OutOfReach: for a target that no quality reaches.

        Example:
            >>> import bincodec, numpy
            >>> codec = bincodec.Codec.load("photo")
            >>> photo = numpy.zeros((32, 48, 3), numpy.uint8)
            >>> code = codec.encode(photo, quality=30)
            >>> code.quality, code.grid
            (30, (2, 3))
        """
        target, rounds = checked_target(quality, size, bits_per_pixel, psnr), search_rounds(effort)
        names, srgb = checked_strip(strip), checked_flag("srgb", srgb)
        picture = images.load(image, limits=limits, srgb=srgb, strip=names)
        beside = to_extras(picture, limits)
        shown = without_hidden(picture)
        if not isinstance(target, int):
            return targets.encode(self.model, shown, target, beside, rounds)
        code = analysis.encode(self.model, shown, target, rounds)
        return dataclasses.replace(code, extras=(*code.extras, *beside))

    @isolated()
    def pack(self, code: BinaryCode, *, verify: bool = False) -> bytes:
        """The bytes of a `.bld` file. With `verify` they are unpacked again before they are returned.

        Raises:
            WrongModel: if the code is another model's.
            InvalidSetting: if the code is what was left of a damaged file.
            VerificationFailed: if the bytes did not give the code back.

        Example:
            >>> import bincodec, numpy
            >>> codec = bincodec.Codec.load("photo")
            >>> photo = numpy.zeros((32, 48, 3), numpy.uint8)
            >>> data = codec.pack(codec.encode(photo), verify=True)
            >>> bincodec.read_header(data).width
            48
        """
        code.check_model(self.model.card)
        data = packing.pack(self.model, code)
        if verify:
            self._verify(data, code)
        return data

    def _verify(self, data: bytes, code: BinaryCode) -> None:
        try:
            # Only the weights are those that wrote: everything that is remembered begins anew.
            fresh = dataclasses.replace(self.model, prior=self.model.prior.fresh())
            whole = container.read(Memory(data), packing.limits_of(code))
            extras.read(whole.extras, code.width, code.height, _OWN_METADATA)
            found = packing.unpack(fresh, whole)
            if found.same_as(code):
                return
            reason = "another code came out"
        except BincodecError as error:
            reason = str(error)
        msg = f"the finished file does not decode to the code it was made from: {reason}"
        raise VerificationFailed(msg)

    @isolated()
    def unpack(
        self,
        source: files.Source,
        *,
        partial: bool = False,
        region: Region | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> BinaryCode:
        """The code in a `.bld` file: a path, its bytes or a file object; `pack` gives the same bytes again.

        With `partial`, what is intact of a truncated or damaged file is taken, and the code's `damage` says
        what is not. With a `region` (left, top, width, height) in pixels, only the tiles that it needs are
        read, and of a file that can seek only their bytes. What is expected of layers that are not shown then
        knows nothing of other tiles, which may move pixels by a hair.

        Raises:
            BincodecError: of the kind that `bincodec.errors` describes.

        Example:
            >>> import bincodec, numpy
            >>> codec = bincodec.Codec.load("photo")
            >>> photo = numpy.zeros((32, 48, 3), numpy.uint8)
            >>> code = codec.encode(photo)
            >>> codec.unpack(codec.pack(code)).digest() == code.digest()
            True
        """
        code, _ = self._unpacked(source, region, limits, partial=partial)
        return code

    @isolated()
    def _unpacked(
        self,
        source: files.Source,
        region: Region | None,
        limits: Limits,
        *,
        partial: bool,
        layers: int | None = None,
    ) -> tuple[BinaryCode, extras.Extras]:
        """The code in a file, or as much of it as its first `layers` layers need, and what stands beside its
        levels: malformed, that makes the file corrupt.
        """
        with files.opened(source, parts=region is not None) as opened:
            tiles = None
            if region is not None:
                header = container.read_header(opened, limits, partial=partial)
                area = of_pixels(*checked_region(region, header.width, header.height))
                seen = needed(self.model, grid_of(header.width, header.height), area)
                tiles = tiles_under(seen, header.tiles)
            found = container.read(opened, limits, partial=partial, tiles=tiles)
        beside = extras.read(found.extras, found.header.width, found.header.height, limits)
        if layers is not None:
            layers = checked_integer("layers", layers, 1, found.header.layers)
        return packing.unpack(self.model, found, partial=partial, layers=layers), beside

    @isolated()
    def decode(
        self,
        code: BinaryCode,
        layers: int | None = None,
        *,
        region: Region | None = None,
        decoder: str | None = None,
        realism: float | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> Image.Image:
        """The picture of a code, or of its first `layers` layers; the rest enters as the prior's expectation.

        With a `region` (left, top, width, height) in pixels, that part of it. Its mode is RGB, or L where it
        is grey, and RGBA or LA where the code has alpha. `decoder` and `realism` are those of
        `bincodec.decompress`; the post-filter fades as realism rises to 1.
        `image.info["bld"]` is a `DecodedInfo`; "icc_profile", "exif" and "xmp" are there as in images that
        Pillow opens.

        Raises:
            WrongModel: if the code is another model's.
            InvalidSetting: if `layers` is not between 1 and the code's, or the model has no such decoder.
            Corrupt: if the code's post-filter, alpha or metadata cannot be read; a file's always can.
            TooLarge: for metadata beyond `limits.metadata_bytes`.

        Example:
            >>> import bincodec, numpy
            >>> codec = bincodec.Codec.load("photo")
            >>> photo = numpy.zeros((32, 48, 3), numpy.uint8)
            >>> image = codec.decode(codec.encode(photo), layers=2)
            >>> image.mode, image.info["bld"]["layers"]
            ('RGB', 2)
        """
        code.check_model(self.model.card)
        choice = choose(self.model.card, decoder, realism)
        beside = extras.read(code.extras, code.width, code.height, limits)
        return self._shown(code, beside, choice, layers, region)

    @isolated()
    def _shown(
        self,
        code: BinaryCode,
        beside: extras.Extras,
        decoder: DecoderChoice,
        layers: int | None = None,
        region: Region | None = None,
    ) -> Image.Image:
        """The picture of a code of this model, with what stands beside its levels."""
        shown = checked_integer("layers", code.layers if layers is None else layers, 1, code.layers)
        if region is not None:
            region = checked_region(region, code.width, code.height)
        image = images.to_image(reconstruct(self.model, code, shown, decoder, region), grey=code.grey)
        image = restored(image, beside, region)
        image.info["bld"] = DecodedInfo(
            model=code.model,
            quality=code.quality,
            layers=shown,
            decoder=decoder.name,
            realism=decoder.share,
            intact=code.intact,
            damage=code.damage,
            real_layers=shown,
            real_share=1.0,
        )
        return image

    @isolated()
    def cost(self, code: BinaryCode) -> npt.NDArray[np.float64]:
        """-log2 of the coded probabilities in bits, by layer and position: (layers, h, w).

        What a tile lacks costs nothing.

        Example:
            >>> import bincodec, numpy
            >>> codec = bincodec.Codec.load("photo")
            >>> photo = numpy.zeros((32, 48, 3), numpy.uint8)
            >>> code = codec.encode(photo)
            >>> codec.cost(code).shape == (code.layers, *code.grid)
            True
        """
        code.check_model(self.model.card)
        return cost(self.model.prior, code)


def _opened_again(kind: type[Codec], card: ModelCard, device: str, kernel: Kernel) -> Codec:
    """What a pickled codec becomes: one of the same weights, or an `UnknownModel` error."""
    return kind(weights.load_again(card, device, kernel))
