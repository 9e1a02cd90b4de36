"""Find installed models by name, path or fingerprint. Nothing is ever downloaded.

Models have names such as `photo-1` and `photo-2`; `photo` means the newest of them. Models are found in the
package's `weights` folder and in the folder that the environment variable BINCODEC_MODELS names.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from bincodec.errors import DamagedModel, UnknownModel
from bincodec.model.card import ModelCard, read_card

WEIGHTS = Path(__file__).parents[1] / "weights"
FOLDER_VARIABLE = "BINCODEC_MODELS"
MAX_DIGITS = 9


def available() -> tuple[ModelCard, ...]:
    """Return all installed models, by name and number. Other files in the folders are ignored."""
    cards = []
    for path in _files():
        with contextlib.suppress(DamagedModel):
            cards.append(read_card(path))
    return tuple(sorted(cards, key=lambda card: _family_and_number(card.name)))


def find(name: str | os.PathLike[str]) -> ModelCard:
    """Return the model called `name`, the newest of the family `name`, or the one in the file `name`.

    Raises:
        UnknownModel: if there is no such model.
        DamagedModel: if the file is not a model file.
        TypeError: if it is neither a name nor a path.
    """
    try:
        name = os.fspath(name)
    except TypeError:
        msg = f"model must be a name or the path of a .safetensors file, not {name!r}"
        raise TypeError(msg) from None
    if name.endswith(".safetensors"):
        path = Path(name)
        if not path.exists():
            msg = f"there is no model file {name}"
            raise UnknownModel(msg)
        return read_card(path)
    cards = available()
    matches = [card for card in cards if card.name == name]
    matches = matches or [card for card in cards if _family_and_number(card.name)[0] == name]
    if not matches:
        known = ", ".join(card.name for card in cards) or "none"
        msg = f"no model is called {name!r}; installed: {known}{_forbidden()}"
        raise UnknownModel(msg)
    return matches[-1]


def find_for(fingerprint: bytes, name: str | os.PathLike[str] | None = None) -> ModelCard:
    """Return the model with this fingerprint, or the one called `name` if a name is given.

    Raises:
        UnknownModel: if the model is not installed.
        DamagedModel: if `name` is a file, but not a model file.
    """
    if name is not None:
        return find(name)
    cards = available()
    # Among copies, the package's own comes first: another one may be damaged although its card is not.
    for card in sorted(cards, key=lambda card: card.path.parent != WEIGHTS):
        if card.fingerprint == fingerprint:
            return card
    known = ", ".join(f"{card.name} ({card.fingerprint.hex()})" for card in cards) or "none"
    msg = f"the file needs the model with fingerprint {fingerprint.hex()}, which is not installed; "
    msg += f"installed are: {known} (the variable BINCODEC_MODELS can name a folder with more){_forbidden()}"
    raise UnknownModel(msg)


def _files() -> list[Path]:
    """Return the files in the folders that may be models."""
    folders = [WEIGHTS, *(Path(f) for f in [os.environ.get(FOLDER_VARIABLE, "")] if f)]
    return [path for folder in folders for path in sorted(folder.glob("*.safetensors"))]


def _forbidden() -> str:
    """Return words about model files that may not be read, to be added to a list of installed models."""
    names = [str(path) for path in _files() if not os.access(path, os.R_OK)]
    return f"; no permission to read {', '.join(names)}" if names else ""


def _family_and_number(name: str) -> tuple[str, int]:
    family, dash, number = name.rpartition("-")
    counted = dash and number.isdecimal() and len(number) <= MAX_DIGITS
    return (family, int(number)) if counted else (name, 0)
