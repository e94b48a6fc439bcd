"""Strengths from shares of wins, and how far prompts drawn anew would move them.

Bradley and Terry (1952): P(i beats j) = sigmoid(strength_i - strength_j). Generators are numbered;
"pairs" are every two of them, in the order of numpy's triu_indices.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# A generator that always wins would be infinitely strong. Half a win each way for every two keeps
# it finite; a gap of g log-odds shrinks by about sinh(g) / prompts, which is, to first order, what
# maximum likelihood alone would exaggerate it by.
HALF_WIN = 0.5
# Many generators far apart need more than the hundred iterations that choix allows by default.
ITERATIONS = 10_000
# How little the strengths, all together, still move when a fit ends; of one among thousands of
# resamples, far less than the width of an interval.
EXACT, ROUGH = 1e-8, 1e-4


@dataclass(frozen=True)
class Sums:
    """Wins and means added over prompts: `wins` (..., pairs), the first generator's over the
    second; `means` (..., generators); `prompts` is how many were added."""

    wins: Floats
    means: Floats
    prompts: int


def strengths(sums: Sums) -> Floats:
    """Bradley-Terry strengths in log-odds, mean zero, (generators,)."""
    return _fit(sums.wins, sums, HALF_WIN)


def resampled_strengths(sums: Sums, seed: int) -> Floats:
    """Strengths of each resample, (resamples, generators).

    The half wins are drawn too, from Gamma(1/2), whose mean they are: no resample has a loss that
    the prompts have not, yet a generator that never lost could. Of two generators this is close to
    Jeffreys' interval of a share.
    """
    rng = np.random.default_rng([seed, 1])
    count = sums.means.shape[-1]
    start = _fit(sums.wins.mean(axis=0), sums, HALF_WIN)
    drawn = (rng.gamma(HALF_WIN, size=(count, count)) for _ in sums.wins)
    pairs = zip(sums.wins, drawn, strict=True)
    return np.array([_fit(wins, sums, half_wins, start) for wins, half_wins in pairs])


def _fit(
    wins: Floats, sums: Sums, half_wins: Floats | float, start: Floats | None = None
) -> Floats:
    import choix

    matrix = square(wins, sums.prompts - wins, sums.means.shape[-1]) + half_wins
    np.fill_diagonal(matrix, 0)
    tol = EXACT if start is None else ROUGH
    fitted: Floats = choix.ilsr_pairwise_dense(
        matrix, initial_params=start, max_iter=ITERATIONS, tol=tol
    )
    return fitted


def square(above: Floats, below: Floats, count: int, diagonal: float = 0.0) -> Floats:
    """Figures of pairs (first, second), and those of (second, first), as (count, count)."""
    matrix = np.full((count, count), diagonal)
    first, second = np.triu_indices(count, 1)
    matrix[first, second], matrix[second, first] = above, below
    return matrix


def p_values(resampled: Floats, prompts: int) -> Floats:
    """P-values of every two strengths being equal, (generators, generators), 1 on the diagonal.

    `resampled` strengths are (resamples, generators). Two-sided, by the share of resamples in
    which the order is the other; corrected for the number of pairs (Benjamini and Hochberg, 1995).
    """
    from scipy import stats

    resamples, count = resampled.shape
    rarer = []
    for i in range(count - 1):
        gaps = resampled[:, i, None] - resampled[:, i + 1 :]
        rarer.append(np.minimum((gaps <= 0).sum(axis=0), (gaps >= 0).sum(axis=0)))
    p = np.minimum(1, 2 * (1 + np.concatenate(rarer)) / (resamples + 1))
    # Resampling a few prompts that one happened to win shows no doubt. Between equals one wins all
    # of them this often, so no test can be surer.
    p = np.maximum(p, 2.0 ** (1 - prompts))
    corrected = stats.false_discovery_control(p)
    return square(corrected, corrected, count, diagonal=1.0)
