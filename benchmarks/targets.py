"""Compare two targets of the prior: the value of a noisy bit, or whether it was flipped (as in the paper).

    python benchmarks/targets.py CONFIG WEIGHTS OUT --steps 1500 [--finish-steps 80] [--without-own-context]

All variants use the autoencoder of WEIGHTS (a run's weights.safetensors), which does not change. Each trains
a new prior on one thread, with the same seed, batches, crops and steps. The table gives the cross-entropy on
the validation pictures, and the mean difference from `value` with its standard error over pictures. With
--finish-steps, each variant becomes a model file OUT/TARGET/TARGET.safetensors, from which `bincodec sample`
can draw.

The prior predicts the odds of a bit from all *other* context. What the bit shows about itself,
log((1 + k) / (1 - k)), is added exactly. A network that predicts the odds from everything must also learn
this term, and then a flip may be the easier target. --without-own-context trains such networks too, for each
target.

A finished variant is not repeated. "The paper" is arXiv 2304.04820.
"""

import argparse
import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bincodec.train.data import Labelled, read_labelled, read_photos
from bincodec.train.finish import finish
from bincodec.train.loop import Stage, read_sampler, train_stage
from bincodec.train.objective import Objective
from bincodec.train.settings import RunSettings, read_settings, with_data
from bincodec.train.trainer import Trainer
from bincodec.train.validate import layer_bits
from bincodec.train.weights import load_into, read_weights

KEEPS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
QUALITY = 0.5
CODED_PICTURES = 128
"""The number of pictures for which the coding order is measured. It is measured picture by picture."""

_BATCH = 64


class WithOwn(nn.Module):
    """A network that predicts the odds of a noisy bit from everything, with the interface of `Prior`.

    The objective adds what the bit shows about itself. This is subtracted here, so the result of the
    objective is the prediction of the network.
    """

    def __init__(self, prior: nn.Module, channel_layer: Tensor, target: str) -> None:
        super().__init__()
        self.prior = prior
        self.channel_layer = channel_layer
        self.flip = target == "flip"

    def forward(
        self, context: Tensor, keep: Tensor, quality: Tensor, label: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Predict as `Prior.forward` does."""
        mu, log_scale = self.prior(context, keep, quality, label)
        kept = keep[:, self.channel_layer]
        noisy = (kept > 0) & (kept < 1)
        own = torch.log1p(2 * kept / (1 - kept).clamp(min=1e-6)) * torch.exp(log_scale)
        sign = torch.ones_like(mu) if self.flip else -context.sign()
        return torch.where(noisy, mu + sign * own, mu), log_scale


def fresh(settings: RunSettings, weights: Path, *, own: bool) -> Objective:
    """Return the autoencoder of `weights` with an untrained prior, which is the same for every target."""
    torch.manual_seed(settings.data.seed)
    objective = Objective(settings.architecture, settings.objective)
    tensors, _ = read_weights(weights)
    autoencoder = {name: value for name, value in tensors.items() if name.startswith("autoencoder.")}
    load_into(objective, {**objective.state_dict(), **autoencoder}, weights)
    if own:
        objective.prior = WithOwn(objective.prior, objective.channel_layer, settings.architecture.target)
    return objective


def train(settings: RunSettings, weights: Path, folder: Path, steps: int, *, own: bool) -> Objective:
    """Return a trained prior with its averaged weights. If it is finished, it is loaded from `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    objective = fresh(settings, weights, own=own)
    trainer = Trainer(settings, folder, torch.device("cpu"), objective)
    finished = folder / "weights.safetensors"
    if not finished.exists():
        trainer.learn_prior_only()
        train_stage(trainer, read_sampler(settings)[0], Stage(steps=steps), resumable=False)
        trainer.save_weights()
    load_into(objective, read_weights(finished)[0], finished)
    return objective.eval().requires_grad_(False)


@torch.no_grad()
def noisy_bits(objective: Objective, clean: Tensor, keep: Tensor, label: Tensor | None) -> Tensor:
    """Return bits a position, (B,), of centred levels (B, channels, h, w) after noise of `keep`.

    `keep` is (B, layers, h, w). Known levels cost nothing, and the mean is taken over the other levels.
    """
    bits = objective.hidden_bits(clean, keep, torch.full((len(clean),), QUALITY), label)
    hidden = keep[:, objective.channel_layer] < 1
    return clean.shape[1] * bits.sum((1, 2, 3)) / hidden.sum((1, 2, 3)).clamp(min=1)


@torch.no_grad()
def measure(objective: Objective, found: Labelled) -> dict[str, Tensor]:
    """Return bits a position of each picture, for each state. The noise is the same for every objective."""
    layers, channels = objective.architecture.layers, objective.architecture.channels
    names = [f"noise, k = {keep}" if keep else "nothing known" for keep in KEEPS]
    parts: dict[str, list[Tensor]] = {name: [] for name in [*names, "half known", "coding order"]}
    for start in range(0, len(found.photos), _BATCH):
        clean = levels_of(objective, found.photos[start : start + _BATCH])
        label = torch.tensor(found.labels[start : start + _BATCH]) if objective.architecture.classes else None
        torch.manual_seed(start)
        shape = (len(clean), layers, *clean.shape[2:])
        for name, keep in zip(names, KEEPS, strict=True):
            parts[name].append(noisy_bits(objective, clean, torch.full(shape, keep), label))
        half = (torch.rand(shape) < 0.5).float()
        parts["half known"].append(noisy_bits(objective, clean, half, label))
        quality = torch.full((1,), QUALITY)
        for levels in clean[: max(0, CODED_PICTURES - start)]:
            bits = layer_bits(objective, levels[None], quality).sum() * channels / levels.numel()
            parts["coding order"].append(bits[None])
    return {name: torch.cat(values).double() for name, values in parts.items()}


@torch.no_grad()
def levels_of(objective: Objective, photos: list[Any]) -> Tensor:
    """Return the centred hard levels of photos of one size."""
    image = torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2).float() / 255
    model = objective.autoencoder
    return model.quantise(model.analyse(image, torch.full((len(photos),), QUALITY)))


def report(measured: dict[str, dict[str, Tensor]]) -> None:
    """Print the table in Markdown."""
    base = measured["value"]
    print("| bits a position | " + " | ".join(measured) + " | flip less value |")
    print("| --- |" + " ---: |" * (len(measured) + 1))
    for state, own in base.items():
        cells = [f"{rows[state].mean():.3f}" for rows in measured.values()]
        apart = measured["flip"][state] - own
        error = apart.std() / math.sqrt(len(apart))
        print(f"| {state} | " + " | ".join(cells) + f" | {apart.mean():+.3f} ± {error:.3f} |")


def main() -> None:
    """Train what is missing, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--finish-steps", type=int, default=0)
    parser.add_argument("--without-own-context", action="store_true")
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--valid", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    settings = with_data(read_settings(chosen.config), photos=chosen.photos, valid=chosen.valid)
    data = settings.data
    if settings.architecture.classes:
        found = read_labelled(data.valid, data.valid_under)
    else:
        photos = read_photos(data.valid, data.valid_under)
        found = Labelled(photos, [0] * len(photos), ())
    measured = {}
    for own in (False, True)[: 1 + chosen.without_own_context]:
        for target in ("value", "flip"):
            name = f"{target}, own context learned" if own else target
            architecture = dataclasses.replace(settings.architecture, target=target)
            variant = dataclasses.replace(settings, architecture=architecture)
            folder = chosen.out / name.replace(", ", "-").replace(" ", "-")
            objective = train(variant, chosen.weights, folder, chosen.steps, own=own)
            measured[name] = measure(objective, found)
            weights, model = folder / "weights.safetensors", folder / f"{target}.safetensors"
            if chosen.finish_steps and not own and not model.exists():
                stage = Stage(steps=chosen.finish_steps)
                finish(variant, weights, folder, target, stage, validation_photos=32)
    report(measured)


if __name__ == "__main__":
    main()
