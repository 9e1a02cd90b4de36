"""The training loop: stretches of warm-up, stable and decay, on a CPU, a GPU or several (DESIGN §7).

A *stretch* is one fall of the learning rate. Its end leaves `weights.safetensors`: the averaged weights in
fp16, from which a later stretch starts with a short warm-up, on this machine or another. Within a stretch
`state.pt` holds everything else, so an interrupted stretch goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from bincodec.train.data import CropSampler, read_photos
from bincodec.train.objective import Objective, Terms, psnr
from bincodec.train.settings import OptimiserSettings, RunSettings
from bincodec.train.validate import validate

VALIDATION_QUALITIES = (0, 17, 33, 50, 67, 83, 100)
_LOG_EVERY = 100
_SAVE_EVERY_SECONDS = 300.0


@dataclasses.dataclass(frozen=True)
class Stretch:
    """How long a stretch lasts: a number of steps or of minutes (exactly one of them is set)."""

    steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            msg = "a stretch is measured either in steps or in minutes"
            raise ValueError(msg)

    def progress(self, step: int, seconds: float) -> float:
        """How much of the stretch is over, 0..1."""
        if self.steps is not None:
            return min(1.0, step / max(1, self.steps))
        assert self.minutes is not None
        return min(1.0, seconds / (60 * self.minutes))


def rate_factor(settings: OptimiserSettings, step: int, progress: float) -> float:
    """The learning rate as a share of its top: linear warm-up, stable, linear decay."""
    warm = min(1.0, (step + 1) / max(1, settings.warmup_steps))
    decay = min(1.0, (1.0 - progress) / settings.decay_share) if settings.decay_share > 0 else 1.0
    return warm * max(settings.final_rate, decay)


class Trainer:
    """Networks, optimisers and average of one run, and their going to and from the run folder."""

    def __init__(
        self, settings: RunSettings, folder: Path, device: torch.device, objective: Objective | None = None
    ) -> None:
        self.settings = settings
        self.folder = folder
        self.device = device
        torch.manual_seed(settings.data.seed + _rank())
        self.rng = np.random.default_rng((settings.data.seed, _rank()))
        objective = objective or Objective(settings.architecture, settings.objective)
        self.objective = objective.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = {name: p.detach().clone() for name, p in self.objective.named_parameters()}
        self.optimisers = self._make_optimisers()
        self.history: list[dict[str, Any]] = []
        """The stretches behind the weights that this run started from."""
        self.step = 0
        self.seconds = 0.0

    def _make_optimisers(self) -> list[torch.optim.Optimizer]:
        rates = self.settings.optimiser
        named = [(name, p) for name, p in self.objective.named_parameters() if p.requires_grad]
        # Modulations and quality tables are nn.Linear on 8 cosines: small, and better off with Adam.
        matrices = [p for name, p in named if p.ndim == 2 and _is_pointwise(name)]
        chosen = {id(p) for p in matrices}
        others = [p for _, p in named if id(p) not in chosen]
        return [
            torch.optim.Adam(others, rates.adam_rate, betas=(0.9, 0.99), fused=self.device.type == "cuda"),
            torch.optim.Muon(matrices, rates.muon_rate, weight_decay=0.0, momentum=0.95),
        ]

    def update(self, terms: Terms, factor: float) -> None:
        """One optimiser step at `factor` of the top learning rates, and the average's."""
        rates = (self.settings.optimiser.adam_rate, self.settings.optimiser.muon_rate)
        for optimiser, rate in zip(self.optimisers, rates, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = rate * factor
            optimiser.zero_grad(set_to_none=True)
        terms.loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.objective.parameters(), self.settings.optimiser.clip_norm)
        for optimiser in self.optimisers:
            optimiser.step()
        self.step += 1
        decay = min(self.settings.optimiser.ema_decay, (1 + self.step) / (10 + self.step))
        live = [p.detach() for p in self.objective.parameters()]
        torch._foreach_lerp_(list(self.average.values()), live, 1 - decay)

    def save_state(self) -> None:
        """Everything an interrupted stretch needs, written whole or not at all."""
        state = {
            "model": self.objective.state_dict(),
            "average": self.average,
            "optimisers": [o.state_dict() for o in self.optimisers],
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history,
            "rng": self.rng.bit_generator.state,
            "torch_rng": torch.get_rng_state(),
        }
        temporary = self.folder / "state.pt.tmp"
        torch.save(state, temporary)
        os.replace(temporary, self.folder / "state.pt")

    def load_state(self) -> None:
        """Go on with an interrupted stretch."""
        state = torch.load(self.folder / "state.pt", map_location=self.device, weights_only=True)
        self.objective.load_state_dict(state["model"])
        for name, value in state["average"].items():
            self.average[name].copy_(value)
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.step, self.seconds, self.history = state["step"], state["seconds"], state["history"]
        self.rng.bit_generator.state = state["rng"]
        torch.set_rng_state(state["torch_rng"].cpu())

    def start_from(self, weights: Path) -> None:
        """Begin a stretch from averaged weights."""
        loaded = load_file(weights)
        with safe_open(weights, framework="numpy") as file:
            self.history = json.loads((file.metadata() or {}).get("history", "[]"))
        self.objective.load_state_dict({name: value.float() for name, value in loaded.items()}, strict=True)
        for name, parameter in self.objective.named_parameters():
            self.average[name].copy_(parameter.detach())

    def save_weights(self, name: str = "weights.safetensors") -> None:
        """The averaged weights in fp16."""
        tensors = {key: value.detach().half().cpu().contiguous() for key, value in self.average.items()}
        metadata = {
            "architecture": self.settings.architecture.to_json(),
            "history": json.dumps([*self.history, self.summary()]),
        }
        temporary = self.folder / f"{name}.tmp"
        save_file(tensors, temporary, metadata)
        os.replace(temporary, self.folder / name)

    def summary(self) -> dict[str, Any]:
        """This stretch in a line: what it cost, and on what."""
        crops = self.step * self.settings.data.batch * int(os.environ.get("WORLD_SIZE", "1"))
        return {
            "steps": self.step,
            "crops": crops,
            "crop": self.settings.data.crop,
            "seconds": round(self.seconds, 1),
            "crops_per_second": round(crops / max(self.seconds, 1e-9), 1),
            "hardware": _hardware(self.device),
        }

    @contextlib.contextmanager
    def averaged(self) -> Iterator[Objective]:
        """The networks with their averaged weights put in for a while."""
        live = {name: p.detach().clone() for name, p in self.objective.named_parameters()}
        self._copy_in(self.average)
        try:
            yield self.objective
        finally:
            self._copy_in(live)

    def _copy_in(self, values: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.objective.named_parameters():
                parameter.copy_(values[name])


def run(
    settings: RunSettings,
    folder: Path,
    stretch: Stretch,
    *,
    start: Path | None = None,
    device: str = "cpu",
    compiled: bool = False,
    validation_photos: int | None = None,
) -> None:
    """Train one stretch in `folder`: a new one, from `start`'s weights, or the interrupted one found
    there."""
    folder.mkdir(parents=True, exist_ok=True)
    rank, world = _join_processes(device)
    where = torch.device(f"cuda:{rank % torch.cuda.device_count()}" if device == "cuda" else device)
    trainer = Trainer(settings, folder, where)
    resumed = (folder / "state.pt").exists()
    if resumed:
        trainer.load_state()
    elif start is not None:
        trainer.start_from(start)
    sampler = CropSampler(read_photos(settings.data.photos), settings.data.crop)
    first = start is None
    train_stretch(trainer, sampler, stretch, world=world, first=first, compiled=compiled)
    if rank == 0:
        _finish(trainer, validation_photos)
    if world > 1:
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def train_stretch(
    trainer: Trainer,
    sampler: CropSampler,
    stretch: Stretch,
    *,
    world: int = 1,
    first: bool = False,
    compiled: bool = False,
) -> None:
    """Train until the stretch is over. In a `first` one the rate's weight rises slowly."""
    module: Any = trainer.objective
    if compiled:
        module.autoencoder.compile()
        module.prior.compile()
    if world > 1:
        module = nn.parallel.DistributedDataParallel(module)
    began, last_save = time.monotonic() - trainer.seconds, time.monotonic()
    bar = tqdm(initial=trainer.step, total=stretch.steps, unit="step", disable=None if _rank() == 0 else True)
    while True:
        trainer.seconds = time.monotonic() - began
        progress = _agreed(stretch.progress(trainer.step, trainer.seconds), trainer.device, world)
        if progress >= 1.0:
            break
        terms = _forward(trainer, module, sampler, progress if first else 1.0)
        trainer.update(terms, rate_factor(trainer.settings.optimiser, trainer.step, progress))
        bar.update()
        if trainer.step % _LOG_EVERY == 0 and _rank() == 0:
            bar.set_postfix(_log(trainer, terms))
        if _rank() == 0 and time.monotonic() - last_save > _SAVE_EVERY_SECONDS:
            trainer.save_state()
            last_save = time.monotonic()
    bar.close()


def _forward(trainer: Trainer, module: Any, sampler: CropSampler, progress: float) -> Terms:
    settings, device = trainer.settings, trainer.device
    crops = sampler.batch(settings.data.batch, trainer.rng).to(device, non_blocking=True)
    image = (crops.float() / 255).contiguous(memory_format=torch.channels_last)
    # Qualities are spread evenly over the batch: less noise than independent draws.
    places = (np.arange(len(crops)) + trainer.rng.random(len(crops))) / len(crops)
    quality = torch.from_numpy(trainer.rng.permutation(places)).float().to(device)
    ramp = settings.optimiser.rate_ramp_share
    rate_weight = min(1.0, 0.1 + 0.9 * progress / ramp) if ramp > 0 else 1.0
    with torch.autocast(device.type, torch.bfloat16):
        terms: Terms = module(image, quality, rate_weight, trainer.rng)
    return terms


def _log(trainer: Trainer, terms: Terms) -> dict[str, str]:
    row = {
        "step": trainer.step,
        "seconds": round(trainer.seconds, 1),
        "loss": terms.loss.item(),
        "bits_per_pixel": terms.bits_per_pixel.item(),
        "other_bits_per_pixel": terms.other_bits_per_pixel.item(),
        "psnr": psnr(terms.mse.item()),
    }
    with (trainer.folder / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(row) + "\n")
    return {"bpp": f"{row['bits_per_pixel']:.3f}", "PSNR": f"{row['psnr']:.2f}", "loss": f"{row['loss']:.3f}"}


def _finish(trainer: Trainer, validation_photos: int | None) -> None:
    """Save the averaged weights, drop the interrupted state, and append the validation curve to the log."""
    trainer.save_weights()
    (trainer.folder / "state.pt").unlink(missing_ok=True)
    photos = read_photos(trainer.settings.data.valid)[:validation_photos]
    with trainer.averaged() as objective:
        points = validate(objective, photos, VALIDATION_QUALITIES)
    row = {
        **trainer.summary(),
        "validation": [dataclasses.asdict(point) for point in points],
    }
    with (trainer.folder / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(row) + "\n")
    for point in points:
        tqdm.write(f"quality {point.quality:3d}: {point.bits_per_pixel:.4f} bpp, {point.psnr:.3f} dB")


def _is_pointwise(name: str) -> bool:
    small = ("modulation", "stem_quality", "head_quality", "gain", "encoder.stem", "encoder.head", "head.")
    return not any(part in name for part in small)


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({platform.machine()}), {torch.get_num_threads()} thread(s)"


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))


def _join_processes(device: str) -> tuple[int, int]:
    """Join the processes that `torchrun` started, if it did: (rank, number of processes)."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        torch.distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    return _rank(), world


def _agreed(progress: float, device: torch.device, world: int) -> float:
    """All processes stop at the same step, also when a stretch is measured in minutes."""
    if world == 1:
        return progress
    shared = torch.tensor([progress], device=device)
    torch.distributed.broadcast(shared, 0)
    return float(shared.item())
