"""What the prior's bits cost: as integers, as the float network they came from, raw, and in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm import tqdm

from bincodec.architecture import QUALITIES, Architecture
from bincodec.bitstream.errors import Unsupported, WrongModel
from bincodec.code import BinaryCode
from bincodec.train.objective import Objective, ObjectiveSettings
from bincodec.train.validate import layer_bits
from bincodec.train.weights import read_weights

if TYPE_CHECKING:
    from bincodec.codec import Codec
    from bincodec.eval.peers import Pixels

OVERHEAD_BYTES = 96
OVERHEAD_SHARE = 0.001
"""A file may take so many bytes, and this share, more than the sum of -log2 of its probabilities (FORMAT)."""


@dataclass(frozen=True)
class PriorRow:
    """One image at one quality.

    Args:
        file_bytes: the complete file.
        raw_bits: the levels as plain binary numbers.
        integer_bits: the sum of -log2 of the coded probabilities, which are the integer prior's.
        float_bits: the same levels under the float prior, None where there is none at hand.
    """

    image: str
    quality: int
    pixels: int
    file_bytes: int
    raw_bits: int
    integer_bits: float
    float_bits: float | None

    @property
    def overhead_bytes(self) -> float:
        """What the file takes beyond the sum; negative where a part that would not shrink is stored raw."""
        return self.file_bytes - self.integer_bits / 8

    @property
    def budget_bytes(self) -> float:
        """The most that `overhead_bytes` may be."""
        return OVERHEAD_BYTES + OVERHEAD_SHARE * self.integer_bits / 8

    @property
    def lost_percent(self) -> float | None:
        """Rate lost to integers."""
        return None if self.float_bits is None else 100 * (self.integer_bits / self.float_bits - 1)


@dataclass(frozen=True)
class FloatPrior:
    """The float network behind a model's integers, from the weights that training leaves."""

    objective: Objective

    @classmethod
    def load(cls, path: Path, architecture: Architecture) -> FloatPrior:
        """Read float weights, a run's or those beside a model file.

        Raises:
            Unsupported: if it is not one.
            WrongModel: if its architecture is another.
        """
        weights, metadata = read_weights(path)
        found = metadata.get("architecture")
        if found is not None and Architecture.from_json(found) != architecture:
            msg = f"{path} holds a network of another architecture than the model"
            raise WrongModel(msg)
        objective = Objective(architecture, ObjectiveSettings())
        try:
            objective.load_state_dict(weights)
        except RuntimeError as error:
            msg = f"{path} does not hold the float weights of this architecture"
            raise Unsupported(msg) from error
        return cls(objective.requires_grad_(False).eval())

    def bits(self, code: BinaryCode) -> float:
        """The sum of -log2 of this prior's probabilities of a code's levels, in coding order."""
        centred = np.concatenate(
            [levels - np.float32(top / 2) for levels, top in zip(code.levels, code.maximum, strict=True)]
        )
        quality = torch.tensor([code.quality / (QUALITIES - 1)])
        return float(layer_bits(self.objective, torch.from_numpy(centred)[None], quality).sum())


def measure(
    codec: Codec, image: str, pixels: Pixels, quality: int, float_prior: FloatPrior | None = None
) -> PriorRow:
    """Code one picture, uint8 (H, W, 3), and price its levels."""
    code = codec.encode(pixels, quality)
    return PriorRow(
        image,
        quality,
        code.width * code.height,
        len(codec.pack(code)),
        sum(levels.size * top.bit_length() for levels, top in zip(code.levels, code.maximum, strict=True)),
        float(codec.cost(code).sum()),
        None if float_prior is None else float_prior.bits(code),
    )


def measure_all(
    codec: Codec,
    pictures: Mapping[str, Pixels],
    qualities: Sequence[int],
    float_prior: FloatPrior | None = None,
    *,
    progress: bool = False,
) -> list[PriorRow]:
    """Every picture at every quality."""
    cells = [(image, quality) for image in pictures for quality in qualities]
    return [
        measure(codec, image, pictures[image], quality, float_prior)
        for image, quality in tqdm(cells, desc="files", unit="file", disable=None if progress else True)
    ]


def text(rows: Sequence[PriorRow]) -> str:
    """Means by quality in bits per pixel, mean and worst loss to integers, mean and worst overhead."""
    head = f"{'quality':>8}{'raw':>9}{'float':>9}{'integer':>9}{'file':>9}{'lost %':>9}{'worst':>8}"
    lines = [
        f"{len({row.image for row in rows})} images, bits per pixel; overhead in bytes over the sum of -log2",
        head + f"{'overhead':>10}{'worst':>8}{'over budget':>13}",
    ]
    by_quality: dict[int, list[PriorRow]] = {}
    for row in rows:
        by_quality.setdefault(row.quality, []).append(row)
    lines += [_line(f"{quality}", found) for quality, found in by_quality.items()]
    return "\n".join([*lines, _line("all", rows)])


def _line(label: str, rows: Sequence[PriorRow]) -> str:
    rates = (
        [row.raw_bits / row.pixels for row in rows],
        [row.float_bits / row.pixels for row in rows if row.float_bits is not None],
        [row.integer_bits / row.pixels for row in rows],
        [8 * row.file_bytes / row.pixels for row in rows],
    )
    lost = [row.lost_percent for row in rows if row.lost_percent is not None]
    overhead = [row.overhead_bytes for row in rows]
    over = sum(row.overhead_bytes > row.budget_bytes for row in rows)
    return (
        f"{label:>8}"
        + "".join(f"{np.mean(rate):>9.4f}" if rate else f"{'-':>9}" for rate in rates)
        + (f"{np.mean(lost):>+9.3f}{max(lost):>+8.3f}" if lost else f"{'-':>9}{'-':>8}")
        + f"{np.mean(overhead):>10.1f}{max(overhead):>8.1f}{over:>13}"
    )
