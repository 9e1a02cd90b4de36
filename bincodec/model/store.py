"""Model files: one safetensors file holds the networks, the integers of the prior, and the card.

Models are named `photo-1`, `photo-2` and so on; `photo` means the newest. They are looked for in the
package's `weights` folder and, if the environment variable BINCODEC_MODELS names a folder, there too.
Nothing is ever downloaded.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from bincodec.bitstream.errors import Unsupported, WrongModel
from bincodec.model.architecture import Architecture

if TYPE_CHECKING:
    from bincodec.model.autoencoder import Autoencoder
    from bincodec.model.kernels import IntegerPrior, Kernel

FORMAT = "bincodec model 1"
WEIGHTS = Path(__file__).parents[1] / "weights"
FOLDER_VARIABLE = "BINCODEC_MODELS"
DEFAULT_SIZE = (256, 256)

_PIXELS = "autoencoder."
_SCALE = ".scale"
_LEAST_SCALE = 1e-12


@dataclasses.dataclass(frozen=True)
class ModelCard:
    """What a model file says of itself, read without loading a weight."""

    name: str
    fingerprint: bytes
    path: Path
    architecture: Architecture
    card: dict[str, Any]
    pixel_digest: str
    """SHA-256 of the autoencoder's tensors, which the fingerprint does not cover."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that the prior can draw, in the order of their numbers."""
        return tuple(self.card.get("classes", ()))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels of what it draws unless told otherwise."""
        width, height = self.card.get("size", DEFAULT_SIZE)
        return width, height


@dataclasses.dataclass(frozen=True)
class Model:
    """A loaded model: float networks for pixels, integer prior for probabilities."""

    card: ModelCard
    autoencoder: Autoencoder
    prior: IntegerPrior


def available() -> tuple[ModelCard, ...]:
    """All models at hand, by name and number; other files in the folders are passed over."""
    folders = [WEIGHTS, *(Path(f) for f in [os.environ.get(FOLDER_VARIABLE, "")] if f)]
    cards = []
    for path in (path for folder in folders for path in sorted(folder.glob("*.safetensors"))):
        with contextlib.suppress(Unsupported):
            cards.append(read_card(path))
    return tuple(sorted(cards, key=lambda card: _family_and_number(card.name)))


def find(name: str) -> ModelCard:
    """The model called `name`, the newest of that family, or the one in that .safetensors file.

    Raises:
        WrongModel: if there is none.
    """
    if name.endswith(".safetensors"):
        return read_card(Path(name))
    cards = available()
    matches = [c for c in cards if c.name == name] or [
        c for c in cards if _family_and_number(c.name)[0] == name
    ]
    if not matches:
        known = ", ".join(card.name for card in cards) or "none"
        msg = f"no model is called {name!r}; at hand: {known}"
        raise WrongModel(msg)
    return matches[-1]


def find_fingerprint(fingerprint: bytes) -> ModelCard:
    """The model that wrote a file.

    Raises:
        WrongModel: if it is not at hand.
    """
    cards = available()
    for card in cards:
        if card.fingerprint == fingerprint:
            return card
    known = ", ".join(f"{card.name} ({card.fingerprint.hex()})" for card in cards) or "none"
    msg = f"the file needs the model with fingerprint {fingerprint.hex()}; at hand: {known}"
    raise WrongModel(msg)


def read_card(path: Path) -> ModelCard:
    """The metadata of a model file.

    Raises:
        Unsupported: if it is not one.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            msg = f"{path} is not a model file of format {FORMAT!r}"
            raise Unsupported(msg)
        return ModelCard(
            metadata["name"],
            bytes.fromhex(metadata["fingerprint"]),
            path,
            Architecture.from_json(metadata["architecture"]),
            json.loads(metadata["card"]),
            metadata["pixel_digest"],
        )
    except (
        OSError,
        SafetensorError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        msg = f"{path} is not a readable model file: {error}"
        raise Unsupported(msg) from error


def load(card: ModelCard, device: str = "cpu", kernel: Kernel = "auto") -> Model:
    """Load a model onto `device`.

    Raises:
        Unsupported: if its integers are not those its fingerprint names, or the device cannot compute them.
    """
    import torch
    from safetensors.torch import load_file

    from bincodec.bitstream.probability import TABLES_SHA256
    from bincodec.model.autoencoder import Autoencoder
    from bincodec.model.integer import fingerprint
    from bincodec.model.kernels import IntegerPrior

    try:
        tensors = load_file(card.path)
        network = _network(card.architecture, tensors)
        if fingerprint(card.architecture, network, bytes.fromhex(TABLES_SHA256)) != card.fingerprint:
            msg = f"{card.path}: the prior is not the one that its fingerprint {card.fingerprint.hex()} names"
            raise Unsupported(msg)
        if _pixel_digest(tensors) != card.pixel_digest:
            msg = f"{card.path}: the autoencoder's weights are damaged"
            raise Unsupported(msg)
        autoencoder = Autoencoder(card.architecture)
        autoencoder.load_state_dict(pixel_state(tensors))
        prior = IntegerPrior(card.architecture, network, device, kernel)
    except (SafetensorError, KeyError, IndexError, ValueError, TypeError, RuntimeError) as error:
        msg = f"{card.path}: not the weights of its own architecture: {str(error).splitlines()[0]}"
        raise Unsupported(msg) from error
    autoencoder.requires_grad_(False).eval()
    autoencoder.to(torch.device(device), memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Model(card, autoencoder, prior)


def _network(architecture: Architecture, tensors: dict[str, Any]) -> Any:
    import torch

    from bincodec.model.integer import FIRST_ACTIVATION_LIMIT, Block, IntegerNetwork, Layer

    integers = (torch.int8, torch.int16, torch.int32, torch.int64)
    if any(value.dtype not in integers for name, value in tensors.items() if name.startswith("prior.")):
        msg = "the prior is not in integers"
        raise ValueError(msg)

    def layer(name: str) -> Layer:
        return Layer(*(tensors[f"prior.{name}.{part}"].long() for part in ("weight", "bias", "shift")))

    enter = [int(value) for value in tensors["prior.enter"]]
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
        classes = (tensors["prior.stem.classes"].long(), tensors["prior.head.classes"].long())
    limit = FIRST_ACTIVATION_LIMIT
    if "prior.activation_limit" in tensors:
        limit = int(tensors["prior.activation_limit"].reshape(()))
    return IntegerNetwork(layer("stem"), blocks, enter[-1], layer("head"), classes, limit)


def save(
    path: Path,
    name: str,
    architecture: Architecture,
    autoencoder: dict[str, Any],
    network: Any,
    card: dict[str, Any],
) -> ModelCard:
    """Write a model file: `autoencoder` is a state dict, `network` an `IntegerNetwork`.

    The pointwise weights inside blocks are stored in 8 bits with one scale a row, all else in fp16: a block
    corrects the linear path around it, and an error of 1/254 of its largest weight is lost in the picture.
    """
    import torch
    from safetensors.torch import save_file

    from bincodec.bitstream.probability import TABLES_SHA256
    from bincodec.model.integer import fingerprint

    tensors = _packed(autoencoder)
    for layer_name, layer in network.named_layers():
        tensors[f"prior.{layer_name}.weight"] = layer.weight.to(torch.int8).contiguous()
        tensors[f"prior.{layer_name}.bias"] = layer.bias.to(torch.int32).contiguous()
        tensors[f"prior.{layer_name}.shift"] = layer.shift.to(torch.int8).contiguous()
    for part, table in zip(("stem", "head"), network.classes or (), strict=False):
        tensors[f"prior.{part}.classes"] = table.to(torch.int32).contiguous()
    enter = [*(block.enter for block in network.blocks), network.head_enter]
    tensors["prior.enter"] = torch.tensor(enter, dtype=torch.int8)
    tensors["prior.activation_limit"] = torch.tensor(network.activation_limit, dtype=torch.int32)
    mark = fingerprint(architecture, network, bytes.fromhex(TABLES_SHA256))
    metadata = {
        "format": FORMAT,
        "name": name,
        "fingerprint": mark.hex(),
        "pixel_digest": _pixel_digest(tensors),
        "architecture": architecture.to_json(),
        "card": json.dumps(card, sort_keys=True),
    }
    save_file(tensors, path, metadata)
    return ModelCard(name, mark, path, architecture, card, metadata["pixel_digest"])


def _packed(state: dict[str, Any]) -> dict[str, Any]:
    """A state dict as it is stored: rows of blocks in 8 bits, the rest in fp16."""
    import torch

    tensors = {}
    for key, value in state.items():
        if value.ndim == 2 and ".blocks_" in key:
            scale = value.abs().amax(1, keepdim=True).clamp_min(_LEAST_SCALE).float() / 127
            tensors[f"{_PIXELS}{key}"] = (value / scale).round().to(torch.int8).contiguous()
            tensors[f"{_PIXELS}{key}{_SCALE}"] = scale.contiguous()
        else:
            tensors[f"{_PIXELS}{key}"] = value.half().contiguous()
    return tensors


def as_stored(state: dict[str, Any]) -> dict[str, Any]:
    """The autoencoder's state dict after a model file has rounded it."""
    return pixel_state(_packed(state))


def pixel_state(tensors: dict[str, Any]) -> dict[str, Any]:
    """The autoencoder's state dict in float32 from the tensors of a model file."""
    return {
        key.removeprefix(_PIXELS): value.float() * tensors.get(f"{key}{_SCALE}", 1.0)
        for key, value in _pixel_tensors(tensors)
        if not key.endswith(_SCALE)
    }


def _pixel_tensors(tensors: dict[str, Any]) -> list[tuple[str, Any]]:
    return sorted((key, value) for key, value in tensors.items() if key.startswith(_PIXELS))


def _pixel_digest(tensors: dict[str, Any]) -> str:
    digest = hashlib.sha256()
    for key, value in _pixel_tensors(tensors):
        digest.update(f"{key}{tuple(value.shape)}".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def _family_and_number(name: str) -> tuple[str, int]:
    family, dash, number = name.rpartition("-")
    return (family, int(number)) if dash and number.isdigit() else (name, 0)
