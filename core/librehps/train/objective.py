"""The training loss and the held-out metrics, from head outputs of both sides."""

from dataclasses import dataclass

import torch
from torch import Tensor

from librehps.models.librehps.heads import HeadOutput
from librehps.train import losses
from librehps.train.feed import Targets
from librehps.train.options import TrainOptions

# Weights of the sigma term: with sigma="plain", and with sigma="aware".
SIGMA_LOSS_WEIGHT, SIGMA_PRIOR_WEIGHT = 0.1, 0.01


@dataclass(frozen=True)
class Sides:
    """The heads' outputs by pair: gap = mu_a - mu_b and spread of both sigmas, (pairs, axes).

    sigma: (2 x pairs, axes).
    """

    gap: Tensor
    spread: Tensor
    sigma: Tensor


def sides_of(output: HeadOutput) -> Sides:
    """Return the sides of outputs whose first half is all a's and second half all b's."""
    (mu_a, mu_b), (sigma_a, sigma_b) = output.mu.chunk(2), output.sigma.chunk(2)
    return Sides(mu_a - mu_b, torch.hypot(sigma_a, sigma_b), output.sigma)


def loss_terms(output: HeadOutput, targets: Targets, options: TrainOptions) -> dict[str, Tensor]:
    """Return the weighted terms of the training loss; the loss is their sum."""
    sides, preference = sides_of(output), targets.preference
    if options.sigma == "aware":
        known = (~preference.isnan()).repeat(2, 1)
        terms = {
            "pairs": losses.pair_loss(sides.gap, preference, sides.spread),
            "sigma": SIGMA_PRIOR_WEIGHT * losses.sigma_prior(sides.sigma, known),
        }
    else:
        honest = losses.honesty_loss(sides.gap, preference, sides.spread)
        terms = {
            "pairs": losses.pair_loss(sides.gap, preference),
            # If the base's sigmas are far too small, this loss is huge and would dominate the
            # step; its logarithm has the same minimum.
            "sigma": SIGMA_LOSS_WEIGHT * torch.log1p(honest),
        }
    rating = losses.rating_loss(output.scalar, targets.rating)
    return {**terms, "rating": options.rating_weight * rating}


def held_out_sums(output: HeadOutput, targets: Targets, options: TrainOptions) -> Tensor:
    """Return the sums (loss, known, right, decided): pair loss on all axes, accuracy on overall."""
    sides, preference = sides_of(output), targets.preference
    known = (~preference.isnan()).sum()
    spread = sides.spread if options.sigma == "aware" else None
    loss = losses.pair_loss(sides.gap, preference, spread) * known
    overall, gap = preference[:, 0], sides.gap[:, 0]
    decided = ~overall.isnan() & (overall != 0.5)
    right = (torch.sign(gap) * torch.sign(overall - 0.5) + 1) / 2
    sums = [loss, known, torch.where(decided, right, 0).sum(), decided.sum()]
    return torch.stack([value.double() for value in sums])
