"""What the commands say of a decoded picture: what it shows, what is damaged, and what is invented."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bincodec.cli import output, sampling

if TYPE_CHECKING:
    from bincodec import DecodedInfo


def what_is_shown(decoded: DecodedInfo) -> str:
    """How many layers, the model, and the decoder where it is not the main one."""
    decoder = f", {decoded['decoder']} {decoded['realism']:g}" if decoded["realism"] else ""
    return f"{output.counted(decoded['layers'], 'layer')}, model {decoded['model']}{decoder}"


def what_is_damaged(decoded: DecodedInfo) -> str:
    """The first sentence about damage, and how much more there is."""
    damage = decoded["damage"]
    more = f", and {len(damage) - 1} more like it" if len(damage) > 1 else ""
    return f"the file is damaged, and what is missing is shown as the model expects it: {damage[0]}{more}"


def texts(decoded: DecodedInfo, seed: int, temperature: float) -> dict[str, str]:
    """What the picture's file tells about invented detail and drawn layers; nothing where there are none."""
    invented: dict[str, object] = {}
    if decoded["realism"]:
        invented |= {"decoder": decoded["decoder"], "realism": decoded["realism"]}
    if decoded["real_layers"] < decoded["layers"]:
        invented |= {"real_layers": decoded["real_layers"], "seed": seed, "temperature": temperature}
    facts = {"model": decoded["model"], "quality": decoded["quality"]}
    return sampling.as_texts(facts | invented) if invented else {}


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
