"""Columns of a scored table, by name and by kind."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from librehps.errors import NothingScoredError, UsageError
from librehps.scores.columns import axes_among
from librehps.types import AXES

NEEDED = ("media", "status")


def check_scored(table: Any, origin: str, needed: Sequence[str] = NEEDED) -> None:
    """Raise UsageError where the table is not of scored files, or lacks a needed column."""
    lacking = [name for name in dict.fromkeys((*NEEDED, *needed)) if name not in table.column_names]
    if lacking:
        raise UsageError(
            f"{origin} lacks the columns {', '.join(lacking)}",
            hint="Give a file that `librehps score -o` wrote.",
        )
    bare = text_column(table, "status").null_count
    if bare:
        raise UsageError(f"{bare} of {len(table)} rows in {origin} have no status")


def scored_rows(table: Any, origin: str, needed: Sequence[str] = NEEDED) -> Any:
    """The rows without an error; raises UsageError, and NothingScoredError where there are none."""
    check_scored(table, origin, needed)
    if not len(table):
        raise NothingScoredError(f"{origin} holds no rows")
    kept = table.filter(pc.equal(text_column(table, "status"), "ok"))
    if not len(kept):
        kinds = ", ".join(f"{kind} {count}" for kind, count in error_counts(table).items())
        raise NothingScoredError(
            f"all {len(table)} rows of {origin} are errors: {kinds}",
            hint="`librehps score ... --retry-errors` does them again once the cause is gone.",
        )
    return kept


def error_counts(table: Any) -> dict[str, int]:
    """Rows with errors by `error_type`, most first."""
    failed = table.filter(pc.not_equal(text_column(table, "status"), "ok"))
    if "error_type" not in table.column_names:
        return {"unknown": len(failed)} if len(failed) else {}
    counts = Counter(kind or "unknown" for kind in text_column(failed, "error_type").to_pylist())
    return dict(counts.most_common())


def score_column(table: Any, name: str) -> str:
    """Return the column that ranks by `name`: of an axis its mu, since means saturate."""
    axes = (*AXES, *axes_among(table.column_names))
    return f"{name}_mu" if name in axes else name


def check_axes(table: Any, names: Iterable[str]) -> None:
    """Raise UsageError for a name that is no axis of the table, nor of the published model."""
    there = axes_among(table.column_names)
    unknown = [name for name in names if name not in (*there, *AXES)]
    if unknown:
        raise UsageError(
            f"no axis {', '.join(unknown)}", hint=f"There are: {', '.join(there) or 'none'}."
        )


def text_column(table: Any, name: str) -> Any:
    """A column of text; raises UsageError."""
    column = column_of(table, name, table.column_names)
    kind = column.type
    if pa.types.is_null(kind):
        return column.cast(pa.string())
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise UsageError(f"the column {name} holds {kind}, not text")
    return column


def media_paths(table: Any, hint_for_breaks: str | None = None) -> Any:
    """The media column; raises UsageError for a row without a path.

    Where paths are to be lines, `hint_for_breaks` is the hint for a path that holds a line break.
    """
    paths = text_column(table, "media")
    if paths.null_count:
        raise UsageError(
            f"{paths.null_count} of the {len(table)} rows have no path: their media came in memory"
            " or in a shard",
            hint="Take whole rows, with --json or -o.",
        )
    split = paths.filter(pc.match_substring(paths, "\n"))
    if hint_for_breaks is not None and len(split):
        raise UsageError(f"a path holds a line break: {split[0].as_py()!r}", hint=hint_for_breaks)
    return paths


def label_column(table: Any, name: str) -> Any:
    """A column as text, whatever single values it holds; raises UsageError for lists and such."""
    column = column_of(table, name, table.column_names)
    try:
        return column.cast(pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        raise UsageError(f"the column {name} holds {column.type}, which names nothing") from error


def sorted_codes(column: Any) -> tuple[NDArray[np.int64], list[str]]:
    """(number of each row's text, -1 for null; the texts by number, sorted)."""
    encoded = column.dictionary_encode().unify_dictionaries()
    if not encoded.num_chunks:
        return np.empty(0, dtype=np.int64), []
    texts = encoded.chunk(0).dictionary
    order = pc.array_sort_indices(texts).to_numpy()
    # One place more, of the nulls: their code, -1, is also the last place.
    places = np.full(len(texts) + 1, -1, dtype=np.int64)
    places[order] = np.arange(len(texts))
    codes = [places[chunk.indices.fill_null(-1).to_numpy()] for chunk in encoded.chunks]
    return np.concatenate(codes), texts.take(pa.array(order)).to_pylist()


def group_codes(table: Any, per: str | None) -> NDArray[np.int64]:
    """A number for each row, equal within a group; a row without `group` is in its prompt's."""
    if per is None:
        return np.zeros(len(table), dtype=np.int64)
    column = column_of(table, per, table.column_names)
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


def number_column(table: Any, name: str) -> Any:
    """A column of numbers that Arrow compares; raises UsageError, naming those there are."""
    numeric = [field.name for field in table.schema if _is_numeric(field.type)]
    column = column_of(table, name, numeric)
    if not _is_numeric(column.type):
        raise UsageError(
            f"the column {name} holds {column.type}, not numbers",
            hint=f"Columns of numbers: {', '.join(numeric)}.",
        )
    column = _decoded(column)
    is_plain = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    return column if is_plain else column.cast(pa.float64())


def column_of(table: Any, name: str, fitting: Sequence[str]) -> Any:
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
    """Return whether values of this type are numbers; nulls may be."""
    if pa.types.is_dictionary(kind):
        return _is_numeric(kind.value_type)
    of = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)
    return any(fits(kind) for fits in of)
