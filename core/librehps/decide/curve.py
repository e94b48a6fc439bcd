"""Expected gain of more samples: the best of n samples, for every n up to what the groups have."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from librehps.decide.bootstrap import mean_intervals
from librehps.decide.rank import Ranked
from librehps.decide.standings import Interval

Floats = NDArray[np.float64]
# A few groups that are short, by errors say, must not cut the curve of all others.
LEAST_SHARE = 0.9
# More points than anyone draws samples.
MOST_POINTS = 256


@dataclass(frozen=True)
class Curve:
    """`points[n - 1]` is the expected best of n; over `groups` of at least that many samples.

    `left_out` are groups that had fewer; `most` is the size of the largest.
    """

    points: tuple[Interval, ...]
    groups: int
    left_out: int
    most: int

    def records(self) -> list[dict[str, Any]]:
        """Return a dict for each n: expected_best, its 95 % interval, and the gain over n - 1."""
        return [
            {"n": n, "expected_best": point.value, "low": point.low, "high": point.high,
             "gain": point.value - self.points[n - 2].value if n > 1 else None}
            for n, point in enumerate(self.points, 1)
        ]  # fmt: skip


def curve(ranked: Ranked, values: Floats) -> Curve:
    """The curve of (rows,) values that rise with the scores they were ranked by."""
    common = int(np.quantile(ranked.sizes, 1 - LEAST_SHARE, method="lower"))
    longest = min(common, MOST_POINTS)
    kept = ranked.sizes >= longest
    best = np.array(
        [
            expected_best(values[ranked.rows[start : start + size]][::-1], longest)
            for start, size in zip(ranked.starts[kept], ranked.sizes[kept], strict=True)
        ]
    )
    return Curve(
        tuple(mean_intervals(best)), len(best), int((~kept).sum()), int(ranked.sizes.max())
    )


def expected_best(ascending: Floats, longest: int) -> Floats:
    """Mean of the best over all subsets of n of the N values, for n = 1..longest; unbiased.

    The k-th smallest is the best of C(k-1, n-1) of the C(N, n) subsets.
    """
    best: Floats = ascending @ _shares(len(ascending), longest)
    return best


@lru_cache(maxsize=8)
def _shares(count: int, longest: int) -> Floats:
    """(count, longest): share of the subsets of n in which the k-th smallest is the best."""
    shares = np.empty((count, longest))
    below = np.arange(count - 1, 0, -1, dtype=float)
    for n in range(1, longest + 1):
        # Downwards from the largest, which is in n of count subsets: C(k-2, n-1) / C(k-1, n-1).
        steps = np.maximum(below + 1 - n, 0) / below
        shares[::-1, n - 1] = n / count * np.cumprod(np.concatenate([[1.0], steps]))
    return shares
