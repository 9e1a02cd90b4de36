"""Unpack the .bld files that a command is given, one or many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bincodec.cli import options, places
from bincodec.cli.batch.job import Work
from bincodec.cli.batch.run import Batch

if TYPE_CHECKING:
    from bincodec import BinaryCode, Codec
    from bincodec.bitstream.limits import Limits

EXTENSION = ".bld"


def is_coded(name: str) -> bool:
    """Return whether the name of a file ends in .bld."""
    return name.lower().endswith(EXTENSION)


def batch(command: str, work: Work, extension: str, model: str | None, common: options.Common) -> Batch:
    """Return the batch that applies `work` to many .bld files."""
    return Batch(command, work, is_coded, extension, model, common)


def unpack(
    source: str, data: bytes, *, model: str | None, device: str, limits: Limits
) -> tuple[Codec, BinaryCode]:
    """Return the codec for the bytes of a .bld file, and the code in them.

    Args:
        source: the name of the file, for errors.
        data: its bytes.
        model: the name or path of a model, or None for the model that the file names.
        device: the device to compute on, such as "cpu".
        limits: how large the file and its image may be.

    Raises:
        BincodecError: if the file cannot be unpacked. The name of the file stands before the message.
    """
    from bincodec.api import shared_codec
    from bincodec.io import files
    from bincodec.model import store

    with places.named(source):
        header = files.read_header(data, limits)
        codec = shared_codec(store.find_for(header.fingerprint, model).path, device)
        return codec, codec.unpack(data, limits=limits)
