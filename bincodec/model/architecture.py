"""The shape of a model: every number that the networks, the coding order and the file format share.

An `Architecture` is flat data. It is written into the weights file as JSON and read back from it, so a model
never depends on defaults that may change later.
"""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any, Self

from bincodec.bitstream.header import BEST_QUALITY, MAX_LAYERS
from bincodec.bitstream.tiles import POSITION

STRIDE = POSITION
"""Pixels per position along each axis: images are padded to multiples of this (DESIGN §3)."""

MAX_LEVELS = 126
"""The largest J: beyond it the distance of a location from a threshold leaves the probability tables."""

MAX_CLASSES = 1000

PHASES = (1, 2, 4)
"""All positions at once, a checkerboard, a quadtree."""

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

QUALITIES = BEST_QUALITY + 1
"""Quality is an integer from 0 to 100."""


@dataclasses.dataclass(frozen=True)
class Architecture:
    """Channels, layers, phases and network widths of one model.

    `layer_channels[i]` channels form layer i; each has `maximum_level[i]` thresholds (J), so levels 0..J, and
    the layer is coded in `layer_phases[i]` passes. Widths and block counts are those of the stride-8 and
    stride-16 stages of encoder and decoder, and of the prior; the encoder may have `extra_encoder_blocks`
    more at stride 8, which no file notices.

    `binariser` names the noise of DESIGN §3: "uniform" (a dithered quantiser) or "logistic" (the paper's
    Bernoulli bits; J = 1 only). `target` says what the prior's output means for a noisy bit: its "value", or
    a "flip" of what is observed (the paper's; J = 1 only). The prior may be conditioned on one of `classes`
    classes when it draws; files are coded without."""

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
            msg = f"layer_channels, maximum_level and layer_phases need one entry a layer, 1..{MAX_LAYERS}"
            raise ValueError(msg)
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            numbers = value if isinstance(value, tuple) else (value,)
            low, high = _RANGES.get(field.name, (0, 0))
            if high and not all(type(number) is int and low <= number <= high for number in numbers):
                msg = f"{field.name} {value} must lie in {low}..{high}"
                raise ValueError(msg)
        if not set(self.layer_phases) <= set(PHASES):
            msg = f"layer_phases {self.layer_phases} must be of {PHASES}"
            raise ValueError(msg)
        if self.binariser not in ("uniform", "logistic"):
            msg = f"binariser {self.binariser!r} is neither 'uniform' nor 'logistic'"
            raise ValueError(msg)
        if self.target not in ("value", "flip"):
            msg = f"target {self.target!r} is neither 'value' nor 'flip'"
            raise ValueError(msg)
        bits_only = self.binariser == "logistic" or self.target == "flip"
        if bits_only and not self.single_bits:
            msg = f"logistic binariser and flip target need J = 1 in every layer, not {self.maximum_level}"
            raise ValueError(msg)

    @property
    def channels(self) -> int:
        """Channels of all layers together."""
        return sum(self.layer_channels)

    @property
    def channels_beyond(self) -> int:
        """Channels, the last ones, that the features at stride 16 are too few to carry."""
        return max(0, self.channels - self.width_16)

    @property
    def encoder_reach(self) -> int:
        """Positions around a window that the encoder has to see, so that its middle comes out as of the whole
        picture: one a block at stride 16, half of one at stride 8."""
        return self.blocks_16 + -(-(self.blocks_8 + self.extra_encoder_blocks) // 2)

    @property
    def decoder_reach(self) -> int:
        """Positions around a window that the decoder has to see."""
        return self.blocks_16 + -(-self.blocks_8 // 2)

    @property
    def prior_reach(self) -> int:
        """Positions around another that the prior sees: one by its stem, two by each block."""
        return 1 + 2 * self.prior_blocks

    @property
    def layers(self) -> int:
        """Number of layers."""
        return len(self.layer_channels)

    @property
    def single_bits(self) -> bool:
        """Whether every channel is one bit (J = 1), as in arXiv 2304.04820."""
        return set(self.maximum_level) == {1}

    @property
    def raw_bits_per_pixel(self) -> float:
        """The ceiling: bits per pixel of levels that are packed without a prior."""
        bits = sum(n * math.log2(j + 1) for n, j in zip(self.layer_channels, self.maximum_level, strict=True))
        return bits / STRIDE**2

    def layer_slice(self, layer: int) -> slice:
        """The channels of `layer` among all channels."""
        start = sum(self.layer_channels[:layer])
        return slice(start, start + self.layer_channels[layer])

    def channels_of(self, layer: int | None) -> slice:
        """The channels of `layer`, or of all layers if it is None."""
        return slice(0, self.channels) if layer is None else self.layer_slice(layer)

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_mapping(cls, fields: dict[str, Any]) -> Self:
        """From JSON or TOML values; lists become tuples, unknown names are an error."""
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(fields) - known):
            msg = f"unknown architecture fields: {', '.join(unknown)}"
            raise ValueError(msg)
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
        return cls(**values)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`."""
        return cls.from_mapping(json.loads(text))
