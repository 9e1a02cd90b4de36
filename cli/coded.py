"""Unpack the .bld files that a command is given, and describe their damage."""

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
    """Return whether the name of a file ends in .bld."""
    return name.lower().endswith(EXTENSION)


def batch(
    command: str,
    work: Work,
    extension: str,
    model: str | None,
    common: options.Common,
    *,
    computes: bool = True,
) -> Batch:
    """Return the batch that applies `work` to many .bld files."""
    return Batch(command, work, is_coded, extension, model, common, computes)


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


def what_is_shown(decoded: DecodedInfo) -> str:
    """How many layers, the model, and the decoder where it is not the main one."""
    decoder = f", {decoded['decoder']} {decoded['realism']:g}" if decoded["realism"] else ""
    return f"{output.counted(decoded['layers'], 'layer')}, model {decoded['model']}{decoder}"


def what_is_damaged(decoded: DecodedInfo) -> str:
    """Return the first sentence about damage, and the number of further ones."""
    damage = decoded["damage"]
    more = f" (and {len(damage) - 1} more)" if len(damage) > 1 else ""
    return f"the file is damaged, and what is missing is shown as the model expects it: {damage[0]}{more}"


def what_is_real(decoded: DecodedInfo) -> str:
    """Return in words which layers came from the file."""
    real, layers = decoded["real_layers"], decoded["layers"]
    damaged = "" if decoded["intact"] else f"the file is damaged ({decoded['damage'][0]}): "
    if real == layers:
        return f"{damaged}all {layers} layers came from the file, nothing is drawn"
    which = "layer 1" if real == 1 else f"layers 1 to {real}"
    share = f"{decoded['real_share']:.1%} of the bits"
    if real == 0:
        return f"{damaged}{share} came from the file; the rest is drawn"
    return f"{damaged}{which} of {layers} came from the file, {share}; the rest is drawn"
