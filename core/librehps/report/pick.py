"""Which rows get a picture where not all can have one."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# How many of the best and of the worst of all rows the page shows where groups do not compete.
ENDS = 12


def picked(groups: Sequence[int], scores: Sequence[float | None], limit: int) -> list[int]:
    """At most `limit` rows: the best and worst of all, those of each group, others evenly spread.

    Groups whose best and worst differ most come first, as on the page.
    """
    mu = np.array([np.nan if score is None else score for score in scores], dtype=np.float64)
    codes = np.asarray(groups)
    ranked = np.flatnonzero(~np.isnan(mu))
    ranked = ranked[np.argsort(-mu[ranked], kind="stable")]
    first = _ends(ranked) + _ends_of_groups(ranked, codes, mu)
    chosen = list(dict.fromkeys(first))[:limit]
    is_chosen = np.zeros(len(mu), dtype=bool)
    is_chosen[chosen] = True
    return chosen + _spread(np.flatnonzero(~is_chosen), limit - len(chosen))


def _ends(ranked: NDArray[np.int64]) -> list[int]:
    return [*ranked[:ENDS].tolist(), *ranked[-ENDS:].tolist()]


def _ends_of_groups(
    ranked: NDArray[np.int64], codes: NDArray[np.int64], mu: NDArray[np.float64]
) -> list[int]:
    """Best and worst of each group; `ranked` holds rows, best first."""
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
