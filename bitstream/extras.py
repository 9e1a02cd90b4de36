"""What a file holds beside its layers: alpha, colour profile, Exif, XMP (FORMAT, "Extras").

Each is one extra, known by its kind. Alpha has a form of its own; the others are bytes that came from
elsewhere, packed by zlib and kept as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bincodec.bitstream import alpha as planes
from bincodec.bitstream.container import Extra
from bincodec.bitstream.deflate import deflate, inflate
from bincodec.bitstream.errors import Corrupt, TooLarge
from bincodec.bitstream.limits import DEFAULT_LIMITS, Limits
from bincodec.bitstream.plane import Plane

ALPHA = 0x41
METADATA = {"icc": 0xC1, "exif": 0x82, "xmp": 0x83}
"""The kinds of extras; metadata by the name of its field in `Extras`."""

TITLES = {"alpha": "alpha", "icc": "colour profile", "exif": "Exif", "xmp": "XMP"}
"""What messages call them."""


@dataclass(frozen=True, eq=False)
class Extras:
    """What a picture has beside its colours; None is what it lacks.

    Args:
        alpha: uint8 (height, width), from 0 (clear) to 255 (opaque).
        icc: a colour profile, as the International Color Consortium defines it.
        exif: Exif, from its TIFF header on.
        xmp: an XMP packet.
    """

    alpha: Plane | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The fields that are not None."""
        return tuple(name for name in TITLES if getattr(self, name) is not None)


def payloads(extras: Extras, limits: Limits = DEFAULT_LIMITS) -> list[tuple[int, bytes]]:
    """Kinds and payloads of what holds `extras` in a file.

    Raises:
        TooLarge: for metadata that a reader with these limits would refuse.
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
        msg = f"metadata take {total} bytes, over the limit ancillary_bytes={most}"
        raise TooLarge(msg, option="ancillary_bytes", value=total, limit=most)
    return found


def read(held: Iterable[Extra], width: int, height: int, limits: Limits = DEFAULT_LIMITS) -> Extras:
    """What the extras of a picture of `width` x `height` pixels hold; other kinds are passed over.

    Nothing is unpacked beyond `limits.metadata_bytes`, or beyond one sample of alpha a pixel.

    Raises:
        Corrupt: if one does not unpack to what it should.
        TooLarge: for metadata beyond the limit.

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
