"""Alpha, colour profile, Exif and XMP, which a file holds beside its layers (FORMAT, "Extras").

Each of them is one extra and is identified by its kind. Alpha has a format of its own. The others are bytes
from elsewhere: they are compressed with zlib and not changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bincodec.bitstream import alpha as planes
from bincodec.bitstream.container import Extra
from bincodec.bitstream.deflate import deflate, inflate
from bincodec.bitstream.errors import Corrupt, TooLarge
from bincodec.bitstream.index import ALPHA, EXIF, ICC, XMP
from bincodec.bitstream.limits import DEFAULT_LIMITS, Limits
from bincodec.bitstream.plane import Plane

METADATA = {"icc": ICC, "exif": EXIF, "xmp": XMP}
"""The kinds of metadata, by the name of the field in `Extras`."""

TITLES = {"alpha": "alpha", "icc": "colour profile", "exif": "Exif", "xmp": "XMP"}
"""The names of the extras in messages."""


@dataclass(frozen=True, eq=False)
class Extras:
    """What a picture has beside its colours. A field is None if the picture does not have it.

    Args:
        alpha: uint8 (height, width), from 0 (clear) to 255 (opaque).
        icc: a colour profile, as the International Color Consortium defines it.
        exif: Exif data, from its TIFF header on.
        xmp: an XMP packet.
    """

    alpha: Plane | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the fields that are not None."""
        return tuple(name for name in TITLES if getattr(self, name) is not None)


def payloads(extras: Extras, limits: Limits = DEFAULT_LIMITS) -> list[tuple[int, bytes]]:
    """Return the kind and the payload of each extra that holds a field of `extras` in a file.

    Raises:
        TooLarge: if a reader with these limits would refuse the metadata.
    """
    found = [] if extras.alpha is None else [(ALPHA, planes.pack(extras.alpha))]
    for name, kind in METADATA.items():
        data: bytes | None = getattr(extras, name)
        if not data:
            continue
        if len(data) > limits.metadata_bytes:
            raise _too_large(name, f"{len(data)} bytes", limits)
        found.append((kind, deflate(data)))
    total = sum(len(payload) for kind, payload in found if kind != ALPHA)
    if total > limits.ancillary_bytes:
        most = limits.ancillary_bytes
        msg = f"metadata takes {total} bytes, over the limit ancillary_bytes={most}"
        raise TooLarge(msg, option="ancillary_bytes", value=total, limit=most)
    return found


def read(held: Iterable[Extra], width: int, height: int, limits: Limits = DEFAULT_LIMITS) -> Extras:
    """Unpack the extras of a picture of `width` x `height` pixels. Extras of other kinds are ignored.

    At most `limits.metadata_bytes` are unpacked of each piece of metadata, and one sample of alpha per pixel.

    Raises:
        Corrupt: if an extra does not unpack to what its kind requires.
        TooLarge: if a piece of metadata exceeds the limit.

    Example:
        >>> from bincodec.bitstream import extras
        >>> extras.read((), 768, 512).names
        ()
    """
    names = {ALPHA: "alpha"} | {kind: name for name, kind in METADATA.items()}
    found = {names[extra.kind]: extra.payload for extra in held if extra.kind in names}
    plane = planes.unpack(found["alpha"], width, height) if "alpha" in found else None
    return Extras(plane, **{name: _unpacked(name, found[name], limits) for name in METADATA if name in found})


def _unpacked(name: str, payload: bytes, limits: Limits) -> bytes:
    try:
        data = inflate(payload, limits.metadata_bytes)
    except TooLarge as error:
        raise _too_large(name, str(error), limits) from error
    except Corrupt as error:
        msg = f"{TITLES[name]}: {error}"
        raise Corrupt(msg) from error
    if not data:
        msg = f"{TITLES[name]}: nothing is in it"
        raise Corrupt(msg)
    return data


def _too_large(name: str, found: str, limits: Limits) -> TooLarge:
    most = limits.metadata_bytes
    msg = f"{TITLES[name]}: {found}, over the limit metadata_bytes={most}"
    return TooLarge(msg, option="metadata_bytes", limit=most)
