"""How a decoded picture looks: the gradient of a perceptual distance and of a discriminator's score.

Both gradients are first computed at the picture and weighed against each other. Then they pass through the
decoder together. The weighing follows VQGAN (arXiv 2012.09841): the discriminator's gradient gets a fixed
share of the size that the other gradients have at the decoder's last matrix.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional

from bincodec.io import files
from bincodec.model.architecture import STRIDE
from bincodec.model.autoencoder import Pointwise
from bincodec.train.discriminator import AdversarialSettings, Discriminator, hinge_loss
from bincodec.train.lpips import SQUEEZENET, Lpips, read_lpips

_LEAST_NORM = 1e-8
_LEAST_GRAIN = 0.05
"""A square of steps. It keeps the gradient of grain finite where a picture is flat."""


@dataclasses.dataclass(frozen=True)
class PerceptualSettings:
    """The table `[perceptual]`.

    Args:
        weights: the file of weights of LPIPS with SqueezeNet, or None if an option names it.
        weight: what a distance of 1 counts in the loss of a crop, whose distortion is 4 to 5 for photos at
            every quality.
        grain: what a step (1/255) of grain counts that the original does not have (`added_grain`).
    """

    weights: Path | None = None
    weight: float = 10.0
    grain: float = 0.0

    def __post_init__(self) -> None:
        for name in ("weight", "grain"):
            if getattr(self, name) < 0:
                msg = f"[perceptual] {name} is {getattr(self, name)}, but must be at least 0"
                raise ValueError(msg)


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What the networks say of decoded pictures.

    Args:
        gradient: the gradient of the loss with respect to the pictures, (B, 3, H, W).
        distortion: the mean of squared error and perceptual distance, as they count in the loss.
        distance: the mean perceptual distance.
        critic: the loss of the discriminator, or 0.
        factor: the factor of the discriminator's score in the loss, or 0.
    """

    gradient: Tensor
    distortion: Tensor
    distance: Tensor
    critic: Tensor
    factor: Tensor


class Appearance:
    """The networks that judge decoded pictures, and the optimiser of the discriminator."""

    def __init__(
        self,
        channels: int,
        perceptual: PerceptualSettings,
        adversarial: AdversarialSettings | None,
        device: torch.device,
    ) -> None:
        self.perceptual = perceptual
        self.adversarial = adversarial
        self._lpips = _read(perceptual, device)
        self._share = 0.0
        self.started = False
        """Whether the discriminator has learned already when the stage begins."""
        self.discriminator: Discriminator | None = None
        if adversarial is not None:
            found: Any = Discriminator(channels, adversarial)
            self.discriminator = found.to(device, memory_format=torch.channels_last)
            self._optimiser = torch.optim.Adam(
                found.parameters(), adversarial.rate, betas=(0.5, 0.9), fused=device.type == "cuda"
            )

    def share(self) -> None:
        """Give the discriminator the weights of the first process, in a run with several."""
        if self.discriminator is not None:
            for tensor in self.discriminator.state_dict().values():
                torch.distributed.broadcast(tensor, 0)

    def set_progress(self, progress: float) -> None:
        """Tell which share of the stage is done, 0..1. The weight of the discriminator depends on it."""
        if self.adversarial is None:
            return
        start = 0.0 if self.started else self.adversarial.start_share
        past = progress - start
        ramp = self.adversarial.ramp_share
        # A small first share lets the discriminator learn from the first step on.
        self._share = 0.0 if past < 0 else min(1.0, past / ramp + 1e-6) if ramp > 0 else 1.0

    def judge(
        self, image: Tensor, picture: Tensor, code: Tensor, error_weight: Tensor, head: Pointwise
    ) -> Judgement:
        """Judge pictures (B, 3, H, W), about 0..1, that were decoded of channel values `code`.

        `image` holds the originals. `error_weight` (B,) is what a squared error of 1 counts for each crop.
        `head` is the decoder's last matrix. The discriminator's own gradients are added up in its parameters.
        """
        seen = picture.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
        error = (seen - image).square().mean((1, 2, 3))
        part = _shifted(*image.shape[2:])
        with torch.no_grad():
            wanted = list(self._lpips.maps(2 * image[part] - 1))
        maps = list(self._lpips.maps(2 * seen[part] - 1))
        distance = self._lpips.distance_of_maps(wanted, maps).mean()
        distortion = (error_weight * error).mean() + self.perceptual.weight * distance
        if self.perceptual.grain > 0:
            distortion = distortion + self.perceptual.grain * added_grain(seen, image)
        (gradient,) = torch.autograd.grad(distortion, seen, retain_graph=True)
        critic = factor = distortion.new_zeros(())
        if self.discriminator is not None and self._share > 0:
            both = [torch.cat([one, other]) for one, other in zip(maps, wanted, strict=True)]
            scores = self.discriminator(torch.cat([seen, image]), torch.cat([code, code]).detach(), both)
            decoded, real = zip(*(score.chunk(2) for score in scores), strict=True)
            score = torch.stack([one.mean() for one in decoded]).mean()
            (upwards,) = torch.autograd.grad(-score, seen, retain_graph=True)
            critic = hinge_loss(real, decoded)
            critic.backward(inputs=list(self.discriminator.parameters()))  # type: ignore[no-untyped-call]
            factor = self._factor(picture, gradient, upwards, head)
            gradient = gradient + factor * upwards
        return Judgement(gradient, distortion.detach(), distance.detach(), critic.detach(), factor)

    def _factor(self, picture: Tensor, gradient: Tensor, upwards: Tensor, head: Pointwise) -> Tensor:
        """Return the factor of the discriminator's score, from the two gradients at the last matrix."""
        assert self.adversarial is not None
        sizes = [
            torch.autograd.grad(picture, head.weight, one.to(picture.dtype), retain_graph=True)[0]
            .float()
            .norm()
            for one in (gradient, upwards)
        ]
        ratio = sizes[0] / sizes[1].clamp_min(_LEAST_NORM)
        factor: Tensor = (self.adversarial.weight * ratio).clamp_max(self.adversarial.highest)
        return self._share * factor

    def update(self, factor: float) -> None:
        """Do one step of the discriminator at `factor` times its learning rate, if it has gradients."""
        if self.discriminator is None or self._share == 0 or self.adversarial is None:
            return
        parameters = list(self.discriminator.parameters())
        _average_gradients(parameters)
        norm = nn.utils.clip_grad_norm_(parameters, 10.0)
        if torch.isfinite(norm):
            self._optimiser.param_groups[0]["lr"] = self.adversarial.rate * factor
            self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)

    def start_from(self, path: Path) -> None:
        """Go on with the discriminator of an earlier stage, if `path` holds one that fits."""
        if self.discriminator is None or not path.exists():
            return
        own, saved = self.discriminator.state_dict(), load_file(path)
        if {key: value.shape for key, value in saved.items()} == {key: v.shape for key, v in own.items()}:
            self.discriminator.load_state_dict(saved)
            self.started = True

    def save(self, path: Path) -> None:
        """Save the discriminator, if there is one that has learned."""
        if self.discriminator is not None and self._share > 0:
            tensors = {
                key: value.cpu().contiguous() for key, value in self.discriminator.state_dict().items()
            }
            files.write(path, save(tensors))

    def state(self) -> dict[str, Any]:
        """Return everything that an interrupted stage needs to continue."""
        if self.discriminator is None:
            return {}
        return {
            "discriminator": self.discriminator.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "started": self.started,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Load what `state` returned."""
        if self.discriminator is not None:
            self.discriminator.load_state_dict(state["discriminator"])
            self._optimiser.load_state_dict(state["optimiser"])
            self.started = state["started"]


def added_grain(picture: Tensor, original: Tensor) -> Tensor:
    """Return by how many steps of 0..255 pictures (B, 3, H, W) in 0..1 have more grain than their originals.

    Grain is the root mean square of second differences, `_fine`, in the 7x7 pixels around each pixel. The
    result is a mean over pixels and colours, and less grain than the original's counts as none.
    """
    around = [
        functional.avg_pool2d(_fine(255 * one), 7, 1).add(_LEAST_GRAIN).sqrt() for one in (picture, original)
    ]
    return functional.relu(around[0] - around[1]).mean()


def _fine(image: Tensor) -> Tensor:
    """Return squares of second differences along rows and columns, (B, 3, H - 2, W - 2)."""
    inner = image[..., 1:-1, 1:-1]
    down = inner - (image[..., :-2, 1:-1] + image[..., 2:, 1:-1]) / 2
    along = inner - (image[..., 1:-1, :-2] + image[..., 1:-1, 2:]) / 2
    return (down.square() + along.square()) / 2


def _shifted(height: int, width: int) -> tuple[slice, slice, slice, slice]:
    """Return the part of a picture that is left if its first rows and columns, up to 15 of each, are dropped.

    LPIPS looks at every 2nd pixel, then at every 4th, 8th and 16th. If these were always the same ones, the
    decoder would learn a pattern that LPIPS does not see there, and that is easy to see for the eye.
    """
    top, left = (
        int(torch.randint(0, max(1, min(STRIDE, side - SQUEEZENET.least + 1)), ()))
        for side in (height, width)
    )
    # The far ends are dropped as well, so that the size is always the same, which is faster.
    bottom, right = (
        start + max(side - STRIDE + 1, SQUEEZENET.least) for start, side in ((top, height), (left, width))
    )
    return slice(None), slice(None), slice(top, bottom), slice(left, right)


def _read(settings: PerceptualSettings, device: torch.device) -> Lpips:
    if settings.weights is None:
        msg = "[perceptual] needs the weights of LPIPS with SqueezeNet: name their file with --lpips-weights"
        raise ValueError(msg)
    lpips = read_lpips(SQUEEZENET, settings.weights.read_bytes(), settings.weights)
    return lpips.to(device, torch.bfloat16)


def _average_gradients(parameters: list[nn.Parameter]) -> None:
    """Replace gradients by their means over all processes of a run with several."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        for parameter in parameters:
            if parameter.grad is not None:
                torch.distributed.all_reduce(parameter.grad)
                parameter.grad /= torch.distributed.get_world_size()
