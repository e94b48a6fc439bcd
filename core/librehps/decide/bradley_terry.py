"""Bradley-Terry strengths from shares of wins, and their bootstrap resamples.

Bradley and Terry (1952): P(i beats j) = sigmoid(strength_i - strength_j). Generators are numbered;
"pairs" are all pairs of generators, in the order of numpy's triu_indices.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# Half a win each way is added to every pair, since a generator that always wins would have an
# infinite strength. This shrinks a gap of g log-odds by about sinh(g) / prompts, to first order the
# bias of maximum likelihood.
PRIOR_WINS = 0.5
# Many generators far apart need more than the 100 iterations that choix allows by default.
MAX_ITERATIONS = 10_000
# A fit ends when the strengths together move less. For a resample, far below an interval's width.
TOLERANCE, RESAMPLE_TOLERANCE = 1e-8, 1e-4


@dataclass(frozen=True)
class Sums:
    """The sums over prompts of `wins` (..., pairs), of the first generator over the second, and of
    `means` (..., generators); `prompts` is the number of prompts."""

    wins: Floats
    means: Floats
    prompts: int


def strengths(sums: Sums) -> Floats:
    """Return Bradley-Terry strengths in log-odds, mean zero, (generators,)."""
    return _fit(sums.wins, sums, PRIOR_WINS)


def resampled_strengths(sums: Sums, seed: int) -> Floats:
    """Return the strengths of each resample, (resamples, generators).

    The prior wins are drawn too, from Gamma(1/2), whose mean is 1/2: resampled prompts alone would
    never give a loss to a generator that won everywhere. For two generators this is close to
    Jeffreys' interval of a proportion.
    """
    rng = np.random.default_rng([seed, 1])
    count = sums.means.shape[-1]
    start = _fit(sums.wins.mean(axis=0), sums, PRIOR_WINS)
    drawn = (rng.gamma(PRIOR_WINS, size=(count, count)) for _ in sums.wins)
    pairs = zip(sums.wins, drawn, strict=True)
    return np.array([_fit(wins, sums, prior_wins, start) for wins, prior_wins in pairs])


def _fit(
    wins: Floats, sums: Sums, prior_wins: Floats | float, start: Floats | None = None
) -> Floats:
    import choix

    matrix = square(wins, sums.prompts - wins, sums.means.shape[-1]) + prior_wins
    np.fill_diagonal(matrix, 0)
    tol = TOLERANCE if start is None else RESAMPLE_TOLERANCE
    fitted: Floats = choix.ilsr_pairwise_dense(
        matrix, initial_params=start, max_iter=MAX_ITERATIONS, tol=tol
    )
    return fitted


def square(above: Floats, below: Floats, count: int, diagonal: float = 0.0) -> Floats:
    """Return a (count, count) matrix of the values of pairs (first, second) and (second, first)."""
    matrix = np.full((count, count), diagonal)
    first, second = np.triu_indices(count, 1)
    matrix[first, second], matrix[second, first] = above, below
    return matrix


def p_values(resampled: Floats, prompts: int) -> Floats:
    """Return the p-value of equal strengths for each pair of generators, 1 on the diagonal.

    `resampled` strengths are (resamples, generators), the result (generators, generators).
    Two-sided, from the share of resamples with the opposite order; corrected for the number of
    pairs (Benjamini and Hochberg, 1995).
    """
    from scipy import stats

    resamples, count = resampled.shape
    rarer = []
    for i in range(count - 1):
        gaps = resampled[:, i, None] - resampled[:, i + 1 :]
        rarer.append(np.minimum((gaps <= 0).sum(axis=0), (gaps >= 0).sum(axis=0)))
    p = np.minimum(1, 2 * (1 + np.concatenate(rarer)) / (resamples + 1))
    # If one generator wins all of a few prompts, so do all resamples. Between equals this happens
    # by chance with this probability, so a p-value cannot be lower.
    p = np.maximum(p, 2.0 ** (1 - prompts))
    corrected = stats.false_discovery_control(p)
    return square(corrected, corrected, count, diagonal=1.0)
