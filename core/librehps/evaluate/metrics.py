"""Metrics of agreement with people: accuracy, calibration, rank correlation.

p is P(a wins), outcome the share of people who prefer a; both are arrays of shape (n,).
"""

import numpy as np
from numpy.typing import NDArray

from librehps.decide.standings import Interval
from librehps.types import DEFAULT_PROBABILITY_CUTOFF

Floats = NDArray[np.float64]
# Equal-width bins over [0, 1], as in the published model's report.
BINS = 15
RESAMPLES = 1000
# Keeps the NLL finite for a probability of 0 or 1.
EPSILON = 1e-12


def correctness(gap: Floats, outcome: Floats) -> Floats:
    """Return 1 for pairs where people prefer the higher mu, 0 where not, 0.5 for equal mus.

    Valid for pairs without a tie of people: a tie has no right answer.
    """
    agrees = np.sign(gap) * np.sign(outcome - 0.5)
    right: Floats = (agrees + 1) / 2
    return right


def with_ties(p: Floats, outcome: Floats) -> Floats:
    """Return 1 for right verdicts, else 0; a verdict of 0.55 or less counts as a tie."""
    confident = np.maximum(p, 1 - p) > DEFAULT_PROBABILITY_CUTOFF
    verdict = np.where(confident, np.sign(p - 0.5), 0)
    right: Floats = (verdict == np.sign(outcome - 0.5)).astype(float)
    return right


def ece(p: Floats, outcome: Floats) -> float:
    """Return the expected calibration error over both orders of each pair, in [0, 1]."""
    p, outcome = both_orders(p), both_orders(outcome)
    total = 0.0
    for said, happened, count in bins(p, outcome):
        total += abs(said - happened) * count
    return total / len(p) if len(p) else float("nan")


def bins(p: Floats, outcome: Floats) -> list[tuple[float, float, int]]:
    """Return (mean p, mean outcome, count) of each non-empty bin, of BINS bins."""
    at = np.minimum((p * BINS).astype(int), BINS - 1)
    return [
        (float(p[at == i].mean()), float(outcome[at == i].mean()), int((at == i).sum()))
        for i in range(BINS)
        if (at == i).any()
    ]


def brier(p: Floats, outcome: Floats) -> Floats:
    """Return the squared error of each pair; the same in both orders."""
    squared: Floats = (p - outcome) ** 2
    return squared


def nll(p: Floats, outcome: Floats) -> Floats:
    """Return the cross-entropy of each pair in nats; the same in both orders."""
    p = p.clip(EPSILON, 1 - EPSILON)
    loss: Floats = -(outcome * np.log(p) + (1 - outcome) * np.log(1 - p))
    return loss


def both_orders(p: Floats) -> Floats:
    """Return the probabilities of all pairs (a, b), then of all pairs (b, a)."""
    return np.concatenate([p, 1 - p])


def mean_of(values: Floats, clusters: NDArray[np.object_]) -> Interval:
    """Return the mean with a 95 % interval; clusters (prompts) are resampled as a whole."""
    if not len(values):
        return Interval(float("nan"))
    _, at = np.unique(clusters.astype(str), return_inverse=True)
    sums, counts = (np.bincount(at, x).astype(np.float64) for x in (values, np.ones(len(at))))
    low, high = _interval((sums, counts), lambda s, c, axis: s.sum(axis) / c.sum(axis))
    return Interval(float(values.mean()), low, high)


def spearman(scores: Floats, ratings: Floats) -> Interval:
    """Return the rank correlation of scores with absolute ratings, in [-1, 1]."""
    from scipy import stats

    if len(scores) < 3 or np.ptp(scores) == 0 or np.ptp(ratings) == 0:
        return Interval(float("nan"))

    def rank(x: Floats, y: Floats) -> float:
        return float(stats.spearmanr(x, y).statistic)

    low, high = _interval((scores, ratings), rank, vectorized=False)
    return Interval(rank(scores, ratings), low, high)


def sigma_auroc(spread: Floats, right: Floats) -> float:
    """Return P(spread of a wrong pair > of a right pair); 0.5: sigma does not predict errors."""
    from scipy import stats

    wrong_spread, right_spread = spread[right < 0.5], spread[right > 0.5]
    if not (len(wrong_spread) and len(right_spread)) or np.isnan(spread).any():
        return float("nan")
    above = stats.mannwhitneyu(wrong_spread, right_spread).statistic
    return float(above / (len(wrong_spread) * len(right_spread)))


def _interval(
    data: tuple[Floats, ...], statistic: object, vectorized: bool = True
) -> tuple[float, float]:
    """Return a 95 % percentile bootstrap interval; the arrays of `data` are resampled together."""
    from scipy import stats

    if len(data[0]) < 2:
        return float("nan"), float("nan")
    result = stats.bootstrap(
        data,
        statistic,
        paired=True,
        vectorized=vectorized,
        n_resamples=RESAMPLES,
        batch=50,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    interval = result.confidence_interval
    return float(interval.low), float(interval.high)
