"""Compare a binary code with a vector-quantised code of as many bits a position, each with its own prior.

    python benchmarks/binary_or_vq.py CONFIG OUT --autoencoder-steps 1500 --prior-steps 1000 --samples 64

CONFIG names a binary model (J = 1). Both models use its encoder, decoder and prior blocks, and have the same
budget. They are trained on one thread in three stages with the same steps, batches and crops. The first stage
trains all networks, and the second only the prior. The third is short, has a tenth of the learning rates and
a frozen encoder, and gives the binary model its integers. Both models then draw with the same chain at
temperature 1. Classes are drawn as often as they occur in training.

OUT/binary-S and OUT/vq-S hold the pictures that were sampled in S steps, OUT/real the validation pictures,
and OUT/binary-coded and OUT/vq-coded their reconstructions. A finished stage is not repeated.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from vq import Codebooks, VqObjective, sample

from bincodec import Codec
from bincodec.generation import samplers
from bincodec.model.architecture import STRIDE
from bincodec.model.integer import KEEP_KNOWN
from bincodec.train.data import CropSampler, read_photos
from bincodec.train.finish import RATE_SHARE, finish
from bincodec.train.loop import Stage, read_sampler, run, train_stage
from bincodec.train.objective import Objective
from bincodec.train.settings import RunSettings, read_settings, with_data
from bincodec.train.terms import psnr
from bincodec.train.trainer import Trainer

QUALITY = 100
_BATCH = 32
_VALIDATED = 32
"""The number of pictures for the validation of the training loop, which is not reported here."""
_WARM_STEPS, _TIMED_STEPS = 3, 15

STAGES = ("all networks", "prior alone", "end")


@dataclasses.dataclass(frozen=True)
class Side:
    """One of the two models: how it reconstructs images, how it draws, and how it was trained.

    `fresh` makes its networks as they are before training.
    """

    reconstruct: Callable[[Tensor], Tensor]
    draw: Callable[[int, Tensor], list[Image.Image]]
    history: list[dict[str, Any]]
    weights: dict[str, int]
    fresh: Callable[[], Objective]


def binary(settings: RunSettings, out: Path, steps: tuple[int, int, int], names: list[str]) -> Side:
    """Train the binary model, or load it if it is finished."""
    folders = out / "binary-joint", out / "binary-prior", out / "binary"
    if not (folders[0] / "weights.safetensors").exists():
        run(settings, folders[0], Stage(steps=steps[0]), validation_photos=_VALIDATED)
    if not (folders[1] / "weights.safetensors").exists():
        prior_alone(settings, folders[0] / "weights.safetensors", folders[1], steps[1])
    model = folders[2] / "binary.safetensors"
    if not model.exists():
        weights = folders[1] / "weights.safetensors"
        finish(settings, weights, folders[2], "binary", Stage(steps=steps[2]), validation_photos=_VALIDATED)
    codec = Codec.load(str(model))
    networks = codec.model.autoencoder

    def reconstruct(image: Tensor) -> Tensor:
        at = torch.full((len(image),), QUALITY / 100)
        return networks.synthesise(networks.quantise(networks.analyse(image, at)), at)

    prior = sum(layer.weight.numel() for _, layer in codec.model.prior.network.named_layers())
    return Side(
        reconstruct,
        lambda noise_steps, labels: draw_binary(codec, settings.data.crop, names, noise_steps, labels),
        codec.model.card.card["training"],
        {**parameters(networks), "prior": prior},
        lambda: Objective(settings.architecture, settings.objective),
    )


def prior_alone(settings: RunSettings, start: Path, folder: Path, steps: int) -> None:
    """Train the binary model's prior on batches of crops, as that of the other model is trained.

    `bincodec train --prior-only` would take more codes, which are in memory.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sampler, _ = read_sampler(settings)
    trainer = Trainer(settings, folder, torch.device("cpu"))
    trainer.learn_prior_only()
    trainer.start_from(start, sampler)
    train_stage(trainer, sampler, Stage(steps=steps), resumable=False)
    trainer.save_weights()


def draw_binary(
    codec: Codec, side: int, names: list[str], noise_steps: int, labels: Tensor
) -> list[Image.Image]:
    """Draw one picture for each label. 0 means no class."""
    codes = [
        codec.sample(
            1,
            (side, side),
            QUALITY,
            sampler="diffusion",
            steps=noise_steps,
            seed=seed,
            label=names[label - 1] if label else None,
            temperature=1.0,
            guidance=0.0 if label else None,
        )[0]
        for seed, label in enumerate(labels.tolist())
    ]
    return [codec.decode(code) for code in codes]


def vq(settings: RunSettings, out: Path, steps: tuple[int, int, int], codebooks: Codebooks) -> Side:
    """Train the vector-quantised model, or load it if it is finished."""
    torch.manual_seed(settings.data.seed)
    objective = VqObjective(settings.architecture, settings.objective, codebooks)
    folder = out / "vq"
    folder.mkdir(parents=True, exist_ok=True)
    history: list[dict[str, Any]] = []
    for number, stage in enumerate(STAGES):
        finished = folder / f"{stage.replace(' ', '-')}.pt"
        if not finished.exists():
            sampler, _ = read_sampler(settings)
            history = [*history, train_vq(settings, folder, objective, sampler, steps, number, history)]
            torch.save({"model": objective.state_dict(), "history": history}, finished)
        saved = torch.load(finished, weights_only=True)
        objective.load_state_dict(saved["model"])
        history = saved["history"]
    objective.eval().requires_grad_(False)

    def draw(noise_steps: int, labels: Tensor) -> list[Image.Image]:
        generator = torch.Generator().manual_seed(settings.data.seed)
        keeps = [keep / KEEP_KNOWN for keep in samplers.keeps("linear", noise_steps)]
        side = settings.data.crop // STRIDE
        pictures = []
        for part in labels.split(_BATCH):  # type: ignore[no-untyped-call]
            shape = (len(part), codebooks.groups, side, side)
            indices = sample(objective.prior, shape, codebooks.entries, keeps, generator, label=part)
            pictures += images_of(objective.synthesise(objective.quantiser.look_up(indices)))
        return pictures

    weights = parameters(objective.autoencoder)
    weights["codebooks"] = objective.quantiser.codebook.numel()
    weights["prior"] = sum(p.numel() for n, p in objective.prior.named_parameters() if p.ndim > 1)
    return Side(
        objective.reconstruct,
        draw,
        history,
        weights,
        lambda: VqObjective(settings.architecture, settings.objective, codebooks),
    )


def train_vq(
    settings: RunSettings,
    folder: Path,
    objective: VqObjective,
    sampler: CropSampler,
    steps: tuple[int, int, int],
    number: int,
    history: list[dict[str, Any]],
) -> dict[str, Any]:
    """Train one of the three stages in place: all networks, the prior alone, or the gentle end."""
    if number == 2:
        objective.requires_grad_(True)
        objective.prior_only, objective.hard_levels = False, True
        objective.autoencoder.encoder.requires_grad_(False)
        settings = gentle(settings)
    trainer = Trainer(settings, folder, torch.device("cpu"), objective)
    trainer.history = history
    if number == 0 and settings.optimiser.start == "components":
        trainer.start_from_components(sampler)
    if number == 1:
        trainer.learn_prior_only()
    train_stage(trainer, sampler, Stage(steps=steps[number]), resumable=False)
    objective.load_state_dict({**objective.state_dict(), **trainer.average})
    return trainer.summary()


def gentle(settings: RunSettings) -> RunSettings:
    """Return the settings with the learning rates that finish a model."""
    rates = {
        name: RATE_SHARE * getattr(settings.optimiser, name)
        for name in ("adam_rate", "matrix_rate", "path_rate")
    }
    return dataclasses.replace(
        settings, optimiser=dataclasses.replace(settings.optimiser, decay_share=1.0, **rates)
    )


def parameters(autoencoder: nn.Module) -> dict[str, int]:
    """Return the numbers of weights of encoder and decoder. As for the integer prior, biases do not count."""
    return {
        part: sum(p.numel() for p in autoencoder.get_submodule(part).parameters() if p.ndim > 1)
        for part in ("encoder", "decoder")
    }


def images_of(pixels: Tensor) -> list[Image.Image]:
    """Return the pictures of pixels (B, 3, H, W), about 0..1."""
    levels = (pixels.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1)
    return [Image.fromarray(picture) for picture in levels.contiguous().numpy()]


def save(pictures: list[Image.Image], folder: Path) -> None:
    """Save pictures as 000.png, 001.png and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures):
        picture.save(folder / f"{number:03d}.png")


@torch.no_grad()
def coded(side: Side, photos: list[Any], folder: Path) -> float:
    """Save the reconstructions of photos, and return their mean PSNR."""
    values, pictures = [], []
    for start in range(0, len(photos), _BATCH):
        pixels = np.stack(photos[start : start + _BATCH])
        shown = images_of(side.reconstruct(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255))
        for before, after in zip(pixels, shown, strict=True):
            error = (before.astype(np.float64) - np.asarray(after, np.float64)) / 255
            values.append(psnr(float((error**2).mean())))
        pictures += shown
    save(pictures, folder)
    return float(np.mean(values))


def seconds_a_step(side: Side, settings: RunSettings, sampler: CropSampler, *, prior_only: bool) -> float:
    """Return the processor time of a training step. Other programs do not influence it, unlike wall time."""
    trainer = Trainer(settings, Path(), torch.device("cpu"), side.fresh())
    if prior_only:
        trainer.learn_prior_only()
    train_stage(trainer, sampler, Stage(steps=_WARM_STEPS), resumable=False)
    began = time.process_time()
    train_stage(trainer, sampler, Stage(steps=_WARM_STEPS + _TIMED_STEPS), resumable=False)
    return (time.process_time() - began) / _TIMED_STEPS


def report(sides: dict[str, Side], rows: dict[str, dict[str, str]]) -> None:
    """Print the table in Markdown."""
    print("| | " + " | ".join(sides) + " |")
    print("| --- |" + " ---: |" * len(sides))
    for name in next(iter(rows.values())):
        print(f"| {name} | " + " | ".join(row[name] for row in rows.values()) + " |")


def row_of(
    side: Side, settings: RunSettings, sampler: CropSampler, decibels: float, seconds: dict[int, float]
) -> dict[str, str]:
    """Return the results of a model. All seconds are processor seconds."""
    row = {"bits a position": str(settings.architecture.channels)}
    row["steps: " + ", ".join(STAGES)] = ", ".join(str(done["steps"]) for done in side.history)
    for name, prior_only in zip(STAGES[:2], (False, True), strict=True):
        spent = seconds_a_step(side, settings, sampler, prior_only=prior_only)
        row[f"seconds a step: {name}"] = f"{spent:.3f}"
    row["weights"] = ", ".join(f"{part} {count / 1000:.0f} k" for part, count in side.weights.items())
    row["PSNR of validation pictures, dB"] = f"{decibels:.2f}"
    row |= {f"seconds a picture in {steps} steps": f"{value:.3f}" for steps, value in seconds.items()}
    return row


def main() -> None:
    """Train what is missing, draw, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--autoencoder-steps", type=int, default=1500)
    parser.add_argument("--prior-steps", type=int, default=1000)
    parser.add_argument("--end-steps", type=int, default=80)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--steps", type=int, action="append", help="Steps of the sampler; 4, 8, 16 and 64.")
    parser.add_argument("--groups", type=int, default=8)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--valid", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    settings = with_data(read_settings(chosen.config), photos=chosen.photos, valid=chosen.valid)
    data, channels = settings.data, settings.architecture.channels
    sampler, classes = read_sampler(settings)
    labels = sampler.batch(chosen.samples, np.random.default_rng(data.seed)).labels
    photos = read_photos(data.valid, data.valid_under)
    save([Image.fromarray(photo) for photo in photos], chosen.out / "real")
    lengths = (chosen.autoencoder_steps, chosen.prior_steps, chosen.end_steps)
    sides = {
        "binary": binary(settings, chosen.out, lengths, classes.get("classes", [])),
        "vq": vq(settings, chosen.out, lengths, Codebooks(chosen.groups, channels // chosen.groups)),
    }
    rows = {}
    for name, side in sides.items():
        decibels = coded(side, photos, chosen.out / f"{name}-coded")
        seconds = {}
        for steps in chosen.steps or (4, 8, 16, 64):
            began = time.process_time()
            pictures = side.draw(steps, labels)
            seconds[steps] = (time.process_time() - began) / len(labels)
            save(pictures, chosen.out / f"{name}-{steps}")
        rows[name] = row_of(side, settings, sampler, decibels, seconds)
    report(sides, rows)
    (chosen.out / "report.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
