"""Losses on pairs and ratings. A target of NaN means unknown, and counts for nothing.

Bradley-Terry: P(a wins) = sigmoid(mu_a - mu_b). The uncertainty-aware form divides the gap by
sqrt(sigma_a^2 + sigma_b^2), as HPSv3 (arXiv 2508.03789) holds a score to be a normal variable.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def pair_loss(gap: Tensor, target: Tensor, spread: Tensor | None = None) -> Tensor:
    """Mean cross-entropy of P(a wins) over the known targets; 0 where there is none.

    gap = mu_a - mu_b, target in [0, 1] or NaN, spread (of both sigmas) or None: all of one shape.
    """
    logit = gap if spread is None else gap / spread
    known = ~target.isnan()
    each = F.binary_cross_entropy_with_logits(logit, target.nan_to_num(), reduction="none")
    return masked_mean(each, known)


def honesty_loss(gap: Tensor, target: Tensor, spread: Tensor) -> Tensor:
    """What makes sigma say how far mu can be trusted: the aware form, with mu held still."""
    return pair_loss(gap.detach(), target, spread)


def sigma_prior(sigma: Tensor, known: Tensor) -> Tensor:
    """Mean of log(sigma)^2: fixes the scale that gap / spread leaves free."""
    return masked_mean(sigma.log().square(), known)


def rating_loss(scalar: Tensor, rating: Tensor) -> Tensor:
    """Mean squared error of the scalar head over the known ratings; 0 where there is none."""
    known = ~rating.isnan()
    return masked_mean((scalar - rating.nan_to_num()).square(), known)


def masked_mean(values: Tensor, known: Tensor) -> Tensor:
    return torch.where(known, values, 0).sum() / known.sum().clamp(min=1)
