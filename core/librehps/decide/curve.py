"""What N buys: the expected best of n samples, for every n up to what the groups have."""

from dataclasses import dataclass
from functools import lru_cache
from math import comb

import numpy as np
from numpy.typing import NDArray

from librehps.decide.best_of_n import Ranked
from librehps.decide.bootstrap import mean_intervals
from librehps.decide.standings import Interval

Floats = NDArray[np.float64]
# A few groups that are short, by errors say, must not cut the curve of all others.
LEAST_SHARE = 0.9


@dataclass(frozen=True)
class Curve:
    """`points[n - 1]` is the expected best of n; over `groups` of at least that many samples.

    `left_out` are groups that had fewer.
    """

    points: tuple[Interval, ...]
    groups: int
    left_out: int


def curve(ranked: Ranked, values: Floats) -> Curve:
    """The curve of (rows,) values that rise with the scores they were ranked by."""
    longest = int(np.quantile(ranked.sizes, 1 - LEAST_SHARE, method="lower"))
    kept = ranked.sizes >= longest
    best = np.array(
        [
            expected_best(values[ranked.rows[start : start + size]][::-1], longest)
            for start, size in zip(ranked.starts[kept], ranked.sizes[kept], strict=True)
        ]
    )
    return Curve(tuple(mean_intervals(best)), len(best), int((~kept).sum()))


def expected_best(ascending: Floats, longest: int) -> Floats:
    """Mean of the best over all subsets of n of the N values, for n = 1..longest; unbiased.

    The k-th smallest is the best of C(k-1, n-1) of the C(N, n) subsets.
    """
    best: Floats = ascending @ _shares(len(ascending), longest)
    return best


@lru_cache(maxsize=64)
def _shares(count: int, longest: int) -> Floats:
    """(count, longest): share of the subsets of n in which the k-th smallest is the best."""
    return np.array(
        [[comb(k, n - 1) / comb(count, n) for n in range(1, longest + 1)] for k in range(count)]
    )
