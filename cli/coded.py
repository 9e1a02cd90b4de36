"""The .bld files that a command is given: their model, batches of them, and what is said of their damage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bincodec.cli import options, output, places
from bincodec.cli.batch.job import Work
from bincodec.cli.batch.run import Batch

if TYPE_CHECKING:
    from bincodec import BinaryCode, Codec, DecodedInfo
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


def what_is_shown(decoded: DecodedInfo) -> str:
    """How many layers, the model, and the decoder where it is not the main one."""
    decoder = f", {decoded['decoder']} {decoded['realism']:g}" if decoded["realism"] else ""
    return f"{output.counted(decoded['layers'], 'layer')}, model {decoded['model']}{decoder}"


def what_is_damaged(decoded: DecodedInfo) -> str:
    """The first sentence about damage, and how much more there is."""
    damage = decoded["damage"]
    more = f", and {len(damage) - 1} more like it" if len(damage) > 1 else ""
    return f"the file is damaged, and what is missing is shown as the model expects it: {damage[0]}{more}"


def what_is_real(decoded: DecodedInfo) -> str:
    """Which layers came from the file, in words."""
    real, layers = decoded["real_layers"], decoded["layers"]
    damaged = "" if decoded["intact"] else f"the file is damaged ({decoded['damage'][0]}): "
    if real == layers:
        return f"{damaged}all {layers} layers came from the file, nothing is drawn"
    which = "layer 1" if real == 1 else f"layers 1 to {real}"
    share = f"{decoded['real_share']:.1%} of the bits"
    if real == 0:
        return f"{damaged}{share} came from the file; the rest is drawn"
    return f"{damaged}{which} of {layers} came from the file, {share}; the rest is drawn"
