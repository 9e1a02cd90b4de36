"""The training loop: stages of warm-up, stable and decay, on a CPU or on one or more GPUs (DESIGN §7).

A *stage* is one run of the learning-rate schedule. At its end, it saves `weights.safetensors`: the averaged
weights in fp16. A later stage can start from them with a short warm-up, on this machine or another one.
During a stage, `state.pt` holds everything that is needed to continue after an interruption.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from bincodec.io import files
from bincodec.train.codes import Codes, CodeSampler, PriorObjective, encode
from bincodec.train.data import (
    Batch,
    CropSampler,
    Photo,
    Sampler,
    batches,
    read_labelled,
    read_photos,
    spread,
)
from bincodec.train.settings import OptimiserSettings, RunSettings, for_prior
from bincodec.train.terms import Terms, psnr
from bincodec.train.trainer import Trainer, rank
from bincodec.train.validate import validate

VALIDATION_QUALITIES = (0, 17, 33, 50, 67, 83, 100)
_LOG_EVERY = 100
_SAVE_EVERY_SECONDS = 300.0


@dataclasses.dataclass(frozen=True)
class Stage:
    """The length of a stage: either a number of steps or a number of minutes."""

    steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            msg = "a stage needs either a number of steps or a number of minutes"
            raise ValueError(msg)
        if (self.steps or self.minutes or 0) <= 0:
            msg = f"the length of a stage must be positive, not {self.steps} steps or {self.minutes} minutes"
            raise ValueError(msg)

    def progress(self, step: int, seconds: float) -> float:
        """Return the share of the stage that is done, 0..1."""
        if self.steps is not None:
            return min(1.0, step / max(1, self.steps))
        assert self.minutes is not None
        return min(1.0, seconds / (60 * self.minutes))


def rate_factor(settings: OptimiserSettings, step: int, progress: float) -> float:
    """Return the learning rate as a share of its top: linear warm-up, stable, linear decay."""
    warm = min(1.0, (step + 1) / max(1, settings.warmup_steps))
    decay = min(1.0, (1.0 - progress) / settings.decay_share) if settings.decay_share > 0 else 1.0
    return warm * max(settings.final_rate, decay)


def run(
    settings: RunSettings,
    folder: Path,
    stage: Stage,
    *,
    start: Path | None = None,
    device: str = "cpu",
    compiled: bool = False,
    workers: int = 0,
    validation_photos: int | None = None,
    prior_only: bool = False,
    decoder_only: bool = False,
    revived: bool = False,
) -> None:
    """Train one stage in `folder`. If `folder` holds an interrupted stage, continue it.

    A new stage starts from the weights in `start`, if given. With `prior_only`, the autoencoder does not
    change. With `decoder_only`, only the decoder changes. With `revived`, the silent units of `start` get new
    weights. `validation_photos` is the number of photos that the stage is validated with, or None for all.

    Raises:
        ValueError: if `folder` holds a finished stage.
    """
    folder.mkdir(parents=True, exist_ok=True)
    world = _join_processes(device)
    where = torch.device(device)
    if where.type == "cuda" and world > 1:
        where = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(where)
    if prior_only:
        settings = for_prior(settings)
    trainer = Trainer(settings, folder, where)
    if prior_only:
        trainer.learn_prior_only()
    if decoder_only:
        trainer.learn_decoder_only()
    resumed = (folder / "state.pt").exists()
    if not resumed and (folder / "weights.safetensors").exists():
        msg = f"{folder} holds a finished stage: name another folder, and start from its weights.safetensors"
        raise ValueError(msg)
    sampler, _ = read_sampler(settings)
    if resumed:
        trainer.load_state()
    elif start is not None:
        trainer.start_from(start, sampler, revived=revived)
    elif settings.optimiser.start == "components":
        trainer.start_from_components(sampler)
    learned: CropSampler | CodeSampler = sampler
    if prior_only:
        learned = encode(
            trainer.objective, sampler, settings.prior.codes, np.random.default_rng(_seed(trainer))
        )
    if rank() == 0:
        _drop_rows_after(folder / "log.jsonl", trainer.step)
    # Photos that cannot be read are noticed here, and not after hours.
    validated = validation_set(settings, validation_photos)
    train_stage(trainer, learned, stage, world=world, compiled=compiled, workers=workers)
    if rank() == 0:
        # If the validation is interrupted, the same command repeats it.
        trainer.save_state()
        _finish(trainer, validated)
    if world > 1:
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def read_sampler(settings: RunSettings) -> tuple[CropSampler, dict[str, list[str]]]:
    """Return the training crops and, if the model has classes, their names for its card.

    Raises:
        ValueError: if the number of classes is not the one of the architecture.
    """
    data, classes = settings.data, settings.architecture.classes
    if not classes:
        return CropSampler(read_photos(data.photos, data.photos_under), data.crops), {}
    found = read_labelled(data.photos, data.photos_under)
    if len(found.names) != classes:
        msg = f"{data.photos} holds {len(found.names)} classes, not {classes}: {', '.join(found.names)}"
        raise ValueError(msg)
    return CropSampler(found.photos, data.crops, found.labels), {"classes": list(found.names)}


def validation_set(settings: RunSettings, count: int | None) -> list[Photo]:
    """Return `count` validation photos, evenly spread, or all of them if it is None."""
    return spread(read_photos(settings.data.valid, settings.data.valid_under), count)


def train_stage(
    trainer: Trainer,
    sampler: CropSampler | CodeSampler,
    stage: Stage,
    *,
    world: int = 1,
    compiled: bool = False,
    workers: int = 0,
    resumable: bool = True,
) -> None:
    """Train until the stage is over. The weight of the rate of fresh channels rises slowly.

    If the stage is `resumable`, its state is saved every few minutes, so that it can continue after an
    interruption. If the sampler draws codes, only the prior learns.
    """
    objective = trainer.objective
    module: Any = objective
    if isinstance(sampler, CodeSampler):
        module = PriorObjective(objective, trainer.settings.prior)
    if compiled:
        for network in (objective.autoencoder.encoder, objective.autoencoder.decoder, objective.prior):
            network.compile()
    if world > 1:
        module = nn.parallel.DistributedDataParallel(module)
        if objective.appearance is not None:
            objective.appearance.share()
    began, last_save = time.monotonic() - trainer.seconds, time.monotonic()
    bar = tqdm(initial=trainer.step, total=stage.steps, unit="step", disable=None if rank() == 0 else True)
    data = trainer.settings.data
    recent: list[Terms] = []
    source: Sampler[Batch | Codes] = sampler
    for batch in batches(source, data.batch, _seed(trainer), trainer.step, workers):
        trainer.seconds = time.monotonic() - began
        progress = _agreed(stage.progress(trainer.step, trainer.seconds), trainer.device, world)
        if progress >= 1.0:
            break
        terms = _forward(trainer, module, batch, progress)
        trainer.update(terms, rate_factor(trainer.settings.optimiser, trainer.step, progress))
        bar.update()
        if rank() == 0:
            recent.append(terms.detached())
            if trainer.step % _LOG_EVERY == 0:
                bar.set_postfix(_log(trainer, Terms.mean(recent)))
                recent.clear()
        if resumable and rank() == 0 and time.monotonic() - last_save > _SAVE_EVERY_SECONDS:
            trainer.save_state()
            last_save = time.monotonic()
    bar.close()


def _forward(trainer: Trainer, module: Any, batch: Batch | Codes, progress: float) -> Terms:
    settings, device = trainer.settings, trainer.device
    rng = np.random.default_rng((*_seed(trainer), trainer.step, 1))
    torch.manual_seed(int(rng.integers(2**62)))
    if isinstance(batch, Codes):
        levels, labels, at = (part.to(device, non_blocking=True) for part in batch)
        with torch.autocast(device.type, torch.bfloat16):
            of_codes: Terms = module(levels, at, rng, labels)
        return of_codes
    crops = batch.crops
    image = (crops.to(device, non_blocking=True).float() / 255).contiguous(memory_format=torch.channels_last)
    # Qualities are spread evenly over the batch. This has less noise than independent draws.
    places = (np.arange(len(crops)) + rng.random(len(crops))) / len(crops)
    qualities = settings.objective.quality_at(places)
    quality = torch.from_numpy(rng.permutation(qualities)).float().to(device)
    ramp = settings.optimiser.rate_ramp_share
    rate_weight = min(1.0, 0.1 + 0.9 * progress / ramp) if ramp > 0 else 1.0
    if trainer.objective.appearance is not None:
        trainer.objective.appearance.set_progress(progress)
    with torch.autocast(device.type, torch.bfloat16):
        terms: Terms = module(image, quality, rate_weight, rng, batch.labels.to(device))
    return terms


def _seed(trainer: Trainer) -> tuple[int, ...]:
    """Return the seed of all random numbers of a stage. A later stage sees other crops than the first."""
    return (trainer.settings.data.seed, len(trainer.history), rank())


def _log(trainer: Trainer, terms: Terms) -> dict[str, str]:
    """Append the means over the steps since the last row to the log, and return the ones to show."""
    row: dict[str, Any] = {
        "step": trainer.step,
        "seconds": round(trainer.seconds, 1),
        "loss": terms.loss.item(),
        "bits_per_pixel": terms.bits_per_pixel.item(),
        "other_bits_per_pixel": terms.other_bits_per_pixel.item(),
        "psnr": None if trainer.objective.prior_only else psnr(terms.mse.item()),
    }
    if trainer.objective.appearance is not None:
        row |= {name: getattr(terms, name).item() for name in ("perceptual", "critic", "factor")}
    with (trainer.folder / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(row) + "\n")
    shown = {"bpp": "bits_per_pixel", "PSNR": "psnr", "LPIPS": "perceptual", "loss": "loss"}
    return {title: f"{row[name]:.3f}" for title, name in shown.items() if row.get(name) is not None}


def _drop_rows_after(log: Path, step: int) -> None:
    """Remove the rows of steps that are repeated, because they were done after the state was last saved."""
    if log.exists():
        lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if json.loads(line).get("step", math.inf) <= step]
        files.write(log, "".join(kept).encode())


def _finish(trainer: Trainer, photos: list[Photo]) -> None:
    """Save the averaged weights, append the validation curve to the log, and delete the saved state."""
    trainer.save_weights()
    with trainer.averaged() as objective:
        points = validate(objective, photos, VALIDATION_QUALITIES)
    row = {
        **trainer.summary(),
        "validation": [dataclasses.asdict(point) for point in points],
    }
    with (trainer.folder / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(row) + "\n")
    (trainer.folder / "state.pt").unlink(missing_ok=True)
    for point in points:
        tqdm.write(f"quality {point.quality:3d}: {point.bits_per_pixel:.4f} bpp, {point.psnr:.3f} dB")


def _join_processes(device: str) -> int:
    """Join the processes that `torchrun` started, if it did, and return their number."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        torch.distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    return world


def _agreed(progress: float, device: torch.device, world: int) -> float:
    """Return the progress of the first process, so that all processes stop at the same step."""
    if world == 1:
        return progress
    shared = torch.tensor([progress], device=device)
    torch.distributed.broadcast(shared, 0)
    return float(shared.item())
