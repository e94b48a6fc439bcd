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
# Many generators far apart need some hundred iterations.
MAX_ITERATIONS = 10_000
# Limits the matrices of a block of resamples, for memory.
BLOCK_CELLS = 1 << 20
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
    count = sums.means.shape[-1]
    start = np.zeros((1, count))
    fitted: Floats = _fit(sums.wins[None], sums, PRIOR_WINS, start, TOLERANCE)[0]
    return fitted


def resampled_strengths(sums: Sums, seed: int) -> Floats:
    """Return the strengths of each resample, (resamples, generators).

    The prior wins are drawn too, from Gamma(1/2), whose mean is 1/2: resampled prompts alone would
    never give a loss to a generator that won everywhere. For two generators this is close to
    Jeffreys' interval of a proportion.
    """
    rng = np.random.default_rng([seed, 1])
    resamples, count = sums.means.shape
    middle = Sums(sums.wins.mean(axis=0), sums.means.mean(axis=0), sums.prompts)
    start = strengths(middle)
    fitted = np.empty((resamples, count))
    size = max(1, BLOCK_CELLS // count**2)
    for at in range(0, resamples, size):
        wins = sums.wins[at : at + size]
        prior = rng.gamma(PRIOR_WINS, size=(len(wins), count, count))
        starts = np.tile(start, (len(wins), 1))
        fitted[at : at + size] = _fit(wins, sums, prior, starts, RESAMPLE_TOLERANCE)
    return fitted


def resampled_win_shares(sums: Sums, winner: int, seed: int) -> Floats:
    """Return the share of prompts that `winner` wins against each generator, in each resample.

    The result is (resamples, generators), 1/2 for the winner itself.
    """
    rng = np.random.default_rng([seed, 2])
    resamples, count = sums.means.shape
    shares = np.full((resamples, count), 0.5)
    first, second = np.triu_indices(count, 1)
    for pair in np.flatnonzero((first == winner) | (second == winner)):
        won = sums.wins[:, pair] if first[pair] == winner else sums.prompts - sums.wins[:, pair]
        other = second[pair] if first[pair] == winner else first[pair]
        shares[:, other] = shares_with_prior(won, sums.prompts, rng)
    return shares


def shares_with_prior(wins: Floats, prompts: int, rng: np.random.Generator) -> Floats:
    """Return shares of wins in resamples, with prior wins drawn as for strengths.

    Without these, a generator that wins everywhere would have an interval of width 0.
    """
    won, lost = rng.gamma(PRIOR_WINS, size=(2, len(wins)))
    shares: Floats = (wins + won) / (prompts + won + lost)
    return shares


def _fit(
    wins: Floats, sums: Sums, prior_wins: Floats | float, start: Floats, tolerance: float
) -> Floats:
    """Return the strengths for each row of `wins`, from `start`; (fits, generators).

    Iterative Luce spectral ranking (Maystre and Grossglauser, 2015): the strengths are the fixed
    point of the stationary distribution of a chain that moves from loser to winner.
    """
    count = start.shape[1]
    lost = np.zeros((len(wins), count, count))
    first, second = np.triu_indices(count, 1)
    lost[:, second, first], lost[:, first, second] = wins, sums.prompts - wins
    # The prior is drawn for winner and loser.
    lost += np.swapaxes(prior_wins, 1, 2) if isinstance(prior_wins, np.ndarray) else prior_wins
    fitted, moving = start, np.arange(len(wins))
    for _ in range(MAX_ITERATIONS):
        moved = _step(lost[moving], fitted[moving])
        distance = np.abs(moved - fitted[moving]).sum(axis=1)
        fitted[moving] = moved
        moving = moving[distance > tolerance * count]
        if not len(moving):
            return fitted
    raise RuntimeError(f"strengths did not converge in {MAX_ITERATIONS} iterations")


def _step(lost: Floats, strengths: Floats) -> Floats:
    """Return the log of the stationary distributions of the chains at these strengths."""
    weights = np.exp(strengths)
    rates = lost / (weights[:, :, None] + weights[:, None, :])
    at = np.arange(weights.shape[1])
    rates[:, at, at] = 0
    rates[:, at, at] = -rates.sum(axis=2)
    # The last share is 1, which leaves one equation less.
    shares = np.ones_like(weights)
    inflow = np.swapaxes(rates, 1, 2)
    shares[:, :-1] = np.linalg.solve(inflow[:, :-1, :-1], -inflow[:, :-1, -1:])[..., 0]
    logs = np.log(shares)
    moved: Floats = logs - logs.mean(axis=1, keepdims=True)
    return moved


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
    resamples, count = resampled.shape
    rarer = []
    for i in range(count - 1):
        gaps = resampled[:, i, None] - resampled[:, i + 1 :]
        rarer.append(np.minimum((gaps <= 0).sum(axis=0), (gaps >= 0).sum(axis=0)))
    p = np.minimum(1, 2 * (1 + np.concatenate(rarer)) / (resamples + 1))
    # If one generator wins all of a few prompts, so do all resamples. Between equals this happens
    # by chance with this probability, so a p-value cannot be lower.
    p = np.maximum(p, 2.0 ** (1 - prompts))
    order = np.argsort(-p)
    corrected = np.empty_like(p)
    # Times the number of pairs over the rank, and no larger than that of a larger p-value.
    corrected[order] = np.minimum.accumulate(p[order] * len(p) / np.arange(len(p), 0, -1))
    return square(corrected, corrected, count, diagonal=1.0)
