"""Short runs of one configuration with one thing changed each, and what each change costs.

    python benchmarks/ablation.py CONFIG OUT --steps 400 --photos PHOTOS --valid VALID [--only NAME]...

Every run starts from scratch and makes as many steps on one thread. The table gives seconds a step, and
BD-rate against `base`, by bits that the float prior estimates on the validation photos plus what a file adds.
A run whose folder is finished is not repeated, so several processes may share the work by --only.
"""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import torch

from bincodec.eval.curves import NotComparable, bd_rate
from bincodec.train.loop import Stretch, run
from bincodec.train.settings import RunSettings, read_settings, with_data

FILE_BITS_PER_PIXEL = 0.002
"""About 96 bytes in a Kodak photo."""

VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "base": {},
    "random start": {"optimiser": {"start": "random", "rate_ramp_share": 0.35}},
    "path at Adam's full rate": {"optimiser": {"path_rate": 2e-3}},
    "price at a tenth at first, for 35 %": {"optimiser": {"rate_ramp_share": 0.35}},
    "J = 1": {"architecture": {"maximum_level": (1, 1, 1, 1, 1)}},
    "J = 2": {"architecture": {"maximum_level": (2, 2, 2, 2, 2)}},
    "J = 6": {"architecture": {"maximum_level": (6, 6, 6, 6, 6)}},
    "J = 14": {"architecture": {"maximum_level": (14, 14, 14, 14, 14)}},
    "128 units": {
        "architecture": {
            "layer_units": (8, 16, 40, 64),
            "maximum_level": (126, 126, 62, 30),
            "layer_phases": (4, 2, 2, 2),
        }
    },
    "192 units": {"architecture": {"layer_units": (8, 16, 40, 64, 64)}},
    "5 passes: no phases": {"architecture": {"layer_phases": (1, 1, 1, 1, 1)}},
    "10 passes: checkerboards": {"architecture": {"layer_phases": (2, 2, 2, 2, 2)}},
    "16 passes: quadtrees first": {"architecture": {"layer_phases": (4, 4, 4, 2, 2)}},
    "4 passes: one layer, quadtree": {
        "architecture": {"layer_units": (256,), "maximum_level": (126,), "layer_phases": (4,)}
    },
    "prior of width 128": {"architecture": {"prior_width": 128}},
    "prior of 3 blocks": {"architecture": {"prior_blocks": 3}},
    "autoencoder of 2 + 2 blocks": {"architecture": {"blocks_8": 2, "blocks_16": 2}},
    "autoencoder of 1 + 5 blocks": {"architecture": {"blocks_8": 1, "blocks_16": 5}},
    "8 crops of 192": {"data": {"batch": 8, "crop": 192}},
}


def changed(settings: RunSettings, changes: dict[str, dict[str, Any]]) -> RunSettings:
    """The settings with fields of their tables replaced."""
    tables = {
        name: dataclasses.replace(getattr(settings, name), **fields) for name, fields in changes.items()
    }
    return dataclasses.replace(settings, **tables)


def finished(folder: Path) -> dict[str, Any] | None:
    """The last line of a finished run's log."""
    log = folder / "log.jsonl"
    if not (folder / "weights.safetensors").exists() or not log.exists():
        return None
    last: dict[str, Any] = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
    return last if "validation" in last else None


def curve(row: dict[str, Any]) -> list[tuple[float, float]]:
    """Estimated bits per pixel and PSNR."""
    return [(point["bits_per_pixel"] + FILE_BITS_PER_PIXEL, point["psnr"]) for point in row["validation"]]


def line(name: str, row: dict[str, Any], base: dict[str, Any]) -> str:
    """One row of the table, in Markdown."""
    points = curve(row)
    try:
        rate = bd_rate(curve(base), points)
        percent = f"{rate.percent:+.1f} %"
        span = f"{rate.low:.1f}-{rate.high:.1f}"
    except NotComparable as reason:
        percent, span = "none", str(reason)
    reach = f"{points[0][0]:.3f}-{points[-1][0]:.3f}"
    seconds = f"{row['seconds'] / row['steps']:.2f}"
    return f"| {name} | {seconds} | {reach} | {points[-1][1]:.2f} | {percent} | {span} |"


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--valid", type=Path)
    parser.add_argument("--only", action="append", choices=list(VARIANTS))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    settings = with_data(read_settings(chosen.config), photos=chosen.photos, valid=chosen.valid)
    for name in chosen.only or VARIANTS:
        folder = chosen.out / name.replace(" ", "-").replace("/", "-")
        if finished(folder) is None:
            run(changed(settings, VARIANTS[name]), folder, Stretch(steps=chosen.steps))
    rows = {name: finished(chosen.out / name.replace(" ", "-").replace("/", "-")) for name in VARIANTS}
    base = rows["base"]
    if base is None:
        return
    print("| change | seconds a step | bits per pixel | highest PSNR, dB | BD-rate against base | over, dB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, row in rows.items():
        if row is not None:
            print(line(name, row, base))


if __name__ == "__main__":
    main()
