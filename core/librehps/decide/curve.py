"""The expected best score of n samples, for every n up to the size of the groups."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from librehps.decide.bootstrap import mean_intervals
from librehps.decide.rank import Ranked
from librehps.decide.standings import Interval

Floats = NDArray[np.float64]
# A few small groups, for example with errors, must not shorten the curve of all others.
MIN_GROUP_SHARE = 0.9
# More samples than people generate.
MAX_POINTS = 256


@dataclass(frozen=True)
class Curve:
    """The expected best score of n samples, `points[n - 1]`, averaged over `groups` groups.

    `left_out` is the number of groups with fewer than `len(points)` samples, `most` the size of
    the largest group.
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
    """Return the curve of `values` (rows,), which must increase with the ranked scores."""
    common = int(np.quantile(ranked.sizes, 1 - MIN_GROUP_SHARE, method="lower"))
    longest = min(common, MAX_POINTS)
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
    """Return the mean of the best over all subsets of n values, for n = 1..longest; unbiased.

    The k-th smallest value is the best of C(k-1, n-1) of the C(N, n) subsets.
    """
    best: Floats = ascending @ _shares(len(ascending), longest)
    return best


@lru_cache(maxsize=8)
def _shares(count: int, longest: int) -> Floats:
    """Return the share of subsets of n whose best is the k-th smallest, (count, longest)."""
    shares = np.empty((count, longest))
    below = np.arange(count - 1, 0, -1, dtype=float)
    for n in range(1, longest + 1):
        # From the largest, in n / count of the subsets, down by C(k-2, n-1) / C(k-1, n-1).
        steps = np.maximum(below + 1 - n, 0) / below
        shares[::-1, n - 1] = n / count * np.cumprod(np.concatenate([[1.0], steps]))
    return shares
