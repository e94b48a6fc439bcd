"""Losses on pairs and ratings. A target of NaN is unknown and ignored.

Bradley-Terry: P(a wins) = sigmoid(mu_a - mu_b). The uncertainty-aware form divides the gap by
sqrt(sigma_a^2 + sigma_b^2), as in HPSv3 (arXiv 2508.03789), where a score is a normal variable.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def pair_loss(gap: Tensor, target: Tensor, spread: Tensor | None = None) -> Tensor:
    """Return the mean cross-entropy of P(a wins) over the known targets; 0 if none is known.

    gap = mu_a - mu_b, target in [0, 1] or NaN, spread (of both sigmas) or None: all of one shape.
    """
    logit = gap if spread is None else gap / spread
    known = ~target.isnan()
    each = F.binary_cross_entropy_with_logits(logit, target.nan_to_num(), reduction="none")
    return masked_mean(each, known)


def honesty_loss(gap: Tensor, target: Tensor, spread: Tensor) -> Tensor:
    """Return the uncertainty-aware loss with mu detached, which trains sigma alone."""
    return pair_loss(gap.detach(), target, spread)


def sigma_prior(sigma: Tensor, known: Tensor) -> Tensor:
    """Return the mean of log(sigma)^2, which fixes the scale that gap / spread leaves free."""
    return masked_mean(sigma.log().square(), known)


def rating_loss(scalar: Tensor, rating: Tensor) -> Tensor:
    """Return the mean squared error of the scalar head over known ratings; 0 if none is known."""
    known = ~rating.isnan()
    return masked_mean((scalar - rating.nan_to_num()).square(), known)


def masked_mean(values: Tensor, known: Tensor) -> Tensor:
    return torch.where(known, values, 0).sum() / known.sum().clamp(min=1)
