"""Ranks of rows within their prompt, and the quantile that each row falls into."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from librehps.decide.across_prompts import note_mixed_prompts
from librehps.decide.groups import group_by
from librehps.scores.score_table import ScoreTable
from librehps.scores.select import group_codes, number_column, score_column

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class RowRanks:
    """The rank of each row in its group, (rows,): 1 is the best, 0 is a row without a score.

    Rows of one score have different ranks, in the order of the table. `middle` is twice the mean
    rank of all rows of that score, so that equal scores fall into one quantile. `size` is the
    number of scored rows in the group.
    """

    rank: Integers
    middle: Integers
    size: Integers

    def quantiles(self, count: int) -> Integers:
        """Return the quantile of each row: `count` is the best, 1 the worst, 0 without a score.

        A small group is spread evenly, and a row alone in its group falls into the middle.
        """
        # A rank stands in the middle of its share of the group: (rank - 1/2) / size.
        below = count * (self.middle - 1) // np.maximum(2 * self.size, 1)
        return np.where(self.rank > 0, count - below, 0)


def ranks_within(scores: ScoreTable, by: str | None = None, per: str | None = None) -> RowRanks:
    """Return the ranks by an axis (its mu) or a numeric column, within each group.

    `by` is `overall` by default. `per` is a column, `folder` or `all`; by default the column group,
    where rows without one belong to their prompt. Raises UsageError for a missing column.
    """
    table = scores.source
    by = by or "overall"
    name = score_column(table, by)
    values = number_column(table, name)
    default = "group" if "group" in table.column_names else "prompt"
    codes = group_by(table, per or default).codes
    if "prompt" in table.column_names and name != by:
        # By an axis, whose scores tell little across prompts.
        note_mixed_prompts(group_codes(table, "prompt"), codes)
    if pa.types.is_integer(values.type):
        # Their ranks are exact as a float64, which not every integer is.
        ranks = pc.rank(values, tiebreaker="dense")
        values = pa.chunked_array([pc.if_else(values.is_valid().combine_chunks(), ranks, None)])
    return rank_values(values.cast("float64", safe=False).to_numpy(), codes)


def rank_values(values: NDArray[np.float64], codes: Integers) -> RowRanks:
    """Return the ranks of finite values, largest first, within the rows of one code."""
    rows = np.flatnonzero(np.isfinite(values))
    # Stable, so that equal values keep the order of the table.
    rows = rows[np.lexsort((-values[rows], codes[rows]))]
    group, value = codes[rows], values[rows]
    starts = np.flatnonzero(np.diff(group, prepend=group[:1] - 1))
    sizes = np.diff(starts, append=len(rows))
    rank = np.arange(len(rows)) - np.repeat(starts, sizes) + 1
    is_new = np.ones(len(rows), dtype=bool)
    is_new[1:] = (np.diff(group) != 0) | (np.diff(value) != 0)
    firsts = np.flatnonzero(is_new)
    counts = np.diff(firsts, append=len(rows))
    middle = np.repeat(2 * rank[firsts] + counts - 1, counts)
    found = [np.zeros(len(values), dtype=np.int64) for _ in range(3)]
    for column, part in zip(found, (rank, middle, np.repeat(sizes, sizes)), strict=True):
        column[rows] = part
    return RowRanks(*found)
