"""Round the weights of a linear map one after another, so that later ones make up for earlier ones.

A weight that is rounded to the nearest integer is wrong by up to a half. What counts is the error of the
map's output, and where inputs go together, one weight can correct another. This is the method of GPTQ (arXiv
2210.17323): the error of each column of weights is spread over the columns that are not rounded yet, as the
second moments of the inputs ask for it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

_DAMPING = 1e-3
"""The share of the mean second moment that is added to each. Inputs that were always zero would otherwise
lead to a division by zero."""
_LEAST_SIZE = 1e-6


class MomentRecorder:
    """Watch linear maps while a network runs, and record second moments of their inputs, (inputs, inputs).

    Every crop counts alike, however large its activations are. Otherwise, hardly any but crops of high
    quality would count.
    """

    def __init__(self, maps: dict[str, nn.Module]) -> None:
        self.moments: dict[str, Tensor] = {}
        self._handles: list[RemovableHandle] = []
        for name, module in maps.items():
            self._watch(name, module)

    def _watch(self, name: str, module: nn.Module) -> None:
        def record(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            x = inputs[0].detach().double().cpu()
            size = x.square().mean((1, 2, 3), keepdim=True).sqrt()
            rows = (x / size.clamp(min=_LEAST_SIZE)).movedim(1, -1).flatten(0, 2)
            self.moments[name] = self.moments.get(name, torch.zeros(())) + rows.T @ rows / len(rows)

        self._handles.append(module.register_forward_pre_hook(record))

    def close(self) -> None:
        """Stop watching."""
        for handle in self._handles:
            handle.remove()


def round_in_order(weights: Tensor, moments: Tensor, limit: int) -> Tensor:
    """Return integers in -limit..limit for `weights` (outputs, inputs) that change the map's output little.

    `moments` holds the second moments of the inputs, (inputs, inputs). Weights of large inputs are rounded
    first. If inputs do not go together, each weight is rounded to the nearest integer.
    """
    order = moments.diag().argsort(descending=True)
    damped = moments[order][:, order] + _DAMPING * moments.diag().mean() * torch.eye(len(moments))
    factor = torch.linalg.cholesky(torch.linalg.inv(damped), upper=True)
    rest, rounded = weights[:, order].double(), torch.zeros_like(weights, dtype=torch.float64)
    for column in range(len(order)):
        nearest = torch.floor(rest[:, column] + 0.5).clamp(-limit, limit)
        error = (rest[:, column] - nearest) / factor[column, column]
        rest[:, column:] -= error[:, None] * factor[column, column:]
        rounded[:, order[column]] = nearest
    return rounded.to(weights)
