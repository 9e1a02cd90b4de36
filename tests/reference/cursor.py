"""Integers and checksums in the bytes of a file (FORMAT, "Conventions")."""

from __future__ import annotations

import zlib

from .errors import refuse

_LONGEST_VARINT = 5


def crc_of(*parts: bytes) -> int:
    """Return CRC(a, b, ...) of the format."""
    return zlib.crc32(b"".join(parts))


def u32(value: int) -> bytes:
    """Return the bytes of a u32 in a file."""
    return value.to_bytes(4, "little")


class Cursor:
    """A position in a file, from which the file is read. A file that ends too early is truncated."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.place = 0
        """The number of bytes that have been read."""

    @property
    def left(self) -> int:
        """The number of bytes that have not been read."""
        return len(self._data) - self.place

    def since(self, place: int) -> bytes:
        """Return the bytes from that position up to the present one."""
        return self._data[place : self.place]

    def take(self, count: int) -> bytes:
        """Read the next bytes."""
        if count > self.left:
            refuse("truncated", f"{count} bytes are needed from byte {self.place} on, {self.left} are there")
        self.place += count
        return self._data[self.place - count : self.place]

    def fixed(self, size: int) -> int:
        """Read a u8, u16 or u32, of 1, 2 or 4 bytes."""
        return int.from_bytes(self.take(size), "little")

    def varint(self) -> int:
        """Read an integer of as many bytes as it needs, with seven bits in each."""
        value = 0
        for index in range(_LONGEST_VARINT):
            byte = self.fixed(1)
            value |= (byte & 127) << 7 * index
            if byte < 128:
                if byte == 0 and index:
                    refuse("corrupt", f"the varint before byte {self.place} is longer than it need be")
                return value
        refuse("corrupt", f"the varint before byte {self.place} is longer than {_LONGEST_VARINT} bytes")
