"""Pair formulas: the probability that a wins, from two scores, and the verdict.

Formulas of the published LibreHPS model: uncalibrated, a probit-like gap over both sigmas;
calibrated, Platt scaling of the gap alone.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from librehps.choices import Winner
from librehps.errors import UsageError
from librehps.types import (
    DEFAULT_PROBABILITY_CUTOFF,
    DEFAULT_SIGMA_CEILING,
    DEFAULT_TEMPERATURE,
    ScoreAxis,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Platt:
    """A fit P(a wins) = sigmoid(a * (mu_a - mu_b) + b), and its model where known."""

    a: float
    b: float
    model: str | None = None
    fingerprint: str | None = None

    def probability(self, gap: float, symmetric: bool = True) -> float:
        """Return P(a wins) in [0, 1]; symmetric: the mean over both orders, which cancels `b`."""
        forth = sigmoid(self.a * gap + self.b)
        return (forth + sigmoid(self.a * gap - self.b)) / 2 if symmetric else forth

    def apply(self, delta_mu: float) -> float:
        """Return P(a wins) by the plain formula: `probability` without `symmetric`."""
        return self.probability(delta_mu, symmetric=False)

    def apply_array(self, delta_mu: "ArrayLike") -> "NDArray[np.float64]":
        """Return P(a wins) by the plain formula, for each of many differences."""
        import numpy as np

        # sigmoid(x) = (1 + tanh(x / 2)) / 2, which overflows for no x.
        gaps = np.asarray(delta_mu, np.float64)
        return (1 + np.tanh((self.a * gaps + self.b) / 2)) / 2

    def to_dict(self) -> dict[str, float]:
        """Return `a` and `b`, as a calibration.json holds them."""
        return {"a": self.a, "b": self.b}

    @classmethod
    def from_dict(cls, fit: Mapping[str, float]) -> "Platt":
        """Return the fit of a dict with `a` and `b`."""
        return cls(float(fit["a"]), float(fit["b"]))


@dataclass(frozen=True)
class Verdict:
    """The verdict on a pair: its winner, and `probability` = P(a wins) in [0, 1]."""

    winner: Winner
    probability: float
    confident: bool

    @property
    def win_probability(self) -> float:
        """The win probability of the likelier side, in [0.5, 1]."""
        return max(self.probability, 1 - self.probability)

    def record(self) -> dict[str, Any]:
        """Return the verdict as a dict of output columns."""
        return {
            "winner": self.winner,
            "win_probability": self.win_probability,
            "p_a_wins": self.probability,
            "confident": self.confident,
        }


class Rules(TypedDict, total=False):
    """The keyword arguments of `judge`."""

    symmetric: bool
    probability_cutoff: float
    sigma_cutoff: float
    sigma_ceiling: float | None
    temperature: float


def uncalibrated_probability(a: ScoreAxis, b: ScoreAxis, temperature: float = 1.0) -> float:
    """Return P(a wins) = sigmoid((mu_a - mu_b) / (T * sqrt(sigma_a^2 + sigma_b^2)))."""
    spread = math.hypot(a.sigma, b.sigma)
    return sigmoid((a.raw_mean - b.raw_mean) / (temperature * spread))


def judge(
    a: ScoreAxis,
    b: ScoreAxis,
    calibrator: Platt | None = None,
    *,
    symmetric: bool = True,
    probability_cutoff: float = DEFAULT_PROBABILITY_CUTOFF,
    sigma_cutoff: float = DEFAULT_SIGMA_CEILING,
    sigma_ceiling: float | None = None,
    temperature: float = DEFAULT_TEMPERATURE,
) -> Verdict:
    """Return the verdict on two scores of one axis.

    If `symmetric`, the winner has the higher mu; otherwise a win probability above 0.5. A verdict
    is confident if the win probability is above `probability_cutoff` and, without a calibrator,
    both sigmas are below `sigma_cutoff`, for which `sigma_ceiling` is another name.
    """
    if temperature <= 0 or (calibrator is not None and temperature != DEFAULT_TEMPERATURE):
        expected = "above 0" if calibrator is None else "1, as with any calibrator"
        raise UsageError(f"temperature: expected {expected}, got {temperature}")
    gap = a.raw_mean - b.raw_mean
    if calibrator is None:
        probability, lean = uncalibrated_probability(a, b, temperature), gap
        sure = max(a.sigma, b.sigma) < (sigma_cutoff if sigma_ceiling is None else sigma_ceiling)
    else:
        probability, sure = calibrator.probability(gap, symmetric), True
        lean = gap if symmetric else probability - 0.5
    winner: Winner = "a" if lean > 0 else "b" if lean < 0 else "tie"
    confident = sure and max(probability, 1 - probability) > probability_cutoff
    return Verdict(winner, probability, confident)


def sigmoid(x: float) -> float:
    """Return 1 / (1 + exp(-x)), without overflow for large x of either sign."""
    if x >= 0:
        return 1 / (1 + math.exp(-x))
    return math.exp(x) / (1 + math.exp(x))
