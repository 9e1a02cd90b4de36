"""Measure one cell of a sweep: one codec, one picture, one setting. This may run in any process."""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bincodec.errors import BincodecError
from bincodec.eval import cache, metrics
from bincodec.eval.metrics import Metric
from bincodec.eval.peers import Peer, Pixels
from bincodec.eval.spec import Spec
from bincodec.io import images

Build = Callable[[Spec], Peer]


class Changed(BincodecError):
    """A picture has changed since the run began."""


@dataclass(frozen=True)
class Picture:
    """An image of a run: its path, the digest of its pixels, and its size."""

    path: str
    digest: str
    width: int
    height: int

    @classmethod
    def of(cls, path: str, pixels: Pixels) -> Picture:
        """Return the picture of `pixels` that were read from `path`."""
        height, width, _ = pixels.shape
        return cls(path, cache.pixels_digest(pixels), width, height)

    def pixels(self) -> Pixels:
        """Return the pixels. The last two pictures are kept in memory.

        Raises:
            Changed: if the file now holds another picture.
            ImageError, Unreadable: as in `images.load_opaque`.
        """
        return _read(self)


@dataclass(frozen=True)
class Measured:
    """The results of one file.

    Args:
        digest: the SHA-256 of the file.
        size: the number of its bytes.
        encode_seconds: the wall time to encode it.
        decode_seconds: the wall time to decode it.
        metrics: the values of metrics by their `identity`.
    """

    digest: str
    size: int
    encode_seconds: float
    decode_seconds: float
    metrics: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return the results as a cache stores them."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> Measured | None:
        """Return the results that a cache has stored, or None if it has none."""
        return None if value is None else cls(**value)


@dataclass(frozen=True)
class Task:
    """A cell to measure, as it is sent to a process.

    Args:
        names: the names of the metrics to measure.
        known: earlier results in which some of these metrics are missing, or None.
        build: a function that makes the adapter of `spec`.
    """

    picture: Picture
    spec: Spec
    setting: int
    names: tuple[str, ...]
    lpips_weights: Path | None
    known: Measured | None
    build: Build


def identity(metric: Metric) -> str:
    """Return the name of a metric with everything that its value depends on."""
    return f"{metric.name}: {metric.about}"


def measure(task: Task) -> Measured:
    """Encode, decode and measure. If the file is the same, values and seconds of `task.known` are kept.

    Raises:
        Exception: what the codec or a metric raises.
        ValueError: if the decoded picture has another size.
    """
    pixels = task.picture.pixels()
    peer = adapter(task.build, task.spec)
    start = time.perf_counter()
    data = peer.encode(pixels, task.setting)
    encoded = time.perf_counter()
    decoded = peer.decode(data)
    end = time.perf_counter()
    if decoded.shape != pixels.shape:
        msg = f"it decodes to {_size(decoded)} pixels, not {_size(pixels)}"
        raise ValueError(msg)
    seconds = encoded - start, end - encoded
    digest = hashlib.sha256(data).hexdigest()
    values: dict[str, float] = {}
    if task.known is not None and task.known.digest == digest:
        seconds = task.known.encode_seconds, task.known.decode_seconds
        values |= task.known.metrics
    for name in task.names:
        metric = _metric(name, task.lpips_weights)
        if identity(metric) not in values:
            values[identity(metric)] = metric.measure(pixels, decoded)
    return Measured(digest, len(data), *seconds, values)


@functools.cache
def adapter(build: Build, spec: Spec) -> Peer:
    """Return the adapter of a codec. It is made and prepared once in each process."""
    peer = build(spec)
    peer.prepare()
    return peer


_metric = functools.cache(lambda name, weights: metrics.find(name, lpips_weights=weights))


@functools.lru_cache(maxsize=2)
def _read(picture: Picture) -> Pixels:
    pixels = images.load_opaque(picture.path)
    if cache.pixels_digest(pixels) != picture.digest:
        msg = f"{picture.path}: the image has changed since the run began"
        raise Changed(msg)
    return pixels


def _size(pixels: Pixels) -> str:
    return "x".join(map(str, pixels.shape[1::-1]))
