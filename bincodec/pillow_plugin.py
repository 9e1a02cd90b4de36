"""Pillow's way to `.bld` files: `Image.open`, and `image.save`.

Importing `bincodec` registers the format (`bincodec._registration`). What `Image.open` gives knows its size,
mode and metadata from the header and what stands beside the levels. torch is loaded and the picture decoded
when its pixels are asked for. Errors are of the kinds that Pillow's own formats raise.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from PIL import Image, ImageFile

from bincodec.bitstream import container, extras
from bincodec.bitstream.limits import WRITING_LIMITS, Limits
from bincodec.errors import BincodecError, Corrupt, InvalidSetting, NotBld, TooLarge, Truncated, Unreadable
from bincodec.io import metadata
from bincodec.io.extras import in_info
from bincodec.io.streams import SeekableFile

if TYPE_CHECKING:
    from PIL._imaging import PixelAccess

_METADATA_KEYS = ("icc_profile", "exif", "xmp")
_OTHER_FORMS = ("Raw profile type exif", "XML:com.adobe.xmp")
"""Where else in `info` Exif and XMP may stand, in Pillow's words for a PNG."""


class BldImageFile(ImageFile.ImageFile):
    """A `.bld` file as `Image.open` gives it: not decoded before its pixels are asked for.

    `info` has "icc_profile", "exif" and "xmp" from the start, where the file has them, and "bld", a
    `bincodec.DecodedInfo`, once it is decoded.
    """

    format = "BLD"
    format_description = "bincodec photo"
    _waiting = False
    """Whether there is a picture to decode; a copy or a pickle has its pixels."""
    _layers: int | None = None

    def _open(self) -> None:
        """Read header, index and metadata; a picture that is cut short after these is noticed by `load`."""
        limits = _limits()
        with _errors_of_pillow(SyntaxError):
            if not ImageFile.LOAD_TRUNCATED_IMAGES:
                container.read_index(self._source, limits)
            found = container.read(self._source, limits, partial=True, tiles=())
            header = found.header
            beside = [extra for extra in found.extras if extra.kind != extras.ALPHA]
            self.info.update(in_info(extras.read(beside, header.width, header.height, limits)))
        self._size = (header.width, header.height)
        self._mode = ("L" if header.grey else "RGB") + ("A" if len(beside) < len(found.extras) else "")
        self._layers_there = header.layers
        self._waiting = True

    @property
    def _source(self) -> SeekableFile:
        if self.fp is None:
            msg = "Operation on closed image"
            raise ValueError(msg)
        return SeekableFile(cast(BinaryIO, self.fp))

    def load(self) -> PixelAccess | None:
        """Decode the picture, if that is still to be done.

        With `ImageFile.LOAD_TRUNCATED_IMAGES` a damaged file is shown as far as it is intact, and the rest as
        the model expects it; `info["bld"]["damage"]` says what is missing.

        Raises:
            OSError: for a file that is damaged or cut short, or whose model is not installed.
        """
        if self._waiting:
            from bincodec.api import decompress

            with _errors_of_pillow(OSError):
                decoded = decompress(
                    self._source,
                    layers=self._layers,
                    missing="expect" if ImageFile.LOAD_TRUNCATED_IMAGES else "error",
                    limits=_limits(),
                )
            self.im, self._mode = decoded.im, decoded.mode
            self.info["bld"] = decoded.info["bld"]
            self._waiting = False
            if self._exclusive_fp and self.fp is not None:
                self.fp.close()
            self.fp = None
        return super().load()

    def draft(
        self, mode: str | None, size: tuple[int, int] | None
    ) -> tuple[str, tuple[int, int, float, float]] | None:
        """Decode fewer layers for a picture that is to be shrunk to about `size`, as for a thumbnail.

        The size stays: a picture of fewer layers is as large, and coarser. At half of it on each side half of
        the layers are enough, at a quarter a quarter, and so on. `mode` has no effect.
        """
        if not self._waiting or size is None:
            return None
        shrinking = min(side / max(1, wanted) for side, wanted in zip(self.size, size, strict=True))
        halvings = max(0, math.floor(math.log2(shrinking)))
        self._layers = math.ceil(self._layers_there / 2**halvings) if halvings else None
        return (self.mode, (0, 0, self.width, self.height)) if halvings else None

    def verify(self) -> None:
        """Check every checksum of the file, without decoding the picture. It closes the file.

        Raises:
            SyntaxError: if it is damaged or cut short.
            RuntimeError: if the picture was decoded before, or the image is closed, as for a PNG.
        """
        if self.fp is None:
            msg = "verify must be called directly after open"
            raise RuntimeError(msg)
        limits = _limits()
        with _errors_of_pillow(SyntaxError):
            found = container.read(self._source, limits)
            extras.read(found.extras, self.width, self.height, limits)
        self._waiting = False
        super().verify()


def save(image: Image.Image, file: IO[bytes]) -> None:
    """Write `image` to `file`, as `image.save` asks for it: `bincodec.compress` with its keywords.

    The metadata of `image.info` are kept, unless "icc_profile", "exif" or "xmp" are given, or `strip` names
    them. As by `compress`, a picture with an Exif orientation is turned upright. Other keywords have no
    effect, as in Pillow's own formats.

    Raises:
        ValueError: for a setting that does not exist.
        TypeError: for a setting, or metadata, of another type.
        OSError: for an image that cannot be coded.
    """
    from bincodec.api import compress

    given: Mapping[str, Any] = image.encoderinfo
    known = inspect.signature(compress).parameters
    options = {name: value for name, value in given.items() if name in known}
    with _errors_of_pillow(OSError):
        data = compress(_with_metadata(image, given), **options)
    file.write(data)


def _with_metadata(image: Image.Image, given: Mapping[str, Any]) -> Image.Image:
    """What is to be coded: of several pictures the one that is shown, with metadata `given` or its own."""
    found = metadata.read(image)
    own = dict(zip(_METADATA_KEYS, (found.icc, found.exif, found.xmp), strict=True))
    wanted = {key: _as_bytes(key, given[key]) if key in given else data for key, data in own.items()}
    shown = image.copy()
    for key in (*_METADATA_KEYS, *_OTHER_FORMS):
        shown.info.pop(key, None)
    shown.info |= {key: data for key, data in wanted.items() if data}
    return shown


def _as_bytes(key: str, value: object) -> bytes | None:
    """Metadata as a caller of `save` gives it; None leaves it out.

    Raises:
        TypeError: for another type, which would be lost without a word.
    """
    if isinstance(value, Image.Exif):
        return value.tobytes()
    if isinstance(value, str) and key == "xmp":
        return value.encode()
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    msg = f"{key} must be bytes or None, not {type(value).__name__}"
    raise TypeError(msg)


def _limits() -> Limits:
    """What Pillow would open: as many pixels as it takes before it calls a file a bomb."""
    most = Image.MAX_IMAGE_PIXELS
    return WRITING_LIMITS if most is None else Limits(pixels=2 * most)


@contextmanager
def _errors_of_pillow(damage: type[Exception]) -> Iterator[None]:
    """Our errors become those that Pillow's users expect: `damage` for what is wrong with a file, or OSError.

    While a file is opened, Pillow takes a `SyntaxError` for the word that it is none of this format.
    """
    try:
        yield
    except (Unreadable, InvalidSetting):  # An OSError, and a ValueError.
        raise
    except (NotBld, Truncated, Corrupt) as error:
        raise damage(str(error)) from error
    except TooLarge as error:
        kind = Image.DecompressionBombError if error.option == "pixels" else OSError
        raise kind(str(error)) from error
    except BincodecError as error:
        raise OSError(str(error)) from error
