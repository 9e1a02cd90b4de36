"""The mathematics of Bernoulli diffusion over levels: noise, context, posteriors, costs (DESIGN §4).

For J = 1 the kernel is the paper's P(z_t = 1 | z_0) = k z_0 + (1 - k)/2 (arXiv 2304.04820). For J > 1 a level
is kept with probability k and otherwise drawn uniformly from 0..J, which is the same thing at J = 1. All
functions are pure; levels are integers 0..J, `centred` means L - J/2, and the level axis comes last.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

LOWEST_PROBABILITY = 1e-9
"""Costs stop here, at 30 bits: lower than any channel of a trained model gets, high enough for float32."""


def add_noise(
    levels: Tensor, keep: Tensor, maximum: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Draw the noisy level: kept with probability `keep`, else uniform over 0..maximum (all
    broadcastable)."""
    shape = torch.broadcast_shapes(levels.shape, keep.shape, maximum.shape)  # type: ignore[no-untyped-call]
    uniform = torch.rand(shape, generator=generator, device=levels.device)
    random_level = (uniform * (maximum + 1)).floor().minimum(maximum.expand(shape))
    kept = torch.rand(shape, generator=generator, device=levels.device) < keep
    return torch.where(kept, levels.expand(shape).to(random_level.dtype), random_level)


def thresholds(maximum: int, like: Tensor) -> Tensor:
    """theta_j = j - (J+1)/2 for j = 1..J, on the centred axis: (J,)."""
    return torch.arange(1, maximum + 1, device=like.device, dtype=torch.float32) - (maximum + 1) / 2


def level_log_probabilities(mu: Tensor, log_scale: Tensor, maximum: int) -> Tensor:
    """Log-probabilities (..., J+1) of the levels of a logistic with location `mu` and scale
    exp(`log_scale`)."""
    argument = (mu[..., None] - thresholds(maximum, mu)) * torch.exp(-log_scale)[..., None]
    at_least = functional.pad(functional.logsigmoid(argument), (1, 0))  # log P(L >= l), l = 0..J
    fall = (at_least[..., 1:] - at_least[..., :-1]).clamp(max=-1e-12)
    inner = at_least[..., :-1] + torch.log(-torch.expm1(fall))  # log(P(L >= l) - P(L >= l + 1))
    lowest = functional.logsigmoid(-argument[..., :1])
    result = torch.cat([lowest, inner[..., 1:], at_least[..., -1:]], -1)
    return functional.log_softmax(result.clamp(min=-60.0), -1)


def with_own_observation(log_cavity: Tensor, observed: Tensor, keep: Tensor) -> Tensor:
    """p(L_0 | L_t and all else), from the cavity: add log(1 + (J+1) k / (1-k)) to the observed level.

    `log_cavity` (..., J+1), `observed` integer levels (...), `keep` (...) below 1. Exact, because
    q(L_t | L_0) is k + (1-k)/(J+1) where they agree and (1-k)/(J+1) elsewhere.
    """
    levels = log_cavity.shape[-1]
    weight = torch.log1p(levels * keep / (1 - keep))
    boost = functional.one_hot(observed.long(), levels) * weight[..., None]
    return functional.log_softmax(log_cavity + boost, -1)


def cost_with_own_observation(
    cost: Tensor, observed_cost: Tensor, agree: Tensor, keep: Tensor, maximum: Tensor
) -> Tensor:
    """Bits of a level under `with_own_observation`, from two cavity costs instead of a whole distribution.

    `cost` and `observed_cost` are -log2 of the cavity's probability of the clean and of the observed level,
    `agree` says where the two levels are equal. The normaliser is 1 + w P(observed), w = (J+1) k / (1-k).
    """
    weight = (maximum + 1) * keep / (1 - keep).clamp(min=1e-6)
    normaliser = torch.log1p(weight * torch.exp2(-observed_cost))
    return cost + (normaliser - agree * torch.log1p(weight)) / math.log(2)


def kernel(levels: int, keep: float) -> Tensor:
    """q(L_t | L_s) as a matrix (from, to) of float64, with the keep of that span of time."""
    uniform = torch.full((levels, levels), (1.0 - keep) / levels, dtype=torch.float64)
    return uniform + keep * torch.eye(levels, dtype=torch.float64)


def posterior(probability: Tensor, observed: Tensor, keep_s: float, keep_t: float) -> Tensor:
    """p(L_s | L_t), s < t: q(L_s | L_t, L_0) mixed over p(L_0 | L_t), which is `probability` (..., J+1).

    This is the pair for *calibrated* predictions (plain cross-entropy): the mixture, not the paper's
    product (which wants the cavity). `keep_s` and `keep_t` are measured from time 0.
    """
    levels = probability.shape[-1]
    from_start = kernel(levels, keep_s)  # (L_0, L_s)
    step = kernel(levels, keep_t / keep_s if keep_s > 0 else 0.0)[:, observed.long()].movedim(
        0, -1
    )  # (..., L_s)
    joint = from_start * step[..., None, :]  # (..., L_0, L_s)
    conditional = joint / joint.sum(-1, keepdim=True)
    return (probability[..., None].to(conditional.dtype) * conditional).sum(-2)


def flip_to_value(flip_log_odds: Tensor, observed: Tensor) -> Tensor:
    """Log-odds that z_0 = 1 from log-odds of a flip (the paper's target; J = 1): z_t gives the sign."""
    return (1 - 2 * observed) * flip_log_odds


def level_cost(
    centred: Tensor, mu: Tensor, log_scale: Tensor, maximum: Tensor, *, tails: bool = True
) -> Tensor:
    """Bits -log2 P(level) under the prior's logistic, elementwise.

    `centred` may carry uniform noise (then `tails=False`, the density's smooth stand-in for training); with
    hard levels and `tails=True` the outermost levels take everything beyond them. `maximum` broadcasts.
    """
    inverse = torch.exp(-log_scale)
    upper, lower = (centred + 0.5 - mu) * inverse, (centred - 0.5 - mu) * inverse
    if tails:
        upper = torch.where(centred >= maximum / 2, torch.full_like(upper, 60.0), upper)
        lower = torch.where(centred <= -maximum / 2, torch.full_like(lower, -60.0), lower)
    # On the side where both sigmoids are small their difference keeps its precision.
    sign = 1 - 2 * (upper + lower > 0).to(upper.dtype)
    probability = (torch.sigmoid(sign * upper) - torch.sigmoid(sign * lower)).abs()
    return -torch.log(probability.clamp(min=LOWEST_PROBABILITY)) / math.log(2)


def expected_centred(mu: Tensor, log_scale: Tensor, maximum: int) -> Tensor:
    """The mean of L - J/2: the sum of P(L >= j) over j, less J/2."""
    inverse, mean = torch.exp(-log_scale), torch.full_like(mu, -maximum / 2)
    # One threshold at a time: all at once would take J times the memory, and be slower.
    for theta in thresholds(maximum, mu).tolist():
        mean = mean + torch.sigmoid((mu - theta) * inverse)
    return mean
