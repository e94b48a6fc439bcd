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

from librehps.errors import UsageError
from librehps.types import AXES

Mask = NDArray[np.bool_]
NEEDED = ("media", "status")


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


def check_scored(table: Any, origin: str) -> None:
    """Raise UsageError where the table is not of scored files."""
    lacking = [name for name in NEEDED if name not in table.column_names]
    if lacking:
        raise UsageError(
            f"{origin} lacks the columns {', '.join(lacking)}",
            hint="Give a file that `librehps score -o` wrote.",
        )
    bare = text_column(table, "status").null_count
    if bare:
        raise UsageError(f"{bare} of {len(table)} rows in {origin} have no status")


def passing(table: Any, limits: Sequence[Limit] = (), top: Top | None = None) -> Mask:
    """Whether each row passes, (rows,); a row with an error, or without the value, never does.

    `top` chooses among the rows within all limits; of equals the first stay. Raises UsageError for
    a column that is not there, or of the wrong type.
    """
    passed: Mask = np.asarray(pc.equal(text_column(table, "status"), "ok"))
    for limit in limits:
        passed &= _within(table, limit)
    return passed if top is None else _best(table, top, passed)


def text_column(table: Any, name: str) -> Any:
    """A column of text; raises UsageError."""
    column = _column(table, name, table.column_names)
    kind = column.type
    if pa.types.is_null(kind):
        return column.cast(pa.string())
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise UsageError(f"the column {name} holds {kind}, not text")
    return column


def _within(table: Any, limit: Limit) -> Mask:
    column = _numbers(table, limit.column)
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
    column = _numbers(table, f"{top.by}_mu" if top.by in AXES else top.by)
    codes = _groups(table, top.per)
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


def _groups(table: Any, per: str | None) -> NDArray[np.int64]:
    """A number for each row, equal within a group; a row without `group` is in its prompt's."""
    if per is None:
        return np.zeros(len(table), dtype=np.int64)
    column = _column(table, per, table.column_names)
    codes = _codes(column, per)
    if per == "group" and column.null_count and "prompt" in table.column_names:
        prompts = _codes(table.column("prompt"), "prompt") + len(table) + 1
        codes = np.where(np.asarray(column.is_null()), prompts, codes)
    return codes


def _codes(column: Any, name: str) -> NDArray[np.int64]:
    if pa.types.is_null(column.type):
        column = column.cast(pa.string())
    try:
        encoded = _decoded(column).dictionary_encode().unify_dictionaries()
    except pa.ArrowNotImplementedError as error:
        raise UsageError(f"rows cannot be grouped by {name}, which holds {column.type}") from error
    parts = [chunk.indices.fill_null(-1).to_numpy() for chunk in encoded.chunks]
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])


def _numbers(table: Any, name: str) -> Any:
    """A column of numbers that Arrow compares; raises UsageError, naming those there are."""
    numeric = [field.name for field in table.schema if _is_numeric(field.type)]
    column = _column(table, name, numeric)
    if not _is_numeric(column.type):
        raise UsageError(
            f"the column {name} holds {column.type}, not numbers",
            hint=f"Columns of numbers: {', '.join(numeric)}.",
        )
    column = _decoded(column)
    is_plain = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    return column if is_plain else column.cast(pa.float64())


def _column(table: Any, name: str, fitting: Sequence[str]) -> Any:
    found = table.schema.get_all_field_indices(name)
    if not found:
        raise UsageError(f"no column {name}; there are: {', '.join(fitting) or 'none'}")
    if len(found) > 1:
        raise UsageError(f"{len(found)} columns are called {name}")
    return _decoded(table.column(found[0]))


def _decoded(column: Any) -> Any:
    kind = column.type
    return column.cast(kind.value_type) if pa.types.is_dictionary(kind) else column


def _is_numeric(kind: Any) -> bool:
    """Whether values are numbers; a column of nulls alone may be."""
    if pa.types.is_dictionary(kind):
        return _is_numeric(kind.value_type)
    of = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)
    return any(fits(kind) for fits in of)
