"""An adapter for each codec, with one interface: encode pixels at a setting to a file, and decode a file.

A setting is an integer that rises with the rate. Each codec defines its meaning.
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
from bincodec.errors import InvalidSetting
from bincodec.eval.errors import UnknownCodec
from bincodec.eval.formats import FORMATS, Format, Values
from bincodec.eval.formats import Pixels as Pixels
from bincodec.eval.spec import Option, Spec, numbers, parse
from bincodec.model.card import REALISTIC_DECODER

if TYPE_CHECKING:
    from bincodec.codec import Codec
    from bincodec.model.card import ModelCard

QUALITIES = (0, 17, 33, 50, 67, 83, 100)
"""The seven qualities at which bincodec is measured by default."""

OPTIONS = (
    Option("model", "photo"),
    Option("device", "cpu"),
    Option("layers", "all", ("all", *numbers(1, 16))),
    Option("effort", "0", numbers(0, 9)),
    Option("kernel", "auto", ("auto", "conv", "matmul", "float64", "int64")),
    Option("realism", "0", most=1),
)
"""The options of a spec of bincodec."""

NAMES = ("bincodec", *FORMATS)

BESIDE = ("cli", "eval")
"""The sub-packages of an installed bincodec that have no influence on coding."""

LAMBDA_RANGE = "lambda_range"
"""The entry of a model's card that an effort above 0 needs."""


@dataclass(frozen=True)
class Encoded:
    """A complete file and its decoded `pixels`, uint8 (H, W, 3)."""

    data: bytes
    pixels: Pixels


@dataclass(frozen=True)
class Peer:
    """A codec to measure.

    Args:
        name: the name in tables, which is the label of its spec.
        about: everything that may change a file or its picture: versions, options, and the meaning of a
            setting.
        settings: the grid of settings for a sweep.
        limits: the lowest and the highest setting.
        encode: a function that encodes uint8 (H, W, 3) pixels at a setting to a complete file.
        decode: a function that decodes a complete file to uint8 (H, W, 3).
        prepare: a function that loads what the other two need, so that this is not timed with the first call.
    """

    name: str
    about: str
    settings: tuple[int, ...]
    limits: tuple[int, int]
    encode: Callable[[Pixels, int], bytes]
    decode: Callable[[bytes], Pixels]
    prepare: Callable[[], object] = lambda: None

    def __call__(self, pixels: Pixels, setting: int) -> Encoded:
        """Encode, and then decode the bytes of the file."""
        data = self.encode(pixels, setting)
        return Encoded(data, self.decode(data))


def find(text: str, *, model: str = "photo", device: str = "cpu") -> Peer:
    """Return the codec that a spec names. `model` and `device` are the defaults of a spec of bincodec.

    Raises:
        UnknownCodec: if there is no such codec, option or setting.
        NotInstalled: if its package is missing, or if this Pillow cannot write the format.
        UnknownModel, DamagedModel: as in `bincodec.model.store.find`.
    """
    return build(read_spec(text, model=model, device=device))


def read_spec(text: str, *, model: str = "photo", device: str = "cpu") -> Spec:
    """Read the spec of a codec. `model` and `device` are the defaults of a spec of bincodec.

    Raises:
        UnknownCodec: if there is no such codec or option.
    """
    known = {"bincodec": OPTIONS, **{name: kind.options for name, kind in FORMATS.items()}}
    return parse(text, known, {"bincodec": {"model": model, "device": device}})


def build(spec: Spec) -> Peer:
    """Return the adapter for a spec. Nothing large is loaded before it is used. It raises as `find` does."""
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
    """Return the adapter of a loaded codec of this project. Its setting is the quality."""
    about = _about_bincodec(codec.model.card, {"device": codec.device})
    return _bincodec("bincodec", about, lambda: codec)


def _build_bincodec(spec: Spec) -> Peer:
    from bincodec.model import store

    values = spec.values
    card = store.find(values["model"])
    layers = None if values["layers"] == "all" else int(values["layers"])
    if layers is not None and layers > card.architecture.layers:
        msg = f"{spec.label}: model {card.name} has only {card.architecture.layers} layers"
        raise UnknownCodec(msg)
    if values["effort"] != "0" and LAMBDA_RANGE not in card.card:
        msg = f"{spec.label}: the card of {card.name} has no Lagrange multipliers: only effort=0 is possible"
        raise UnknownCodec(msg)
    realism = _read_realism(spec, card)
    if values["device"] != "cpu":
        from bincodec.arguments import checked_device

        checked_device(values["device"])

    @functools.cache
    def load() -> Codec:
        from bincodec.codec import Codec

        return Codec.load(str(card.path), values["device"], values["kernel"])  # type: ignore[arg-type]

    about = _about_bincodec(card, values)
    return _bincodec(spec.label, about, load, layers, int(values["effort"]), realism)


def _read_realism(spec: Spec, card: ModelCard) -> float:
    """Return the realism of a spec, which the model must be capable of."""
    from bincodec.model.decoders import choose

    try:
        return choose(card, realism=float(spec.values["realism"])).share
    except InvalidSetting as error:
        msg = f"{spec.label}: {error}"
        raise UnknownCodec(msg) from error


def _bincodec(
    name: str,
    about: str,
    load: Callable[[], Codec],
    layers: int | None = None,
    effort: int = 0,
    realism: float = 0.0,
) -> Peer:
    def encode(pixels: Pixels, quality: int) -> bytes:
        codec = load()
        code = codec.encode(pixels, quality, effort=effort)
        if layers is not None and layers < code.layers:
            # The post-filter belongs to the picture of all layers, so it is removed.
            code = replace(code, levels=code.levels[:layers], maximum=code.maximum[:layers], extras=())
        return codec.pack(code)

    def decode(data: bytes) -> Pixels:
        codec = load()
        return np.asarray(codec.decode(codec.unpack(data), realism=realism).convert("RGB"))

    return Peer(name, about, QUALITIES, (0, 100), encode, decode, load)


def _about_bincodec(card: ModelCard, values: Values) -> str:
    """Return everything that files of bincodec depend on.

    The fingerprint does not cover the encoder, and the version number does not cover edits since the release.
    So the digests of the encoder and of the code are included. The realistic decoder, which the fingerprint
    does not cover either, is included if it is asked for.
    """
    options = ", ".join(f"{name}={value}" for name, value in values.items() if name != "model")
    if float(values.get("realism", 0)) > 0:
        options += f", decoder {card.decoder_digests[REALISTIC_DECODER][:8]}"
    if LAMBDA_RANGE in card.card:
        # The encoder depends on it, and neither the fingerprint nor the encoder's digest covers it.
        options += f", {LAMBDA_RANGE}={card.card[LAMBDA_RANGE]}"
    return (
        f"bincodec {__version__} (code {_code_digest()}), torch {version('torch')}; "
        f"model {card.name} ({card.fingerprint.hex()}, encoder {card.encoder_digest[:8]}); {options}; quality"
    )


@functools.cache
def _code_digest() -> str:
    """Return the first eight hexadecimal digits of a digest of the code that encodes and decodes."""
    import bincodec as package
    from bincodec import bitstream

    return digest_of_code(*(Path(inspect.getfile(module)).parent for module in (package, bitstream)))[:8]


def digest_of_code(*packages: Path) -> str:
    """Return the SHA-256 of all modules and tables in packages and their sub-packages, without `BESIDE`."""
    digest = hashlib.sha256()
    for package in packages:
        for path in sorted(package.rglob("*")):
            name = path.relative_to(package)
            if path.suffix in (".py", ".zlib") and name.parts[0] not in BESIDE:
                data = path.read_bytes()
                digest.update(f"{name.as_posix()} {len(data)} ".encode() + data)
    return digest.hexdigest()
