"""Filter a score table by limits on columns, and keep the best rows of each group."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from librehps.choices import Normalise
from librehps.decide.across_prompts import note_mixed_prompts
from librehps.decide.distinct import bits_of, distinct_rows
from librehps.decide.groups import group_numbers
from librehps.decide.weighted_table import WEIGHTED, with_weighted_score
from librehps.decide.weights import check_weights
from librehps.decide.where import Condition, Wheres, meeting, parse_where
from librehps.errors import UsageError
from librehps.scores.columns import axes_among
from librehps.scores.score_table import Scores, ScoreTable, as_score_table
from librehps.scores.scored_file import Mask
from librehps.scores.select import (
    check_scored,
    number_column,
    ok_rows,
    score_column,
)

# A mapping from column to bound, or (column, bound) pairs for several bounds of a column.
Bounds = Mapping[str, float] | Iterable[tuple[str, float]]


@dataclass(frozen=True)
class Limit:
    """The minimum of a column, or its maximum; both are inclusive."""

    column: str
    value: float
    is_min: bool


@dataclass(frozen=True)
class Top:
    """The rule "keep the best `count` rows, or `percent` of the rows, of each value of `per`".

    Rows rank by the column `by`; an axis ranks by its mu, since means saturate. A percentage
    rounds up. With `distinct` bits, only the best row of each look counts. `is_within_prompts`:
    scores of different prompts can be compared.
    """

    count: int | None = None
    percent: Fraction | None = None
    by: str = "overall"
    per: str | None = None
    distinct: int | None = None
    is_within_prompts: bool = False

    def quota(self, size: int) -> int:
        """Return the number of rows to keep in a group of `size` rows."""
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
    weights: Mapping[str, float] | str | None = None,
    normalise: Normalise | None = None,
    where: Wheres = (),
    distinct: bool | int = False,
    ok_only: bool = False,
    invert: bool = False,
) -> ScoreTable:
    """Return the rows that meet every condition, in input order; rows with errors never do.

    `min` and `max` bound columns: `min={"overall": 0.6}`. `top` keeps the best N rows, or "P%"
    rounded up, of the rows within the bounds, ranked `by` an axis (its mu) or a column (default:
    overall), within each value of the column `per` if given, or each `folder`. `weights` and
    `normalise`, as in `best_of_n`, add the column `weighted_score`, which then ranks `top`. `where`
    keeps the rows with these values: `where={"generator": "aurora"}`. `distinct` keeps the best row
    of each look, ranked like `top` and within `per`: True, or the most bits of 256 in which
    perceptual hashes of near-duplicates differ. `ok_only` keeps the rows without an error; `invert`
    returns the other rows instead. Raises UsageError for a column that is missing or of the wrong
    type, and if no condition is given.
    """
    bits = bits_of(distinct)
    check_conditions(bool(min or max or where or ok_only), top, by, per, bits)
    limits = [*_limits(min, is_min=True), *_limits(max, is_min=False)]
    best = parse_best(top, by, per, bits)
    check_weights(weights, normalise, by, "--by")
    given = as_score_table(scores)
    check_scored(given.source, given.origin)
    conditions = parse_where(where, "--where")
    if weights is not None:
        among = meeting(given.source, conditions)
        given, chosen = with_weighted_score(given, weights, normalise, among)
        best = best and replace(best, by=WEIGHTED, is_within_prompts=chosen.normalise == "prompt")
    mask = passing(given.source, limits, best, conditions)
    return given.of(given.source.filter(~mask if invert else mask))


def check_conditions(
    is_bounded: bool, top: object, by: str | None, per: str | None, distinct: int | None = None
) -> None:
    """Raise UsageError if no condition is given, or only options of `top` and `distinct`."""
    if top is not None or distinct is not None:
        return
    if by is not None or per is not None:
        hint = "Add --top N, --top P% or --distinct."
        raise UsageError("--by and --per need --top or --distinct", hint=hint)
    if not is_bounded:
        hint = "Add --min, --max, --where, --top, --distinct or --ok-only."
        raise UsageError("no condition given", hint=hint)


def _limits(bounds: Bounds, is_min: bool) -> list[Limit]:
    pairs = bounds.items() if isinstance(bounds, Mapping) else bounds
    return [Limit(column, value, is_min) for column, value in pairs]


def parse_limit(text: str, flag: str = "limit") -> tuple[str, float]:
    """Return (column, bound) for text like `overall=0.6`; raises UsageError, which names `flag`."""
    column, _, number = text.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not column or not math.isfinite(value):
        raise UsageError(
            f"{flag}: expected COLUMN=NUMBER, got {text!r}", hint="For example: overall=0.6"
        )
    with suppress(ValueError):
        # Exact, where a float has too few digits.
        value = int(number)
    return column, value


def parse_top(top: int | str, by: str | None = None, per: str | None = None) -> Top:
    """Return the Top for `100` rows or `10%` of the rows; raises UsageError for other text."""
    text = str(top)
    share = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)%", text)
    percent = Fraction(share[1]) if share else None
    count = int(text) if re.fullmatch(r"[0-9]+", text) else None
    if not count and (percent is None or not 0 < percent <= 100):
        raise UsageError(
            f"--top: expected a number of rows or a percentage, got {text!r}",
            hint="For example: --top 100 or --top 10%",
        )
    return Top(count, percent, by or "overall", per)


def parse_best(
    top: int | str | None, by: str | None, per: str | None, distinct: int | None
) -> Top | None:
    """Return the Top of `parse_top`; without `top` that of all looks, None without `distinct`."""
    if top is None and distinct is None:
        return None
    return replace(parse_top("100%" if top is None else top, by, per), distinct=distinct)


def passing(
    table: Any,
    limits: Sequence[Limit] = (),
    top: Top | None = None,
    where: Sequence[Condition] = (),
) -> Mask:
    """Return a mask of the rows that pass, (rows,); rows with an error or no value never do.

    `top` chooses among the rows within all limits and `where`; of equal rows the first stay. Raises
    UsageError for a column that is missing or of the wrong type.
    """
    passed = ok_rows(table) & meeting(table, where)
    for limit in limits:
        passed &= _within(table, limit)
    return passed if top is None else _best(table, top, passed)


def _within(table: Any, limit: Limit) -> Mask:
    column = number_column(table, limit.column)
    if pa.types.is_integer(column.type):
        return _within_integers(column, limit)
    bound = limit.value
    if pa.types.is_floating(column.type):
        # 0.7 stored as float32 is below 0.7, so the limit is rounded like the column.
        with np.errstate(over="ignore"):
            bound = float(np.dtype(column.type.to_pandas_dtype()).type(bound))
    compare = pc.greater_equal if limit.is_min else pc.less_equal
    held = compare(column.cast(pa.float64(), safe=False), bound)
    mask: Mask = np.asarray(pc.and_(held, pc.is_finite(column)).fill_null(False))
    return mask


def _within_integers(column: Any, limit: Limit) -> Mask:
    """Compare exactly: a float64 does not hold every integer above 2^53."""
    ends = np.iinfo(column.type.to_pandas_dtype())
    if limit.is_min:
        is_any, bound = limit.value <= ends.max, max(limit.value, ends.min)
    else:
        is_any, bound = limit.value >= ends.min, min(limit.value, ends.max)
    if not is_any:
        return np.zeros(len(column), dtype=bool)
    whole = pa.scalar(ceil(bound) if limit.is_min else floor(bound), column.type)
    compare = pc.greater_equal if limit.is_min else pc.less_equal
    mask: Mask = np.asarray(compare(column, whole).fill_null(False))
    return mask


def _best(table: Any, top: Top, passed: Mask) -> Mask:
    column = number_column(table, score_column(table, top.by))
    codes = group_numbers(table, top.per)
    known = pc.is_finite(column).fill_null(False)
    rows = np.flatnonzero(passed & np.asarray(known))
    values = column.filter(pa.array(passed & np.asarray(known))).combine_chunks()
    if _is_across_prompts(table, top):
        # Rows without a group have the code -1.
        note_mixed_prompts(group_numbers(table, "prompt")[rows], codes[rows] + 1)
    # Both sorts are stable, so equal rows keep their order.
    rows = rows[pc.array_sort_indices(values, order="descending").to_numpy()]
    if top.distinct is not None:
        rows = rows[distinct_rows(table, rows, codes, top.distinct)[rows]]
    if top.per is not None:
        rows = rows[np.argsort(codes[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(codes[rows], prepend=-2))
    sizes = np.diff(starts, append=len(rows))
    # Exact fractions are slow, so each size is computed once.
    distinct, which = np.unique(sizes, return_inverse=True)
    quotas = np.array([top.quota(int(size)) for size in distinct], dtype=np.int64)[which]
    place = np.arange(len(rows)) - np.repeat(starts, sizes)
    chosen: Mask = np.zeros(len(table), dtype=bool)
    chosen[rows[place < np.repeat(quotas, sizes)]] = True
    return chosen


def _is_across_prompts(table: Any, top: Top) -> bool:
    """Return True if rows of several prompts may be ranked together by a score."""
    scores = (*axes_among(table.column_names), WEIGHTED)
    is_score = top.by.removesuffix("_mu") in scores and not top.is_within_prompts
    if top.percent == 100:
        # No row is left out for the score of another prompt.
        return False
    return is_score and top.per != "prompt" and "prompt" in table.column_names
