"""Solve for the decoder's last matrix by least squares instead of gradient steps.

The inputs of this matrix have components of very different sizes, and gradient steps hardly change the matrix
along the small ones (docs/decisions/0014). If everything before it is fixed, the best matrix is the solution
of a linear system. It is computed once, when training is over.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bincodec.train.data import CropSampler
from bincodec.train.objective import Objective

_BATCHES, _CROPS = 96, 8
_RIDGE, _LEAST = 1e-4, 1e-6
_PATCH = 8


@torch.no_grad()
def fit_output(objective: Objective, sampler: CropSampler, rng: np.random.Generator) -> None:
    """Solve for the decoder's head, in place, on hard levels.

    Crops have the same qualities and weights as in the distortion of the objective. As there, some crops lack
    their last layers.
    """
    head = objective.autoencoder.decoder.head
    read = head.weight.shape[1]
    products = torch.zeros(read + 1, read + 1, dtype=torch.float64)
    errors = torch.zeros(read + 1, head.weight.shape[0], dtype=torch.float64)
    for _ in range(_BATCHES):
        image = sampler.batch(_CROPS, rng).crops.to(head.weight.device).float() / 255
        places = objective.settings.quality_at(rng.random(len(image)))
        quality = torch.from_numpy(places).float().to(image.device)
        rows, error = _read_and_missed(objective, image, quality, rng)
        products += (rows.T @ rows).cpu()
        errors += (rows.T @ error).cpu()
    ridge = torch.diag(_RIDGE * products.diagonal() + _LEAST * products.diagonal().mean())
    change = torch.linalg.solve(products + ridge, errors).float().to(head.weight.device)
    head.weight.add_(change[:read].T)
    head.bias.add_(change[read])


def _read_and_missed(
    objective: Objective, image: Tensor, quality: Tensor, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Return the head's inputs with a 1, (patches, features + 1), and its pixels' errors, (patches, 192)."""
    model = objective.autoencoder
    heard: list[Tensor] = []
    hook = model.decoder.head.register_forward_hook(lambda _, inputs, __: heard.append(inputs[0]))
    try:
        levels = objective.show(model.quantise(model.analyse(image, quality)), quality, rng)
        missed = image - model.synthesise(levels, quality)
    finally:
        hook.remove()
    weight = objective.multiplier(quality).pow(0.25)[:, None, None, None]
    features = functional.pad(heard[0], (0, 0, 0, 0, 0, 1), value=1.0)
    missed = functional.pixel_unshuffle(missed, _PATCH)
    return _rows(weight * features).double(), _rows(weight * missed).double()


def _rows(x: Tensor) -> Tensor:
    return x.movedim(1, -1).flatten(0, -2)
