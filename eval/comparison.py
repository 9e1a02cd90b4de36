"""Compare pictures side by side: what each codec makes of an image with the same number of bytes."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from typing import Any

from PIL import Image

from bincodec.errors import BincodecError
from bincodec.eval import cache as caching
from bincodec.eval import match, peers
from bincodec.eval.cache import Cache
from bincodec.eval.measure import Build, adapter
from bincodec.eval.measure import Picture as Source
from bincodec.eval.metrics import psnr
from bincodec.eval.page import Comparison, Picture
from bincodec.eval.peers import Pixels
from bincodec.eval.resume import Piece, work
from bincodec.eval.spec import Spec
from bincodec.eval.sweep import Failure
from bincodec.eval.workers import Broken

LARGEST_SIDE = 1024
"""The largest side of a picture that is shown. Of a larger image, the middle is shown. Codecs always get the
whole image."""


@dataclass(frozen=True)
class Task:
    """A search for the setting at which the file of a codec is nearest to `size` bytes."""

    source: Source
    spec: Spec
    size: int
    build: Build


@dataclass(frozen=True)
class Found:
    """The result of a search. `shown` is the decoded picture, or its middle, as lossless WebP."""

    setting: int
    size: int
    psnr: float
    shown: bytes

    def to_json(self) -> dict[str, Any]:
        """Return the result as a cache stores it."""
        return {**asdict(self), "shown": base64.b64encode(self.shown).decode()}

    @classmethod
    def from_json(cls, value: Any) -> Found | None:
        """Return the result that a cache has stored, or None if it has none."""
        return None if value is None else cls(**{**value, "shown": base64.b64decode(value["shown"])})


def compare(
    sources: Sequence[Source],
    specs: Sequence[Spec],
    targets: Sequence[float],
    *,
    jobs: int = 0,
    cache: Cache | None = None,
    progress: bool = False,
    build: Build = peers.build,
) -> tuple[list[Comparison], list[Failure]]:
    """Encode each image with every codec at each of `targets` bits per pixel.

    Settings are integers, so targets are met approximately. The first bincodec among the codecs comes as near
    to the target as it can, and the others come as near as they can to the bytes that it took. Without a
    bincodec, all codecs aim at the target.

    Raises:
        Interrupted: on Ctrl-C (see `resume.work`).
    """
    originals, failures = _originals(sources)
    aims = [
        (source, target, round(target * source.width * source.height / 8))
        for source in originals
        for target in targets
    ]
    label = "comparisons" if progress else ""
    leader = next((spec for spec in specs if spec.codec == "bincodec"), None)
    leading: list[Found | Broken] = []
    if leader is not None:
        leading = _search([Task(source, leader, size, build) for source, _, size in aims], jobs, cache, label)
        aims = [
            (source, target, found.size if isinstance(found, Found) else size)
            for (source, target, size), found in zip(aims, leading, strict=True)
        ]
    others = [spec for spec in specs if spec is not leader]
    tasks = [Task(source, spec, size, build) for source, _, size in aims for spec in others]
    following = iter(_search(tasks, jobs, cache, label))
    comparisons = []
    for index, (source, target, _) in enumerate(aims):
        results = {spec: leading[index] if spec is leader else next(following) for spec in specs}
        comparisons.append(_comparison(source, originals[source], target, results))
        failures += _failures(source, target, results)
    return comparisons, failures


def within(comparisons: Sequence[Comparison], most: int) -> list[Comparison]:
    """Return the first comparisons whose pictures take at most `most` bytes, but at least one comparison."""
    kept: list[Comparison] = []
    pictures: set[bytes] = set()
    for comparison in comparisons:
        # A page holds each picture once, even if several comparisons show it.
        pictures |= {comparison.original, *(picture.image for picture in comparison.pictures)}
        if kept and sum(map(len, pictures)) > most:
            break
        kept.append(comparison)
    return kept


def search(task: Task) -> Found:
    """Find the setting, and return it with its decoded picture."""
    pixels = task.source.pixels()
    found = match.nearest(adapter(task.build, task.spec), pixels, task.size)
    data, decoded = found.encoded.data, found.encoded.pixels
    return Found(found.setting, len(data), psnr(pixels, decoded), _shown(decoded))


def _search(tasks: Sequence[Task], jobs: int, cache: Cache | None, label: str) -> list[Found | Broken]:
    return work(search, [_piece(task, cache) for task in tasks], jobs=jobs, cache=cache, label=label)


def _piece(task: Task, cache: Cache | None) -> Piece[Task, Found]:
    about = task.build(task.spec).about
    key = caching.key("match", task.source.digest, task.spec.codec, about, task.size, LARGEST_SIDE)
    # The grid of settings does not matter here. Without it, one adapter serves all grids.
    task = replace(task, spec=replace(task.spec, settings=()))
    return Piece(key, task, Found.from_json(cache.get(key)) if cache is not None else None)


def _originals(sources: Sequence[Source]) -> tuple[dict[Source, bytes], list[Failure]]:
    originals: dict[Source, bytes] = {}
    failures = []
    for source in sources:
        try:
            originals[source] = _shown(source.pixels())
        except BincodecError as error:
            failures.append(Failure(source.path, str(error)))
    return originals, failures


def _failures(source: Source, target: float, results: dict[Spec, Found | Broken]) -> list[Failure]:
    return [
        Failure(source.path, f"at {target:g} bits per pixel: {result.reason}", spec.label)
        for spec, result in results.items()
        if isinstance(result, Broken)
    ]


def _comparison(
    source: Source, original: bytes, target: float, results: dict[Spec, Found | Broken]
) -> Comparison:
    samples = source.width * source.height
    pictures = tuple(
        Picture(
            spec.label,
            found.setting,
            found.size,
            8 * found.size / samples,
            found.psnr,
            found.shown,
        )
        for spec, found in results.items()
        if isinstance(found, Found)
    )
    whole = max(source.width, source.height) <= LARGEST_SIDE
    width, height = min(source.width, LARGEST_SIDE), min(source.height, LARGEST_SIDE)
    name = source.path if whole else f"{source.path} (middle)"
    return Comparison(name, width, height, target, original, pictures)


def _shown(pixels: Pixels) -> bytes:
    """Return a picture, or the middle of a large one, as lossless WebP."""
    height, width = pixels.shape[:2]
    top, left = max(0, height - LARGEST_SIDE) // 2, max(0, width - LARGEST_SIDE) // 2
    image = Image.fromarray(pixels[top : top + LARGEST_SIDE, left : left + LARGEST_SIDE])
    buffer = BytesIO()
    image.save(buffer, format="WEBP", lossless=True, method=4)
    return buffer.getvalue()
