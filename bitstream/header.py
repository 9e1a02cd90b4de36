"""The first 36 bytes of a file (FORMAT, "Header")."""

import struct
import zlib
from dataclasses import dataclass

from bincodec.bitstream.errors import Corrupt, NotBld, TooLarge, Truncated, Unsupported
from bincodec.bitstream.limits import DEFAULT_LIMITS, Limits, checked_limits
from bincodec.bitstream.tiles import DEFAULT_SIDE, LARGEST_SIDE, SMALLEST_SIDE, Tile, tiles_of

MAGIC = b"\x93BLD\r\n\x1a\n"
FORMAT_VERSION = (1, 0)
"""The version that is written. A reader accepts every minor version of this major one."""
FINGERPRINT_BYTES = 8
BEST_QUALITY = 100
MAX_LAYERS = 255

_FIELDS = struct.Struct("<8sBBHIIBBBB8s")
_CRC = struct.Struct("<I")
FIELD_BYTES = _FIELDS.size
HEADER_BYTES = FIELD_BYTES + _CRC.size

_GREY = 0x0001
_SIDE_END = 2**32
LAST_MINOR = 255
_READABLE = {(FORMAT_VERSION[0], minor) for minor in range(LAST_MINOR + 1)}


@dataclass(frozen=True)
class Header:
    """The fields of a header: what a file says about itself.

    Args:
        width: the width of the image in pixels, 1 to 2^32 - 1.
        height: the height of the image in pixels, 1 to 2^32 - 1.
        quality: the quality of the image, 0 to 100.
        layers: the number of layers in the file, 1 to 255.
        fingerprint: the 8 bytes that name the model.
        grey: whether the image is grey.
        tile_side: the largest side of a tile, in positions of 16 x 16 pixels, 16 to 64.
        version: the version of the format, (major, minor), 1.0 to 1.255.

    Raises:
        ValueError: if a field is outside its range.
    """

    width: int
    height: int
    quality: int
    layers: int
    fingerprint: bytes
    grey: bool = False
    tile_side: int = DEFAULT_SIDE
    version: tuple[int, int] = FORMAT_VERSION

    def __post_init__(self) -> None:
        ranges = {
            "width": (self.width, 1, _SIDE_END - 1),
            "height": (self.height, 1, _SIDE_END - 1),
            "quality": (self.quality, 0, BEST_QUALITY),
            "layers": (self.layers, 1, MAX_LAYERS),
            "fingerprint length": (len(self.fingerprint), FINGERPRINT_BYTES, FINGERPRINT_BYTES),
            "tile side": (self.tile_side, SMALLEST_SIDE, LARGEST_SIDE),
        }
        for name, (value, low, high) in ranges.items():
            if not low <= value <= high:
                msg = f"{name} is {value}, not within {low}..{high}"
                raise ValueError(msg)
        major, minor = self.version
        if self.version not in _READABLE:
            msg = f"format version is {major}.{minor}, not within {FORMAT_VERSION[0]}.0..{LAST_MINOR}"
            raise ValueError(msg)

    @property
    def tiles(self) -> tuple[Tile, ...]:
        """The tiles of the image."""
        return tiles_of(self.width, self.height, self.tile_side)

    @property
    def crc(self) -> int:
        """The CRC-32 of the fields. All other checksums of the file continue from it."""
        return zlib.crc32(self.pack()[:FIELD_BYTES])

    def pack(self) -> bytes:
        """Return the header as its 36 bytes."""
        flags = _GREY if self.grey else 0
        fields = _FIELDS.pack(
            MAGIC,
            *self.version,
            flags,
            self.width,
            self.height,
            self.quality,
            self.layers,
            self.tile_side,
            0,
            self.fingerprint,
        )
        return fields + _CRC.pack(zlib.crc32(fields))

    @classmethod
    def parse(cls, data: bytes, limits: Limits = DEFAULT_LIMITS) -> "Header":
        """Read the header at the start of `data`, a bytes-like object. Anything may follow the header.

        Raises:
            NotBld: if the magic bytes are missing.
            Truncated: if `data` ends within the header.
            Unsupported: if the version or a flag is unknown.
            Corrupt: if the checksum is wrong, or a field is out of range.
            TooLarge: if the image exceeds `limits`.
            TypeError: if `data` is not bytes-like, or `limits` is not a `Limits`.
        """
        checked_limits(limits)
        data = bytes(memoryview(data).cast("B")[:HEADER_BYTES])
        _check_start(data)
        fields, crc = data[: _FIELDS.size], data[_FIELDS.size : HEADER_BYTES]
        if _CRC.pack(zlib.crc32(fields)) != crc:
            msg = "the checksum of the header does not match"
            raise Corrupt(msg)
        _, *version, flags, width, height, quality, layers, side, reserved, fingerprint = _FIELDS.unpack(
            fields
        )
        if flags & ~_GREY or reserved:
            msg = f"header flags are {flags:#06x} and {reserved:#04x}; only {_GREY:#06x} and 0 are known"
            raise Unsupported(
                msg + ", up to version {}.{}; the file has {}.{}".format(*FORMAT_VERSION, *version)
            )
        try:
            grey = bool(flags & _GREY)
            header = cls(width, height, quality, layers, fingerprint, grey, side, (version[0], version[1]))
        except ValueError as error:
            msg = f"header: {error}"
            raise Corrupt(msg) from error
        _check_size(header, limits)
        return header


def _check_start(data: bytes) -> None:
    """Check the magic, the length and the version. Without them, no other byte has a meaning."""
    start = data[: len(MAGIC)]
    if not start or not MAGIC.startswith(start):
        msg = "this is not a .bld file: the magic bytes are missing"
        raise NotBld(msg)
    if len(data) < HEADER_BYTES:
        msg = f"the file ends after {len(data)} of the {HEADER_BYTES} bytes of the header"
        raise Truncated(msg)
    major, minor = data[len(MAGIC)], data[len(MAGIC) + 1]
    if major == FORMAT_VERSION[0]:
        return
    msg = f"the format version of the file is {major}.{minor}, but this reader only knows 1.0 and later 1.x"
    if major == 0:
        msg = f"the file has the draft version {major}.{minor} of the format, or it is damaged; "
        msg += "only the program that wrote a draft can read it"
    raise Unsupported(msg)


def _check_size(header: Header, limits: Limits) -> None:
    pixels = header.width * header.height
    for name, value, limit in (
        ("side", max(header.width, header.height), limits.side),
        ("pixels", pixels, limits.pixels),
    ):
        if value > limit:
            size = f"{header.width}x{header.height} pixels"
            msg = f"the image has {size}: {value} is over the limit {name}={limit}"
            raise TooLarge(msg, option=name, value=value, limit=limit)
