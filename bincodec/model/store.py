"""Which models are installed, and which of them is meant. Nothing is ever downloaded.

Models are named `photo-1`, `photo-2` and so on; `photo` means the newest. They are looked for in the
package's `weights` folder and, if the environment variable BINCODEC_MODELS names a folder, there too.
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
    """All models that are installed, by name and number; other files in the folders are passed over."""
    folders = [WEIGHTS, *(Path(f) for f in [os.environ.get(FOLDER_VARIABLE, "")] if f)]
    cards = []
    for path in (path for folder in folders for path in sorted(folder.glob("*.safetensors"))):
        with contextlib.suppress(DamagedModel):
            cards.append(read_card(path))
    return tuple(sorted(cards, key=lambda card: _family_and_number(card.name)))


def find(name: str | os.PathLike[str]) -> ModelCard:
    """The model called `name`, the newest of that family, or the one in that .safetensors file.

    Raises:
        UnknownModel: if there is none.
        DamagedModel: if the file is no model.
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
        msg = f"no model is called {name!r}; installed: {known}"
        raise UnknownModel(msg)
    return matches[-1]


def find_for(fingerprint: bytes, name: str | os.PathLike[str] | None = None) -> ModelCard:
    """The model that wrote a file, or the one called `name` if the caller insists on it.

    Raises:
        UnknownModel: if it is not installed.
        DamagedModel: if `name` is a file that is no model.
    """
    if name is not None:
        return find(name)
    cards = available()
    # Of copies, the package's own: others may be damaged without their cards showing it.
    for card in sorted(cards, key=lambda card: card.path.parent != WEIGHTS):
        if card.fingerprint == fingerprint:
            return card
    known = ", ".join(f"{card.name} ({card.fingerprint.hex()})" for card in cards) or "none"
    msg = f"the file needs the model with fingerprint {fingerprint.hex()}; installed: {known}"
    raise UnknownModel(msg)


def _family_and_number(name: str) -> tuple[str, int]:
    family, dash, number = name.rpartition("-")
    counted = dash and number.isdecimal() and len(number) <= MAX_DIGITS
    return (family, int(number)) if counted else (name, 0)
