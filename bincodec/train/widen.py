"""Add layers at the end of trained weights, and keep everything that was learned (docs/decisions/0005).

At first, the weights of the decoder and the prior for the new channels are zero. The picture and the rates of
the old channels therefore do not change. New channels with a shortcut then start from the principal
components of what the other channels leave out (`principal.start_beyond`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from bincodec.model.architecture import Architecture
from bincodec.model.autoencoder import quality_features
from bincodec.train.objective import Objective


def widen(trained: dict[str, Tensor], fresh: dict[str, Tensor], old: Architecture, new: Architecture) -> None:
    """Write the weights `trained` for `old` into the state `fresh` of a model of `new`, in place.

    Raises:
        ValueError: if `new` is not `old` with layers added at the end.
    """
    if new.layer_channels[: old.layers] != old.layer_channels or new.layers <= old.layers:
        msg = f"the layers {new.layer_channels} do not begin with those of the weights, {old.layer_channels}"
        raise ValueError(msg)
    channels = torch.arange(old.channels)
    context = torch.cat([channels, new.channels + torch.arange(old.layers)])
    predicted = torch.cat([channels, new.channels + channels])
    # Parameter -> (the axis of channels, the places of old channels in it, whether new ones start at zero).
    places: dict[str, tuple[int, Tensor, bool]] = {
        "autoencoder.encoder.head.weight": (0, channels, False),
        "autoencoder.encoder.head.bias": (0, channels, True),
        "autoencoder.encoder.shortcut.weight": (0, channels[: old.channels_beyond], True),
        "autoencoder.encoder.shortcut.bias": (0, channels[: old.channels_beyond], True),
        "autoencoder.decoder.shortcut.weight": (1, channels[: old.channels_beyond], True),
        "autoencoder.decoder.stem.weight": (1, channels, True),
        "autoencoder.gains.log_gain": (1, channels, False),
        "autoencoder.inverse_gains.log_gain": (1, channels, False),
        "prior.stem.weight": (1, context, True),
        "prior.head.weight": (0, predicted, False),
        "prior.head.bias": (0, predicted, True),
        "prior.head_quality.weight": (0, predicted, True),
        "prior.head_quality.bias": (0, predicted, True),
        "prior.head_class": (1, predicted, True),
    }
    for name, (_, _, zero) in places.items():
        if zero and name in fresh:
            fresh[name].zero_()
    for name, value in trained.items():
        if name not in places:
            fresh[name].copy_(value)
            continue
        axis, index, _ = places[name]
        fresh[name].index_copy_(axis, index, value.to(fresh[name].dtype))


@torch.no_grad()
def raise_levels(objective: Objective, old: Architecture) -> None:
    """Let channels whose J is larger than in `old` use their new levels, in place.

    The gain of a channel rises from knot to knot of the quality. Where its levels reached no further, it
    stopped rising. From there on, it is raised to rise at least as much as the layer that rises least among
    those whose J is the same, but by no more than the levels grew. The gain of the decoder and the scales of
    the prior follow.
    """
    model, new = objective.autoencoder, objective.architecture
    tops = zip(new.maximum_level, old.maximum_level, strict=False)  # `new` may have more layers.
    growth = torch.tensor([math.log(more / fewer) for more, fewer in tops])
    if not (growth > 0).any() or (growth > 0).all():
        return
    steps = model.gains.log_gain.diff(dim=0)
    means = [steps[:, new.layer_slice(layer)].mean(1) for layer in torch.nonzero(growth == 0).flatten()]
    usual = torch.stack(means).amin(0)[:, None]
    of_prior = objective.prior.head_quality.weight[new.channels :]  # type: ignore[union-attr, index]
    for layer in torch.nonzero(growth > 0).flatten().tolist():
        part = new.layer_slice(layer)
        missing = (usual - steps[:, part]).clamp_min(0).cumsum(0)
        added = functional.pad(missing, (0, 0, 1, 0)).clamp_max(float(growth[layer]))
        model.gains.log_gain[:, part] += added
        model.inverse_gains.log_gain[:, part] -= added
        qualities = quality_features(torch.linspace(0, 1, len(added))).double()
        of_prior[part] += torch.linalg.lstsq(qualities, added.double()).solution.T.float()


def silent_blocks(fresh: dict[str, Tensor], old: Architecture) -> dict[str, Tensor]:
    """Return the encoder's blocks of a `fresh` state beyond those of `old`. They add nothing at first."""
    blocks = "autoencoder.encoder.blocks_8."
    known = old.blocks_8 + old.extra_encoder_blocks
    names = (name for name in fresh if name.startswith(blocks))
    new = [name for name in names if int(name.removeprefix(blocks).split(".")[0]) >= known]
    outputs = ("spatial_out", "contract")
    return {name: fresh[name] * 0 if any(part in name for part in outputs) else fresh[name] for name in new}
