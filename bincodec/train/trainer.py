"""The networks, optimisers and averaged weights of one run: update them, save them and load them."""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_optimizer import SOAP
from safetensors.torch import save
from torch import Tensor, nn

from bincodec.io import files
from bincodec.model.architecture import Architecture
from bincodec.train.appearance import Appearance
from bincodec.train.data import CropSampler
from bincodec.train.objective import Objective
from bincodec.train.principal import start_beyond, start_from_components
from bincodec.train.revive import revive
from bincodec.train.settings import RunSettings
from bincodec.train.terms import Terms
from bincodec.train.weights import load_into, read_weights
from bincodec.train.widen import raise_levels, silent_blocks, widen

_MAX_SKIPPED = 100

DISCRIMINATOR = "discriminator.safetensors"
"""The name of the file beside averaged weights that holds the discriminator."""

_PATH = tuple(
    f"autoencoder.{part}.weight"
    for part in (
        *("encoder.stem", "encoder.down", "encoder.head"),
        *("decoder.stem", "decoder.up", "decoder.head", "decoder.shortcut"),
    )
)
"""The linear path through the autoencoder. It starts as a transform codec, and steps as large as those of the
blocks would mix its components, so it has a learning rate of its own."""

_SHORTCUT = "autoencoder.encoder.shortcut.weight"
"""The encoder's shortcut. Its inputs are plain pixels. With the path's learning rate, brightness would
dominate in its channels."""

_SMALL = ("modulation", "stem_quality", "head_quality", "_class", "gain", "prior.head")
"""Small matrices, tables and the last layer of the prior, which are trained with Adam."""


class Trainer:
    """The networks, optimisers and averaged weights of one run, which are saved in its folder."""

    def __init__(
        self, settings: RunSettings, folder: Path, device: torch.device, objective: Objective | None = None
    ) -> None:
        self.settings = settings
        self.folder = folder
        self.device = device
        torch.manual_seed(settings.data.seed + rank())
        objective = objective or Objective(settings.architecture, settings.objective)
        self.objective = objective.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.objective.appearance = self._make_appearance()
        self.average = {name: p.detach().clone() for name, p in self.objective.named_parameters()}
        self.optimisers = self._make_optimisers()
        self.history: list[dict[str, Any]] = []
        """The stages that led to the weights from which this run started."""
        self.step = 0
        self.skipped = 0
        self.revived = 0
        """The number of silent units that got new weights before this stage."""
        self.seconds = 0.0

    def _make_optimisers(self) -> list[torch.optim.Optimizer]:
        rates = self.settings.optimiser
        named = [(name, p) for name, p in self.objective.named_parameters() if p.requires_grad]
        matrices: dict[float, list[nn.Parameter]] = defaultdict(list)
        others: dict[float, list[nn.Parameter]] = defaultdict(list)
        for name, parameter in named:
            if name in _PATH:
                matrices[rates.path_rate].append(parameter)
            elif name == _SHORTCUT:
                others[rates.shortcut_rate].append(parameter)
            elif parameter.ndim == 2 and not any(part in name for part in _SMALL):
                matrices[rates.matrix_rate].append(parameter)
            else:
                others[rates.adam_rate].append(parameter)
        return [
            torch.optim.Adam(_groups(others), betas=(0.9, 0.99), fused=self.device.type == "cuda"),
            # Adam in the eigenbases of the gradients' second moments (arXiv 2409.11321).
            SOAP(_groups(matrices), betas=(0.95, 0.95), weight_decay=0.0, precondition_frequency=10),
        ]

    def _make_appearance(self) -> Appearance | None:
        settings = self.settings
        if settings.perceptual is None:
            return None
        channels = settings.architecture.channels
        return Appearance(channels, settings.perceptual, settings.adversarial, self.device)

    def learn_decoder_only(self) -> None:
        """Train only the decoder from now on."""
        self.objective.learn_decoder_only()
        self.optimisers = self._make_optimisers()

    def learn_prior_only(self) -> None:
        """Train only the prior from now on."""
        self.objective.learn_prior_only()
        self.optimisers = self._make_optimisers()

    def update(self, terms: Terms, factor: float) -> None:
        """Do one optimiser step at `factor` times the top learning rates, and update the average."""
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group.setdefault("top", group["lr"]) * factor
            optimiser.zero_grad(set_to_none=True)
        terms.loss.backward()  # type: ignore[no-untyped-call]
        if self.objective.appearance is not None:
            self.objective.appearance.update(factor)
        norm = nn.utils.clip_grad_norm_(self.objective.parameters(), self.settings.optimiser.clip_norm)
        if not torch.isfinite(norm):
            # Such a step would ruin the weights and the average. It is skipped, as the next one may be fine.
            self.skipped += 1
            if self.skipped > _MAX_SKIPPED:
                msg = f"the gradient was not finite in {self.skipped} steps: training has diverged"
                raise FloatingPointError(msg)
            self.step += 1
            return
        for optimiser in self.optimisers:
            optimiser.step()
        self.step += 1
        decay = min(self.settings.optimiser.ema_decay, (1 + self.step) / (10 + self.step))
        live = [p.detach() for p in self.objective.parameters()]
        torch._foreach_lerp_(list(self.average.values()), live, 1 - decay)

    def save_state(self) -> None:
        """Save everything that an interrupted stage needs to continue. The file is replaced as a whole."""
        state = {
            "model": self.objective.state_dict(),
            "average": self.average,
            "optimisers": [o.state_dict() for o in self.optimisers],
            "step": self.step,
            "seconds": self.seconds,
            "skipped": self.skipped,
            "revived": self.revived,
            "history": self.history,
            "fresh": self.objective.fresh,
            "appearance": self.objective.appearance.state() if self.objective.appearance else {},
        }
        temporary = self.folder / "state.pt.tmp"
        torch.save(state, temporary)
        os.replace(temporary, self.folder / "state.pt")

    def load_state(self) -> None:
        """Load the state of an interrupted stage."""
        state = torch.load(self.folder / "state.pt", map_location=self.device, weights_only=True)
        self.objective.load_state_dict(state["model"])
        for name, value in state["average"].items():
            self.average[name].copy_(value)
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.objective.fresh.copy_(state["fresh"])
        if self.objective.appearance is not None:
            self.objective.appearance.load_state(state["appearance"])
        self.step, self.seconds, self.history = state["step"], state["seconds"], state["history"]
        self.skipped, self.revived = state["skipped"], state["revived"]

    def start_from(self, weights: Path, sampler: CropSampler | None = None, *, revived: bool = False) -> None:
        """Start a stage from averaged weights or from a model file. Layers that they lack are added.

        `sampler` provides the crops from which new channels are initialised. With `revived`, silent units of
        the blocks get new weights (`revive`). If only the prior is trained and has another width or depth
        than before, it starts with random weights.
        """
        loaded, metadata = read_weights(weights)
        self.history = metadata["history"]
        old, new = Architecture.from_json(metadata.get("architecture", "{}")), self.settings.architecture
        if self.objective.prior_only and _prior_size(old) != _prior_size(new):
            own = self.objective.prior.state_dict()
            loaded = {name: value for name, value in loaded.items() if not name.startswith("prior.")}
            loaded |= {f"prior.{name}": value for name, value in own.items()}
        if old.layers < new.layers:
            state = self.objective.state_dict()
            widen(loaded, state, old, new)
            loaded = state
        if old.extra_encoder_blocks < new.extra_encoder_blocks:
            loaded |= silent_blocks(self.objective.state_dict(), old)
        load_into(self.objective, loaded, weights)
        self.objective.to("cpu")
        raise_levels(self.objective, old)
        if old.layers < new.layers and sampler is not None:
            start_beyond(self.objective, max(old.channels, new.width_16), sampler)
        self.objective.to(self.device)
        self.objective.fresh[: old.channels] = False
        if self.objective.appearance is not None:
            self.objective.appearance.start_from(weights.with_name(DISCRIMINATOR))
        if revived and sampler is not None:
            self.objective.to("cpu")
            self.revived = revive(self.objective, sampler, np.random.default_rng(self.settings.data.seed))
            self.objective.to(self.device)
        self._restart_average()

    def start_from_components(self, sampler: CropSampler) -> None:
        """Start a first stage from a transform codec (`principal.start_from_components`)."""
        self.objective.to("cpu")
        start_from_components(self.objective, sampler, np.random.default_rng(self.settings.data.seed))
        self.objective.to(self.device)
        self._restart_average()

    def _restart_average(self) -> None:
        for name, parameter in self.objective.named_parameters():
            self.average[name].copy_(parameter.detach())

    def save_weights(self, name: str = "weights.safetensors") -> None:
        """Save the averaged weights in fp16."""
        tensors = {key: value.detach().half().cpu().contiguous() for key, value in self.average.items()}
        metadata = {
            "architecture": self.settings.architecture.to_json(),
            "history": json.dumps([*self.history, self.summary()]),
        }
        files.write(self.folder / name, save(tensors, metadata))
        if self.objective.appearance is not None:
            self.objective.appearance.save(self.folder / DISCRIMINATOR)

    def summary(self) -> dict[str, Any]:
        """Return a summary of this stage: its length, its cost, and the hardware."""
        crops = self.step * self.settings.data.batch * int(os.environ.get("WORLD_SIZE", "1"))
        return {
            "steps": self.step,
            "revived": self.revived,
            "crops": crops,
            "crop": self.settings.data.crop,
            "seconds": round(self.seconds, 1),
            "crops_per_second": round(crops / max(self.seconds, 1e-9), 1),
            "hardware": _hardware(self.device),
        }

    @contextlib.contextmanager
    def averaged(self) -> Iterator[Objective]:
        """Yield the networks with their averaged weights, and restore the live weights afterwards."""
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


def _groups(by_rate: dict[float, list[nn.Parameter]]) -> list[dict[str, Any]]:
    """Return parameter groups by learning rate, as optimisers take them."""
    return [{"params": parameters, "lr": rate} for rate, parameters in by_rate.items()]


def _prior_size(architecture: Architecture) -> tuple[int, int]:
    return architecture.prior_width, architecture.prior_blocks


def rank() -> int:
    """Return the number of this process among those that `torchrun` started, or 0."""
    return int(os.environ.get("RANK", "0"))


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({platform.machine()}), {torch.get_num_threads()} thread(s)"
