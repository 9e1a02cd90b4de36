"""The codec: a loaded model, and everything that can be done with it.

    image -> encode -> BinaryCode -> pack -> bytes of a .bld -> unpack -> BinaryCode -> decode -> image

`encode` (`bincodec.encoder`) and `decode` (`bincodec.decoder`) run float networks, whose results may differ
between machines because of rounding. `pack` and `unpack` (`bincodec.coding`) are exact, so bits never differ.
`bincodec.generation` draws new codes, and `bincodec.sampling` makes pictures of them.
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
"""What is shown in place of missing layers. `decompress` describes the values."""

_OWN_METADATA = Limits(metadata_bytes=2**40)
"""The limits for verification. It reads what was just written, so the limits of that time already applied."""


@dataclasses.dataclass(frozen=True, eq=False)
class Codec(Sampling):
    """A loaded model. It does not change, and threads may share it.

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
        """The device on which it computes, such as "cpu", "cuda" or "cuda:1"."""
        return self.model.device

    def __repr__(self) -> str:
        return f"<Codec {self.model.card.name} on {self.model.device}>"

    def __reduce__(self) -> tuple[Callable[..., Codec], tuple[object, ...]]:
        """Pickle the name of the model. When the pickle is opened, the weights are read from their file.

        There are two reasons. The kernel has to be checked on the machine that it runs on, and the file is
        read faster than a pickle.
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
        """Return a codec with the model `name`, which may also be the path of a .safetensors file.

        `device` is where the codec computes. `kernel` selects how it computes the exact integers
        (`bincodec.model.kernels`). "auto" selects the fastest kernel that is exact on this machine.

        Raises:
            UnknownModel: if there is no such model.
            DamagedModel: if the file of the model is damaged.
            InvalidSetting: if there is no such device or kernel.

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
        """Return the bytes of a `.bld` file of `image`. This is `encode` followed by `pack`.

        The arguments are those of `bincodec.compress`.

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
        """Return the picture in a `.bld` file of this model. This is `unpack` followed by `decode`.

        The arguments are those of `bincodec.decompress`.

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
            # A caller who asks for the intact layers does not know how many there are, so more is no error.
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
        """Return the code of an image: a path, bytes, a file, a `PIL.Image` or a uint8 array (`images.load`).

        Alpha is kept without loss. The colours of fully transparent pixels are not kept. They are replaced by
        colours that take few bits. The colour profile, Exif and XMP are kept, except for what `strip` names:
        "icc", "exif", "xmp" or "all". The pixels are coded as they are, and their colour profile says what
        they mean. With `srgb`, they are converted to sRGB.

        Instead of a quality, there may be one target. `size` and `bits_per_pixel` are upper limits for the
        whole file with all that it contains. `psnr` is a lower limit in dB. The encoder tries up to eight
        qualities, which need not be integers. The file has at most 2 % less than was asked for, or the
        picture at most 0.05 dB more. There are two exceptions: the steps of this picture are coarser, or
        quality 100 (or 0) already meets the target.

        More `effort` searches longer for a better balance of bits and errors at this quality. Bytes and PSNR
        may each rise or fall (`bincodec.encoder.search`). The search takes about 0.8 gigabytes of memory for
        each megapixel of the largest tile and its surroundings, so it never takes more than 1.5 gigabytes.

        Raises:
            ImageError: if this is not an image that can be coded.
            TooLarge: if the image or its metadata are beyond `limits`.
            InvalidSetting: if quality is not an integer in 0..100, or effort is not an integer in 0..9; if
                effort is not 0 and the model contains no multipliers; or if more than one of quality and
                targets is given.
            OutOfReach: if no quality reaches the target.

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
        """Return the bytes of a `.bld` file. With `verify`, they are first unpacked as a check.

        Raises:
            WrongModel: if the code belongs to another model.
            InvalidSetting: if the code is not intact, because it comes from a damaged file.
            VerificationFailed: if unpacking the bytes did not give the same code.

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
            # The check shares only the weights with the writer. It shares none of its cached results.
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
        """Return the code in a `.bld` file, which is a path, its bytes or a file object.

        `pack` makes the same bytes from the code again.

        With `partial`, the intact parts of a truncated or damaged file are returned, and `damage` of the code
        describes the others. With a `region` (left, top, width, height) in pixels, only the tiles that it
        needs are decoded. From a file that can seek, only their bytes are read. The expectation for layers
        that are not shown then does not depend on the other tiles, which may change pixels very slightly.

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
        """Return the code in a file, and its extras. Malformed extras make the file corrupt.

        With `layers`, only what the first `layers` layers need is decoded.
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
        """Return the picture of a code.

        With `layers`, only the first layers are shown, and the others are replaced by the expectation of the
        prior. With a `region` (left, top, width, height) in pixels, only this part is returned. The mode is
        RGB, or L for a grey picture. With alpha, it is RGBA or LA. `decoder` and `realism` are those of
        `bincodec.decompress`. The post-filter fades as `realism` rises to 1.

        `image.info["bld"]` is a `DecodedInfo`. "icc_profile", "exif" and "xmp" are set as in images that
        Pillow opens.

        Raises:
            WrongModel: if the code belongs to another model.
            InvalidSetting: if the code has fewer than `layers` layers, or the model has no such decoder.
            Corrupt: if the post-filter, alpha or metadata of the code cannot be read. For a code that was
                read from a file, this cannot happen.
            TooLarge: if the metadata are beyond `limits.metadata_bytes`.

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
        """Return the picture of a code of this model, with its extras."""
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
        """Return how many bits each layer takes at each position, as an array (layers, h, w).

        The bits are -log2 of the coded probabilities. Layers that a tile lacks take no bits.

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
    """Return the codec of a pickle, with the same weights.

    Raises:
        UnknownModel: if no installed model has them.
        InvalidSetting: if there is no such device on this machine.
    """
    return kind(weights.load_again(card, checked_device(device), kernel))
