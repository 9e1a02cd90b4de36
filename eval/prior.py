"""Measure how many bits the same levels take: raw, with static frequencies, with the prior, and in a file.

The prior is measured in integers and in float, and in orders of fewer passes. An order of n passes is the
model's own order with consecutive passes merged into n groups of nearly equal size
(`bincodec.coding.order.merged`). Every level of a group is predicted from the earlier groups only, and those
of the first group from the quality alone. The network is always the same, and it was trained for the whole
order. A network that was trained for few passes might need fewer bits in them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from bincodec.code import BinaryCode, Levels
from bincodec.coding.cost import cost
from bincodec.model.architecture import Architecture

if TYPE_CHECKING:
    from bincodec.codec import Codec
    from bincodec.eval.float_prior import FloatPrior
    from bincodec.eval.formats import Pixels

SCHEMA = 3
"""The version of prior.json. It rises when a key is renamed, removed or given another meaning."""

FEWER_PASSES = (1, 2, 4, 8)
"""The numbers of passes that are measured beside the complete order, if that has more passes."""

OVERHEAD_BYTES = 96
OVERHEAD_SHARE = 0.001
"""A file may take this number of bytes, plus this share, more than the sum of -log2 of its probabilities."""


@dataclass(frozen=True)
class PriorRow:
    """One image at one quality.

    Args:
        file_bytes: the size of the complete file.
        raw_bits: the bits of the levels as plain binary numbers.
        frequency_bits: the bits of the levels with `Frequencies`.
        integer_by_passes: the sum of -log2 of the integer prior's probabilities, by number of passes. The
            largest number is the coding order, with whose probabilities files are coded.
        float_by_passes: the same with the float prior; empty if there is none.
        extra_bytes: the bytes of the file that do not hold levels (the post-filter).
    """

    image: str
    quality: int
    pixels: int
    file_bytes: int
    raw_bits: int
    frequency_bits: float
    integer_by_passes: Mapping[int, float]
    float_by_passes: Mapping[int, float]
    extra_bytes: int = 0

    @property
    def integer_bits(self) -> float:
        """The bits with the integer prior and all passes."""
        return self.integer_by_passes[max(self.integer_by_passes)]

    @property
    def float_bits(self) -> float | None:
        """The bits with the float prior and all passes."""
        return self.float_by_passes[max(self.float_by_passes)] if self.float_by_passes else None

    @property
    def overhead_bytes(self) -> float:
        """The bytes for levels in the file minus `integer_bits` / 8. Raw chunks can make it negative."""
        return self.file_bytes - self.extra_bytes - self.integer_bits / 8

    @property
    def budget_bytes(self) -> float:
        """The largest allowed value of `overhead_bytes`."""
        return OVERHEAD_BYTES + OVERHEAD_SHARE * self.integer_bits / 8

    @property
    def lost_percent(self) -> float | None:
        """The additional rate of the integer prior compared with the float prior, in percent."""
        return None if self.float_bits is None else 100 * (self.integer_bits / self.float_bits - 1)


@dataclass(frozen=True)
class Frequencies:
    """Static frequencies of each channel's levels, by layer (channels, J + 1): a prior without context.

    Frequencies of levels are equivalent to frequencies of bits: they are the products of the frequency of
    each z_j among the levels that reach it. The frequencies are measured on the same codes that they are used
    for, and their own cost is not counted. They therefore look too good, especially with few images.
    """

    counts: tuple[NDArray[np.int64], ...]

    @classmethod
    def measure(cls, codes: Iterable[BinaryCode]) -> Frequencies:
        """Count levels over all positions of codes of one model."""
        by_code = [
            [_count(levels, top) for levels, top in zip(code.levels, code.maximum, strict=True)]
            for code in codes
        ]
        return cls(tuple(np.sum(layer, axis=0) for layer in zip(*by_code, strict=True)))

    def bits(self, code: BinaryCode) -> float:
        """Return the sum of -log2 of the frequencies of the levels of one of these codes."""
        total = 0.0
        for counts, levels, top in zip(self.counts, code.levels, code.maximum, strict=True):
            own = _count(levels, top)
            frequency = counts / counts.sum(1, keepdims=True)
            total -= float((own[own > 0] * np.log2(frequency[own > 0])).sum())
        return total


def _count(levels: Levels, maximum: int) -> NDArray[np.int64]:
    """Return how often each channel (rows) has each level (columns)."""
    channels = len(levels)
    cells = levels.reshape(channels, -1) + (maximum + 1) * np.arange(channels)[:, None]
    return np.bincount(cells.ravel(), minlength=channels * (maximum + 1)).reshape(channels, maximum + 1)


def integer_bits(codec: Codec, code: BinaryCode, groups: int) -> float:
    """Return the sum of -log2 of the integer prior's probabilities in an order of `groups` passes."""
    return float(cost(codec.model.prior, code, groups=groups).sum())


def orders(architecture: Architecture) -> tuple[int, ...]:
    """Return the numbers of passes to measure. The last is the number of all passes."""
    every = sum(architecture.layer_phases)
    return (*(count for count in FEWER_PASSES if count < every), every)


def measure(
    codec: Codec,
    image: str,
    code: BinaryCode,
    frequencies: Frequencies,
    float_prior: FloatPrior | None = None,
) -> PriorRow:
    """Measure the levels of one code that has all layers of the model."""
    counts = orders(codec.model.card.architecture)
    size = len(codec.pack(code))
    return PriorRow(
        image,
        code.quality,
        code.width * code.height,
        size,
        sum(levels.size * top.bit_length() for levels, top in zip(code.levels, code.maximum, strict=True)),
        frequencies.bits(code),
        {count: integer_bits(codec, code, count) for count in counts},
        {} if float_prior is None else {count: float_prior.bits(code, count) for count in counts},
        size - len(codec.pack(replace(code, extras=()))),
    )


def measure_all(
    codec: Codec,
    pictures: Mapping[str, Pixels],
    qualities: Sequence[int],
    float_prior: FloatPrior | None = None,
    *,
    progress: bool = False,
) -> list[PriorRow]:
    """Measure every picture, uint8 (H, W, 3), at every quality.

    Frequencies are counted over all pictures at one quality.
    """
    rows = []
    total = len(pictures) * len(qualities)
    with tqdm(total=total, desc="files", unit="file", disable=None if progress else True) as bar:
        for quality in qualities:
            codes = {image: codec.encode(pixels, quality) for image, pixels in pictures.items()}
            frequencies = Frequencies.measure(codes.values())
            for image, code in codes.items():
                rows.append(measure(codec, image, code, frequencies, float_prior))
                bar.update()
    return rows


def as_json(rows: Sequence[PriorRow], codec: Codec) -> dict[str, Any]:
    """Return the content of prior.json.

    `rows` has an entry for each image and quality, and `orders` one for each image, quality, prior and number
    of passes.
    """
    every = orders(codec.model.card.architecture)[-1]
    flat = [
        {
            "image": row.image,
            "quality": row.quality,
            "pixels": row.pixels,
            "file_bytes": row.file_bytes,
            "extra_bytes": row.extra_bytes,
            "raw_bits": row.raw_bits,
            "frequency_bits": row.frequency_bits,
            "integer_bits": row.integer_bits,
            "float_bits": row.float_bits,
        }
        for row in rows
    ]
    by_order = [
        {"image": row.image, "quality": row.quality, "prior": prior, "passes": passes, "bits": bits}
        for row in rows
        for prior, found in (("integer", row.integer_by_passes), ("float", row.float_by_passes))
        for passes, bits in found.items()
    ]
    return {
        "schema": SCHEMA,
        "model": codec.model.card.name,
        "fingerprint": codec.model.card.fingerprint.hex(),
        "passes": every,
        "rows": flat,
        "orders": by_order,
    }


def text(rows: Sequence[PriorRow]) -> str:
    """Return tables of means by quality: rates, savings by the prior and its passes, costs of files."""
    groups: dict[str, list[PriorRow]] = {}
    for row in rows:
        groups.setdefault(str(row.quality), []).append(row)
    if len(groups) > 1:
        groups["all"] = list(rows)
    images, passes = len({row.image for row in rows}), list(rows[0].integer_by_passes)
    steps = ["raw to freq.", "freq. to 1", *(f"{few} to {more}" for few, more in itertools.pairwise(passes))]
    tables = [
        f"Bits per pixel of the same levels, means over {images} image{'s' * (images > 1)}; "
        f"by number of passes of the integer prior, {passes[-1]} in the file",
        _table(["quality", "raw", "frequencies", *map(str, passes), "file"], groups, _rates),
        "Saved by each step, %, and by the prior with all passes over raw and frequencies",
        _table(["quality", *steps, "over raw", "over freq."], groups, _savings),
        "Bytes of the file for its levels over the sum of -log2; files over the budget",
        _table(["quality", "mean", "worst", "over budget"], groups, _overhead),
    ]
    if all(row.float_by_passes for row in rows):
        tables += [
            "Bits per pixel by number of passes of the float prior; what integers add with all passes, %",
            _table(["quality", *map(str, passes), "added", "worst"], groups, _float_rates),
        ]
    return "\n".join(tables)


def _table(
    head: Sequence[str],
    groups: Mapping[str, Sequence[PriorRow]],
    cells: Callable[[Sequence[PriorRow]], list[str]],
) -> str:
    lines = [head, *([label, *cells(rows)] for label, rows in groups.items())]
    widths = [max(9, len(name) + 2) for name in head]
    return "\n".join(
        "".join(f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True)) for line in lines
    )


def _mean_rates(rows: Sequence[PriorRow]) -> list[float]:
    """Return means over rows in bits per pixel: raw, frequencies, then by number of passes."""
    rates = [
        [bits / row.pixels for bits in (row.raw_bits, row.frequency_bits, *row.integer_by_passes.values())]
        for row in rows
    ]
    return [float(rate) for rate in np.mean(rates, axis=0)]


def _rates(rows: Sequence[PriorRow]) -> list[str]:
    file = float(np.mean([8 * row.file_bytes / row.pixels for row in rows]))
    return [f"{rate:.4f}" for rate in (*_mean_rates(rows), file)]


def _savings(rows: Sequence[PriorRow]) -> list[str]:
    rates = _mean_rates(rows)
    pairs = [*itertools.pairwise(rates), (rates[0], rates[-1]), (rates[1], rates[-1])]
    return [f"{100 * (1 - after / before):.1f}" if before else "-" for before, after in pairs]


def _overhead(rows: Sequence[PriorRow]) -> list[str]:
    overhead = [row.overhead_bytes for row in rows]
    over = sum(row.overhead_bytes > row.budget_bytes for row in rows)
    return [f"{np.mean(overhead):.1f}", f"{max(overhead):.1f}", f"{over}"]


def _float_rates(rows: Sequence[PriorRow]) -> list[str]:
    rates = np.mean([[bits / row.pixels for bits in row.float_by_passes.values()] for row in rows], axis=0)
    lost = [row.lost_percent for row in rows if row.lost_percent is not None]
    return [*(f"{rate:.4f}" for rate in rates), f"{np.mean(lost):+.3f}", f"{max(lost):+.3f}"]
