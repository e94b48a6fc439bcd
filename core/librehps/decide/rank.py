"""Rank scores within groups, and pick the best of each."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from librehps.decide.probability import Platt

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
MOST_TIES = 20
SIDES: tuple[Literal["left"], Literal["right"]] = ("left", "right")


@dataclass(frozen=True)
class Ranked:
    """The rows of a table that have a score, group by group, best first, of equals the first.

    `rows` and `scores` are (n,); of group g, from `starts[g]`, `sizes[g]` of them. Groups stand in
    the order of their first rows.
    """

    rows: Indices
    scores: Floats
    starts: Indices
    sizes: Indices


@dataclass(frozen=True)
class Pick:
    """A group's best `rows` (of the table, best first) out of `scored`.

    For each, `margins` in score over the next, None where nothing else was scored, and
    `win_probabilities` of beating it, None without a calibrator of the score; `tied` counts the
    other rows with its score, of which `ties` are the first MOST_TIES. `abstained`: the last
    chosen is not sure enough to beat the next.
    """

    rows: tuple[int, ...]
    scored: int
    margins: tuple[float | None, ...]
    win_probabilities: tuple[float | None, ...]
    tied: tuple[int, ...]
    ties: tuple[tuple[int, ...], ...]
    abstained: bool = False


def rank(scores: Floats, codes: Indices) -> Ranked:
    """Rank (rows,) scores within groups of equal codes; NaN takes no part."""
    rows = np.flatnonzero(~np.isnan(scores))
    # Both sorts are stable, so of equals the first row comes first.
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
    """The `top` of each group; `calibrator` only where the scores are mus of `overall`.

    With `abstain_below` P, a group whose last chosen beats the first not chosen with less than
    P is abstained from.
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
    # Descending, so that the run of equals is found between the two ends of its negative.
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
    """The first of the rows that share a score, but for the one itself."""
    near = rows[run][: MOST_TIES + 1].tolist()
    return tuple(row for row in near if row != rows[at])[:MOST_TIES]
