"""Weighted sums of columns, and z-scores of them, in flat memory."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from librehps.errors import NothingScoredError, UsageError
from librehps.files import counted
from librehps.scores.columns import axes_among
from librehps.scores.file_table import batches_of
from librehps.scores.key_codes import codes_of
from librehps.scores.scored_file import Mask, is_text
from librehps.scores.select import (
    check_text,
    is_numeric,
    number_column,
    numeric_columns,
    ok_rows,
    place_of,
    score_column,
)
from librehps.types import AXES

log = logging.getLogger("librehps")

Floats = NDArray[np.float64]
Codes = NDArray[np.integer[Any]]
BLOCK_ROWS = 1 << 20
# Deviations that are smaller than this share of the values are errors of rounding.
MIN_SPREAD = 1e-12


def check_columns(table: Any, names: Iterable[str]) -> None:
    """Raise UsageError for a name that is neither an axis nor a column of numbers.

    Text may be numbers, as of a CSV manifest, which shows when it is read.
    """
    axes = axes_among(table.column_names)
    for name in names:
        column = score_column(table, name)
        if column != name and column in table.column_names:
            continue
        if name in AXES or name not in table.column_names:
            place_of(table, column, [*dict.fromkeys([*axes, *numeric_columns(table)])])
        kind = table.schema.field(place_of(table, name, ())).type
        if not (is_numeric(kind) or is_text(kind)):
            raise UsageError(
                f"the column {name} holds {kind}, not numbers",
                hint=f"Numeric columns: {', '.join(numeric_columns(table))}.",
            )


def combined(
    table: Any, columns: Mapping[str, float], normalise: str, among: Mask | None = None
) -> Floats:
    """Return the weighted sum of columns, (rows,); NaN for errors and missing values.

    It is NaN, too, for rows that are not `among` those of a mask, if given.

    With `normalise`, each column becomes z-scores within each `prompt` or over `all` rows: its
    value minus the mean, divided by the population's deviation, of all rows that have every column
    and no error. Where the deviation is 0 or an error of rounding, as in a group of one row, the
    z-score is 0; where values are too large for a deviation, it is NaN.
    """
    total: Floats = np.zeros(len(table))
    for rows, part in _parts(table, columns):
        for name, weight in columns.items():
            with np.errstate(over="ignore", invalid="ignore"):
                total[rows] += weight * _numbers(part, name)
    total[~np.isfinite(total)] = np.nan
    if "status" in table.column_names:
        total[~ok_rows(table)] = np.nan
    if among is not None:
        total[~among] = np.nan
    if normalise == "none":
        return total
    known = ~np.isnan(total)
    total[known] = 0
    groups = _groups(table, normalise, known)
    for name, weight in columns.items():
        scale = _scale(table, name, groups)
        for rows, part in _parts(table, [name]):
            total[rows] += weight * scale.z(_numbers(part, name), groups.codes[rows])
    return total


def count_missing(scores: Floats, rows: int, names: str) -> None:
    """Log how many of `rows` rows without an error have no score.

    Raises NothingScoredError if none has.
    """
    missing = rows - int(np.count_nonzero(~np.isnan(scores)))
    if missing == rows:
        raise NothingScoredError(f"no row has a score on {names}")
    if missing:
        verb = "is" if missing == 1 else "are"
        log.warning("%s without a score on %s %s ignored", counted(missing, "row"), names, verb)


@dataclass(frozen=True)
class _Groups:
    """The number of each row's group, -1 for rows that are left out, and the groups' sizes."""

    codes: Codes
    sizes: Codes


@dataclass(frozen=True)
class _Scale:
    """The first value of each group, the mean of differences from it, and their deviation.

    Differences from the first value are exactly 0 where all values are equal.
    """

    first: Floats
    mean: Floats
    deviation: Floats

    def z(self, values: Floats, codes: Codes) -> Floats:
        """Return the z-score of each value."""
        deviation = self.deviation[codes]
        with np.errstate(all="ignore"):
            z = (values - self.first[codes] - self.mean[codes]) / deviation
        found: Floats = np.where(deviation == 0, 0, np.where(np.isfinite(deviation), z, np.nan))
        return found


def _groups(table: Any, normalise: str, known: Mask) -> _Groups:
    codes: Codes = np.zeros(len(table), dtype=np.int32)
    if normalise == "prompt":
        check_text(table, "prompt")
        codes = codes_of(table, "prompt")
        bare = int(np.count_nonzero(codes[known] < 0))
        if bare:
            bare_rows = counted(bare, "row")
            raise UsageError(
                f"cannot normalise within a prompt: {bare_rows} with a score but no prompt",
                hint="Use --normalise all or --normalise none.",
            )
    codes = np.where(known, codes, np.int32(-1))
    # Groups are numbered by the codes; the last place takes the rows that are left out.
    sizes = np.zeros(int(codes.max(initial=-1)) + 2, dtype=np.int64)
    for rows in _blocks(len(codes)):
        np.add.at(sizes, codes[rows], 1)
    return _Groups(codes, np.maximum(sizes, 1))


def _scale(table: Any, name: str, groups: _Groups) -> _Scale:
    first, mean, squares = (np.zeros(len(groups.sizes)) for _ in range(3))
    is_new = np.ones(len(groups.sizes), dtype=bool)
    for rows, part in _parts(table, [name]):
        codes, values = groups.codes[rows], _numbers(part, name)
        # The last of several writes stays, so the first value is written last.
        fresh = np.flatnonzero(is_new[codes])[::-1]
        first[codes[fresh]] = values[fresh]
        is_new[codes[fresh]] = False
        with np.errstate(all="ignore"):
            np.add.at(mean, codes, values - first[codes])
    mean /= groups.sizes
    for rows, part in _parts(table, [name]):
        codes = groups.codes[rows]
        with np.errstate(all="ignore"):
            np.add.at(squares, codes, (_numbers(part, name) - first[codes] - mean[codes]) ** 2)
    deviation = np.sqrt(squares / groups.sizes)
    deviation[deviation <= MIN_SPREAD * np.abs(first)] = 0
    return _Scale(first, mean, deviation)


def _parts(table: Any, names: Iterable[str]) -> Iterator[tuple[slice, Any]]:
    """Yield some columns in tables of a limited size, each with its place among the rows."""
    first = 0
    for batch in batches_of(table, list(names)):
        for start in range(0, len(batch), BLOCK_ROWS):
            part = batch.slice(start, BLOCK_ROWS)
            yield slice(first, first + len(part)), pa.Table.from_batches([part])
            first += len(part)


def _numbers(part: Any, name: str) -> Floats:
    """Return a column as numbers, NaN for null and for infinity."""
    column = number_column(part, name).cast(pa.float64(), safe=False)
    values = column.to_numpy(zero_copy_only=False)
    found: Floats = np.where(np.isfinite(values), values, np.nan)
    return found


def _blocks(rows: int) -> Sequence[slice]:
    return [slice(start, start + BLOCK_ROWS) for start in range(0, rows, BLOCK_ROWS)]
