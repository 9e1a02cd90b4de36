"""The mathematics of Bernoulli diffusion over levels: noise, context, posteriors, costs (DESIGN §4).

For J = 1, the noise kernel is P(z_t = 1 | z_0) = k z_0 + (1 - k)/2, as in arXiv 2304.04820 ("the paper"). For
J > 1, a level is kept with probability k and otherwise drawn uniformly from 0..J. At J = 1, both are the
same. All functions are pure. Levels are integers 0..J, `centred` means L - J/2, and the level axis is last.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

LOWEST_PROBABILITY = 1e-9
"""The lowest probability of a level, which costs 30 bits. Trained models stay above it, and float32 can
represent it."""


def add_noise(
    levels: Tensor, keep: Tensor, maximum: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Draw noisy levels. A level is kept with probability `keep`, else it is uniform over 0..maximum.

    All arguments can be broadcast.
    """
    shape = torch.broadcast_shapes(levels.shape, keep.shape, maximum.shape)  # type: ignore[no-untyped-call]
    uniform = torch.rand(shape, generator=generator, device=levels.device)
    random_level = (uniform * (maximum + 1)).floor().minimum(maximum.expand(shape))
    kept = torch.rand(shape, generator=generator, device=levels.device) < keep
    return torch.where(kept, levels.expand(shape).to(random_level.dtype), random_level)


def flip_bits(centred: Tensor, keep: Tensor) -> Tensor:
    """Return `add_noise` of centred single bits (J = 1): each flips with probability (1 - keep) / 2."""
    return torch.where(torch.rand_like(centred) < (1 + keep) / 2, centred, -centred)


def thresholds(maximum: int, like: Tensor) -> Tensor:
    """Return the thresholds theta_j = j - (J+1)/2 of centred levels for j = 1..J, (J,)."""
    return torch.arange(1, maximum + 1, device=like.device, dtype=torch.float32) - (maximum + 1) / 2


def level_log_probabilities(mu: Tensor, log_scale: Tensor, maximum: int) -> Tensor:
    """Return the log-probabilities of all levels, (..., J+1), under a logistic distribution.

    Its location is `mu` and its scale is exp(`log_scale`), both in levels and of shape (...).
    """
    argument = (mu[..., None] - thresholds(maximum, mu)) * torch.exp(-log_scale)[..., None]
    at_least = functional.pad(functional.logsigmoid(argument), (1, 0))  # log P(L >= l), l = 0..J
    fall = (at_least[..., 1:] - at_least[..., :-1]).clamp(max=-1e-12)
    inner = at_least[..., :-1] + torch.log(-torch.expm1(fall))  # log(P(L >= l) - P(L >= l + 1))
    lowest = functional.logsigmoid(-argument[..., :1])
    result = torch.cat([lowest, inner[..., 1:], at_least[..., -1:]], -1)
    return functional.log_softmax(result.clamp(min=-60.0), -1)


def with_own_observation(log_cavity: Tensor, observed: Tensor, keep: Tensor) -> Tensor:
    """Return log p(L_0 | L_t and all other context), (..., J+1).

    The cavity is the distribution given all other context. To include L_t, log(1 + (J+1) k / (1-k)) is added
    to the observed level. This is exact, because q(L_t | L_0) is k + (1-k)/(J+1) where the two levels agree,
    and (1-k)/(J+1) elsewhere.

    Args:
        log_cavity: log-probabilities of the cavity, (..., J+1).
        observed: integer levels L_t, (...).
        keep: k, (...), below 1.
    """
    levels = log_cavity.shape[-1]
    weight = torch.log1p(levels * keep / (1 - keep))
    boost = functional.one_hot(observed.long(), levels) * weight[..., None]
    return functional.log_softmax(log_cavity + boost, -1)


def cost_with_own_observation(
    cost: Tensor, observed_cost: Tensor, agree: Tensor, keep: Tensor, maximum: Tensor
) -> Tensor:
    """Return the bits of a level under `with_own_observation`, from two costs instead of a distribution.

    `cost` and `observed_cost` are -log2 of the cavity's probability of the clean and of the observed level.
    `agree` says where the two levels are equal. The normaliser is 1 + w P(observed), w = (J+1) k / (1-k).
    """
    weight = (maximum + 1) * keep / (1 - keep).clamp(min=1e-6)
    normaliser = torch.log1p(weight * torch.exp2(-observed_cost))
    return cost + (normaliser - agree * torch.log1p(weight)) / math.log(2)


def bit_cost_with_own_observation(
    clean: Tensor, mu: Tensor, log_scale: Tensor, noisy: Tensor, keep: Tensor
) -> Tensor:
    """Return the bits of single bits (J = 1) under `with_own_observation`.

    `clean` and `noisy` are centred, -1/2 or 1/2. All log-odds are those of a 1: the cavity's are
    mu / exp(log_scale), and the noisy bit adds log((1 + k) / (1 - k)) with its own sign. `level_cost` and
    `cost_with_own_observation` give the same, but take several times as long.
    """
    own = torch.log((1 + keep) / (1 - keep).clamp(min=1e-6))
    log_odds = mu * torch.exp(-log_scale) + 2 * noisy * own
    return functional.softplus(-2 * clean * log_odds) / math.log(2)


def kernel(levels: int, keep: float) -> Tensor:
    """Return q(L_t | L_s) as a float64 matrix (from, to). `keep` is the keep from time s to time t."""
    uniform = torch.full((levels, levels), (1.0 - keep) / levels, dtype=torch.float64)
    return uniform + keep * torch.eye(levels, dtype=torch.float64)


def posterior(probability: Tensor, observed: Tensor, keep_s: float, keep_t: float) -> Tensor:
    """Return p(L_s | L_t) for s < t: the mean of q(L_s | L_t, L_0) over p(L_0 | L_t), (..., J+1).

    `probability` is p(L_0 | L_t), (..., J+1). `keep_s` and `keep_t` are measured from time 0. This mixture is
    right for calibrated predictions, which training with plain cross-entropy gives. The paper's product
    formula would need the cavity instead.
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
    """Turn log-odds of a flip (the paper's target, J = 1) into log-odds that z_0 = 1. z_t gives the sign."""
    return (1 - 2 * observed) * flip_log_odds


def level_cost(
    centred: Tensor, mu: Tensor, log_scale: Tensor, maximum: Tensor, *, tails: bool = True
) -> Tensor:
    """Return the bits -log2 P(level) of each level under the prior's logistic distribution.

    With `tails`, `centred` holds hard levels, and the outermost levels include all probability beyond them.
    Without `tails`, `centred` may include uniform noise. This gives a smooth cost for training. `maximum` is
    broadcast.
    """
    inverse = torch.exp(-log_scale)
    upper, lower = (centred + 0.5 - mu) * inverse, (centred - 0.5 - mu) * inverse
    if tails:
        upper = torch.where(centred >= maximum / 2, torch.full_like(upper, 60.0), upper)
        lower = torch.where(centred <= -maximum / 2, torch.full_like(lower, -60.0), lower)
    # The difference of two sigmoids is precise where both are small, so it is taken on that side.
    sign = 1 - 2 * (upper + lower > 0).to(upper.dtype)
    probability = (torch.sigmoid(sign * upper) - torch.sigmoid(sign * lower)).abs()
    return -torch.log(probability.clamp(min=LOWEST_PROBABILITY)) / math.log(2)


def expected_centred(mu: Tensor, log_scale: Tensor, maximum: int) -> Tensor:
    """Return the mean of L - J/2, which is the sum of P(L >= j) over j minus J/2."""
    inverse, mean = torch.exp(-log_scale), torch.full_like(mu, -maximum / 2)
    # Thresholds are added one at a time. All at once would take J times the memory and be slower.
    for theta in thresholds(maximum, mu).tolist():
        mean = mean + torch.sigmoid((mu - theta) * inverse)
    return mean
