"""A .bld file that a command is given: its bytes, and the model that its code needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bincodec.cli import places

if TYPE_CHECKING:
    from bincodec import BinaryCode, Codec
    from bincodec.bitstream.limits import Limits


def unpack(
    source: str, data: bytes, *, model: str | None, device: str, limits: Limits
) -> tuple[Codec, BinaryCode]:
    """The code in the `data` of `source`, and the codec that unpacked it: `model`, or the one that it names.

    Raises:
        BincodecError: with the name of the file before its message.
    """
    from bincodec import Codec
    from bincodec.io import files
    from bincodec.model import store

    with places.named(source):
        header = files.read_header(data, limits)
        codec = Codec.load(str(store.find_for(header.fingerprint, model).path), device)
        return codec, codec.unpack(data, limits=limits)
