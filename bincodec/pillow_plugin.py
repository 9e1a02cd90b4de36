"""Let Pillow open and save `.bld` files, with `Image.open` and `image.save`.

Importing `bincodec` registers the format (`bincodec._registration`). `Image.open` reads only the header and
the metadata, so the image knows its size and mode at once. torch is loaded, and the picture is decoded, when
a program first needs its pixels. Errors are of the types that Pillow's own formats raise.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from PIL import Image, ImageFile

from bincodec.bitstream import container, extras
from bincodec.bitstream.index import ALPHA
from bincodec.bitstream.limits import WRITING_LIMITS, Limits
from bincodec.errors import BincodecError, Corrupt, InvalidSetting, NotBld, TooLarge, Truncated, Unreadable
from bincodec.io import metadata
from bincodec.io.extras import in_info
from bincodec.io.opening import require_decoded_rightly
from bincodec.io.streams import SeekableFile

if TYPE_CHECKING:
    from PIL._imaging import PixelAccess

_METADATA_KEYS = ("icc_profile", "exif", "xmp")
_OTHER_FORMS = ("Raw profile type exif", "XML:com.adobe.xmp")
"""Other keys of `info` that may hold Exif and XMP. Pillow uses them for PNG files."""


class BldImageFile(ImageFile.ImageFile):
    """A `.bld` file that `Image.open` has opened. It is decoded when its pixels are first needed.

    `info` has "icc_profile", "exif" and "xmp" from the start, if the file has them. It also has "bld", a
    `bincodec.DecodedInfo`, once the picture is decoded.
    """

    format = "BLD"
    format_description = "bincodec photo"
    _waiting = False
    """Whether the picture still has to be decoded. A copy or a pickle already has its pixels."""
    _layers: int | None = None

    def _open(self) -> None:
        """Read header, index and metadata. If the file is cut short after these, `load` notices it."""
        limits = _limits()
        with _errors_of_pillow(SyntaxError):
            if not ImageFile.LOAD_TRUNCATED_IMAGES:
                container.read_index(self._source, limits)
            found = container.read(self._source, limits, partial=True, tiles=())
            header = found.header
            beside = [extra for extra in found.extras if extra.kind != ALPHA]
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

    def load(self, decoder: str | None = None, realism: float | None = None) -> PixelAccess | None:
        """Decode the picture if this has not been done.

        `decoder` and `realism` are those of `bincodec.decompress`. Pillow itself calls `load` without them
        when pixels are needed, so they can only be given in the first call.

        If `ImageFile.LOAD_TRUNCATED_IMAGES` is set, the intact parts of a damaged file are shown, and the
        model supplies what it expects for the others. `info["bld"]["damage"]` says what is missing.

        Raises:
            OSError: if the file is damaged or cut short, or if its model is not installed.
            ValueError: if the model does not have the decoder, or if the picture is already decoded.
        """
        if not self._waiting and (decoder, realism) != (None, None):
            msg = "the picture is decoded already: decoder and realism are for the first call of load"
            raise InvalidSetting(msg)
        if self._waiting:
            from bincodec.api import decompress

            with _errors_of_pillow(OSError):
                decoded = decompress(
                    self._source,
                    layers=self._layers,
                    missing="expect" if ImageFile.LOAD_TRUNCATED_IMAGES else "error",
                    decoder=decoder,
                    realism=realism,
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
        """Decode fewer layers, because the picture will be made smaller, to about `size` in pixels.

        The size of the image stays the same, but its content is coarser. If its sides will be halved, half of
        the layers are decoded, for a quarter a quarter, and so on. `mode` has no effect.
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
            SyntaxError: if the file is damaged or cut short.
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
    """Write `image` to `file`. The keywords of `image.save` are those of `bincodec.compress`.

    The metadata in `image.info` are kept, unless the keywords "icc_profile", "exif" or "xmp" replace them or
    `strip` names them. A picture with an Exif orientation is turned upright, as `compress` does it. Other
    keywords have no effect, as in Pillow's own formats.

    Raises:
        ValueError: if a setting does not exist, such as quality 101.
        TypeError: if a setting or metadata has another type.
        OSError: if the image cannot be coded.
    """
    from bincodec.api import compress

    given: Mapping[str, Any] = image.encoderinfo
    known = inspect.signature(compress).parameters
    options = {name: value for name, value in given.items() if name in known}
    with _errors_of_pillow(OSError):
        require_decoded_rightly("the image", image)
        data = compress(_with_metadata(image, given), **options)
    file.write(data)


def _with_metadata(image: Image.Image, given: Mapping[str, Any]) -> Image.Image:
    """Return the image to code, with its own metadata or with those in `given`.

    Of several pictures, this is the current one.
    """
    found = metadata.read(image)
    own = dict(zip(_METADATA_KEYS, (found.icc, found.exif, found.xmp), strict=True))
    wanted = {key: _as_bytes(key, given[key]) if key in given else data for key, data in own.items()}
    shown = image.copy()
    for key in (*_METADATA_KEYS, *_OTHER_FORMS):
        shown.info.pop(key, None)
    shown.info |= {key: data for key, data in wanted.items() if data}
    return shown


def _as_bytes(key: str, value: object) -> bytes | None:
    """Return metadata that was given to `save` as bytes. None leaves it out.

    Raises:
        TypeError: if the value has another type.
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
    """Return the limits under which Pillow opens images: the pixels beyond which it raises an error."""
    most = Image.MAX_IMAGE_PIXELS
    return WRITING_LIMITS if most is None else Limits(pixels=2 * most)


@contextmanager
def _errors_of_pillow(damage: type[Exception]) -> Iterator[None]:
    """Turn errors of bincodec into errors that users of Pillow expect.

    A damaged file raises `damage`, and most other errors become OSError. While a file is opened, Pillow
    understands a `SyntaxError` as "the file is not of this format".
    """
    try:
        yield
    except (Unreadable, InvalidSetting):  # They already are an OSError and a ValueError.
        raise
    except (NotBld, Truncated, Corrupt) as error:
        raise damage(str(error)) from error
    except TooLarge as error:
        kind = Image.DecompressionBombError if error.option == "pixels" else OSError
        raise kind(str(error)) from error
    except BincodecError as error:
        raise OSError(str(error)) from error
