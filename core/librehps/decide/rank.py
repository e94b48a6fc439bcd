"""Rank scores within groups, and pick the best rows of each group."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from librehps.decide.probability import Platt

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
MAX_NAMED_TIES = 20
SIDES: tuple[Literal["left"], Literal["right"]] = ("left", "right")


@dataclass(frozen=True)
class Ranked:
    """The rows with a score, group by group, best first; ties keep their order.

    `rows` and `scores` are (n,); group g has `sizes[g]` of them from `starts[g]`. Groups are in the
    order of their first rows.
    """

    rows: Indices
    scores: Floats
    starts: Indices
    sizes: Indices


@dataclass(frozen=True)
class Pick:
    """The best `rows` of a group (row numbers, best first) out of `scored` rows.

    For each row: `margins` is its score minus the next row's, `win_probabilities` the probability
    of beating the next row; both are None without a next row, the latter without a calibrator.
    `tied` counts the other rows with an equal score; `ties` are the first MAX_NAMED_TIES of them.
    `abstained`: the last row beats the next with too low a probability.
    """

    rows: tuple[int, ...]
    scored: int
    margins: tuple[float | None, ...]
    win_probabilities: tuple[float | None, ...]
    tied: tuple[int, ...]
    ties: tuple[tuple[int, ...], ...]
    abstained: bool = False


def rank(scores: Floats, codes: Indices) -> Ranked:
    """Return the ranking of scores (rows,) within groups of equal codes; NaN is left out."""
    rows = np.flatnonzero(~np.isnan(scores))
    # Both sorts are stable, so equal rows keep their order.
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    rows = rows[np.argsort(codes[rows], kind="stable")]
    _, starts, sizes = np.unique(codes[rows], return_index=True, return_counts=True)
    first_rows = np.minimum.reduceat(rows, starts) if len(rows) else starts
    order = np.argsort(first_rows)
    return Ranked(rows, scores[rows], starts[order], sizes[order])


def pick_best(
    ranked: Ranked,
    calibrator: Platt | None = None,
    top: int = 1,
    abstain_below: float | None = None,
) -> list[Pick]:
    """Return the `top` rows of each group; give a `calibrator` only for mus of `overall`.

    With `abstain_below` P, a group is abstained if its last picked row beats the next row with a
    probability below P.
    """
    return [
        _pick(ranked, slice(start, start + size), calibrator, top, abstain_below)
        for start, size in zip(ranked.starts, ranked.sizes, strict=True)
    ]


def _pick(
    ranked: Ranked, part: slice, calibrator: Platt | None, top: int, abstain_below: float | None
) -> Pick:
    rows, scores = ranked.rows[part], ranked.scores[part]
    taken = range(min(top, len(rows)))
    margins = [float(scores[i] - scores[i + 1]) if i + 1 < len(rows) else None for i in taken]
    sure = [None if m is None or calibrator is None else calibrator.probability(m) for m in margins]
    unsure = abstain_below is not None and sure[-1] is not None and sure[-1] < abstain_below
    # Scores descend, and searchsorted needs ascending values.
    first, last = (np.searchsorted(-scores, -scores[: len(taken)], side) for side in SIDES)
    return Pick(
        rows=tuple(rows[: len(taken)].tolist()),
        scored=len(rows),
        margins=tuple(margins),
        win_probabilities=tuple(sure),
        tied=tuple((last - first - 1).tolist()),
        ties=tuple(
            _others(rows, i, slice(*ends)) for i, *ends in zip(taken, first, last, strict=True)
        ),
        abstained=unsure,
    )


def _others(rows: Indices, at: int, run: slice) -> tuple[int, ...]:
    """Return the first rows of a run of equal scores, without row `at`."""
    near = rows[run][: MAX_NAMED_TIES + 1].tolist()
    return tuple(row for row in near if row != rows[at])[:MAX_NAMED_TIES]
