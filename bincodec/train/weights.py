"""Read float weights from which a stage can start: those of a run, or those of a model file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from bincodec.errors import Unsupported
from bincodec.model import store
from bincodec.model.card import ModelCard, read_card
from bincodec.model.weights import autoencoder_state, damage_named, read, restored
from bincodec.train.unrounding import float_prior

_AUTOENCODER = "autoencoder."
_MODEL_FILE = "bincodec model"


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return float32 tensors with the names of `Objective`, and metadata ("architecture" as JSON, "history").

    The float prior of a model file is made of its integers (`unrounding.float_prior`). A file that holds only
    a float prior, as finishing writes it, names the model that has the autoencoder. That model is taken from
    the same folder or, if it is not there, from the installed models.

    Raises:
        Unsupported: if the file is not a readable weights file.
        DamagedModel: if it is a model file that is damaged.
        UnknownModel: if the model that it names is not installed.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
        if metadata.get("format", "").startswith(_MODEL_FILE):
            return _of_model(read_card(path), metadata)
        tensors = restored(load_file(path))
    except (OSError, SafetensorError) as error:
        msg = f"{path} is not a readable weights file: {error}"
        raise Unsupported(msg) from error
    if "model" in metadata:
        beside = path.with_name(f"{metadata['model']}.safetensors")
        model = beside if beside.exists() else store.find(metadata["model"]).path
        tensors |= _autoencoder(load_file(model))
    history = json.loads(metadata.get("history", "[]"))
    return tensors, {**metadata, "history": history}


def _of_model(card: ModelCard, metadata: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return what `read_weights` does of the file of a model, which has `metadata`."""
    tensors, network = read(card)
    with damage_named(card):
        prior = float_prior(card.architecture, network)
        floats = _autoencoder(tensors) | {f"prior.{key}": value for key, value in prior.items()}
    own = {"architecture": card.architecture.to_json(), "history": card.card.get("training", [])}
    return floats, {**metadata, **own}


def _autoencoder(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{_AUTOENCODER}{key}": value for key, value in autoencoder_state(tensors).items()}


def load_into(objective: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Load `tensors`, which come from `path`, into the networks.

    Raises:
        ValueError: if they do not fit the architecture.
    """
    try:
        objective.load_state_dict(tensors)
    except RuntimeError as error:
        msg = f"{path} does not fit this architecture: {' '.join(str(error).split())[:200]}"
        raise ValueError(msg) from error


def autoencoder_part(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict of the autoencoder in what `read_weights` returned."""
    return {
        key.removeprefix(_AUTOENCODER): value
        for key, value in tensors.items()
        if key.startswith(_AUTOENCODER)
    }
