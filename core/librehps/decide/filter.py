"""Which rows of a scored table pass: limits on columns, and the best of each group."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from librehps.scores.select import group_codes, number_column, score_column, text_column

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Limit:
    """A column's least value, or its greatest; both belong to the range."""

    column: str
    value: float
    is_least: bool


@dataclass(frozen=True)
class Top:
    """The highest of a column within each value of `per`: `count` rows, or `percent` of them.

    An axis ranks by its mu, since means saturate. A percentage rounds up.
    """

    count: int | None = None
    percent: Fraction | None = None
    by: str = "overall"
    per: str | None = None

    def quota(self, size: int) -> int:
        """How many rows of a group of `size` are taken."""
        if self.percent is not None:
            return ceil(size * self.percent / 100)
        return self.count or 0


def passing(table: Any, limits: Sequence[Limit] = (), top: Top | None = None) -> Mask:
    """Whether each row passes, (rows,); a row with an error, or without the value, never does.

    `top` chooses among the rows within all limits; of equals the first stay. Raises UsageError for
    a column that is not there, or of the wrong type.
    """
    passed: Mask = np.asarray(pc.equal(text_column(table, "status"), "ok"))
    for limit in limits:
        passed &= _within(table, limit)
    return passed if top is None else _best(table, top, passed)


def _within(table: Any, limit: Limit) -> Mask:
    column = number_column(table, limit.column)
    bound = limit.value
    if pa.types.is_floating(column.type):
        # Stored as float32, 0.7 is below 0.7: the limit must be rounded as the column was.
        with np.errstate(over="ignore"):
            bound = float(np.dtype(column.type.to_pandas_dtype()).type(bound))
    compare = pc.greater_equal if limit.is_least else pc.less_equal
    held = compare(column.cast(pa.float64(), safe=False), bound)
    mask: Mask = np.asarray(held.fill_null(False))
    return mask


def _best(table: Any, top: Top, passed: Mask) -> Mask:
    column = number_column(table, score_column(top.by))
    codes = group_codes(table, top.per)
    known = pc.invert(pc.is_nan(column)).fill_null(False)
    rows = np.flatnonzero(passed & np.asarray(known))
    values = column.take(pa.array(rows)).combine_chunks()
    # Both sorts are stable, so of equals the first row comes first.
    rows = rows[pc.array_sort_indices(values, order="descending").to_numpy()]
    rows = rows[np.argsort(codes[rows], kind="stable")]
    _, starts, sizes = np.unique(codes[rows], return_index=True, return_counts=True)
    # Exact fractions, but only once for each size that groups have.
    distinct, which = np.unique(sizes, return_inverse=True)
    quotas = np.array([top.quota(int(size)) for size in distinct], dtype=np.int64)[which]
    place = np.arange(len(rows)) - np.repeat(starts, sizes)
    chosen: Mask = np.zeros(len(table), dtype=bool)
    chosen[rows[place < np.repeat(quotas, sizes)]] = True
    return chosen
