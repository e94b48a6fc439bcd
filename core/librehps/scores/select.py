"""Columns and rows of a scored table, with an error for a column that is not found."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from librehps.errors import NothingScoredError, UsageError
from librehps.scores.columns import axes_among
from librehps.scores.file_table import batches_of
from librehps.scores.key_codes import Codes, codes_among, codes_of, is_same_dictionary
from librehps.scores.markers import VANISHED
from librehps.scores.scored_file import Mask, is_text
from librehps.scores.text_numbers import numbers_of
from librehps.types import AXES

log = logging.getLogger("librehps")

NEEDED_COLUMNS = ("media", "status")
BLOCK_ROWS = 1 << 20


def check_scored(table: Any, origin: str, needed: Sequence[str] = NEEDED_COLUMNS) -> None:
    """Raise UsageError if a column of scored files, or a column in `needed`, is missing."""
    expected = dict.fromkeys((*NEEDED_COLUMNS, *needed))
    lacking = [name for name in expected if name not in table.column_names]
    if lacking:
        raise UsageError(
            f"{origin} lacks the columns {', '.join(lacking)}",
            hint="Give a file that `librehps score -o` wrote.",
        )
    check_text(table, "status")
    bare = sum(batch.column(0).null_count for batch in batches_of(table, ["status"], encoded=True))
    if bare:
        raise UsageError(f"{bare} of {len(table)} rows in {origin} have no status")


def scored_rows(table: Any, origin: str, needed: Sequence[str] = NEEDED_COLUMNS) -> Any:
    """Return the rows without an error; raises UsageError, or NothingScoredError for none."""
    check_scored(table, origin, needed)
    if not len(table):
        raise NothingScoredError(f"{origin} holds no rows")
    kept = table.filter(ok_rows(table))
    if not len(kept):
        kinds = ", ".join(f"{kind} {count}" for kind, count in error_counts(table).items())
        raise NothingScoredError(
            f"all {len(table)} rows of {origin} are errors: {kinds}",
            hint="Fix the cause, then score them again: librehps score ... --retry-errors",
        )
    return kept


def error_counts(table: Any) -> dict[str, int]:
    """Return the number of error rows by `error_type`, largest first."""
    failed = table.filter(~ok_rows(table))
    if "error_type" not in table.column_names:
        return {"unknown": len(failed)} if len(failed) else {}
    counts = Counter(kind or "unknown" for kind in text_column(failed, "error_type").to_pylist())
    return dict(counts.most_common())


def without_vanished(table: Any, origin: str) -> Any:
    """Return the table without rows of vanished items, and without the column that tells them.

    Such rows have scores, but perhaps no media any more: a warning counts them.
    """
    if VANISHED not in table.column_names or table.schema.field(VANISHED).type != pa.bool_():
        return table
    batches = batches_of(table, [VANISHED])
    masks = [np.asarray(batch.column(0).fill_null(False)) for batch in batches]
    gone = np.concatenate([np.empty(0, dtype=bool), *masks])
    if count := int(gone.sum()):
        noun = "row of a vanished item is" if count == 1 else "rows of vanished items are"
        log.warning("%s: %d %s left out", origin, count, noun)
    return table.filter(~gone).drop_columns([VANISHED])


def ok_rows(table: Any) -> Mask:
    """Return a mask of the rows without an error, (rows,)."""
    check_text(table, "status")
    masks = [np.empty(0, dtype=bool)]
    for batch in batches_of(table, ["status"], encoded=True):
        column = batch.column(0)
        if pa.types.is_dictionary(column.type):
            # The last entry is for null, whose index is -1.
            is_ok = np.append(
                np.asarray(pc.equal(column.dictionary.cast(pa.string()), "ok")), False
            )
            masks.append(is_ok[column.indices.fill_null(-1).to_numpy()])
        else:
            masks.append(np.asarray(pc.equal(column.cast(pa.string()), "ok").fill_null(False)))
    return np.concatenate(masks)


def distinct_texts(table: Any, name: str) -> list[str]:
    """Return the distinct values of a column as text, without null, in order of first use."""
    found: dict[str, None] = {}
    for batch in batches_of(table, [name], encoded=True):
        values = batch.column(0).unique().to_pylist()
        found |= dict.fromkeys(str(value) for value in values if value is not None)
    return list(found)


def score_column(table: Any, name: str) -> str:
    """Return the column to rank by: for an axis its mu, because means saturate; else `name`."""
    axes = (*AXES, *axes_among(table.column_names))
    return f"{name}_mu" if name in axes else name


def check_axes(table: Any, names: Iterable[str]) -> None:
    """Raise UsageError for a name that is not an axis of the table or of the published model."""
    there = axes_among(table.column_names)
    unknown = [name for name in names if name not in (*there, *AXES)]
    if unknown:
        raise UsageError(
            f"no axis {', '.join(unknown)}", hint=f"There are: {', '.join(there) or 'none'}."
        )


def text_column(table: Any, name: str) -> Any:
    """Return a text column; raises UsageError for a missing column or another type."""
    check_text(table, name)
    column = column_of(table, name, table.column_names)
    return column.cast(pa.string()) if pa.types.is_null(column.type) else column


def check_text(table: Any, name: str) -> None:
    """Raise UsageError for a missing column, and for a column that is not text."""
    kind = _plain_type(table.schema.field(place_of(table, name, table.column_names)).type)
    if not (is_text(kind) or pa.types.is_null(kind)):
        raise UsageError(f"the column {name} holds {kind}, not text")


def media_paths(table: Any, hint_for_breaks: str | None = None) -> Any:
    """Return the media column; raises UsageError for a row without a path.

    With `hint_for_breaks`, a path with a line break is an error too, with this hint.
    """
    paths = text_column(table, "media")
    if paths.null_count:
        raise UsageError(
            f"{paths.null_count} of {len(table)} rows have no path: their media were in memory"
            " or in a tar",
            hint="Print whole rows with --json, or write them with -o.",
        )
    split = paths.filter(pc.match_substring(paths, "\n"))
    if hint_for_breaks is not None and len(split):
        raise UsageError(f"a path holds a line break: {split[0].as_py()!r}", hint=hint_for_breaks)
    return paths


def label_column(table: Any, name: str, hint: str | None = None) -> Any:
    """Return a column of scalar values as text; raises UsageError for lists and structs.

    `hint` says what to do if the column is not found.
    """
    column = column_of(table, name, table.column_names, hint)
    try:
        return column.cast(pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        raise UsageError(f"column {name} holds {column.type}; expected text or numbers") from error


def sorted_labels(table: Any, name: str, label: Callable[[Any], Any]) -> tuple[Codes, list[str]]:
    """Return a code for each row's label (-1 for null), and the sorted labels that codes index.

    `label` returns the labels of a table with the column `name` as an Arrow text column.
    """

    def labels() -> Iterator[Any]:
        known, texts = None, None
        for batch in batches_of(table, [name], encoded=True):
            column = batch.column(0)
            if not pa.types.is_dictionary(column.type):
                yield label(pa.table([column], [name])).combine_chunks()
                continue
            if known is None or not is_same_dictionary(column.dictionary, known):
                known = column.dictionary
                texts = label(pa.table([known], [name])).combine_chunks()
            yield pa.DictionaryArray.from_arrays(column.indices, texts)

    return sorted_by_label(table, name, label, codes_among(labels(), len(table)))


def sorted_by_label(
    table: Any, name: str, label: Callable[[Any], Any], codes: Codes
) -> tuple[Codes, list[str]]:
    """Return what `sorted_labels` does, from `codes` of the labels in any order."""
    count = int(codes.max(initial=-1)) + 1
    first = np.empty(count + 1, dtype=np.int64)
    for start in reversed(range(0, len(codes), BLOCK_ROWS)):
        part = codes[start : start + BLOCK_ROWS]
        # The last of several writes stays, so the first row of each code is written last.
        first[part[::-1]] = np.arange(start, start + len(part))[::-1]
    texts = label(table.select([name]).take(pa.array(first[:count]))).combine_chunks()
    order = pc.array_sort_indices(texts).to_numpy()
    places = np.full(count + 1, -1, dtype=np.int32)
    places[order] = np.arange(count)
    return places[codes], texts.take(pa.array(order)).to_pylist()


def group_codes(table: Any, per: str | None) -> NDArray[np.int64]:
    """Return a number per row, equal within a group; -1 for rows without a value.

    Rows without `group` are grouped by prompt.
    """
    if per is None:
        return np.zeros(len(table), dtype=np.int64)
    codes = _codes(table, per)
    if per == "group" and "prompt" in table.column_names and (bare := codes < 0).any():
        prompts = _codes(table, "prompt")
        codes[bare] = np.where(prompts < 0, -1, prompts + len(table))[bare]
    return codes


def _codes(table: Any, name: str) -> NDArray[np.int64]:
    kind = table.schema.field(place_of(table, name, table.column_names)).type
    try:
        return codes_of(table, name).astype(np.int64)
    except pa.ArrowNotImplementedError as error:
        raise UsageError(f"cannot group rows by column {name} of type {kind}") from error


def number_column(table: Any, name: str) -> Any:
    """Return a numeric column, or the numbers in a text column, as of a CSV manifest.

    Raises UsageError, naming the numeric columns, and the first text that is not a number.
    """
    numeric = numeric_columns(table)
    column = column_of(table, name, numeric)
    hint = f"Numeric columns: {', '.join(numeric) or 'none'}."
    if is_text(column.type):
        by_text = f"Choose rows by text with --where {name}=VALUE. "
        return numbers_of(column, name, by_text + hint)
    if not is_numeric(column.type):
        raise UsageError(f"the column {name} holds {column.type}, not numbers", hint=hint)
    is_plain = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    return column if is_plain else column.cast(pa.float64())


def column_of(table: Any, name: str, fitting: Sequence[str], hint: str | None = None) -> Any:
    """Return a column; raises UsageError, naming the `fitting` ones, where `place_of` does."""
    return _decoded(table.column(place_of(table, name, fitting, hint)))


def place_of(table: Any, name: str, fitting: Sequence[str], hint: str | None = None) -> int:
    """Return the index of a column; raises UsageError for a missing or duplicate column."""
    found = table.schema.get_all_field_indices(name)
    if not found:
        raise UsageError(f"no column {name}; expected one of: {', '.join(fitting) or 'none'}", hint)
    if len(found) > 1:
        raise UsageError(f"duplicate column {name} ({len(found)} columns have this name)")
    place: int = found[0]
    return place


def _plain_type(kind: Any) -> Any:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _decoded(column: Any) -> Any:
    kind = column.type
    return column.cast(kind.value_type) if pa.types.is_dictionary(kind) else column


def numeric_columns(table: Any) -> list[str]:
    """Return the names of the columns that hold numbers."""
    return [field.name for field in table.schema if is_numeric(field.type)]


def is_numeric(kind: Any) -> bool:
    """Return whether a type is numeric; a column of nulls counts as numeric."""
    if pa.types.is_dictionary(kind):
        return is_numeric(kind.value_type)
    of = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)
    return any(fits(kind) for fits in of)
