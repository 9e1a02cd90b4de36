"""The codes of training crops, computed once and kept in memory, for a prior that learns alone.

The autoencoder does not change while the prior learns, so neither do the codes. A step then costs nothing but
the prior. Levels that are single bits are kept as bits: a code of 64 bits at 8 x 8 positions takes 512 bytes.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from tqdm import tqdm

from bincodec.model.architecture import STRIDE
from bincodec.train import states
from bincodec.train.data import CropSampler
from bincodec.train.objective import CONDITIONED, CONDITIONED_IN_ORDER, LOSS_SCALE, Objective
from bincodec.train.terms import Terms

_AT_ONCE = 64


@dataclasses.dataclass(frozen=True)
class PriorSettings:
    """The table `[prior]`: how a prior learns alone.

    Args:
        codes: the number of crops whose codes are kept. They are drawn once, with the shares of the photos.
        batch: the number of codes in a batch of each process.
        states: the shares of codes that are seen in states of the coding order, and in each of
            `states.KINDS`.
        scaled_share: the share of these crops that is scaled, as in `DataSettings`.
        scales: the range of their scales.
    """

    codes: int = 32768
    batch: int = 256
    states: tuple[float, float, float, float] = (3.0, 2.0, 10.0, 1.0)
    scaled_share: float = 0.75
    scales: tuple[float, float] = (1.0, 1.1)

    def __post_init__(self) -> None:
        if self.codes < 1 or self.batch < 1:
            msg = f"[prior] codes is {self.codes}, batch {self.batch}: must be at least 1"
            raise ValueError(msg)
        if len(self.states) != 1 + len(states.KINDS) or min(self.states) < 0 or sum(self.states) <= 0:
            msg = f"[prior] states {self.states} are not {1 + len(states.KINDS)} shares"
            raise ValueError(msg)


class Codes(NamedTuple):
    """Levels, uint8 (B, channels, h, w), labels (B,) as in `Batch`, and qualities (B,) in 0..1."""

    levels: Tensor
    labels: Tensor
    qualities: Tensor


class CodeSampler:
    """Draw batches of codes from memory."""

    def __init__(
        self, levels: npt.NDArray[np.uint8], labels: Tensor, qualities: Tensor, *, single_bits: bool
    ) -> None:
        self._channels = levels.shape[1]
        self._single_bits = single_bits
        self._levels = np.packbits(levels, axis=1) if single_bits else levels
        self._labels, self._qualities = labels, qualities

    def __len__(self) -> int:
        return len(self._levels)

    @property
    def size(self) -> int:
        """The bytes that the levels take in memory."""
        return self._levels.nbytes

    def batch(self, count: int, rng: np.random.Generator) -> Codes:
        """Draw `count` codes, with replacement."""
        chosen = rng.integers(0, len(self), count)
        levels = self._levels[chosen]
        if self._single_bits:
            levels = np.unpackbits(levels, axis=1, count=self._channels)
        where = torch.from_numpy(chosen)
        return Codes(torch.from_numpy(levels), self._labels[where], self._qualities[where])


@torch.no_grad()
def encode(objective: Objective, sampler: CropSampler, count: int, rng: np.random.Generator) -> CodeSampler:
    """Encode `count` crops of a sampler, at qualities that are spread as those of a run are."""
    model, architecture = objective.autoencoder, objective.architecture
    device = objective.channel_layer.device
    places = rng.permutation((np.arange(count) + rng.random(count)) / count)
    qualities = torch.from_numpy(objective.settings.quality_at(places)).float()
    levels, labels = [], []
    for start in tqdm(range(0, count, _AT_ONCE), desc="encode", unit="batch", disable=None):
        quality = qualities[start : start + _AT_ONCE].to(device)
        crops = sampler.batch(len(quality), rng)
        image = crops.crops.to(device).float() / 255
        centred = model.quantise(model.analyse(image.contiguous(memory_format=torch.channels_last), quality))
        levels.append((centred + model.maximum / 2).round().to("cpu", torch.uint8).numpy())
        labels.append(crops.labels)
    found = np.concatenate(levels)
    return CodeSampler(found, torch.cat(labels), qualities, single_bits=architecture.single_bits)


class PriorObjective(nn.Module):
    """The loss of a prior that learns alone. Each code of a batch is seen in one random state.

    `forward` computes it, so DistributedDataParallel can wrap this.
    """

    def __init__(self, objective: Objective, settings: PriorSettings) -> None:
        super().__init__()
        self.objective = objective
        shares = np.array(settings.states)
        self._shares = shares / shares.sum()

    def forward(
        self, levels: Tensor, quality: Tensor, rng: np.random.Generator, label: Tensor | None = None
    ) -> Terms:
        """Return the loss of levels, uint8 (B, channels, h, w). The rest is as in `Objective.forward`."""
        objective = self.objective
        clean = levels.float() - objective.autoencoder.maximum / 2
        count, (height, width) = len(clean), clean.shape[2:]
        kinds = rng.choice(len(self._shares), count, p=self._shares)
        in_order = torch.from_numpy(kinds == 0)
        layers = objective.architecture.layers
        keep = torch.empty(count, layers, height, width)
        counted, weight = torch.ones_like(keep), torch.ones(count)
        for index in np.flatnonzero(kinds):
            keep[index] = states.other_state(states.KINDS[kinds[index] - 1], layers, height, width, rng)
        if (coded := int(in_order.sum())) > 0:
            drawn = states.coding_states(objective.architecture, coded, height, width, rng)
            keep[in_order], counted[in_order], weight[in_order] = drawn.keep, drawn.counted, drawn.weight
        keep, counted, weight, in_order = (x.to(clean.device) for x in (keep, counted, weight, in_order))
        shown = np.where(kinds == 0, CONDITIONED_IN_ORDER, CONDITIONED)
        given = objective.condition(label, shown, rng)
        bits = objective.hidden_bits(clean, keep, quality, given) * counted[:, objective.channel_layer]
        per_pixel = weight * bits.sum((1, 2, 3)) / (height * width * STRIDE**2)
        loss = LOSS_SCALE * (per_pixel / objective.multiplier(quality).sqrt()).mean()
        zero = torch.zeros_like(loss.detach())
        rate, other = (
            (per_pixel.detach() * of).sum() / of.sum().clamp_min(1) for of in (in_order, ~in_order)
        )
        return Terms(loss, rate, zero, other, zero, zero, zero)
