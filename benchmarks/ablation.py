"""Train short runs of one configuration with one change each, and measure the effect of each change.

    python benchmarks/ablation.py CONFIG OUT --steps 400 --photos PHOTOS --valid VALID [--only NAME]...
    python benchmarks/ablation.py CONFIG OUT --photos PHOTOS --valid VALID --time

Every run starts from scratch and uses one thread. The table gives the multiply-adds for a decoded pixel
(decoder, and all passes of the prior), the raw bits as a ceiling, and the BD-rate against `base`. Rates are
the bits that the float prior estimates on the validation photos, plus what a file adds. A finished run is not
repeated, so several processes can share the work with --only. `--time` measures the processor seconds of a
step and trains nothing.
"""

import argparse
import contextlib
import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ablation_networks as networks
import numpy as np
import torch

from bincodec.eval.curves import NotComparable, bd_rate
from bincodec.eval.networks import multiply_adds
from bincodec.model.architecture import STRIDE
from bincodec.train.data import CropSampler
from bincodec.train.loop import VALIDATION_QUALITIES, Stage, read_sampler, train_stage, validation_set
from bincodec.train.objective import Objective
from bincodec.train.principal import start_from_components
from bincodec.train.settings import RunSettings, read_settings, with_data
from bincodec.train.trainer import Trainer
from bincodec.train.validate import validate

FILE_BITS_PER_PIXEL = 0.002
"""What a file adds: about 96 bytes in a Kodak photo."""

SHOWN = (0, 50, 100)
"""The qualities whose rate and PSNR are in the table."""

WARM_STEPS, TIMED_STEPS = 3, 12
SIDE = 256
"""The side of the picture for which multiply-adds are counted."""


def plain(settings: RunSettings) -> Objective:
    """Return the codec's own objective."""
    return Objective(settings.architecture, settings.objective)


@dataclasses.dataclass(frozen=True)
class Variant:
    """The changes of the settings, by table, and what is trained.

    Several `objectives` are trained one after another with equal parts of the steps. Each starts from the
    weights of the one before. `share` is the share of the steps that are made. It is below 1 if a step takes
    longer and all runs should take the same time.
    """

    changes: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    objectives: tuple[Callable[[RunSettings], Objective], ...] = (plain,)
    start: Callable[[Objective, CropSampler, np.random.Generator], None] = start_from_components
    costs: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext
    share: float = 1.0

    def settings(self, base: RunSettings) -> RunSettings:
        """Return the settings of the base with the changed fields replaced."""
        tables = {
            name: dataclasses.replace(getattr(base, name), **fields) for name, fields in self.changes.items()
        }
        return dataclasses.replace(base, **tables)


def architecture(**fields: Any) -> Variant:
    """Return a variant with another architecture, trained in the same way as the codec's own."""
    return Variant({"architecture": fields})


def at_stride_8(prior_width: int) -> Variant:
    """Return a variant with a quarter of the channels at four times the positions.

    Its blocks need as many multiply-adds as those of the base.
    """
    channels = {"layer_channels": (2, 4, 10, 16, 32), "blocks_8": 5, "prior_width": prior_width}
    return Variant({"architecture": channels}, (networks.StrideEight,), networks.start_at_8)


VARIANTS: dict[str, Variant] = {
    "base": Variant(),
    "random start": Variant({"optimiser": {"start": "random", "rate_ramp_share": 0.35}}),
    "path at Adam's full rate": Variant({"optimiser": {"path_rate": 2e-3}}),
    "rate at a tenth at first, for 35 %": Variant({"optimiser": {"rate_ramp_share": 0.35}}),
    "J = 1": architecture(maximum_level=(1, 1, 1, 1, 1)),
    "J = 2": architecture(maximum_level=(2, 2, 2, 2, 2)),
    "J = 6": architecture(maximum_level=(6, 6, 6, 6, 6)),
    "J = 14": architecture(maximum_level=(14, 14, 14, 14, 14)),
    "128 channels": architecture(
        layer_channels=(8, 16, 40, 64), maximum_level=(126, 126, 62, 30), layer_phases=(4, 2, 2, 2)
    ),
    "192 channels": architecture(layer_channels=(8, 16, 40, 64, 64)),
    "128 channels more, by a shortcut": architecture(
        layer_channels=(8, 16, 40, 64, 128, 128),
        maximum_level=(126, 126, 62, 30, 30, 62),
        layer_phases=(4, 2, 2, 2, 2, 1),
    ),
    "stride 8, 64 channels": at_stride_8(prior_width=104),
    "stride 8, 64 channels, prior of width 192": at_stride_8(prior_width=192),
    "5 passes: no phases": architecture(layer_phases=(1, 1, 1, 1, 1)),
    "10 passes: checkerboards": architecture(layer_phases=(2, 2, 2, 2, 2)),
    "16 passes: quadtrees first": architecture(layer_phases=(4, 4, 4, 2, 2)),
    "4 passes: one layer, quadtree": architecture(
        layer_channels=(256,), maximum_level=(126,), layer_phases=(4,)
    ),
    "mixtures of two logistics": Variant(objectives=(networks.with_mixtures,), costs=networks.mixture_costs),
    "two stages": Variant(objectives=(networks.RateWithoutContext, networks.prior_alone)),
    "three passes a crop": Variant(objectives=(networks.RateFromDraws,)),
    "three passes a crop, equal time": Variant(objectives=(networks.RateFromDraws,), share=0.78),
    "all layers at a phase each, equal time": Variant(objectives=(networks.RateFromAllLayers,), share=0.65),
    "prior of width 128": architecture(prior_width=128),
    "prior of 3 blocks": architecture(prior_blocks=3),
    "autoencoder of 2 + 2 blocks": architecture(blocks_8=2, blocks_16=2),
    "autoencoder of 1 + 5 blocks": architecture(blocks_8=1, blocks_16=5),
    "8 crops of 192": Variant({"data": {"batch": 8, "crop": 192}}),
}


def begin(variant: Variant, settings: RunSettings, sampler: CropSampler, stage: int = 0) -> Objective:
    """Return the networks of a stage before their first step."""
    torch.manual_seed(settings.data.seed)
    objective = variant.objectives[stage](settings)
    if settings.optimiser.start == "components":
        variant.start(objective, sampler, np.random.default_rng(settings.data.seed))
    return objective


def train(variant: Variant, base: RunSettings, folder: Path, steps: int) -> None:
    """Train a variant, and write its validation curve as the last line of its log."""
    settings, stages = variant.settings(base), len(variant.objectives)
    rates = settings.optimiser
    rates = dataclasses.replace(rates, warmup_steps=rates.warmup_steps // stages)
    settings = dataclasses.replace(settings, optimiser=rates)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log.jsonl").unlink(missing_ok=True)
    sampler, _ = read_sampler(settings)
    weights = folder / "weights.safetensors"
    with variant.costs():
        for stage in range(stages):
            objective = begin(variant, settings, sampler, stage)
            trainer = Trainer(settings, folder, torch.device("cpu"), objective)
            if stage:
                trainer.start_from(weights)
            stage = Stage(steps=round(variant.share * steps / stages))
            train_stage(trainer, sampler, stage, resumable=False)
            trainer.save_weights()
        with trainer.averaged() as averaged:
            points = validate(averaged, validation_set(settings, None), VALIDATION_QUALITIES)
    parts = [*trainer.history, trainer.summary()]
    row = {
        **trainer.summary(),
        "steps": sum(part["steps"] for part in parts),
        "seconds": sum(part["seconds"] for part in parts),
        "validation": [dataclasses.asdict(point) for point in points],
    }
    with (folder / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(row) + "\n")


def seconds_a_step(variant: Variant, base: RunSettings, folder: Path) -> list[float]:
    """Return the processor seconds of a step in each stage. The trained weights are not kept."""
    settings = variant.settings(base)
    sampler, _ = read_sampler(settings)
    folder.mkdir(parents=True, exist_ok=True)
    result = []
    with variant.costs():
        for stage in range(len(variant.objectives)):
            objective = begin(variant, settings, sampler, stage)
            trainer = Trainer(settings, folder, torch.device("cpu"), objective)
            marks = []
            for steps in (WARM_STEPS, WARM_STEPS + TIMED_STEPS):
                train_stage(trainer, sampler, Stage(steps=steps), resumable=False)
                marks.append(time.process_time())
            result.append((marks[1] - marks[0]) / TIMED_STEPS)
    return result


def finished(folder: Path) -> dict[str, Any] | None:
    """Return the last line of a run's log if the run is finished."""
    log = folder / "log.jsonl"
    if not (folder / "weights.safetensors").exists() or not log.exists():
        return None
    last: dict[str, Any] = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
    return last if "validation" in last else None


@torch.no_grad()
def decoded_pixel(variant: Variant, base: RunSettings) -> tuple[float, float, float]:
    """Return the raw bits of a pixel, and thousand multiply-adds of the decoder and of all prior passes."""
    shape = variant.settings(base).architecture
    objective = variant.objectives[-1](variant.settings(base))
    quality, pixels = torch.zeros(1), SIDE**2
    value = objective.autoencoder.analyse(torch.zeros(1, 3, SIDE, SIDE), quality)
    positions = value[0, 0].numel()
    keep = torch.zeros(1, shape.layers, *value.shape[2:])
    decoder = multiply_adds(lambda: objective.autoencoder.synthesise(value, quality))
    whole = multiply_adds(lambda: objective.prior(value, keep, quality))
    # A pass runs the head for its own channels and positions only, so all passes together run it once.
    heads = (weight for name, weight in objective.prior.named_parameters() if name.startswith("head"))
    head = positions * sum(weight.numel() for weight in heads if weight.shape[-1] == shape.prior_width)
    prior = sum(shape.layer_phases) * (whole - head) + head
    return (
        shape.raw_bits_per_pixel * STRIDE**2 * positions / pixels,
        decoder / pixels / 1e3,
        prior / pixels / 1e3,
    )


def curve(row: dict[str, Any]) -> list[tuple[float, float]]:
    """Return points of estimated bits per pixel and PSNR."""
    return [(point["bits_per_pixel"] + FILE_BITS_PER_PIXEL, point["psnr"]) for point in row["validation"]]


def line(name: str, row: dict[str, Any], base: dict[str, Any], settings: RunSettings, times: Path) -> str:
    """Return one row of the table in Markdown."""
    points = curve(row)
    try:
        rate = bd_rate(curve(base), points)
        percent, span = f"{rate.percent:+.1f} %", f"{rate.low:.1f}-{rate.high:.1f}"
    except NotComparable as reason:
        percent, span = "none", str(reason)
    ceiling, decoder, prior = decoded_pixel(VARIANTS[name], settings)
    seconds = " + ".join(f"{s:.2f}" for s in json.loads(times.read_text())) if times.exists() else "-"
    shown = [points[VALIDATION_QUALITIES.index(quality)] for quality in SHOWN]
    cells = [
        name,
        str(row["steps"]),
        seconds,
        f"{decoder:.1f} + {prior:.1f}",
        f"{ceiling:.2f}",
        *(f"{bits:.3f} / {psnr:.1f}" for bits, psnr in shown),
        percent,
        span,
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Train or time what is missing, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--valid", type=Path)
    parser.add_argument("--only", action="append", choices=list(VARIANTS))
    parser.add_argument("--time", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    settings = with_data(read_settings(chosen.config), photos=chosen.photos, valid=chosen.valid)
    folders = {name: chosen.out / name.replace(" ", "-").replace("/", "-") for name in VARIANTS}
    for name in chosen.only or VARIANTS:
        times = folders[name] / "seconds.json"
        if chosen.time and not times.exists():
            seconds = seconds_a_step(VARIANTS[name], settings, folders[name])
            times.write_text(json.dumps(seconds), encoding="utf-8")
        elif not chosen.time and finished(folders[name]) is None:
            train(VARIANTS[name], settings, folders[name], chosen.steps)
    rows = {name: finished(folder) for name, folder in folders.items()}
    base = rows["base"]
    if base is None:
        return
    qualities = " | ".join(f"quality {quality}: bits per pixel / dB" for quality in SHOWN)
    print(
        "| change | steps | seconds a step | decoder + prior, kMAC a pixel | raw ceiling, bits per pixel |"
        f" {qualities} | BD-rate against base | over, dB |"
    )
    print("| --- |" + 9 * " ---: |")
    for name, row in rows.items():
        if row is not None:
            print(line(name, row, base, settings, folders[name] / "seconds.json"))


if __name__ == "__main__":
    main()
