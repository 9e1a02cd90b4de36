"""Save and load the weights in a model file, and compute their digests and the fingerprint.

One safetensors file holds the encoder, the decoders, the integers of the prior, and the card. Its tensors are
`encoder.*` (with the gains), `decoder.NAME.*` (with the inverse gains) and `prior.*`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialised
from torch import Tensor

from bincodec.arguments import checked_choice
from bincodec.bitstream.probability import TABLES_SHA256
from bincodec.errors import DamagedModel, UnknownModel
from bincodec.io import files
from bincodec.isolation import isolated
from bincodec.model import store
from bincodec.model.architecture import Architecture
from bincodec.model.autoencoder import Autoencoder
from bincodec.model.card import MAIN_DECODER, ModelCard, read_card
from bincodec.model.decoders import Decoders
from bincodec.model.integer import Block, IntegerNetwork, Layer, probability_digest
from bincodec.model.kernels import KERNELS, IntegerPrior, Kernel
from bincodec.postfilter.filter import FILTER_VERSION

Tensors = dict[str, Tensor]

_DECODING = ("decoder.", "inverse_gains.")
"""The prefixes of the decoder's tensors in an autoencoder. All other tensors belong to the encoder."""
_SCALE = ".scale"
_LEAST_SCALE = 1e-12
_MISFITS = (
    OSError, SafetensorError, KeyError, IndexError, ValueError, TypeError, ArithmeticError, RuntimeError
)  # fmt: skip
_INTEGERS = (torch.int8, torch.int16, torch.int32, torch.int64)


@dataclasses.dataclass(frozen=True)
class Model:
    """A model on a device.

    Args:
        card: the description of the model.
        decoders: the decoders, each with the encoder.
        prior: the integer network that predicts the probabilities of levels.
        device: the device of the networks.
    """

    card: ModelCard
    decoders: Decoders
    prior: IntegerPrior
    device: str

    @property
    def autoencoder(self) -> Autoencoder:
        """The encoder and the main decoder."""
        return self.decoders.main


def load(card: ModelCard, device: str = "cpu", kernel: Kernel = "auto") -> Model:
    """Load a model onto `device`.

    Raises:
        DamagedModel: if the weights are not the ones that the card and the fingerprint describe.
        Unsupported: if the device cannot compute the integers exactly.
        InvalidSetting: if there is no such kernel.
    """
    checked_choice("kernel", kernel, KERNELS)
    with isolated(), damage_named(card):
        tensors, network = read(card)
        decoders = Decoders(_autoencoders(card, tensors, device))
        return Model(card, decoders, IntegerPrior(card.architecture, network, device, kernel), device)


def read(card: ModelCard) -> tuple[Tensors, IntegerNetwork]:
    """Return the tensors in a model's file as they are stored, and its prior.

    Raises:
        DamagedModel: if they are not the ones that the card and the fingerprint describe.
    """
    with damage_named(card):
        tensors = load_file(card.path)
        network = _network(card.architecture, _part(tensors, "prior."))
        _check_digests(card, network, tensors)
        return tensors, network


@contextlib.contextmanager
def damage_named(card: ModelCard) -> Iterator[None]:
    """Raise `DamagedModel`, with the path of the model, for what its weights lead to if they do not fit."""
    try:
        yield
    except _MISFITS as error:
        msg = f"{card.path}: the weights do not fit the architecture: {str(error).splitlines()[0]}"
        raise DamagedModel(msg) from error


def load_again(card: ModelCard, device: str, kernel: Kernel) -> Model:
    """Load the model that `card` describes from its own file, or from another one with the same weights.

    Raises:
        UnknownModel: if there is none, for example because another model has replaced the file.
    """
    candidates = list(store.available())
    with contextlib.suppress(DamagedModel):
        candidates.insert(0, read_card(card.path))
    for found in candidates:
        if found.same_weights(card):
            return load(found, device, kernel)
    mark = card.fingerprint.hex()
    msg = f"the codec used model {card.name} ({mark}), but {card.path} now holds another model"
    raise UnknownModel(msg)


def save(
    path: Path,
    name: str,
    architecture: Architecture,
    autoencoder: Tensors,
    network: IntegerNetwork,
    card: dict[str, object],
    decoders: Mapping[str, Tensors] | None = None,
) -> ModelCard:
    """Write a model file and return its card. `autoencoder` is a state dict with the main decoder.

    Each of the further `decoders` is the state dict of an autoencoder too, but only its decoder is used.
    """
    encoder = {key: value for key, value in autoencoder.items() if not key.startswith(_DECODING)}
    tensors = _prefixed("encoder.", stored(encoder))
    for decoder, state in {MAIN_DECODER: autoencoder, **(decoders or {})}.items():
        own = {key: value for key, value in state.items() if key.startswith(_DECODING)}
        tensors |= _prefixed(f"decoder.{decoder}.", stored(own))
    tensors |= _prefixed("prior.", _integers(network))
    digests = {
        decoder: _digest(_part(tensors, f"decoder.{decoder}."))
        for decoder in (MAIN_DECODER, *(decoders or {}))
    }
    fingerprint = _fingerprint(architecture, network, digests[MAIN_DECODER])
    encoder_digest = _digest(_part(tensors, "encoder."))
    result = ModelCard(name, fingerprint, path, architecture, card, encoder_digest, digests)
    files.write(path, serialised(tensors, result.metadata()))
    return result


def add_decoder(
    card: ModelCard, path: Path, decoder: str, autoencoder: Tensors, facts: dict[str, object]
) -> ModelCard:
    """Write the model of `card` with one more decoder, or with another one of that name, to `path`.

    `autoencoder` is a state dict of which only the decoder is used. Everything else stays as it is, also the
    fingerprint. `facts` about the decoder are added to the card. Return the new card.

    Raises:
        ValueError: if `decoder` is the name of the main decoder.
    """
    if decoder == MAIN_DECODER:
        msg = f"{decoder!r} is the main decoder, which the files of {card.name} depend on"
        raise ValueError(msg)
    prefix = f"decoder.{decoder}."
    own = {key: value for key, value in autoencoder.items() if key.startswith(_DECODING)}
    tensors = {key: value for key, value in load_file(card.path).items() if not key.startswith(prefix)}
    tensors |= _prefixed(prefix, stored(own))
    digests = {**card.decoder_digests, decoder: _digest(_part(tensors, prefix))}
    described = {**card.card, "decoders": {**card.card.get("decoders", {}), decoder: facts}}
    result = dataclasses.replace(card, path=path, decoder_digests=digests, card=described)
    files.write(path, serialised(tensors, result.metadata()))
    return result


def as_stored(state: Tensors) -> Tensors:
    """Return an autoencoder's state dict as it is after being rounded for a model file."""
    return restored(stored(state))


def autoencoder_state(tensors: Tensors, decoder: str = MAIN_DECODER) -> Tensors:
    """Return an autoencoder's float32 state dict, with one of the decoders, given a model file's tensors."""
    return restored(_part(tensors, "encoder.") | _part(tensors, f"decoder.{decoder}."))


def _autoencoders(card: ModelCard, tensors: Tensors, device: str) -> dict[str, Autoencoder]:
    """Return an autoencoder for each decoder. They share the encoder, which is in memory once."""
    result = {name: _autoencoder(card.architecture, tensors, name, device) for name in card.decoders}
    for other in result.values():
        other.encoder, other.gains = result[MAIN_DECODER].encoder, result[MAIN_DECODER].gains
    return result


def _autoencoder(architecture: Architecture, tensors: Tensors, decoder: str, device: str) -> Autoencoder:
    with torch.random.fork_rng(devices=[]):  # The random initial weights are not used.
        autoencoder = Autoencoder(architecture)
    autoencoder.load_state_dict(autoencoder_state(tensors, decoder), assign=True)
    autoencoder.requires_grad_(False).eval()
    place, order = torch.device(device), torch.channels_last
    autoencoder.to(place, torch.float32, memory_format=order)  # type: ignore[call-overload]
    return autoencoder


def _check_digests(card: ModelCard, network: IntegerNetwork, tensors: Tensors) -> None:
    """Raise `DamagedModel` unless the weights are the ones that the card was written for."""
    for decoder, digest in card.decoder_digests.items():
        if _digest(_part(tensors, f"decoder.{decoder}.")) != digest:
            msg = f"{card.path}: the weights of decoder {decoder!r} are damaged"
            raise DamagedModel(msg)
    if _digest(_part(tensors, "encoder.")) != card.encoder_digest:
        msg = f"{card.path}: the weights of the encoder are damaged"
        raise DamagedModel(msg)
    found = _fingerprint(card.architecture, network, card.decoder_digests[MAIN_DECODER])
    if found != card.fingerprint:
        own = card.fingerprint.hex()
        msg = f"{card.path}: prior and decoder do not match the fingerprint {own} of the card"
        raise DamagedModel(msg)


def _fingerprint(architecture: Architecture, network: IntegerNetwork, decoder_digest: str) -> bytes:
    """Return the first 8 bytes of the SHA-256 of everything that a file's bits and pixels depend on."""
    digest = hashlib.sha256(b"bincodec model 2\n")
    digest.update(probability_digest(architecture, network, bytes.fromhex(TABLES_SHA256)))
    digest.update(bytes.fromhex(decoder_digest))
    digest.update(f"post-filter {FILTER_VERSION}".encode())
    return digest.digest()[:8]


def stored(state: Tensors) -> Tensors:
    """Return a state dict as stored: matrices of blocks in 8 bits with one scale a row, the rest in fp16.

    A block only corrects the linear path around it. An error of 1/254 of its largest weight is therefore not
    visible in the picture (docs/decisions/0007).
    """
    tensors = {}
    for key, value in state.items():
        if value.ndim == 2 and "blocks" in key:
            scale = value.abs().amax(1, keepdim=True).clamp_min(_LEAST_SCALE).float() / 127
            tensors[key] = (value / scale).round().to(torch.int8).contiguous()
            tensors[f"{key}{_SCALE}"] = scale.contiguous()
        else:
            tensors[key] = value.half().contiguous()
    return tensors


def restored(tensors: Tensors) -> Tensors:
    """Return the float32 state dict that `stored` turned into `tensors`."""
    return {
        key: value.float() * tensors.get(f"{key}{_SCALE}", 1.0)
        for key, value in tensors.items()
        if not key.endswith(_SCALE)
    }


def _integers(network: IntegerNetwork) -> Tensors:
    """Return the tensors of the prior as they are stored."""
    tensors = {}
    for name, layer in network.named_layers():
        tensors[f"{name}.weight"] = layer.weight.to(torch.int8).contiguous()
        tensors[f"{name}.bias"] = layer.bias.to(torch.int32).contiguous()
        tensors[f"{name}.shift"] = layer.shift.to(torch.int8).contiguous()
    for part, table in zip(("stem", "head"), network.classes or (), strict=False):
        tensors[f"{part}.classes"] = table.to(torch.int32).contiguous()
    enter = [*(block.enter for block in network.blocks), network.head_enter]
    tensors["enter"] = torch.tensor(enter, dtype=torch.int8)
    tensors["activation_limit"] = torch.tensor(network.activation_limit, dtype=torch.int32)
    return tensors


def _network(architecture: Architecture, tensors: Tensors) -> IntegerNetwork:
    """Return the network that `_integers` turned into `tensors`."""
    if any(value.dtype not in _INTEGERS for value in tensors.values()):
        msg = "the prior has tensors that are not integers"
        raise ValueError(msg)

    def layer(name: str) -> Layer:
        return Layer(*(tensors[f"{name}.{part}"].long() for part in ("weight", "bias", "shift")))

    enter = [int(value) for value in tensors["enter"]]
    blocks = tuple(
        Block(
            enter[i],
            layer(f"blocks.{i}.depthwise"),
            layer(f"blocks.{i}.expand"),
            layer(f"blocks.{i}.contract"),
        )
        for i in range(architecture.prior_blocks)
    )
    classes = None
    if architecture.classes:
        classes = (tensors["stem.classes"].long(), tensors["head.classes"].long())
    limit = int(tensors["activation_limit"].reshape(()))
    return IntegerNetwork(layer("stem"), blocks, enter[-1], layer("head"), classes, limit)


def _digest(tensors: Tensors) -> str:
    """Return the SHA-256 of tensors as they are stored, in hexadecimal."""
    digest = hashlib.sha256()
    for key, value in sorted(tensors.items()):
        digest.update(f"{key}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def _part(tensors: Tensors, prefix: str) -> Tensors:
    """Return the tensors whose names begin with `prefix`, and remove the prefix from the names."""
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _prefixed(prefix: str, tensors: Tensors) -> Tensors:
    return {f"{prefix}{key}": value for key, value in tensors.items()}
