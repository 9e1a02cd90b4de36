"""The .bld files that a command is given: the model that their code needs, and batches of them."""

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
    """Whether a file is a .bld by its name."""
    return name.lower().endswith(EXTENSION)


def batch(command: str, work: Work, extension: str, model: str | None, common: options.Common) -> Batch:
    """What a command does to many .bld files."""
    return Batch(command, work, is_coded, extension, model, common)


def unpack(
    source: str, data: bytes, *, model: str | None, device: str, limits: Limits
) -> tuple[Codec, BinaryCode]:
    """The code in the `data` of `source`, and the codec that unpacked it: `model`, or the one that it names.

    Raises:
        BincodecError: with the name of the file before its message.
    """
    from bincodec.api import shared_codec
    from bincodec.io import files
    from bincodec.model import store

    with places.named(source):
        header = files.read_header(data, limits)
        codec = shared_codec(store.find_for(header.fingerprint, model).path, device)
        return codec, codec.unpack(data, limits=limits)
