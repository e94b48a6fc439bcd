"""Figures of all rows of a report: counts, distributions, means by generator and by group."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from librehps.decide.generators import BY_HINT, FOLDER, generators_of
from librehps.decide.groups import group_numbers
from librehps.errors import NothingScoredError
from librehps.scores.columns import axes_among
from librehps.scores.file_table import batches_of
from librehps.scores.select import error_counts, group_codes, number_column, ok_rows, place_of

Record = dict[str, Any]
Mask = NDArray[np.bool_]
Codes = NDArray[np.int32]
Floats = NDArray[np.float32]
HISTOGRAM_BINS, MAX_CELL_CHARS = 25, 200
# Longer tables of means show the values with the most rows.
MAX_TABLE_ROWS = 50
# Finer than the difference of a score between devices.
SCORE_DECIMALS = 4


@dataclass(frozen=True)
class Survey:
    """The figures of all rows, and what the choice of rows needs of them.

    `is_ok` and `groups` have a value for each row: True without an error, and the number of the
    group. `by` and `per` are the columns of generators and of groups.
    """

    axes: tuple[str, ...]
    by: str | None
    per: str | None
    is_ok: Mask
    groups: Codes
    record: Record

    def __len__(self) -> int:
        return len(self.is_ok)


def survey_of(table: Any, by: str | None, per: str | None) -> Survey:
    """Return the survey of a table; `per` is the column of groups (default: prompt, if any).

    Raises UsageError if a column is not found, and NothingScoredError if overall has no value.
    """
    names = table.column_names
    if by is not None:
        check_generators(table, by)
    per = "prompt" if per is None and "prompt" in names else per
    axes = [axis for axis in axes_among(names) if axis in names]
    found = ((axis, _spread(table, axis)) for axis in axes)
    spread = {axis: one for axis, one in found if one is not None}
    if "overall" not in spread:
        raise NothingScoredError("no row has values in both columns overall and overall_mu")
    is_ok = ok_rows(table)
    groups = _from_zero(group_numbers(table, per))
    named = [name for name in dict.fromkeys((by, per)) if name not in (None, "prompt")]
    if per == FOLDER and FOLDER not in names and by != FOLDER:
        # The folders of the media; a table of means has columns, and first folders of ids.
        named.remove(FOLDER)
    tables = [_means(table, name, is_ok, spread) for name in named if name is not None]
    record = {
        "rows": len(table),
        "failed": int(np.count_nonzero(~is_ok)),
        "errors": list(error_counts(table).items())[:MAX_TABLE_ROWS],
        "prompts": _count(groups if per == "prompt" else _prompts(table)),
        "makers": tables[0]["values"] if by is not None and tables else None,
        "spread": spread,
        "tables": tables,
    }
    return Survey(tuple(spread), by, per, is_ok, groups, record)


def check_generators(table: Any, by: str) -> None:
    """Raise UsageError, naming the columns there are, if there is no column of generators."""
    place_of(table, _read_column(table, by), table.column_names, BY_HINT)


def floats_of(table: Any, name: str) -> Floats:
    """Return a numeric column as float32, NaN for missing and infinite values."""
    column = number_column(table, name)
    chunks = [chunk.to_numpy(zero_copy_only=False).astype(np.float32) for chunk in column.chunks]
    found: Floats = np.concatenate([np.empty(0, np.float32), *chunks])
    found[~np.isfinite(found)] = np.nan
    return found


def _spread(table: Any, axis: str) -> Record | None:
    """Return the histogram, quartiles and mean of an axis; None for an axis without values."""
    mean = floats_of(table, axis)
    mean = mean[~np.isnan(mean)]
    if not len(mean) or np.isnan(floats_of(table, f"{axis}_mu")).all():
        return None
    places = np.clip((mean * HISTOGRAM_BINS).astype(np.int32), 0, HISTOGRAM_BINS - 1)
    least, low, median, high, most = np.percentile(mean, [0, 25, 50, 75, 100])
    return {
        "bins": np.bincount(places, minlength=HISTOGRAM_BINS).tolist(),
        "count": len(mean),
        "mean": _rounded(mean.mean(dtype=np.float64)),
        "median": _rounded(median),
        "quartiles": [_rounded(low), _rounded(high)],
        "ends": [_rounded(least), _rounded(most)],
    }


def _means(table: Any, name: str, is_ok: Mask, axes: Iterable[str]) -> Record:
    """Return rows, errors and the mean of each axis for each value of a column."""
    codes, texts = _labels(table, name)
    size = len(texts) + 1
    rows = np.bincount(codes, minlength=size)
    failed = np.bincount(codes[~is_ok], minlength=size)
    means = {axis: _means_of(floats_of(table, axis), codes, size) for axis in axes}
    # Rows without a value come last and are not in the table.
    order = np.argsort(-rows[:-1], kind="stable")[:MAX_TABLE_ROWS]
    return {
        "name": name,
        "values": len(texts),
        "rows": [
            [short(texts[at]), int(rows[at]), int(failed[at]), *(m[at] for m in means.values())]
            for at in order.tolist()
        ],
    }


def _read_column(table: Any, name: str) -> str:
    """Return the column that has the values of `name`: folders are read from ids."""
    return "id" if name == FOLDER and name not in table.column_names else name


def _labels(table: Any, name: str) -> tuple[Codes, list[str]]:
    """Return the number of each row's value, and the values; null has the number after the last."""
    places: dict[str, int] = {}
    read = _read_column(table, name)
    found = [np.empty(0, np.int32)]
    for batch in batches_of(table, [read], encoded=True):
        part = pa.table([batch.column(0)], names=[read])
        encoded = generators_of(part, name).dictionary_encode().combine_chunks()
        texts = encoded.dictionary.to_pylist()
        numbers = [-1 if text is None else places.setdefault(text, len(places)) for text in texts]
        found.append(np.array([*numbers, -1], np.int32)[encoded.indices.fill_null(-1).to_numpy()])
    codes = np.concatenate(found)
    codes[codes < 0] = len(places)
    return codes, list(places)


def _means_of(values: Floats, codes: NDArray[Any], size: int) -> list[float | None]:
    known = ~np.isnan(values)
    counts = np.bincount(codes[known], minlength=size)
    sums = np.bincount(codes[known], values[known], minlength=size)
    means = sums / np.maximum(counts, 1)
    return [
        _rounded(m) if n else None for m, n in zip(means.tolist(), counts.tolist(), strict=True)
    ]


def _from_zero(codes: NDArray[np.int64]) -> Codes:
    found: Codes = (codes - codes.min(initial=0)).astype(np.int32)
    return found


def _prompts(table: Any) -> Codes:
    has_prompts = "prompt" in table.column_names
    return _from_zero(group_codes(table, "prompt")) if has_prompts else np.empty(0, np.int32)


def _count(codes: Codes) -> int:
    return int(np.count_nonzero(np.bincount(codes))) if len(codes) else 0


def short(text: str) -> str:
    """Return a text of at most MAX_CELL_CHARS characters."""
    return text if len(text) <= MAX_CELL_CHARS else text[: MAX_CELL_CHARS - 1] + "…"


def _rounded(value: Any) -> float:
    return round(float(value), SCORE_DECIMALS)
