"""Make sets of pictures with a model: drawn pictures, and reconstructions of real ones."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bincodec.eval.generation_spec import REAL, Setting, apportion
from bincodec.eval.metrics import psnr
from bincodec.generation.settings import SamplingSettings

if TYPE_CHECKING:
    from bincodec.code import BinaryCode
    from bincodec.codec import Codec


@dataclass(frozen=True)
class Drawn:
    """A set to be measured, and what its row contains beside distances.

    Args:
        pixels: the pictures, uint8 (N, H, W, 3).
        facts: fields of `generation.SetRow`, by name.
    """

    name: str
    kind: str
    pixels: NDArray[np.uint8]
    facts: Mapping[str, Any] = field(default_factory=dict)
    setting: Setting | None = None


def draw(codec: Codec, setting: Setting, count: int, size: tuple[int, int], labels: Sequence[str]) -> Drawn:
    """Draw `count` pictures of `size` (width, height). `labels` are the classes of the real pictures."""
    start = time.perf_counter()
    codes: list[BinaryCode] = []
    facts: dict[str, Any] = {}
    for name, share in _shares(setting, count, labels):
        plan = SamplingSettings(**setting.how(name)).plan(codec.model.card)
        facts |= {"sampler": plan.sampler, "steps": plan.steps}
        if share:
            codes += codec.sample(share, size, setting.quality, **setting.how(name, plan.label))
    pixels = _decoded(codec, codes)
    facts["seconds"] = (time.perf_counter() - start) / count
    facts |= {"bits": _file_bits(codec, codes), "prior_bits": _prior_bits(codec, codes)}
    return Drawn(setting.label, "drawn", pixels, facts, setting)


def _shares(setting: Setting, count: int, labels: Sequence[str]) -> list[tuple[str | None, int]]:
    if setting.classes == REAL:
        return [*apportion(labels, count).items()]
    return [(name, count) for name in setting.names(labels)]


def reconstruct(codec: Codec, model: str, quality: int, pixels: NDArray[np.uint8]) -> tuple[Drawn, Drawn]:
    """Encode and decode pictures (N, H, W, 3), as files hold them and without their post-filters.

    Drawn pictures have no post-filter, so the second set tells how good they can become.
    """
    codes = [codec.encode(picture, quality) for picture in pixels]
    bare = [dataclasses.replace(code, extras=()) for code in codes]
    of = f"{model}, quality {quality}"
    prior_bits = _prior_bits(codec, codes)
    return (
        _reconstructed(codec, f"coded and decoded: {of}", codes, pixels, prior_bits),
        _reconstructed(codec, f"without post-filter: {of}", bare, pixels, prior_bits),
    )


def _reconstructed(
    codec: Codec, name: str, codes: Sequence[BinaryCode], pixels: NDArray[np.uint8], prior_bits: float
) -> Drawn:
    decoded = _decoded(codec, codes)
    means = {
        "psnr": fmean(psnr(*both) for both in zip(pixels, decoded, strict=True)),
        "bits": _file_bits(codec, codes),
        "prior_bits": prior_bits,
    }
    return Drawn(name, "reconstruction", decoded, means)


def _decoded(codec: Codec, codes: Sequence[BinaryCode]) -> NDArray[np.uint8]:
    return np.stack([np.asarray(codec.decode(code).convert("RGB")) for code in codes])


def _file_bits(codec: Codec, codes: Sequence[BinaryCode]) -> float:
    return fmean(8 * len(codec.pack(code)) for code in codes)


def _prior_bits(codec: Codec, codes: Sequence[BinaryCode]) -> float:
    return fmean(float(codec.cost(code).sum()) for code in codes)
