"""Rank scores within groups, and pick the best rows of each group."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from librehps.decide.probability import Platt

Floats = NDArray[np.float64]
Indices = NDArray[np.integer[Any]]
MAX_NAMED_TIES = 20
# Limits the memory of picked rows that are looked at together.
PART_ROWS = 1 << 18
_NO_ROWS: Indices = np.empty(0, dtype=np.int64)


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
    rows = _compact(np.flatnonzero(~np.isnan(scores)))
    keys = scores[rows]
    np.negative(keys, out=keys)
    # Both sorts are stable, so equal rows keep their order.
    rows = rows[np.argsort(keys, kind="stable")]
    del keys
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


@dataclass(frozen=True)
class PickedRows:
    """Some picked rows, each with the number of its `group` and its `place` there, from 0.

    `runs` are the ends of the runs of equal scores in `ranked`.
    """

    group: Indices
    place: Indices
    ranked: Ranked
    runs: Indices
    calibrator: Platt | None

    @cached_property
    def _at(self) -> Indices:
        """The place of each row in `ranked`."""
        at: Indices = self.ranked.starts[self.group] + self.place
        return at

    @property
    def rows(self) -> Indices:
        """The row numbers."""
        return self.ranked.rows[self._at]

    @property
    def scores(self) -> Floats:
        """The score of each row."""
        return self.ranked.scores[self._at]

    @property
    def scored(self) -> Indices:
        """The number of rows of each row's group."""
        return self.ranked.sizes[self.group]

    @cached_property
    def margins(self) -> Floats:
        """The score of each row minus the next row's, NaN without a next row."""
        scores = self.ranked.scores
        following = np.minimum(self._at + 1, len(scores) - 1)
        return np.where(self.place + 1 < self.scored, self.scores - scores[following], np.nan)

    @property
    def wins(self) -> Floats:
        """The probability of beating the next row, NaN where unknown."""
        wins = np.full(len(self.group), np.nan)
        if self.calibrator is not None:
            known = ~np.isnan(self.margins)
            found = map(self.calibrator.probability, self.margins[known].tolist())
            wins[known] = np.fromiter(found, np.float64, int(known.sum()))
        return wins

    @cached_property
    def _run(self) -> Indices:
        run: Indices = np.searchsorted(self.runs, self._at, side="right")
        return run

    @property
    def tied(self) -> Indices:
        """The number of other rows with the same score as each row."""
        tied: Indices = self.runs[self._run] - self.runs[self._run - 1] - 1
        return tied

    def ties(self) -> list[list[int]]:
        """Return, for each row, the first MAX_NAMED_TIES other rows with the same score."""
        found: list[list[int]] = [[] for _ in range(len(self.group))]
        tied, rows = np.flatnonzero(self.tied), self.rows
        starts, ends = self.runs[self._run[tied] - 1], self.runs[self._run[tied]]
        ends = np.minimum(ends, starts + MAX_NAMED_TIES + 1)
        for at, start, end in zip(tied.tolist(), starts.tolist(), ends.tolist(), strict=True):
            near = self.ranked.rows[start:end].tolist()
            found[at] = [row for row in near if row != rows[at]][:MAX_NAMED_TIES]
        return found


class Picks(Sequence[Pick]):
    """The picks of all groups; `part` has them row by row, group by group, best first.

    `total` is the number of picked rows; `abstained` is (groups,).
    """

    def __init__(
        self, ranked: Ranked, calibrator: Platt | None, top: int, abstain_below: float | None
    ) -> None:
        self._ranked, self._calibrator = ranked, calibrator
        taken = np.minimum(top, ranked.sizes)
        self._ends = np.cumsum(taken)
        self.total = int(taken.sum())
        self.abstained = np.zeros(len(taken), dtype=bool)
        if abstain_below is not None:
            self.abstained = self._picked(np.arange(len(taken)), taken - 1).wins < abstain_below

    def __len__(self) -> int:
        return len(self._ends)

    def part(self, part: slice) -> PickedRows:
        """Return some of the picked rows."""
        start, stop, _ = part.indices(self.total)
        at = np.arange(start, stop)
        group = np.searchsorted(self._ends, at, side="right")
        place = at - np.where(group > 0, self._ends[group - 1], 0)
        return self._picked(group, place)

    def parts(self) -> Iterator[PickedRows]:
        """Yield all picked rows, a limited number at a time."""
        for start in range(0, self.total, PART_ROWS):
            yield self.part(slice(start, start + PART_ROWS))

    @property
    def rows(self) -> Indices:
        """The row numbers of all picked rows."""
        return np.concatenate([_NO_ROWS, *(part.rows for part in self.parts())])

    @property
    def taken_rows(self) -> Indices:
        """The row numbers of picked rows whose groups are not abstained."""
        taken = (part.rows[~self.abstained[part.group]] for part in self.parts())
        return np.concatenate([_NO_ROWS, *taken])

    def counts(self) -> PickCounts:
        """Return the counts of the groups, for a message."""
        sizes = self._ranked.sizes
        best = self._picked(np.arange(len(sizes)), np.zeros(len(sizes), dtype=np.int64))
        tied = int((best.tied > 0).sum())
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
        picked = self.part(slice(self._ends[group - 1] if group else 0, self._ends[group]))
        return Pick(
            rows=tuple(picked.rows.tolist()),
            scored=int(picked.scored[0]),
            margins=tuple(_known(picked.margins)),
            win_probabilities=tuple(_known(picked.wins)),
            tied=tuple(picked.tied.tolist()),
            ties=tuple(map(tuple, picked.ties())),
            abstained=bool(self.abstained[group]),
        )

    def _picked(self, group: Indices, place: Indices) -> PickedRows:
        return PickedRows(group, place, self._ranked, self._runs, self._calibrator)

    @cached_property
    def _runs(self) -> Indices:
        """The start of each run of equal scores of a group, and the end of the last."""
        scores = self._ranked.scores
        is_new = np.ones(len(scores) + 1, dtype=bool)
        is_new[1:-1] = scores[1:] != scores[:-1]
        is_new[self._ranked.starts] = True
        return _compact(np.flatnonzero(is_new))


def _compact(numbers: Indices) -> Indices:
    """Return sorted numbers in half the memory, if they are small enough."""
    is_small = not len(numbers) or numbers[-1] <= np.iinfo(np.int32).max
    return numbers.astype(np.int32) if is_small else numbers


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
