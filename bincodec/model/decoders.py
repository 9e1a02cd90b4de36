"""Which decoder makes a picture: the main one, another one of the model, or one between these two.

A model file may hold further decoders of the same files (docs/MODEL.md). The one called "realism" is trained
to make pictures that look real, and invents detail for it. Between it and the main decoder, there is one for
every number: all weights are mixed in the same proportion.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from bincodec.arguments import checked_choice, checked_number
from bincodec.errors import InvalidSetting
from bincodec.model.card import MAIN_DECODER, REALISTIC_DECODER, ModelCard

if TYPE_CHECKING:
    from bincodec.model.autoencoder import Autoencoder


@dataclasses.dataclass(frozen=True)
class DecoderChoice:
    """A decoder of a model, or one between the main decoder and another one.

    Args:
        name: the name of a decoder.
        share: how far the weights are from those of the main decoder, 0, towards those of this one, 1. It is
            0 for the main decoder only.
    """

    name: str
    share: float


MAIN = DecoderChoice(MAIN_DECODER, 0.0)


def choose(card: ModelCard, decoder: str | None = None, realism: float | None = None) -> DecoderChoice:
    """Return the decoder called `decoder`, or the one at `realism`, 0..1, between the main one and "realism".

    The default is the main decoder, which every model has. So is `realism` 0.

    Raises:
        InvalidSetting: if the model does not have the decoder, if `realism` is outside 0..1, or if both are
            given and `decoder` is not "realism".
    """
    name = decoder
    if realism is not None:
        realism = checked_number("realism", realism, 1)
        name = REALISTIC_DECODER if decoder is None and realism > 0 else decoder
    if name is None:
        return MAIN
    checked_choice(f"model {card.name}: decoder", name, card.decoders)
    if realism is not None and name != REALISTIC_DECODER:
        msg = f"realism {realism:g} needs the decoder {REALISTIC_DECODER!r}, not {name!r}"
        raise InvalidSetting(msg)
    share = 1.0 if realism is None else realism
    return MAIN if name == MAIN_DECODER or share == 0 else DecoderChoice(name, share)


class Decoders:
    """The decoders of a model, each with the encoder that they share. Threads may share them."""

    def __init__(self, autoencoders: Mapping[str, Autoencoder]) -> None:
        """Hold the autoencoders by the name of their decoder. The main one is among them."""
        self._autoencoders = autoencoders
        self._latest: tuple[DecoderChoice, Autoencoder] | None = None

    @property
    def main(self) -> Autoencoder:
        """The encoder and the main decoder."""
        return self._autoencoders[MAIN_DECODER]

    def network(self, choice: DecoderChoice) -> Autoencoder:
        """Return the encoder and the decoder of a choice.

        The latest decoder with mixed weights is kept, and no other. Mixing takes far less time than decoding.
        """
        if choice.share == 0:
            return self.main
        if choice.share == 1:
            return self._autoencoders[choice.name]
        latest = self._latest  # Another thread may replace it meanwhile.
        if latest is None or latest[0] != choice:
            mixed = _between(self.main, self._autoencoders[choice.name], choice.share)
            self._latest = latest = choice, mixed
        return latest[1]


def _between(main: Autoencoder, other: Autoencoder, share: float) -> Autoencoder:
    """Return the encoder of `main` with a decoder whose weights are between those of both."""
    kept = (main.encoder, main.gains)
    mixed = copy.deepcopy(main, {id(part): part for part in kept})
    for part, target in ((mixed.decoder, other.decoder), (mixed.inverse_gains, other.inverse_gains)):
        for own, others in zip(part.parameters(), target.parameters(), strict=True):
            own.lerp_(others, share)
    return mixed
