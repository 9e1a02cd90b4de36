"""Read Exif, XMP and colour profiles from Pillow's images, and prepare them for files that Pillow writes.

The pixels of a picture are turned upright when it is read. Its Exif and XMP must not ask for that again, so
the orientation in them is set to 1. All other bytes stay as they are.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

from PIL import ExifTags, Image, PngImagePlugin

EXIF_PREFIX = b"Exif\0\0"
"""The bytes that stand before Exif in a JPEG. Pillow puts them before Exif in every format."""

UPRIGHT = 1
_ORIENTATION = ExifTags.Base.Orientation.value
_FIELD_FORMATS = {3: "H", 4: "I"}
"""The format of a number for `struct`, by the type of its field: 3 is a short, and 4 a long."""
_IN_XMP = re.compile(rb"(tiff:Orientation(?:\s*=\s*[\"']|>)\s*)([1-8])(?![0-9])")

_XMP_TAG = 700
_DIRECTORIES = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
_DESCRIPTIONS = (
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.HostComputer,
    ExifTags.Base.Copyright,
)
"""The fields of the first directory that describe the picture. In a TIFF, the same directory also says how
the pixels are stored."""

HOLDERS = ("PNG", "JPEG", "WEBP", "TIFF")
"""The file formats that can hold metadata."""
_TITLES = {"icc_profile": "colour profile", "exif": "Exif", "xmp": "XMP"}
_XMP_IN_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
_MOST_IN_JPEG = {"exif": 65533, "xmp": 65533 - len(_XMP_IN_JPEG)}
"""The number of bytes that fit into a marker. A colour profile may take several markers."""


@dataclass(frozen=True)
class Metadata:
    """The metadata of a picture. A field is None if the picture does not have it.

    Args:
        icc: the ICC colour profile.
        exif: the Exif data, from its TIFF header on.
        xmp: the XMP packet.
        orientation: how the pixels have to be turned, in 1..8 as in Exif. 1 is upright.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    orientation: int = UPRIGHT


def read(image: Image.Image) -> Metadata:
    """Return the metadata of a Pillow image that is loaded."""
    profile, exif, xmp = (_bytes(image.info.get(key)) for key in ("icc_profile", "exif", "xmp"))
    exif = exif.removeprefix(EXIF_PREFIX) if exif else _from_tags(image)
    xmp = xmp or _bytes(image.info.get("XML:com.adobe.xmp"))
    orientation, said = UPRIGHT, False
    for place in _orientations(exif or b""):
        orientation, said = place.value, True
    if not said and xmp and (found := _IN_XMP.search(xmp)):
        orientation = int(found[2])
    return Metadata(profile, exif, xmp, orientation if 1 <= orientation <= 8 else UPRIGHT)


def upright(metadata: Metadata) -> Metadata:
    """Return the metadata of the picture after its pixels were turned upright."""
    if metadata.orientation == UPRIGHT:
        return metadata
    exif = bytearray(metadata.exif or b"")
    for place in _orientations(bytes(exif)):
        struct.pack_into(place.form, exif, place.offset, UPRIGHT)
    xmp = metadata.xmp and _IN_XMP.sub(rb"\g<1>1", metadata.xmp)
    return replace(metadata, exif=bytes(exif) or None, xmp=xmp, orientation=UPRIGHT)


def _bytes(value: object) -> bytes | None:
    """Return a value of `info` as bytes, or None if it is empty. Some versions of Pillow give XMP as text."""
    if isinstance(value, str):
        value = value.encode()
    return value if isinstance(value, bytes) and value else None


@dataclass(frozen=True)
class _Place:
    """A number in Exif: its offset in bytes, its format for `struct`, and its value."""

    offset: int
    form: str
    value: int


def says_adobe_rgb(exif: bytes) -> bool:
    """Return whether Exif says that the colours are Adobe RGB: "R03" in the interoperability directory."""
    start: int | None = None
    for pointer in (ExifTags.Base.ExifOffset, ExifTags.IFD.Interop):
        # Only the first directory of each kind is followed. All pairs of them could be very many.
        found = _numbers(exif, start, pointer)
        if not found:
            return False
        start = found[0].value
    return any(
        tag == 1 and exif[place : place + 3] == b"R03" for tag, _, _, place, _ in _entries(exif, start)
    )


def _orientations(exif: bytes) -> list[_Place]:
    """Return all orientations in the first directory. The last one counts, as in Pillow."""
    return _numbers(exif, None, _ORIENTATION)


def _numbers(exif: bytes, start: int | None, wanted: int) -> list[_Place]:
    """Return all single numbers with this tag in the directory at `start`, or in the first one for None."""
    found = []
    for tag, kind, values, place, order in _entries(exif, start):
        if tag == wanted and kind in _FIELD_FORMATS and values == 1:
            form = order + _FIELD_FORMATS[kind]
            found.append(_Place(place, form, *struct.unpack_from(form, exif, place)))
    return found


def _entries(exif: bytes, start: int | None) -> Iterator[tuple[int, int, int, int, str]]:
    """Yield for each field of a directory: tag, type, count, offset of the value, and order of bytes."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return
    try:
        if start is None:
            (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, values, _ = struct.unpack_from(order + "HHI4s", exif, entry)
            yield tag, kind, values, entry + 8, order
    except struct.error:
        pass  # The directory is cut short. The fields before that count.


def _from_tags(image: Image.Image) -> bytes | None:
    """Return Exif made from the fields of a TIFF, or from a text that ImageMagick puts into a PNG."""
    if not (hasattr(image, "tag_v2") or "Raw profile type exif" in image.info):
        return None
    return _without_storage(image.getexif)


def of_tiff(data: bytes, offset: int) -> bytes | None:
    """Return Exif made from the directory at `offset` of a TIFF, with the orientation, or None."""
    exif = Image.Exif()
    exif.endian = "<" if data[:1] == b"I" else ">"
    exif.bigtiff = b"+" in data[2:4]

    def load() -> Image.Exif:
        exif.load_from_fp(BytesIO(data), offset)
        return exif

    return _without_storage(load)


def _without_storage(load: Callable[[], Image.Exif]) -> bytes | None:
    try:
        given = load()
        exif = _descriptive(given)
        if given.get(_ORIENTATION, UPRIGHT) != UPRIGHT:
            exif[_ORIENTATION] = given[_ORIENTATION]
        return exif.tobytes().removeprefix(EXIF_PREFIX) if len(exif) else None
    except Exception:  # Pillow raises errors of many types for a broken TIFF. The pixels could be read.
        return None


def _loaded(data: bytes) -> Image.Exif:
    exif = Image.Exif()
    exif.load(data)
    return exif


def _descriptive(exif: Image.Exif) -> Image.Exif:
    """Return Exif without the orientation and without the fields that say how the pixels are stored."""
    found = Image.Exif()
    for tag in _DESCRIPTIONS:
        if isinstance(text := exif.get(tag), str):
            found[tag] = text
    for directory in _DIRECTORIES:
        if entries := exif.get_ifd(directory):
            found.get_ifd(directory).update(entries)
    return found


def options(image: Image.Image, file_format: str, notes: list[str]) -> dict[str, Any]:
    """Return the options with which Pillow's `save` writes the metadata in `image.info` into a file.

    If the format cannot hold some of it, or not so many bytes of it, `notes` says so.
    """
    there = {key: data for key in _TITLES if (data := _bytes(image.info.get(key)))}
    if file_format not in HOLDERS:
        if there:
            notes.append(f"{_listed(there)} left out, because {file_format} cannot hold metadata")
        return {}
    if file_format == "JPEG":
        for key, most in _MOST_IN_JPEG.items():
            if len(there.get(key, b"")) > most:
                size = len(there.pop(key))
                notes.append(f"{_TITLES[key]} left out: it has {size} bytes, and JPEG holds {most} at most")
    if file_format == "TIFF":
        return _for_tiff(there, notes)
    if "xmp" in there and file_format in _XMP_FORMS:
        there |= _XMP_FORMS[file_format](there.pop("xmp"))
    return there


def _listed(keys: Iterable[str]) -> str:
    *others, last = (_TITLES[key] for key in keys)
    return f"{', '.join(others)} and {last}" if others else last


def _in_png(xmp: bytes) -> dict[str, Any]:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt("XML:com.adobe.xmp", xmp)
    return {"pnginfo": chunks}


def _in_jpeg(xmp: bytes) -> dict[str, Any]:
    body = _XMP_IN_JPEG + xmp
    return {"extra": b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body}


_XMP_FORMS = {"PNG": _in_png, "JPEG": _in_jpeg}
"""The options for `save` that write XMP. All versions of Pillow know them."""


def _for_tiff(there: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """Return the options for a TIFF, in which Exif and XMP are fields beside those of the pixels."""
    fields, deep = Image.Exif(), False
    if "exif" in there:
        try:
            fields = _loaded(_descriptive(_loaded(there.pop("exif"))).tobytes())
            deep = any(directory in fields for directory in _DIRECTORIES)
        except Exception as error:  # Pillow raises errors of many types for broken Exif.
            notes.append(f"broken Exif left out ({' '.join(str(error).split()) or type(error).__name__})")
    if "xmp" in there:
        fields[_XMP_TAG] = there.pop("xmp")
    if len(fields):
        there["exif"] = fields
    # Pillow cannot write the Exif and GPS directories into a compressed TIFF.
    return there | ({"compression": "raw"} if deep else {})
