"""Rank scores within groups, and pick the best rows of each group."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from librehps.decide.probability import Platt

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
MAX_NAMED_TIES = 20


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
    groups = codes[rows]
    order = np.argsort(groups, kind="stable")
    rows = rows[order]
    groups = groups[order]
    del order
    starts = np.flatnonzero(np.diff(groups, prepend=-2))
    sizes = np.diff(starts, append=len(rows))
    first_rows = np.minimum.reduceat(rows, starts) if len(rows) else starts
    order = np.argsort(first_rows)
    return Ranked(rows, scores[rows], starts[order], sizes[order])


class PickCounts(NamedTuple):
    """The number of groups, their smallest and largest size, and how many tied or abstained."""

    groups: int
    smallest: int
    largest: int
    tied: int
    abstained: int


class Picks(Sequence[Pick]):
    """The picks of all groups, as arrays of all picked rows, group by group, best first.

    For each picked row: `group` is the number of its group, `place` its place in the group from 0,
    `rows` its row number, `scores` its score, `scored` the number of rows of its group; `margins`,
    `wins` (NaN: None) and `tied` are those of `Pick`. `abstained` is (groups,).
    """

    def __init__(
        self, ranked: Ranked, calibrator: Platt | None, top: int, abstain_below: float | None
    ) -> None:
        self._ranked = ranked
        taken = np.minimum(top, ranked.sizes)
        self._ends = np.cumsum(taken)
        self.group = np.repeat(np.arange(len(taken)), taken)
        self.place = np.arange(len(self.group)) - np.repeat(self._ends - taken, taken)
        self._at = ranked.starts[self.group] + self.place
        self.rows, self.scores = ranked.rows[self._at], ranked.scores[self._at]
        self.scored = ranked.sizes[self.group]
        self.margins = self._margins()
        self.wins = self._wins(calibrator)
        self._first, self._last = self._equals()
        self.tied = self._last - self._first - 1
        last = self.wins[self._ends - 1]
        self.abstained = last < (-np.inf if abstain_below is None else abstain_below)

    def __len__(self) -> int:
        return len(self._ends)

    @property
    def taken_rows(self) -> Indices:
        """The picked rows of the groups that are not abstained."""
        taken: Indices = self.rows[~self.abstained[self.group]]
        return taken

    def counts(self) -> PickCounts:
        """Return the counts of the groups, for a message."""
        sizes, is_first = self._ranked.sizes, self.place == 0
        tied = int((self.tied[is_first] > 0).sum())
        return PickCounts(
            len(self), int(sizes.min()), int(sizes.max()), tied, int(self.abstained.sum())
        )

    @overload
    def __getitem__(self, index: int) -> Pick: ...
    @overload
    def __getitem__(self, index: slice) -> list[Pick]: ...
    def __getitem__(self, index: int | slice) -> Pick | list[Pick]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        group = range(len(self))[index]
        first = int(self._ends[group - 1]) if group else 0
        part = slice(first, int(self._ends[group]))
        return Pick(
            rows=tuple(self.rows[part].tolist()),
            scored=int(self.scored[first]),
            margins=tuple(_known(self.margins[part])),
            win_probabilities=tuple(_known(self.wins[part])),
            tied=tuple(self.tied[part].tolist()),
            ties=tuple(tuple(self.ties(at)) for at in range(part.start, part.stop)),
            abstained=bool(self.abstained[group]),
        )

    def ties(self, at: int) -> list[int]:
        """Return the first MAX_NAMED_TIES rows with the score of picked row `at`, without it."""
        end = min(int(self._last[at]), int(self._first[at]) + MAX_NAMED_TIES + 1)
        near = self._ranked.rows[int(self._first[at]) : end].tolist()
        return [row for row in near if row != self.rows[at]][:MAX_NAMED_TIES]

    def _margins(self) -> Floats:
        scores = np.append(self._ranked.scores, np.nan)
        gaps = scores[self._at] - scores[self._at + 1]
        return np.where(self.place + 1 < self.scored, gaps, np.nan)

    def _wins(self, calibrator: Platt | None) -> Floats:
        wins = np.full(len(self.rows), np.nan)
        if calibrator is not None:
            known = ~np.isnan(self.margins)
            found = map(calibrator.probability, self.margins[known].tolist())
            wins[known] = np.fromiter(found, np.float64, int(known.sum()))
        return wins

    def _equals(self) -> tuple[Indices, Indices]:
        """Return the ends of the run of equal scores around each picked row."""
        scores = self._ranked.scores
        is_new = np.ones(len(scores), dtype=bool)
        is_new[1:] = scores[1:] != scores[:-1]
        is_new[self._ranked.starts] = True
        starts = np.append(np.flatnonzero(is_new), len(scores))
        run = np.searchsorted(starts, self._at, side="right") - 1
        return starts[run], starts[run + 1]


def _known(values: Floats) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]


def pick_best(
    ranked: Ranked,
    calibrator: Platt | None = None,
    top: int = 1,
    abstain_below: float | None = None,
) -> Picks:
    """Return the `top` rows of each group; give a `calibrator` only for mus of `overall`.

    With `abstain_below` P, a group is abstained if its last picked row beats the next row with a
    probability below P.
    """
    return Picks(ranked, calibrator, top, abstain_below)
