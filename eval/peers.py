"""One adapter a codec, all of one shape: pixels and a setting to real bytes, real bytes to pixels.

A setting is an integer that rises with the rate. What it means is the codec's own affair.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bincodec import __version__
from bincodec.eval.errors import UnknownCodec
from bincodec.eval.formats import FORMATS, Format, Values
from bincodec.eval.formats import Pixels as Pixels
from bincodec.eval.spec import Option, Spec, numbers, parse

if TYPE_CHECKING:
    from bincodec.codec import Codec
    from bincodec.model.card import ModelCard

QUALITIES = (0, 17, 33, 50, 67, 83, 100)
"""The seven steps in which bincodec's range of qualities is reported."""

OPTIONS = (
    Option("model", "photo"),
    Option("device", "cpu"),
    Option("layers", "all", ("all", *numbers(1, 16))),
    Option("effort", "0", numbers(0, 9)),
    Option("kernel", "auto", ("auto", "conv", "matmul", "float64", "int64")),
)
"""What a spec of bincodec may say."""

NAMES = ("bincodec", *FORMATS)

BESIDE = ("cli", "eval")
"""Sub-packages, where bincodec is installed as one, that take no part in coding."""

LAMBDA_RANGE = "lambda_range"
"""The entry of a model's card without which there is no effort above 0."""


@dataclass(frozen=True)
class Encoded:
    """A complete file and what it decodes to: `pixels` is uint8 (H, W, 3)."""

    data: bytes
    pixels: Pixels


@dataclass(frozen=True)
class Peer:
    """A codec under measurement.

    Args:
        name: what tables call it, the label of its spec.
        about: versions and all options, and what a setting is: whatever may change a file or its picture.
        settings: the grid that a sweep takes.
        limits: the lowest and highest setting there is.
        encode: uint8 (H, W, 3) and a setting to a complete file.
        decode: a complete file to uint8 (H, W, 3).
        prepare: loads what the two need, so that the first of them is not timed with it.
    """

    name: str
    about: str
    settings: tuple[int, ...]
    limits: tuple[int, int]
    encode: Callable[[Pixels, int], bytes]
    decode: Callable[[bytes], Pixels]
    prepare: Callable[[], object] = lambda: None

    def __call__(self, pixels: Pixels, setting: int) -> Encoded:
        """Encode, then decode from nothing but the bytes."""
        data = self.encode(pixels, setting)
        return Encoded(data, self.decode(data))


def find(text: str, *, model: str = "photo", device: str = "cpu") -> Peer:
    """The codec that a spec names; bincodec takes `model` and `device` unless its spec says otherwise.

    Raises:
        UnknownCodec: if there is no such codec, option or setting.
        NotInstalled: if its package is missing, or this Pillow cannot write the format.
        UnknownModel, DamagedModel: as `bincodec.model.store.find`.
    """
    return build(read_spec(text, model=model, device=device))


def read_spec(text: str, *, model: str = "photo", device: str = "cpu") -> Spec:
    """The spec of a codec, with `model` and `device` as bincodec's usual ones.

    Raises:
        UnknownCodec: if there is no such codec or option.
    """
    known = {"bincodec": OPTIONS, **{name: kind.options for name, kind in FORMATS.items()}}
    return parse(text, known, {"bincodec": {"model": model, "device": device}})


def build(spec: Spec) -> Peer:
    """The adapter for a spec. Nothing large is loaded before it is used; raises as `find`."""
    peer = _build_bincodec(spec) if spec.codec == "bincodec" else _through_pillow(spec, FORMATS[spec.codec])
    low, high = peer.limits
    for setting in spec.settings:
        if not low <= setting <= high:
            msg = f"{spec.label}: setting {setting} is not in {low}..{high}"
            raise UnknownCodec(msg)
    return replace(peer, settings=spec.settings) if spec.settings else peer


def _through_pillow(spec: Spec, file_format: Format) -> Peer:
    return Peer(
        spec.label,
        file_format.about(spec.codec, spec.values),
        file_format.settings,
        file_format.limits,
        functools.partial(file_format.encode, spec.values),
        file_format.decode,
    )


def bincodec(codec: Codec) -> Peer:
    """A loaded codec of this project; a setting is its quality."""
    about = _about_bincodec(codec.model.card, {"device": codec.device})
    return _bincodec("bincodec", about, lambda: codec)


def _build_bincodec(spec: Spec) -> Peer:
    from bincodec.model import store

    values = spec.values
    card = store.find(values["model"])
    layers = None if values["layers"] == "all" else int(values["layers"])
    if layers is not None and layers > card.architecture.layers:
        msg = f"{spec.label}: {card.name} has {card.architecture.layers} layers"
        raise UnknownCodec(msg)
    if values["effort"] != "0" and LAMBDA_RANGE not in card.card:
        msg = f"{spec.label}: {card.name} does not say its Lagrange multipliers: only effort=0"
        raise UnknownCodec(msg)
    if values["device"] != "cpu":
        from bincodec.arguments import checked_device

        checked_device(values["device"])

    @functools.cache
    def load() -> Codec:
        from bincodec.codec import Codec

        return Codec.load(str(card.path), values["device"], values["kernel"])  # type: ignore[arg-type]

    return _bincodec(spec.label, _about_bincodec(card, values), load, layers, int(values["effort"]))


def _bincodec(
    name: str, about: str, load: Callable[[], Codec], layers: int | None = None, effort: int = 0
) -> Peer:
    def encode(pixels: Pixels, quality: int) -> bytes:
        codec = load()
        code = codec.encode(pixels, quality, effort=effort)
        if layers is not None and layers < code.layers:
            # The post-filter was fitted to the picture of all layers.
            code = replace(code, levels=code.levels[:layers], maximum=code.maximum[:layers], extras=())
        return codec.pack(code)

    def decode(data: bytes) -> Pixels:
        codec = load()
        return np.asarray(codec.decode(codec.unpack(data)).convert("RGB"))

    return Peer(name, about, QUALITIES, (0, 100), encode, decode, load)


def _about_bincodec(card: ModelCard, values: Values) -> str:
    """The fingerprint leaves the encoder out, and the version number what was edited since."""
    options = ", ".join(f"{name}={value}" for name, value in values.items() if name != "model")
    if LAMBDA_RANGE in card.card:
        # The encoder's search depends on it, and nothing else in the file does.
        options += f", {LAMBDA_RANGE}={card.card[LAMBDA_RANGE]}"
    return (
        f"bincodec {__version__} (code {_code_digest()}), torch {version('torch')}; "
        f"model {card.name} ({card.fingerprint.hex()}, encoder {card.encoder_digest[:8]}); {options}; quality"
    )


@functools.cache
def _code_digest() -> str:
    """Eight hexadecimal digits of what coding is programmed in."""
    import bincodec as package
    from bincodec import bitstream

    return digest_of_code(*(Path(inspect.getfile(module)).parent for module in (package, bitstream)))[:8]


def digest_of_code(*packages: Path) -> str:
    """SHA-256 of all modules and tables in some packages and those below them, without `BESIDE`."""
    digest = hashlib.sha256()
    for package in packages:
        for path in sorted(package.rglob("*")):
            name = path.relative_to(package)
            if path.suffix in (".py", ".zlib") and name.parts[0] not in BESIDE:
                data = path.read_bytes()
                digest.update(f"{name.as_posix()} {len(data)} ".encode() + data)
    return digest.hexdigest()
