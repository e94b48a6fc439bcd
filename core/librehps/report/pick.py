"""The choice of rows that get a thumbnail, if not all rows can."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Rows that the page shows as best, and as worst, if no group has two rows.
MAX_END_ROWS = 12


def picked(
    groups: Sequence[int],
    scores: Sequence[float | None],
    limit: int,
    wanted: Sequence[int] = (),
) -> list[int]:
    """Return at most `limit` rows: best and worst of all, `wanted` rows, best and worst of each
    group, then evenly spaced rows.

    Groups with the largest gap between best and worst come first, as on the page.
    """
    mu = np.array([np.nan if score is None else score for score in scores], dtype=np.float64)
    codes = np.asarray(groups)
    ranked = np.flatnonzero(~np.isnan(mu))
    ranked = ranked[np.argsort(-mu[ranked], kind="stable")]
    first = _ends(ranked) + list(wanted) + _ends_of_groups(ranked, codes, mu)
    chosen = list(dict.fromkeys(first))[:limit]
    is_chosen = np.zeros(len(mu), dtype=bool)
    is_chosen[chosen] = True
    return chosen + _spread(np.flatnonzero(~is_chosen), limit - len(chosen))


def _ends(ranked: NDArray[np.int64]) -> list[int]:
    return [*ranked[:MAX_END_ROWS].tolist(), *ranked[-MAX_END_ROWS:].tolist()]


def _ends_of_groups(
    ranked: NDArray[np.int64], codes: NDArray[np.int64], mu: NDArray[np.float64]
) -> list[int]:
    """Return the best and worst row of each group; `ranked` has the rows, best first."""
    if not len(ranked):
        return []
    _, best = np.unique(codes[ranked], return_index=True)
    _, worst = np.unique(codes[ranked[::-1]], return_index=True)
    pairs = np.stack([ranked[best], ranked[::-1][worst]], axis=1)
    widest = np.argsort(mu[pairs[:, 1]] - mu[pairs[:, 0]], kind="stable")
    ordered: list[int] = pairs[widest].ravel().tolist()
    return ordered


def _spread(rows: NDArray[np.int64], count: int) -> list[int]:
    if count >= len(rows):
        return [int(row) for row in rows]
    return [int(rows[i * len(rows) // count]) for i in range(count)]
