"""The card of a model file, which describes the model. It is read without weights and without torch."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal, get_args

from safetensors import SafetensorError, safe_open

from bincodec.arguments import MAX_GUIDANCE, MAX_TEMPERATURE
from bincodec.errors import DamagedModel, WrongModel
from bincodec.model.architecture import REQUIRED, Architecture

FORMAT = "bincodec model 2"
DEFAULT_SIZE = (256, 256)
MAX_SIDE = 65535

MAIN_DECODER = "fidelity"
"""The decoder that the fingerprint covers and that post-filters are fitted for."""

REALISTIC_DECODER = "realism"
"""The decoder that makes pictures look real by inventing detail, in models that have one."""


GuidedBy = Literal["class", "block", "both"]
"""What the weaker form of a prior lacks, from which guidance moves away (`bincodec.generation.guidance`)."""

GUIDED_BY: tuple[str, ...] = get_args(GuidedBy)


@dataclasses.dataclass(frozen=True)
class OwnSampling:
    """How a model of single bits draws if nothing else is asked for.

    The defaults are those of clothing-1, whose card does not say it.

    Args:
        guidance: the strength of guidance, 0..16.
        guided_by: what the weaker form of the prior lacks, from which guidance moves away.
        temperature: the temperature that goes with this guidance, 0..10.
        guidance_delay: the part of the way from noise to a picture, 0..1, that the diffusion sampler goes
            before guidance begins.
        renewal: the share of the levels that each of 16 steps of the diffusion sampler draws anew, 0..1.
    """

    guidance: float = 2.0
    guided_by: GuidedBy = "both"
    temperature: float = 1.0
    guidance_delay: float = 0.0
    renewal: float = 0.0


OWN_SAMPLING = tuple(field.name for field in dataclasses.fields(OwnSampling))


@dataclasses.dataclass(frozen=True)
class ModelCard:
    """The description of a model.

    Args:
        name: the name of the model, such as "photo-9".
        fingerprint: the 8 bytes by which files name the model. It covers everything that determines their
            bits and pixels: the integers of the prior, the main decoder, and the version of the post-filter.
            It does not cover the encoder, which may be improved without an effect on existing files.
        path: the path of the model file.
        architecture: the architecture of the model.
        card: licences, training data, measurements and the like.
        encoder_digest: the SHA-256 of the encoder's weights, in hexadecimal.
        decoder_digests: the SHA-256 of each decoder's weights, by name; the main decoder is the first.
    """

    name: str
    fingerprint: bytes
    path: Path
    architecture: Architecture
    card: dict[str, Any]
    encoder_digest: str
    decoder_digests: dict[str, str]

    def __hash__(self) -> int:
        """Return a hash, although the card holds dictionaries, which have none."""
        return hash((self.name, self.fingerprint))

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes that the prior can draw, in the order of their numbers."""
        return tuple(self.card.get("classes", ()))

    @property
    def size(self) -> tuple[int, int]:
        """The default width and height in pixels of the pictures that the model draws."""
        width, height = self.card.get("size", DEFAULT_SIZE)
        return width, height

    @property
    def sampling(self) -> OwnSampling:
        """How the model draws if nothing else is asked for. Entries that are not known have no effect."""
        found = self.card.get("sampling", {})
        return OwnSampling(**{name: value for name, value in found.items() if name in OWN_SAMPLING})

    @property
    def decoders(self) -> tuple[str, ...]:
        """The names of the decoders. The main one is the first."""
        return tuple(self.decoder_digests)

    def same_weights(self, other: ModelCard) -> bool:
        """Return whether both cards describe the same prior, encoder and decoders."""
        names = ("fingerprint", "encoder_digest", "decoder_digests")
        return all(getattr(self, name) == getattr(other, name) for name in names)

    def check(self, fingerprint: bytes) -> None:
        """Raise `WrongModel` unless `fingerprint` is the one of this model."""
        if fingerprint != self.fingerprint:
            own = f"{self.name} ({self.fingerprint.hex()})"
            msg = f"the code belongs to model {fingerprint.hex()}, not to {own}"
            raise WrongModel(msg)

    def metadata(self) -> dict[str, str]:
        """Return the card as a model file stores it."""
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
    """Return the card of a model file.

    Raises:
        DamagedModel: if the file is not a readable model file.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            msg = f"{path} is not a model file of format {FORMAT!r}"
            raise DamagedModel(msg)
        fields = json.loads(metadata["architecture"])
        if missing := [name for name in REQUIRED if name not in fields]:
            msg = f"{path}: its architecture has no {missing[0]}"
            raise DamagedModel(msg)
        card = ModelCard(
            metadata["name"],
            bytes.fromhex(metadata["fingerprint"]),
            path,
            Architecture.from_mapping(fields),
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
    """Raise ValueError or TypeError if a field of a card has a wrong type or value."""
    right = (
        card.name.isprintable()
        and list(card.decoder_digests)[:1] == [MAIN_DECODER]
        and all(isinstance(digest, str) for digest in card.decoder_digests.values())
    )
    if not (right and _right_facts(card.card)):
        msg = "a field of its card has a wrong type or value"
        raise ValueError(msg)


def check_facts(facts: dict[str, Any]) -> None:
    """Raise ValueError if facts that are to be written into a card have a wrong type or value.

    A reader passes over entries of "sampling" that it does not know. A writer probably misspelt them.
    """
    try:
        right = _right_facts(facts)
    except (TypeError, ValueError):
        right = False
    if not right:
        msg = "classes, size or sampling of the card has a wrong type or value"
        raise ValueError(msg)
    if unknown := [name for name in facts.get("sampling", {}) if name not in OWN_SAMPLING]:
        msg = f"{unknown[0]!r} is no setting of sampling; there are {', '.join(OWN_SAMPLING)}"
        raise ValueError(msg)


def _right_facts(facts: dict[str, Any]) -> bool:
    """Return whether what a card says has the right types and values. TypeError and ValueError mean no."""
    classes, (width, height) = facts.get("classes", []), facts.get("size", DEFAULT_SIZE)
    sampling = facts.get("sampling", {})
    highest = {"guidance": MAX_GUIDANCE, "temperature": MAX_TEMPERATURE, "guidance_delay": 1, "renewal": 1}
    return (
        isinstance(classes, list)
        and all(isinstance(name, str) and name.isprintable() for name in classes)
        and all(type(side) is int and 1 <= side <= MAX_SIDE for side in (width, height))
        and isinstance(sampling, dict)
        and sampling.get("guided_by", GUIDED_BY[0]) in GUIDED_BY
        and all(
            type(sampling.get(name, 0)) in (int, float) and 0 <= sampling.get(name, 0) <= most
            for name, most in highest.items()
        )
    )
