"""The model file: its tensors, its card and its fingerprint (MODEL, "The file" and "The fingerprint")."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import refuse
from .probability import TABLES_SHA256

Tensor = npt.NDArray[Any]

FORMAT = "bincodec model 2"
POST_FILTER_VERSION = 1
MAIN_DECODER = "decoder.fidelity."

_DTYPES = {"I8": "<i1", "I32": "<i4", "F16": "<f2", "F32": "<f4"}


@dataclasses.dataclass(frozen=True)
class Architecture:
    """The fields of the card's architecture that a decoder needs."""

    layer_channels: tuple[int, ...]
    maximum_level: tuple[int, ...]
    layer_phases: tuple[int, ...]
    width_16: int
    blocks_8: int
    blocks_16: int
    prior_blocks: int

    @property
    def channels(self) -> int:
        """The number of channels of all layers together."""
        return sum(self.layer_channels)

    @property
    def layers(self) -> int:
        """The number of layers."""
        return len(self.layer_channels)

    @property
    def single_bits(self) -> bool:
        """Whether J is 1 in every layer."""
        return set(self.maximum_level) == {1}

    def slice_of(self, layer: int) -> slice:
        """Return the channels of a layer among all channels."""
        start = sum(self.layer_channels[:layer])
        return slice(start, start + self.layer_channels[layer])

    def by_channel(self, of_layers: tuple[int, ...]) -> npt.NDArray[np.int64]:
        """Return one number for each channel, given one for each layer."""
        return np.repeat(np.array(of_layers, np.int64), self.layer_channels)


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """A model file with a valid fingerprint. Its tensors are as stored, by their whole names."""

    name: str
    fingerprint: bytes
    architecture: Architecture
    tensors: Mapping[str, Tensor]


def read_model(data: bytes) -> Model:
    """Read a model file, and refuse it if its fingerprint is not the one in its card."""
    tensors, card = _read_safetensors(data)
    if card.get("format") != FORMAT:
        refuse("damaged model", f"its format is {card.get('format')!r}, not {FORMAT!r}")
    architecture = _architecture(json.loads(card["architecture"]))
    found = fingerprint(architecture, tensors)
    if found.hex() != card["fingerprint"]:
        refuse("damaged model", f"its fingerprint is {found.hex()}, not {card['fingerprint']}")
    return Model(card["name"], found, architecture, tensors)


def _architecture(fields: dict[str, Any]) -> Architecture:
    names = [field.name for field in dataclasses.fields(Architecture)]
    values: dict[str, Any] = {name: tuple(v) if isinstance(v := fields[name], list) else v for name in names}
    return Architecture(**values)


def _read_safetensors(data: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors by name, and the metadata."""
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    metadata = header.pop("__metadata__")
    tensors = {}
    for name, entry in header.items():
        first, last = (start + offset for offset in entry["data_offsets"])
        dtype, shape = np.dtype(_DTYPES[entry["dtype"]]), tuple(entry["shape"])
        if last > len(data) or last - first != math.prod(shape) * dtype.itemsize:
            refuse("damaged model", f"tensor {name} does not fit between bytes {first} and {last}")
        tensors[name] = np.frombuffer(data[first:last], dtype).reshape(shape)
    return tensors, metadata


def fingerprint(architecture: Architecture, tensors: Mapping[str, Tensor]) -> bytes:
    """Return the eight bytes by which files name the model."""
    digest = hashlib.sha256(b"bincodec model 2\n")
    digest.update(probability_digest(architecture, tensors))
    digest.update(decoder_digest(tensors))
    digest.update(f"post-filter {POST_FILTER_VERSION}".encode())
    return digest.digest()[:8]


def probability_digest(architecture: Architecture, tensors: Mapping[str, Tensor]) -> bytes:
    """Return the SHA-256 of everything that the probability of a decision depends on."""
    digest = hashlib.sha256(b"bincodec integer prior 1\n")
    order = (architecture.layer_channels, architecture.maximum_level, architecture.layer_phases)
    digest.update(_listed(*(_listed(*row) for row in order)).encode())
    *entering, leaving = tensors["prior.enter"].tolist()
    digest.update(_listed(_listed(*entering), leaving).encode())
    blocks = [
        f"blocks.{i}.{part}"
        for i in range(architecture.prior_blocks)
        for part in ("depthwise", "expand", "contract")
    ]
    names = [f"{each}.{part}" for each in ("stem", *blocks, "head") for part in ("weight", "bias", "shift")]
    names += [name for name in ("stem.classes", "head.classes") if f"prior.{name}" in tensors]
    for name in names:
        values = tensors[f"prior.{name}"]
        digest.update(f"{name}{_listed(*values.shape)}".encode())
        digest.update(values.astype("<i4").tobytes())
    digest.update(f"activations to {int(tensors['prior.activation_limit'])}".encode())
    digest.update(bytes.fromhex(TABLES_SHA256))
    return digest.digest()


def decoder_digest(tensors: Mapping[str, Tensor]) -> bytes:
    """Return the SHA-256 of the main decoder as it is stored."""
    digest = hashlib.sha256()
    own = {n.removeprefix(MAIN_DECODER): t for n, t in tensors.items() if n.startswith(MAIN_DECODER)}
    for name, values in sorted(own.items()):
        digest.update(f"{name}{_listed(*values.shape)}torch.{values.dtype.name}".encode())
        digest.update(values.tobytes())
    return digest.digest()


def _listed(*items: object) -> str:
    """Return items in round brackets. A single item is followed by a comma."""
    return f"({', '.join(map(str, items))}{',' if len(items) == 1 else ''})"
