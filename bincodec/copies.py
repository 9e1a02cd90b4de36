"""Copies of codecs in other processes: a pickle says which model it is, and its weights stay in their file.

Weights do not travel: the kernel that codes has to be proven on the machine that it runs on, and a file is
read faster than a pickle. What is opened has the same integers, encoder and decoders, or nothing is.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from bincodec.errors import DamagedModel, UnknownModel
from bincodec.model import store, weights
from bincodec.model.card import ModelCard, read_card

if TYPE_CHECKING:
    from bincodec.codec import Codec
    from bincodec.model.kernels import Kernel


def reopened(kind: type[Codec], card: ModelCard, device: str, kernel: Kernel) -> Codec:
    """The codec of the model that `card` describes, from its own file or from one with the same weights.

    Raises:
        UnknownModel: if there is none, as when another model has taken the file's place.
    """
    candidates = list(store.available())
    with contextlib.suppress(DamagedModel):
        candidates.insert(0, read_card(card.path))
    for found in candidates:
        if found.same_weights(card):
            return kind(weights.load(found, device, kernel))
    mark = card.fingerprint.hex()
    msg = f"the codec was of model {card.name} ({mark}), which {card.path} does not hold any more"
    raise UnknownModel(msg)
