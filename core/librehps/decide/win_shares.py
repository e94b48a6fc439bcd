"""The shares of comparisons that each generator wins over each other, and their variances.

The share of a prompt is a mean over its samples. Its variance over prompts is that between prompts,
which more prompts alone make up for, plus that within a prompt, which falls with more samples.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from librehps.decide.bradley_terry import Floats
from librehps.decide.shared_prompts import Shared

# The shares of up to six samples of each generator are whole multiples of 1 / CELLS.
CELLS = 7200


@dataclass(frozen=True)
class WinShares:
    """The shares of wins of each pair of generators over prompts, in the order of triu_indices.

    `counts` (pairs, CELLS + 1) are the numbers of prompts by share. `within` (pairs,) is the mean
    variance of a prompt's share over draws of its samples, NaN without prompts with two samples of
    both; `samples` (generators,) are mean numbers of samples a prompt.
    """

    prompts: int
    counts: NDArray[np.int32]
    within: Floats
    samples: Floats

    def of_pair(self, pair: int) -> tuple[Floats, Floats]:
        """Return the shares that occur, and the number of prompts with each."""
        cells = np.flatnonzero(self.counts[pair])
        return cells / CELLS, self.counts[pair, cells].astype(np.float64)

    def variance(self, pair: int) -> float:
        """Return the variance of the shares over prompts, corrected by half a win each way."""
        shares, counts = self.of_pair(pair)
        shares, counts = np.append(shares, [0.0, 1.0]), np.append(counts, [0.5, 0.5])
        mean = shares @ counts / counts.sum()
        return float((shares - mean) ** 2 @ counts / counts.sum())


def win_shares(shared: Shared) -> WinShares:
    """Return the shares of wins of each pair of generators."""
    pairs = shared.count * (shared.count - 1) // 2
    counts = np.zeros((pairs, CELLS + 1), np.int32)
    within, known = np.zeros(pairs), np.zeros(pairs)
    at = np.arange(pairs)
    for shares, variances in shared.win_blocks():
        cells = np.rint(shares * CELLS).astype(np.int64)
        np.add.at(counts, (np.broadcast_to(at, cells.shape), cells), 1)
        known += np.isfinite(variances).sum(axis=0)
        within += np.nansum(variances, axis=0)
    with np.errstate(invalid="ignore"):
        within = within / known
    return WinShares(len(shared.prompts), counts, within, shared.sizes.mean(axis=0))
