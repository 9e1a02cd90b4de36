"""The architecture of a model: the numbers that the networks, the coding order and the file format share.

An `Architecture` is flat data. It is stored in the model file as JSON, so a model does not depend on defaults
that may change later.
"""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any, Self

from bincodec.bitstream.header import BEST_QUALITY, MAX_LAYERS
from bincodec.bitstream.tiles import POSITION

STRIDE = POSITION
"""Pixels per position along each axis. Images are padded to multiples of this (DESIGN §3)."""

MAX_LEVELS = 254
"""The largest J. A level is one byte, and J is even wherever the middle level stands for 0."""

MAX_CLASSES = 1000

PHASES = (1, 2, 4)
"""The possible numbers of phases: all positions at once, a checkerboard, a quadtree."""

_WIDTH, _DEPTH = (1, 4096), (1, 64)
_RANGES = {
    "layer_channels": _WIDTH,
    "maximum_level": (1, MAX_LEVELS),
    "layer_phases": (1, max(PHASES)),
    "width_8": _WIDTH,
    "width_16": _WIDTH,
    "blocks_8": _DEPTH,
    "blocks_16": _DEPTH,
    "extra_encoder_blocks": (0, 64),
    "prior_width": _WIDTH,
    "prior_blocks": _DEPTH,
    "classes": (0, MAX_CLASSES),
}

REQUIRED = tuple(name for name in _RANGES if name != "extra_encoder_blocks")
"""The fields without which a model file does not say how a file is decoded (MODEL, "Architecture")."""

QUALITIES = BEST_QUALITY + 1
"""Quality is an integer from 0 to 100."""


@dataclasses.dataclass(frozen=True)
class Architecture:
    """Channels, layers, phases and network widths of one model.

    Layer i has `layer_channels[i]` channels. Each of them has `maximum_level[i]` thresholds (J) and thus the
    levels 0..J. The layer is coded in `layer_phases[i]` passes. The widths and the numbers of blocks are
    those of the stages of encoder and decoder at strides 8 and 16, and of the prior. The encoder may have
    `extra_encoder_blocks` more blocks at stride 8. Files do not depend on them.

    `binariser` names the noise of DESIGN §3: "uniform" (a dithered quantiser) or "logistic" (Bernoulli bits
    as in arXiv 2304.04820, for J = 1 only). `target` says what the prior predicts of a noisy bit: its
    "value", or a "flip" of the observed bit (as in that paper, for J = 1 only). When the prior draws, it may
    be conditioned on one of `classes` classes. Files are coded without a class.
    """

    layer_channels: tuple[int, ...] = (8, 16, 32, 72)
    maximum_level: tuple[int, ...] = (126, 62, 30, 30)
    layer_phases: tuple[int, ...] = (4, 2, 2, 2)
    binariser: str = "uniform"
    target: str = "value"
    width_8: int = 160
    width_16: int = 192
    blocks_8: int = 3
    blocks_16: int = 3
    prior_width: int = 160
    prior_blocks: int = 5
    classes: int = 0
    extra_encoder_blocks: int = 0

    def __post_init__(self) -> None:
        by_layer = (self.layer_channels, self.maximum_level, self.layer_phases)
        if not 1 <= len(self.layer_channels) <= MAX_LAYERS or len({len(values) for values in by_layer}) != 1:
            msg = "layer_channels, maximum_level and layer_phases need one entry for each layer, and "
            msg += f"1..{MAX_LAYERS} layers"
            raise ValueError(msg)
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            numbers = value if isinstance(value, tuple) else (value,)
            low, high = _RANGES.get(field.name, (0, 0))
            if high and not all(type(number) is int and low <= number <= high for number in numbers):
                msg = f"{field.name} is {value}, but must lie in {low}..{high}"
                raise ValueError(msg)
        if not set(self.layer_phases) <= set(PHASES):
            msg = f"layer_phases are {self.layer_phases}, but each must be one of {PHASES}"
            raise ValueError(msg)
        if self.binariser not in ("uniform", "logistic"):
            msg = f"binariser {self.binariser!r} is neither 'uniform' nor 'logistic'"
            raise ValueError(msg)
        if self.target not in ("value", "flip"):
            msg = f"target {self.target!r} is neither 'value' nor 'flip'"
            raise ValueError(msg)
        bits_only = self.binariser == "logistic" or self.target == "flip"
        if bits_only and not self.single_bits:
            msg = f"the logistic binariser and the flip target need maximum level 1, not {self.maximum_level}"
            raise ValueError(msg)

    @property
    def channels(self) -> int:
        """The number of channels of all layers together."""
        return sum(self.layer_channels)

    @property
    def channels_beyond(self) -> int:
        """The number of channels beyond the features at stride 16. These last channels use the shortcut."""
        return max(0, self.channels - self.width_16)

    @property
    def encoder_reach(self) -> int:
        """The positions around a window that can influence the encoder's result inside the window.

        A block at stride 16 reaches one position far, and a block at stride 8 half a position.
        """
        return self.blocks_16 + -(-(self.blocks_8 + self.extra_encoder_blocks) // 2)

    @property
    def decoder_reach(self) -> int:
        """The positions around a window that can influence the decoder's result inside the window."""
        return self.blocks_16 + -(-self.blocks_8 // 2)

    @property
    def prior_reach(self) -> int:
        """The positions around a position that the prior sees: one by its stem, and two by each block."""
        return 1 + 2 * self.prior_blocks

    @property
    def layers(self) -> int:
        """The number of layers."""
        return len(self.layer_channels)

    @property
    def single_bits(self) -> bool:
        """Whether every channel is a single bit (J = 1), as in arXiv 2304.04820."""
        return set(self.maximum_level) == {1}

    @property
    def raw_bits_per_pixel(self) -> float:
        """The bits per pixel of levels without a prior, as an upper bound."""
        bits = sum(n * math.log2(j + 1) for n, j in zip(self.layer_channels, self.maximum_level, strict=True))
        return bits / STRIDE**2

    def layer_slice(self, layer: int) -> slice:
        """Return the channels of `layer` among all channels."""
        start = sum(self.layer_channels[:layer])
        return slice(start, start + self.layer_channels[layer])

    def channels_of(self, layer: int | None) -> slice:
        """Return the channels of `layer`, or of all layers if it is None."""
        return slice(0, self.channels) if layer is None else self.layer_slice(layer)

    def to_json(self) -> str:
        """Return canonical JSON, with sorted keys and without spaces."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_mapping(cls, fields: dict[str, Any]) -> Self:
        """Make an architecture of JSON or TOML values. Lists become tuples.

        Raises:
            ValueError: if a name is unknown, or a value is out of range.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(fields) - known):
            msg = f"unknown architecture fields: {', '.join(unknown)}"
            raise ValueError(msg)
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
        return cls(**values)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Make an architecture of the text that `to_json` returned."""
        return cls.from_mapping(json.loads(text))
