"""Beliefs on who wins a pair: Bradley-Terry with a prior from the model's scores.

P(a beats b) = sigmoid(strength_a - strength_b), and strength = slope * mu + own (Bradley and Terry,
1952). The slope and the own parts have normal priors; their posterior is a normal approximation at
its mode (Laplace). How far the own parts spread is not known either: each of SPREADS is weighted by
how well it explains all answers (its evidence: Tierney and Kadane, 1986), and the beliefs are the
weighted mixture. A strength belongs to a contestant: a generator, or an item where no generators
are named. Only contestants of one block meet: all generators, or the items of one prompt.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
# Before any answer the scores count as the model says.
SLOPE, SLOPE_SD = 1.0, 0.5
# Standard deviations of the own parts in log-odds, and their weights before any answer. Wide ones
# alone set contestants too far apart after few answers, so that close pairs are never asked.
SPREADS = np.array([0.7, 1.4, 2.8])
SPREAD_WEIGHTS = np.array([0.25, 0.5, 0.25])
MAX_STEPS, TOLERANCE = 50, 1e-6


@dataclass(frozen=True)
class Answer:
    """An answer: P(a wins) 1, 0.5 or 0 for two contestants of a block, with their scores."""

    block: int
    a: int
    b: int
    mu_a: float
    mu_b: float
    outcome: float


@dataclass
class _Block:
    """The posterior of the n contestants with answers: n own parts, then the slope, per spread."""

    places: dict[int, int] = field(default_factory=dict)
    mu: list[float] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    modes: Floats = field(default_factory=lambda: np.full((len(SPREADS), 1), SLOPE))
    covs: Floats = field(default_factory=lambda: np.full((len(SPREADS), 1, 1), SLOPE_SD**2))
    evidence: Floats = field(default_factory=lambda: np.zeros(len(SPREADS)))

    def add(self, answer: Answer) -> None:
        """Add an answer, without a new fit."""
        self.answers.append(answer)
        for contestant, mu in ((answer.a, answer.mu_a), (answer.b, answer.mu_b)):
            if contestant not in self.places:
                self.places[contestant] = len(self.places)
                self.mu.append(mu)

    def places_of(self, contestants: Codes) -> Codes:
        """Return the place of each contestant; one without answers has the place after the last."""
        size = len(self.places)
        distinct, at = np.unique(contestants, return_inverse=True)
        return np.array([self.places.get(one, size) for one in distinct.tolist()], np.int64)[at]

    def moments(self, weights: Floats) -> tuple[Floats, Floats]:
        """Return mean and covariance of the mixture of the spreads."""
        mean = weights @ self.modes
        off = self.modes - mean
        cov = np.tensordot(weights, self.covs, 1) + (off * weights[:, None]).T @ off
        return mean, cov


class Beliefs:
    """The posterior of slope and strengths; contestants without answers have the prior."""

    def __init__(self) -> None:
        self._blocks: dict[int, _Block] = {}

    def learn(self, answers: Sequence[Answer]) -> None:
        """Add answers."""
        for answer in answers:
            self._blocks.setdefault(answer.block, _Block()).add(answer)
        for number in {answer.block for answer in answers}:
            _fit(self._blocks[number])

    def strengths(self, block: int, contestants: Sequence[int], mu: Sequence[float]) -> Floats:
        """Return the mean strengths of some contestants with scores `mu`."""
        known = self._blocks.get(block, _Block())
        mean = known.moments(self._weights())[0]
        own = np.append(mean[:-1], 0.0)[known.places_of(np.asarray(contestants, np.int64))]
        strengths: Floats = own + mean[-1] * np.asarray(mu)
        return strengths

    def gain(self, block: Codes, a: Codes, b: Codes, mu_a: Floats, mu_b: Floats) -> Floats:
        """Return what the answer to each of n pairs is expected to tell, (n,).

        That is the expected fall of the summed variance of the strengths of the block's contestants
        with answers, and of the pair, about their mean: large if the chances are near one half and
        the two are not yet separated, from each other and from those that they met (Bayesian
        A-optimal design: Chaloner and Verdinelli, 1995).
        """
        weights = self._weights()
        # All blocks without answers are alike.
        group = np.where(np.isin(block, list(self._blocks)), block, -1)
        told: Floats = np.zeros(len(block))
        for number in np.unique(group).tolist():
            here = np.flatnonzero(group == number)
            known = self._blocks.get(number, _Block())
            told[here] = _gain(known, weights, a[here], b[here], mu_a[here], mu_b[here])
        return told

    def _weights(self) -> Floats:
        """Return the weight of each spread by the evidence of all blocks."""
        evidence = np.log(SPREAD_WEIGHTS)
        for block in self._blocks.values():
            evidence = evidence + block.evidence
        weights: Floats = np.exp(evidence - evidence.max())
        shares: Floats = weights / weights.sum()
        return shares


def _gain(block: _Block, weights: Floats, a: Codes, b: Codes, mu_a: Floats, mu_b: Floats) -> Floats:
    size, gap = len(block.places), mu_a - mu_b
    mean, cov = _extended(block, weights)
    place_a, place_b = block.places_of(a), block.places_of(b)
    # Two contestants without answers have two places.
    place_b = np.where(place_b == size, size + 1, place_b)
    log_odds = mean[place_a] - mean[place_b] + gap * mean[-1]
    # Covariances with the difference of the pair's strengths: of own parts and slope, then of
    # strengths, without the place that a pair leaves free.
    covs = cov[place_a] - cov[place_b] + gap[:, None] * cov[-1]
    rows = np.arange(len(a))
    variance = covs[rows, place_a] - covs[rows, place_b] + gap * covs[:, -1]
    mu = np.tile(np.append(block.mu, [0.0, 0.0]), (len(a), 1))
    mu[:, size], mu[:, size + 1] = mu_a, mu_b
    moved = covs[:, :-1] + mu * covs[:, -1:]
    is_new = np.stack([place_a == size, place_b == size + 1], axis=1)
    moved[:, size:] *= is_new
    fall = (moved**2).sum(axis=1) - moved.sum(axis=1) ** 2 / (size + is_new.sum(axis=1))
    p = _sigmoid(log_odds)
    weight = p * (1 - p)
    told: Floats = weight * fall / (1 + weight * variance)
    return told


def _extended(block: _Block, weights: Floats) -> tuple[Floats, Floats]:
    """Return the block's moments with two contestants without answers before the slope."""
    size = len(block.places)
    mean, cov = block.moments(weights)
    kept = [*range(size), size + 2]
    wide_mean, wide = np.zeros(size + 3), np.zeros((size + 3, size + 3))
    wide_mean[kept] = mean
    wide[np.ix_(kept, kept)] = cov
    wide[size, size] = wide[size + 1, size + 1] = weights @ SPREADS**2
    return wide_mean, wide


def _fit(block: _Block) -> None:
    """Move the block's posteriors to their modes."""
    size = len(block.places)
    a = np.array([block.places[one.a] for one in block.answers])
    b = np.array([block.places[one.b] for one in block.answers])
    gap = np.array([one.mu_a - one.mu_b for one in block.answers])
    outcome = np.array([one.outcome for one in block.answers])
    center = np.append(np.zeros(size), SLOPE)
    known = block.modes.shape[1] - 1
    fresh = np.zeros((len(SPREADS), size - known))
    starts = np.concatenate([block.modes[:, :-1], fresh, block.modes[:, -1:]], axis=1)
    block.modes, block.covs = np.zeros_like(starts), np.zeros((len(SPREADS), size + 1, size + 1))
    for at, spread in enumerate(SPREADS):
        precision = np.append(np.full(size, 1 / spread**2), 1 / SLOPE_SD**2)

        def loss(x: Floats, precision: Floats = precision) -> float:
            prior = float((precision * (x - center) ** 2).sum()) / 2
            return _nll(x[a] - x[b] + x[-1] * gap, outcome) + prior

        def derivatives(x: Floats, precision: Floats = precision) -> tuple[Floats, Floats]:
            p = _sigmoid(x[a] - x[b] + x[-1] * gap)
            return _derivatives(a, b, gap, p - outcome, p * (1 - p), x - center, precision)

        mode = _minimum(starts[at], loss, derivatives)
        curvature = derivatives(mode)[1]
        block.modes[at], block.covs[at] = mode, np.linalg.inv(curvature)
        log_det = float(np.linalg.slogdet(curvature)[1])
        block.evidence[at] = -loss(mode) - size * np.log(spread) - log_det / 2


def _derivatives(
    a: Codes, b: Codes, gap: Floats, off: Floats, weight: Floats, moved: Floats, precision: Floats
) -> tuple[Floats, Floats]:
    """Return gradient and Hessian of the loss; `off` is p less the outcome, `weight` p (1 - p)."""
    size = len(moved) - 1
    first = precision * moved
    first[:-1] += np.bincount(a, off, size) - np.bincount(b, off, size)
    first[-1] += (gap * off).sum()
    second = np.diag(precision)
    np.add.at(second, (a, a), weight)
    np.add.at(second, (b, b), weight)
    np.subtract.at(second, (a, b), weight)
    np.subtract.at(second, (b, a), weight)
    border = np.bincount(a, weight * gap, size) - np.bincount(b, weight * gap, size)
    second[-1, :-1] += border
    second[:-1, -1] += border
    second[-1, -1] += (weight * gap**2).sum()
    return first, second


def _minimum(
    x: Floats,
    loss: Callable[[Floats], float],
    derivatives: Callable[[Floats], tuple[Floats, Floats]],
) -> Floats:
    """Return the minimum of a convex loss: Newton's steps, halved while the loss does not fall."""
    for _ in range(MAX_STEPS):
        first, second = derivatives(x)
        step = np.linalg.solve(second, first)
        if np.abs(step).max() < TOLERANCE:
            break
        now = loss(x)
        while loss(x - step) > now and np.abs(step).max() >= TOLERANCE:
            step = step / 2
        x = x - step
    return x


def _nll(log_odds: Floats, outcome: Floats) -> float:
    return float((np.logaddexp(0, log_odds) - outcome * log_odds).sum())


def _sigmoid(x: Floats | float) -> Floats:
    halves: Floats = 0.5 * (1 + np.tanh(0.5 * np.asarray(x)))
    return halves
