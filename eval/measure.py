"""One cell of a sweep: a codec on a picture at a setting, wherever the work is done."""

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
    """A picture that is no longer what it was when the run began."""


@dataclass(frozen=True)
class Picture:
    """An image of a run: where it is, and what it holds. `digest` is that of its pixels."""

    path: str
    digest: str
    width: int
    height: int

    @classmethod
    def of(cls, path: str, pixels: Pixels) -> Picture:
        """The picture that was found at a path."""
        height, width, _ = pixels.shape
        return cls(path, cache.pixels_digest(pixels), width, height)

    def pixels(self) -> Pixels:
        """Read it; the last few pictures are remembered.

        Raises:
            Changed: if it is another picture by now.
            ImageError, Unreadable: as `images.load_opaque`.
        """
        return _read(self)


@dataclass(frozen=True)
class Measured:
    """What one file gave.

    Args:
        digest: SHA-256 of the file.
        size: its bytes.
        metrics: values by `identity` of the metric.
    """

    digest: str
    size: int
    encode_seconds: float
    decode_seconds: float
    metrics: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """As a cache keeps it."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> Measured | None:
        """What a cache has kept, None where it has nothing."""
        return None if value is None else cls(**value)


@dataclass(frozen=True)
class Task:
    """A cell to measure, as it is sent to a process.

    Args:
        names: the metrics that are wanted.
        known: what was measured before, with some of them missing.
        build: makes the adapter of `spec`.
    """

    picture: Picture
    spec: Spec
    setting: int
    names: tuple[str, ...]
    lpips_weights: Path | None
    known: Measured | None
    build: Build


def identity(metric: Metric) -> str:
    """A metric with all that its value depends on."""
    return f"{metric.name}: {metric.about}"


def measure(task: Task) -> Measured:
    """Encode, decode and measure. Values and seconds are kept from `task.known` where the file is the same.

    Raises:
        Exception: whatever the codec or a metric raises; ValueError if a picture of another size comes back.
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
    """A codec, made ready once in a process."""
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
