"""Which rows of a scored table pass: limits on columns, and the best of each group."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from librehps.errors import UsageError
from librehps.scores.score_table import Scores, ScoreTable, as_score_table
from librehps.scores.select import (
    check_scored,
    group_codes,
    number_column,
    score_column,
    text_column,
)

Mask = NDArray[np.bool_]
# A bound for each column; pairs where a column has several.
Bounds = Mapping[str, float] | Iterable[tuple[str, float]]


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


def filter_rows(
    scores: Scores,
    *,
    min: Bounds = (),
    max: Bounds = (),
    top: int | str | None = None,
    by: str | None = None,
    per: str | None = None,
    ok_only: bool = False,
    invert: bool = False,
) -> ScoreTable:
    """Return the rows that meet every condition, in input order; a row with an error never does.

    `min` and `max` bound columns: `min={"overall": 0.6}`. `top` keeps the best N, or "P%" rounded
    up, of the rows within the bounds, ranked `by` an axis (its mu) or a column (default: overall),
    within each value of the column `per` where given. `ok_only` alone keeps every row without an
    error; `invert` returns the rows that do not pass instead. Raises UsageError for a column that
    is missing or of the wrong type, and where no condition is given.
    """
    check_conditions(bool(min or max or ok_only), top, by, per)
    limits = [*_limits(min, is_least=True), *_limits(max, is_least=False)]
    best = None if top is None else parse_top(top, by, per)
    given = as_score_table(scores)
    check_scored(given.table, given.origin)
    mask = passing(given.table, limits, best)
    return given.of(given.table.filter(pa.array(~mask if invert else mask)))


def check_conditions(is_bounded: bool, top: object, by: str | None, per: str | None) -> None:
    """Raise UsageError where nothing, or only how `top` chooses, is asked for."""
    if top is None and (by is not None or per is not None):
        raise UsageError("--by and --per say how --top chooses", hint="Give --top too.")
    if top is None and not is_bounded:
        raise UsageError("no condition is given", hint="Give --min, --max, --top or --ok-only.")


def _limits(bounds: Bounds, is_least: bool) -> list[Limit]:
    pairs = bounds.items() if isinstance(bounds, Mapping) else bounds
    return [Limit(column, value, is_least) for column, value in pairs]


def parse_limit(text: str) -> tuple[str, float]:
    """Return (column, bound) of `overall=0.6`; raises UsageError."""
    column, _, number = text.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not column or not math.isfinite(value):
        raise UsageError(f"{text!r} is no limit", hint="Write it like overall=0.6.")
    return column, value


def parse_top(top: int | str, by: str | None = None, per: str | None = None) -> Top:
    """Return the Top that keeps `100` rows or `10%` of them; raises UsageError."""
    text = str(top)
    share = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)%", text)
    percent = Fraction(share[1]) if share else None
    count = int(text) if re.fullmatch(r"[0-9]+", text) else None
    if not count and (percent is None or not 0 < percent <= 100):
        raise UsageError(
            f"--top {text!r} is neither a number of rows nor a percentage",
            hint="Write --top 100 or --top 10%.",
        )
    return Top(count, percent, by or "overall", per)


def passing(table: Any, limits: Sequence[Limit] = (), top: Top | None = None) -> Mask:
    """Return whether each row passes, (rows,); a row with an error or no value never does.

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
    column = number_column(table, score_column(table, top.by))
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
