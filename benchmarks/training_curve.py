"""Draw the log of a training run and save its numbers: python benchmarks/training_curve.py OUT LOG...

LOG are the `log.jsonl` files of a model's stages, in order. The script writes OUT.webp, and OUT.csv with
every second row. It needs the `eval` extra.
"""

import csv
import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt

COLUMNS = ("stage", "step", "seconds", "loss", "bits_per_pixel", "other_bits_per_pixel", "psnr")
WINDOW = 10


def read(logs: list[Path]) -> list[dict[str, Any]]:
    """Return all progress rows of the stages, with the number of the stage."""
    rows = []
    for stage, log in enumerate(logs, 1):
        for line in log.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if "loss" in row:
                rows.append({"stage": stage, **row})
    return rows


def smoothed(values: list[float]) -> np.ndarray:
    """Return the running mean over WINDOW rows, because crops and qualities differ between steps."""
    kernel = np.ones(WINDOW) / WINDOW
    return np.convolve(np.pad(values, (WINDOW // 2, WINDOW - 1 - WINDOW // 2), mode="edge"), kernel, "valid")


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw loss, rate and PSNR of the training batches over hours of training."""
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.4), layout="constrained")
    passed = 0.0
    for stage in sorted({row["stage"] for row in rows}):
        part = [row for row in rows if row["stage"] == stage]
        hours = (passed + np.array([row["seconds"] for row in part])) / 3600
        passed += part[-1]["seconds"]
        for axis, name in zip(axes, ("loss", "bits_per_pixel", "psnr"), strict=True):
            if part[0][name] is not None:  # A stage that trains only the prior has no PSNR.
                axis.plot(hours, smoothed([row[name] for row in part]), label=f"stage {int(stage)}")
    for axis, title in zip(axes, ("loss", "bits per pixel", "PSNR, dB"), strict=True):
        axis.set(title=f"{title} (training batches)", xlabel="hours")
        axis.grid(alpha=0.3)
    axes[0].set_yscale("log")
    axes[0].legend()
    figure.savefig(path, dpi=110, pil_kwargs={"lossless": True, "method": 6})


def main(out: Path, logs: list[Path]) -> None:
    """Write both files."""
    rows = read(logs)
    draw(rows, out.with_suffix(".webp"))
    with out.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for row in rows[::2]:
            writer.writerow({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
