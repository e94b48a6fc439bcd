"""Beliefs on who wins a pair: Bradley-Terry with a prior from the model's scores.

P(a beats b) = sigmoid(slope * (mu_a - mu_b) + strength_a - strength_b). The slope and the strengths
have normal priors. The slope is fitted to the answers alone, then the strengths, whose posterior is
a normal approximation at its mode (Laplace). A strength belongs to a contestant: a generator, or an
item where no generators are named. Only contestants of one block meet: all generators, or the items
of one prompt.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
# Before any answer: the scores count as the model says, and contestants differ from them by about
# three units of log-odds, so that a few answers outweigh the scores.
SLOPE, SLOPE_SD, STRENGTH_SD = 1.0, 0.5, 3.0
# Few answers, of pairs chosen by earlier answers, set contestants too far apart: pairs are chosen
# as if they were this much closer. Without this, active choice is worse than random for close ones.
TEMPER = 2.0
MAX_STEPS, TOLERANCE = 50, 1e-6


@dataclass(frozen=True)
class Answer:
    """An answer: P(a wins) 1, 0.5 or 0 for two contestants of a block; `gap` is mu_a - mu_b."""

    block: int
    a: int
    b: int
    gap: float
    outcome: float


@dataclass
class _Block:
    """The strengths of the contestants that have answers, and the answers by their places."""

    places: dict[int, int] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    mean: Floats = field(default_factory=lambda: np.zeros(0))
    cov: Floats = field(default_factory=lambda: np.zeros((0, 0)))

    def places_of(self, contestants: Codes) -> Codes:
        """Return the place of each contestant; one without answers has the place after the last."""
        size = len(self.places)
        distinct, at = np.unique(contestants, return_inverse=True)
        return np.array([self.places.get(one, size) for one in distinct.tolist()], np.int64)[at]


class Beliefs:
    """The posterior of slope and strengths; contestants without answers have the prior."""

    def __init__(self) -> None:
        self.slope = SLOPE
        self._blocks: dict[int, _Block] = {}
        self._all: list[Answer] = []

    def learn(self, answers: Sequence[Answer]) -> None:
        """Add answers."""
        self._all += answers
        self._fit_slope()
        for answer in answers:
            block = self._blocks.setdefault(answer.block, _Block())
            block.answers.append(answer)
            for contestant in (answer.a, answer.b):
                block.places.setdefault(contestant, len(block.places))
        for number in {answer.block for answer in answers}:
            _fit(self._blocks[number], self.slope)

    def strengths(self, block: int, contestants: Sequence[int]) -> Floats:
        """Return the mean strengths of some contestants, without what their scores add."""
        known = self._blocks.get(block, _Block())
        mean = np.append(known.mean, 0.0)
        return np.asarray(mean[[known.places.get(one, -1) for one in contestants]])

    def gain(self, block: Codes, a: Codes, b: Codes, gap: Floats) -> Floats:
        """Return what the answer to each of n pairs is expected to tell, (n,).

        That is the expected fall of the summed variance of the block's strengths: large if the
        chances are near one half and the two are not yet separated, from each other and from those
        that they met (A-optimal design, at tempered means of the posterior).
        """
        mean = self.slope * gap
        variance = np.full(len(gap), 2 * STRENGTH_SD**2)
        moved = np.full(len(gap), 2 * STRENGTH_SD**4)
        for number in np.unique(block).tolist():
            known = self._blocks.get(number)
            if known is not None:
                here = np.flatnonzero(block == number)
                places = [known.places_of(side[here]) for side in (a, b)]
                strength = np.append(known.mean, 0.0)
                mean[here] += strength[places[0]] - strength[places[1]]
                variance[here] = _spread(known.cov, STRENGTH_SD**2, places)
                moved[here] = _spread(known.cov @ known.cov, STRENGTH_SD**4, places)
        p = _sigmoid(mean / TEMPER)
        weight = p * (1 - p)
        told: Floats = weight * moved / (1 + weight * variance)
        return told

    def _fit_slope(self) -> None:
        gap = np.array([one.gap for one in self._all])
        outcome = np.array([one.outcome for one in self._all])

        def loss(x: Floats) -> float:
            return _nll(x[0] * gap, outcome) + float((x[0] - SLOPE) ** 2) / (2 * SLOPE_SD**2)

        def derivatives(x: Floats) -> tuple[Floats, Floats]:
            p = _sigmoid(x[0] * gap)
            first = (gap * (p - outcome)).sum() + (x[0] - SLOPE) / SLOPE_SD**2
            second = (gap**2 * p * (1 - p)).sum() + 1 / SLOPE_SD**2
            return np.array([first]), np.array([[second]])

        self.slope = float(_minimum(np.array([self.slope]), loss, derivatives)[0])


def _fit(block: _Block, slope: float) -> None:
    """Move the block's strengths to the mode."""
    size = len(block.places)
    a = np.array([block.places[one.a] for one in block.answers])
    b = np.array([block.places[one.b] for one in block.answers])
    offset = slope * np.array([one.gap for one in block.answers])
    outcome = np.array([one.outcome for one in block.answers])

    def loss(x: Floats) -> float:
        return _nll(offset + x[a] - x[b], outcome) + float((x**2).sum()) / (2 * STRENGTH_SD**2)

    def derivatives(x: Floats) -> tuple[Floats, Floats]:
        p = _sigmoid(offset + x[a] - x[b])
        first = np.bincount(a, p - outcome, size) - np.bincount(b, p - outcome, size)
        weight = p * (1 - p)
        second = np.diag(np.bincount(a, weight, size) + np.bincount(b, weight, size))
        np.subtract.at(second, (a, b), weight)
        np.subtract.at(second, (b, a), weight)
        prior = np.eye(size) / STRENGTH_SD**2
        return first + x / STRENGTH_SD**2, second + prior

    start = np.concatenate([block.mean, np.zeros(size - len(block.mean))])
    block.mean = _minimum(start, loss, derivatives)
    block.cov = np.asarray(np.linalg.inv(derivatives(block.mean)[1]), np.float64)


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


def _spread(matrix: Floats, prior: float, places: Sequence[Codes]) -> Floats:
    """Return x' M x of each x = e_a - e_b; M is `matrix`, with `prior` on the diagonal beyond."""
    size = len(matrix)
    whole = np.zeros((size + 1, size + 1))
    whole[:size, :size] = matrix
    whole[size, size] = prior
    a, b = places
    # Two contestants without answers share the last place and have no covariance.
    cross = np.where((a == size) & (b == size), 0.0, whole[a, b])
    spread: Floats = whole[a, a] + whole[b, b] - 2 * cross
    return spread


def _sigmoid(x: Floats | float) -> Floats:
    halves: Floats = 0.5 * (1 + np.tanh(0.5 * np.asarray(x)))
    return halves
