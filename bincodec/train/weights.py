"""Read float weights from which a stage can start: those of a run, or a prior's beside a model file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from bincodec.errors import Unsupported
from bincodec.model import store
from bincodec.model.weights import autoencoder_state, restored

_AUTOENCODER = "autoencoder."


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return float32 tensors with the names of `Objective`, and metadata ("architecture" as JSON, "history").

    A file that holds only a prior names the model that has the autoencoder. That model is taken from the same
    folder or, if it is not there, from the installed models.

    Raises:
        Unsupported: if the file is not a readable weights file.
        UnknownModel: if the model that it names is not installed.
    """
    try:
        tensors = restored(load_file(path))
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        msg = f"{path} is not a readable weights file: {error}"
        raise Unsupported(msg) from error
    if "model" in metadata:
        beside = path.with_name(f"{metadata['model']}.safetensors")
        model = beside if beside.exists() else store.find(metadata["model"]).path
        pixels = autoencoder_state(load_file(model))
        tensors |= {f"{_AUTOENCODER}{key}": value for key, value in pixels.items()}
    history = json.loads(metadata.get("history", "[]"))
    return tensors, {**metadata, "history": history}


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
