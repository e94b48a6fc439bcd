"""The agreement of two ways to compute a model: how far their scores are apart."""

import math
from collections.abc import Sequence

import torch

from librehps.models.base import RawScore

# A difference beyond these is no rounding. Measured on the golden checkpoint, whose random head is
# steep: 1.6e-3 in float32, 1.4 in bfloat16.
MAX_MU, MAX_ROUNDED_MU = {torch.float32: 0.02}, 4.0


def difference(plain: Sequence[RawScore], other: Sequence[RawScore]) -> float:
    """Return the largest difference in mu; NaN if any score has one that the plain has not."""
    pairs = zip(plain, other, strict=True)
    differences = [abs(a - b) for p, c in pairs for a, b in zip(p.mu, c.mu, strict=True)]
    return max(differences, key=lambda x: (math.isnan(x), x))


def agrees(difference: float, dtype: torch.dtype) -> bool:
    """Return whether a difference in mu is one of rounding, for a model in `dtype`; NaN is not."""
    return difference <= MAX_MU.get(dtype, MAX_ROUNDED_MU)
