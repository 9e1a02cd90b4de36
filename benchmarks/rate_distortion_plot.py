"""Draw rate against distortion: python benchmarks/rate_distortion_plot.py report/report.json OUT.webp

It also prints each metric at a few rates, interpolated over the logarithm of the rate.

The report comes from `bincodec eval rd`. Measured codecs are solid lines of means over all images, and
published curves are dashed. The script needs the `eval` extra.
"""

from __future__ import annotations

import argparse
import collections
import io
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from PIL import Image

mpl.use("Agg")
from matplotlib import pyplot as plt

OURS = "bincodec"
NAMES = {
    OURS: "bincodec",
    "jpeg": "JPEG",
    "webp": "WebP",
    "heic": "HEIC",
    "avif": "AVIF (default tuning)",
    "avif:tune=psnr": "AVIF (tuned for PSNR)",
    "avif:tune=psnr:speed=4:subsampling=444": "AVIF at its best",
}
RATES = (0.05, 1.65)
"""The bits per pixel at the ends of the horizontal axis."""


def measured(report: dict[str, Any], metric: str) -> dict[str, list[tuple[float, float]]]:
    """Return, for each codec, bits per pixel and the metric as means over the images, by rising rate."""
    curves = collections.defaultdict(list)
    for mean in report["means"]:
        if mean[metric] is not None:
            curves[mean["codec"]].append((mean["bits_per_pixel"], mean[metric]))
    return {codec: sorted(points) for codec, points in curves.items()}


def draw(report: dict[str, Any], metric: str, path: Path) -> None:
    """Write the plot."""
    figure, axis = plt.subplots(figsize=(7.2, 4.4), layout="constrained")
    highest = 0.0
    for codec, points in measured(report, metric).items():
        rates, values = np.array(points).T
        ours = codec == OURS
        axis.plot(
            rates,
            values,
            label=NAMES.get(codec, codec),
            linewidth=2.6 if ours else 1.3,
            color="#c2410c" if ours else None,
            zorder=3 if ours else 2,
            marker="o" if ours else None,
            markersize=4,
        )
        if ours:
            highest = float(values.max())
    for curve in report["curves"]:
        if not curve["points"].get(metric):
            continue
        rates, values = np.array(curve["points"][metric]).T
        axis.plot(rates, values, "--", label=f"{curve['name']} (published)", linewidth=1.3)
    scale = report["metrics"][metric]
    axis.set_xscale("log")
    axis.set(
        xlim=RATES,
        ylim=(22, highest + 2) if metric == "psnr" else None,
        xlabel="bits per pixel (logarithmic)",
        ylabel=f"{scale['label']} in {scale['unit']}" if scale["unit"] else scale["label"],
    )
    axis.set_xticks([0.05, 0.1, 0.2, 0.4, 0.8, 1.6], ["0.05", "0.1", "0.2", "0.4", "0.8", "1.6"])
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=130, format="png")
    # Few colours make the lossless file less than half as large, and nobody sees the difference.
    few = Image.open(drawn).convert("RGB").quantize(method=Image.Quantize.MAXCOVERAGE)
    few.convert("RGB").save(path, lossless=True, quality=100, method=6)


def at_rates(report: dict[str, Any], rates: list[float]) -> None:
    """Print a table: a row for each codec and metric, and a column for each rate in bits per pixel."""
    print(" | ".join(["codec", "metric", *(f"{rate:g}" for rate in rates)]))
    for metric in report["metrics"]:
        curves = measured(report, metric)
        curves |= {curve["name"]: curve["points"].get(metric, []) for curve in report["curves"]}
        for codec, points in curves.items():
            if not points:
                continue
            known, values = np.array(points).T
            found = np.interp(np.log(rates), np.log(known), values, left=np.nan, right=np.nan)
            print(" | ".join([codec, metric, *(f"{value:.4f}" for value in found)]))


def main() -> None:
    """Write the plot of a report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("report", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--metric", default="psnr")
    parser.add_argument("--rates", nargs="+", type=float, default=[0.12, 0.25, 0.5, 0.8, 1.6])
    chosen = parser.parse_args()
    report = json.loads(chosen.report.read_text(encoding="utf-8"))
    draw(report, chosen.metric, chosen.output)
    at_rates(report, chosen.rates)


if __name__ == "__main__":
    main()
