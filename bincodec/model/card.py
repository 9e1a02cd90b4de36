"""What a model file says of itself, read without loading a weight: no torch is needed here."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from bincodec.errors import DamagedModel, WrongModel
from bincodec.model.architecture import Architecture

FORMAT = "bincodec model 2"
DEFAULT_SIZE = (256, 256)
MAX_SIDE = 65535

MAIN_DECODER = "fidelity"
"""The decoder that the fingerprint covers, and that a post-filter is fitted for."""


@dataclasses.dataclass(frozen=True)
class ModelCard:
    """The description of a model.

    Args:
        name: such as "photo-6".
        fingerprint: 8 bytes, by which files name the model. It covers everything that decides their bits and
            their pixels: the integers of the prior, the main decoder, the version of the post-filter. It does
            not cover the encoder, which may be improved without a file noticing.
        path: of the model file.
        architecture: the model's shape.
        card: licences, training data, measurements and the like.
        encoder_digest: SHA-256 of the encoder's weights, in hexadecimal.
        decoder_digests: SHA-256 of each decoder's weights, by name; the first is the main one.
    """

    name: str
    fingerprint: bytes
    path: Path
    architecture: Architecture
    card: dict[str, Any]
    encoder_digest: str
    decoder_digests: dict[str, str]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that the prior can draw, in the order of their numbers."""
        return tuple(self.card.get("classes", ()))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels of what it draws unless another size is asked for."""
        width, height = self.card.get("size", DEFAULT_SIZE)
        return width, height

    @property
    def decoders(self) -> tuple[str, ...]:
        """Names of the decoders, the main one first."""
        return tuple(self.decoder_digests)

    def same_weights(self, other: ModelCard) -> bool:
        """Whether both cards describe the same prior, encoder and decoders."""
        names = ("fingerprint", "encoder_digest", "decoder_digests")
        return all(getattr(self, name) == getattr(other, name) for name in names)

    def check(self, fingerprint: bytes) -> None:
        """Raise `WrongModel` unless `fingerprint` is this model's."""
        if fingerprint != self.fingerprint:
            own = f"{self.name} ({self.fingerprint.hex()})"
            msg = f"the code is of model {fingerprint.hex()}, not of {own}"
            raise WrongModel(msg)

    def metadata(self) -> dict[str, str]:
        """The card as a model file holds it."""
        return {
            "format": FORMAT,
            "name": self.name,
            "fingerprint": self.fingerprint.hex(),
            "architecture": self.architecture.to_json(),
            "card": json.dumps(self.card, sort_keys=True),
            "encoder_digest": self.encoder_digest,
            "decoder_digests": json.dumps(self.decoder_digests),
        }


def read_card(path: Path) -> ModelCard:
    """The card of a model file.

    Raises:
        DamagedModel: if it is not one.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            msg = f"{path} is not a model file of format {FORMAT!r}"
            raise DamagedModel(msg)
        card = ModelCard(
            metadata["name"],
            bytes.fromhex(metadata["fingerprint"]),
            path,
            Architecture.from_json(metadata["architecture"]),
            json.loads(metadata["card"]),
            metadata["encoder_digest"],
            json.loads(metadata["decoder_digests"]),
        )
        _check(card)
        return card
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
        raise DamagedModel(msg) from error


def _check(card: ModelCard) -> None:
    """Raise ValueError or TypeError for a card whose parts are not what they should be."""
    classes, (width, height) = card.card.get("classes", []), card.size
    right = (
        card.name.isprintable()
        and list(card.decoder_digests)[:1] == [MAIN_DECODER]
        and all(isinstance(digest, str) for digest in card.decoder_digests.values())
        and isinstance(classes, list)
        and all(isinstance(name, str) and name.isprintable() for name in classes)
        and all(type(side) is int and 1 <= side <= MAX_SIDE for side in (width, height))
    )
    if not right:
        msg = "its card does not say what a card says"
        raise ValueError(msg)
