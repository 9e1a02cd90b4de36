"""Report a study of drawn pictures: tables for people, JSON and CSV for programs, and sheets of pictures."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bincodec.eval.generation import HELD_OUT, GenerationPlan, Outcome, SetRow
from bincodec.eval.generation_spec import Setting
from bincodec.eval.memorisation import THUMBNAIL, Memory
from bincodec.eval.plain import plain, printable, to_json
from bincodec.eval.set_distances import NEIGHBOUR, SUBSETS
from bincodec.io import files, images, writing
from bincodec.io.contact_sheet import contact_sheet

SCHEMA = 1
"""The version of generation.json. It rises when a key is renamed, removed or given another meaning."""

NAMES = ("generation.json", "generation.md", "rows.csv", "samples.png", "closest.png")
"""The files of a report. The first is always there."""

_MEASURES = (
    "set",
    "pictures",
    "kernel x1000",
    "95 %",
    "Frechet",
    "precision",
    "recall",
    "PSNR dB",
    "bits each",
    "s each",
)
_DRAWING = (
    "model",
    "quality",
    "sampler",
    "steps",
    "temperature",
    "final_temperature",
    "guidance",
    "guided_by",
    "guidance_delay",
    "renewal",
    "schedule",
    "classes",
    "seed",
)
_MEMORY = ("set", "feature distance", "near", "pixel distance", "near")


def notes(outcome: Outcome) -> list[str]:
    """Return what a reader needs to know about the numbers. The first line is shown above the table."""
    plan = outcome.plan
    lines = [
        f"Distances in features of {plan.network.title}, against {len(plan.real)} held-out pictures; kernel: "
        f"squared, unbiased, cubic; 95 %: middle of {SUBSETS} random halves; precision and recall with "
        f"k = {NEIGHBOUR}"
    ]
    if plan.settings:
        lines.append(f"s each: seconds to draw and decode one picture, {_threads()}, with whatever else ran")
        lines.append(
            "Coded and decoded pictures are compared with their own originals: the kernel distance leaves "
            "such pairs out, but the Frechet distance, precision and recall look better because of them"
        )
    fewest = min(min(row.pictures, row.against) for row in outcome.rows)
    if fewest < 2 * outcome.dimensions:
        lines.append(
            f"The Frechet distance is biased upwards with {fewest} pictures in {outcome.dimensions} "
            "dimensions: compare it between sets of one size only, and trust the kernel distance"
        )
    return lines


def _threads() -> str:
    threads = torch.get_num_threads()
    return f"{threads} thread{'s' * (threads > 1)}"


def text(outcome: Outcome) -> str:
    """Return the tables as a terminal shows them."""
    first, *others = notes(outcome)
    parts = [first, _aligned(_MEASURES, [_cells(row) for row in outcome.rows]), *others]
    if outcome.memories:
        parts += ["", _about_memory(outcome), _aligned(_MEMORY, _memory_rows(outcome))]
    return printable("\n".join(parts))


def markdown(outcome: Outcome) -> str:
    """Return the same tables as Markdown."""
    first, *others = notes(outcome)
    parts = [f"{first}.", _piped(_MEASURES, [_cells(row) for row in outcome.rows])]
    parts += [f"{line}." for line in others]
    if outcome.memories:
        parts += [f"{_about_memory(outcome)}.", _piped(_MEMORY, _memory_rows(outcome))]
    return printable("\n\n".join(parts) + "\n")


def _about_memory(outcome: Outcome) -> str:
    count = 0 if outcome.plan.train is None else len(outcome.plan.train)
    measure = outcome.memories[HELD_OUT]
    useless = min(measure.feature_limit, measure.pixel_limit) == 0
    warning = "; held-out pictures are themselves among the training pictures, so that this says nothing"
    return (
        f"Medians of distances to the nearest of {count} training pictures, in the features and in pixels "
        f"({THUMBNAIL} x {THUMBNAIL}, root mean square, 8-bit steps); near: as near as 1 % of held-out ones"
        f"{warning if useless else ''}"
    )


def _cells(row: SetRow) -> list[str]:
    return [
        row.name,
        f"{row.pictures}",
        f"{1000 * row.kernel.value:.2f}",
        f"{1000 * row.kernel.low:.2f} to {1000 * row.kernel.high:.2f}",
        f"{row.frechet:.2f}",
        f"{row.precision:.3f}",
        f"{row.recall:.3f}",
        _or_dash(row.psnr, ".2f"),
        _or_dash(row.bits, ".0f"),
        _or_dash(row.seconds, ".3f"),
    ]


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _memory_rows(outcome: Outcome) -> list[list[str]]:
    return [[name, *_memory_cells(found)] for name, found in outcome.memories.items()]


def _memory_cells(found: Memory) -> list[str]:
    return [
        f"{found.feature_median:.3f}",
        f"{100 * found.feature_share:.1f} %",
        f"{found.pixel_median:.2f}",
        f"{100 * found.pixel_share:.1f} %",
    ]


def _aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return "\n".join(
        f"{line[0]:<{widths[0]}}" + "".join(f"  {c:>{w}}" for c, w in zip(line[1:], widths[1:], strict=True))
        for line in (head, *rows)
    )


def _piped(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def content(outcome: Outcome) -> dict[str, Any]:
    """Return all results of a run as generation.json stores them."""
    plan = outcome.plan
    everything = {
        "schema": SCHEMA,
        "interrupted": outcome.interrupted,
        "features": {
            "network": plan.network.title,
            "about": plan.network.about,
            "dimensions": outcome.dimensions,
        },
        "held_out": len(plan.real),
        "training": None if plan.train is None else len(plan.train),
        "width": plan.real.size[0],
        "height": plan.real.size[1],
        "threads": torch.get_num_threads(),
        "models": {name: codec.model.card.fingerprint.hex() for name, codec in plan.codecs.items()},
        "notes": notes(outcome),
        "rows": [flat(row) for row in outcome.rows],
        "memorisation": [_memory_content(plan, *item) for item in outcome.memories.items()],
    }
    found: dict[str, Any] = plain(everything)
    return found


def _memory_content(plan: GenerationPlan, name: str, found: Memory) -> dict[str, Any]:
    names = () if plan.train is None else plan.train.names
    closest = [
        {"by": p.kind, "picture": p.picture, "training": names[p.training], "distance": p.distance}
        for p in found.closest
    ]
    return {
        "set": name,
        "feature_median": found.feature_median,
        "feature_share": found.feature_share,
        "pixel_median": found.pixel_median,
        "pixel_share": found.pixel_share,
        "closest": closest,
    }


def flat(row: SetRow) -> dict[str, Any]:
    """Return a row of rows.csv."""
    return {
        "set": row.name,
        "kind": row.kind,
        "pictures": row.pictures,
        "against": row.against,
        "kernel_x1000": 1000 * row.kernel.value,
        "kernel_x1000_low": 1000 * row.kernel.low,
        "kernel_x1000_high": 1000 * row.kernel.high,
        "frechet": row.frechet,
        "precision": row.precision,
        "recall": row.recall,
        "psnr": row.psnr,
        "bits": row.bits,
        "prior_bits": row.prior_bits,
        "seconds": row.seconds,
        **(dict.fromkeys(_DRAWING) if row.setting is None else _drawing(row.setting, row.steps, row.sampler)),
    }


def _drawing(setting: Setting, steps: int | None, sampler: str | None) -> dict[str, Any]:
    """Return how a set was drawn. None stands for the model's default."""
    return {name: getattr(setting, name) for name in _DRAWING} | {"sampler": sampler, "steps": steps}


def as_csv(rows: Sequence[SetRow]) -> str:
    """Return one line for each row. A field is empty if a set has no such value."""
    lines = [flat(row) for row in rows]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return buffer.getvalue()


def write(outcome: Outcome, folder: Path) -> None:
    """Write all files into an existing folder, or none. Files that only an earlier run had are then deleted.

    Raises:
        OSError: if the system cannot write a file.
    """
    contents = {
        "generation.json": to_json(content(outcome)).encode(),
        "generation.md": markdown(outcome).encode(),
        "rows.csv": printable(as_csv(outcome.rows)).encode(),
    }
    for name, sheets in (("samples.png", outcome.samples), ("closest.png", outcome.pairs)):
        if sheets:
            contents[name] = sheet(sheets)
    files.write_all({folder / name: data for name, data in contents.items()})
    for name in NAMES:
        if name not in contents:
            (folder / name).unlink(missing_ok=True)


def sheet(rows: Mapping[str, NDArray[np.uint8]]) -> bytes:
    """Return a PNG with a row of pictures (N, H, W, 3) for each set, in the order of the tables."""
    columns = max(len(row) for row in rows.values())
    blank = np.full_like(next(iter(rows.values()))[:1], 255)
    tiles = [tile for row in rows.values() for tile in (*row, *[blank[0]] * (columns - len(row)))]
    return writing.encode(contact_sheet([images.to_image(tile) for tile in tiles], columns), ".png")
