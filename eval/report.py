"""What a run says: tables for people, JSON for programs."""

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any

from bincodec.eval.metrics import BdRate, NotComparable, bd_rate
from bincodec.eval.peers import Peer
from bincodec.eval.sweep import Failure, Point, Sweep, means

SCHEMA = 1
"""Raised when a key of the JSON is renamed, removed or given another meaning."""

ANCHOR = "jpeg"


def bd_rates(points: Sequence[Point], anchor: str = ANCHOR) -> dict[str, BdRate | str]:
    """BD-rate by codec against `anchor`, or why there is none; empty without rows of the anchor."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for point in points:
        curves.setdefault(point.codec, []).append((point.bits_per_pixel, point.psnr))
    result: dict[str, BdRate | str] = {}
    for codec in curves.keys() - {anchor} if anchor in curves else ():
        try:
            result[codec] = bd_rate(curves[anchor], curves[codec])
        except NotComparable as reason:
            result[codec] = str(reason)
    return {codec: result[codec] for codec in curves if codec in result}


def text(result: Sweep, anchor: str = ANCHOR) -> str:
    """Rate and PSNR at each setting, then the BD-rates with the range that each was computed on."""
    points = means(result.rows)
    lines = [
        f"Means over {len({row.image for row in result.rows})} images",
        f"{'codec':<10}{'setting':>8}{'bits/pixel':>12}{'PSNR dB':>10}",
        *(f"{p.codec:<10}{p.setting:>8}{p.bits_per_pixel:>12.4f}{p.psnr:>10.3f}" for p in points),
    ]
    rates = bd_rates(points, anchor)
    if rates:
        lines += ["", f"BD-rate against {anchor} (PSNR, PCHIP)"]
        lines += [f"{codec:<10}{_bd_line(rate)}" for codec, rate in rates.items()]
    return "\n".join(lines)


def _bd_line(rate: BdRate | str) -> str:
    if isinstance(rate, str):
        return f"none: {rate}"
    low, high = rate.psnr
    first, last = rate.bits_per_pixel
    return f"{rate.percent:+.1f} %  over {low:.1f}-{high:.1f} dB, {first:.2f}-{last:.2f} bits per pixel"


def failure_line(failure: Failure) -> str:
    """A failed cell in one line."""
    cell = f"{failure.codec} {failure.setting}: " if failure.codec else ""
    # What is wrong with an image already names the image.
    return f"{failure.image}: {cell}{failure.reason}" if cell else failure.reason


def as_json(result: Sweep, peers: Sequence[Peer], anchor: str = ANCHOR) -> str:
    """A run as JSON: `codecs`, `rows`, `failures`, `means`, `bd_rates`. An infinite PSNR is null."""
    points = means(result.rows)
    content = {
        "schema": SCHEMA,
        "codecs": {peer.name: peer.about for peer in peers},
        "anchor": anchor,
        "rows": result.rows,
        "failures": result.failures,
        "means": points,
        "bd_rates": bd_rates(points, anchor),
    }
    return to_json(content)


def to_json(content: Any) -> str:
    """JSON of dataclasses, sequences, mappings and numbers; what is not finite becomes null."""
    return json.dumps(_plain(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
