"""Networks of the package CompressAI with random weights. Their speed does not depend on training.

Their files have no standard format. They hold the strings that CompressAI returns, one after the other, each
behind its length.
"""

from __future__ import annotations

import functools
import struct
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from bincodec.eval.errors import NotInstalled, UnknownCodec
from bincodec.eval.peers import Peer
from bincodec.eval.spec import Option, Spec, parse

if TYPE_CHECKING:
    from bincodec.eval.formats import Pixels

STRIDE = 64
"""Both sides of a picture are padded to multiples of this."""

_QUALITIES = {"mbt2018_mean": 8, "cheng2020_anchor": 6}
NAMES = tuple(_QUALITIES)
OPTIONS = {
    name: (
        Option("quality", "4", tuple(str(quality) for quality in range(1, highest + 1))),
        Option("device", "cpu"),
    )
    for name, highest in _QUALITIES.items()
}

_HEADER = struct.Struct("<5H")
_LENGTH = struct.Struct("<I")


def find(text: str, *, device: str = "cpu") -> Peer:
    """Return the network that a spec names, such as `cheng2020_anchor:quality=3`.

    Its only setting is that quality.

    Raises:
        UnknownCodec: if there is no such network or option.
        NotInstalled: if CompressAI cannot be imported.
        InvalidSetting: if this machine lacks the device.
    """
    spec = parse(text, OPTIONS, {name: {"device": device} for name in NAMES})
    quality = int(spec.values["quality"])
    if spec.settings not in ((), (quality,)):
        msg = f"{text}: quality={quality} is the only setting of this network; name another by quality=N"
        raise UnknownCodec(msg)
    load = functools.cache(functools.partial(_load, _zoo(), spec))
    if spec.values["device"] != "cpu":
        from bincodec.arguments import checked_device

        checked_device(spec.values["device"])

    def encode(pixels: Pixels, setting: int) -> bytes:
        return _encode(load(), pixels, spec.values["device"])

    def decode(data: bytes) -> Pixels:
        return _decode(load(), data)

    about = f"CompressAI {version('compressai')}, {spec.codec}, quality={quality}, random weights"
    return Peer(spec.label, about, (quality,), (quality, quality), encode, decode, load)


def _zoo() -> Any:
    try:
        return import_module("compressai.zoo")
    except (ImportError, RuntimeError) as error:
        # The package needs torchvision, which raises RuntimeError if it was built for another torch.
        reason = str(error).splitlines()[0]
        msg = f"{' and '.join(NAMES)} need the package compressai, which does not import: {reason}"
        raise NotInstalled(msg) from error


def _load(zoo: Any, spec: Spec) -> Any:
    import torch

    torch.manual_seed(0)
    build = getattr(zoo, spec.codec)
    network = build(quality=int(spec.values["quality"]), metric="mse", pretrained=False).eval()
    network.update()
    return network.requires_grad_(False).to(spec.values["device"])


def _encode(network: Any, pixels: Pixels, device: str) -> bytes:
    import torch

    height, width = pixels.shape[:2]
    padding = ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0))
    padded = torch.from_numpy(np.pad(pixels, padding, mode="edge")).to(device)
    with torch.inference_mode():
        result = network.compress(padded.permute(2, 0, 1)[None].float() / 255)
    strings = [string for (string,) in result["strings"]]
    rows, columns = result["shape"]
    header = _HEADER.pack(width, height, rows, columns, len(strings))
    return header + b"".join(_LENGTH.pack(len(string)) + string for string in strings)


def _decode(network: Any, data: bytes) -> Pixels:
    import torch

    width, height, rows, columns, count = _HEADER.unpack_from(data)
    strings, start = [], _HEADER.size
    for _ in range(count):
        (length,) = _LENGTH.unpack_from(data, start)
        start += _LENGTH.size
        strings.append([data[start : start + length]])
        start += length
    with torch.inference_mode():
        image = network.decompress(strings, torch.Size((rows, columns)))["x_hat"]
    levels = (255 * image[0, :, :height, :width].clamp(0, 1)).round().to("cpu", torch.uint8)
    return np.ascontiguousarray(levels.permute(1, 2, 0).numpy())
