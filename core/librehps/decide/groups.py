"""Group rows that compete: by prompt, folder, column value or pattern."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from librehps.errors import UsageError
from librehps.scores.select import column_of, group_codes, text_column

FOLDER, ALL = "folder", "all"
# Matches the last part of a path, with its separator.
_LEAF = r"[/\\]?[^/\\]*$"


@dataclass(frozen=True)
class Groups:
    """The groups of rows: `codes` (rows,) equal within a group, and `labels`, an Arrow column."""

    codes: NDArray[np.int64]
    labels: Any


def group_by(table: Any, per: str) -> Groups:
    """Return groups by the column `per`, by the folder of the media, or one group of all rows.

    A row without a value in `group` belongs to its prompt. Raises UsageError for a missing column
    and for rows without a value.
    """
    if per == FOLDER and FOLDER not in table.column_names:
        return _by_labels(_folders(table))
    if per == ALL and ALL not in table.column_names:
        labels = pa.chunked_array([pa.array([ALL] * len(table), pa.string())])
        return Groups(np.zeros(len(table), dtype=np.int64), labels)
    codes = group_codes(table, per)
    column = column_of(table, per, table.column_names)
    if per == "group" and "prompt" in table.column_names:
        column = pc.coalesce(column.cast(pa.string()), text_column(table, "prompt"))
    if column.null_count:
        raise UsageError(
            f"cannot group by {per}: {column.null_count} rows have no value",
            hint="Choose another column with --per, or remove these rows with `librehps filter`.",
        )
    return Groups(codes, column.cast(pa.string()))


def group_by_pattern(table: Any, pattern: str) -> Groups:
    """Return groups by what the pattern's groups, or else the whole pattern, match in the id.

    Raises UsageError for an invalid pattern, and for ids that do not match.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--per-match: invalid regular expression {pattern!r}: {error}") from error
    ids = text_column(table, "id").to_pylist()
    found = [compiled.search(name or "") for name in ids]
    missed = [name for name, match in zip(ids, found, strict=True) if match is None]
    if missed:
        raise UsageError(
            f"--per-match: {len(missed)} of {len(ids)} ids do not match {pattern!r}: {missed[0]!r}",
            hint="Change the pattern, or remove these rows with `librehps filter`.",
        )
    keys = [match.groups() or (match[0],) for match in found if match]
    if not any(part for key in keys for part in key):
        raise UsageError(f"--per-match: {pattern!r} matches only empty text")
    # Keys are tuples, since (`a b`, `c`) and (`a`, `b c`) have the same label.
    numbers: dict[tuple[str | None, ...], int] = {}
    codes = [numbers.setdefault(key, len(numbers)) for key in keys]
    labels = pa.array([" ".join(part or "" for part in key) for key in keys], pa.string())
    return Groups(np.array(codes, dtype=np.int64), pa.chunked_array([labels]))


def _folders(table: Any) -> Any:
    names = pc.coalesce(text_column(table, "media"), text_column(table, "id"))
    folders = pc.replace_substring_regex(names, _LEAF, "")
    return pc.if_else(pc.equal(folders, ""), ".", folders)


def _by_labels(labels: Any) -> Groups:
    encoded = labels.combine_chunks().dictionary_encode()
    return Groups(encoded.indices.to_numpy().astype(np.int64), labels)
