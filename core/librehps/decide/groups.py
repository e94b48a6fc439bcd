"""Group rows that compete: by prompt, folder, column value or pattern."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from librehps.errors import UsageError
from librehps.scores.file_table import batches_of
from librehps.scores.key_codes import codes_among
from librehps.scores.select import check_text, column_of, group_codes, text_column

FOLDER, ALL = "folder", "all"
# Matches a path, of which group 1 is the tar that holds a file, or the last part of the path.
_LEAF = r"^(.*)::[^/\\]*$|[/\\]?[^/\\]*$"


@dataclass(frozen=True)
class Groups:
    """The groups of the rows of `table`: `codes` (rows,) equal within a group.

    `name_rows` returns the labels of some rows, given as a table that has `columns`, as an Arrow
    column.
    """

    codes: NDArray[np.int64]
    table: Any
    name_rows: Callable[[Any], Any]
    columns: Sequence[str]

    @property
    def labels(self) -> Any:
        """The label of each row, an Arrow column."""
        return self.name_rows(self.table)


def group_by(table: Any, per: str) -> Groups:
    """Return groups by the column `per`, by the folder of the media, or one group of all rows.

    A row without a value in `group` belongs to its prompt. Raises UsageError for a missing column
    and for rows without a value.
    """
    if per == FOLDER and FOLDER not in table.column_names:
        names = [name for name in ("media", "id") if name in table.column_names]
        parts = (pa.Table.from_batches([batch]) for batch in batches_of(table, names))
        labels = (chunk for part in parts for chunk in _folders(part).chunks)
        return Groups(codes_among(labels, len(table)).astype(np.int64), table, _folders, names)
    if per == ALL and ALL not in table.column_names:
        return Groups(np.zeros(len(table), dtype=np.int64), table, _all, ["id"])
    codes = group_codes(table, per)
    falls_back = per == "group" and "prompt" in table.column_names
    if falls_back:
        check_text(table, "prompt")
    bare = int((codes < 0).sum())
    if bare:
        raise UsageError(
            f"cannot group by {per}: {bare} rows have no value",
            hint="Choose another column with --per, or remove these rows with `librehps filter`.",
        )

    def labels_of(rows: Any) -> Any:
        column = column_of(rows, per, rows.column_names).cast(pa.string())
        return pc.coalesce(column, text_column(rows, "prompt")) if falls_back else column

    return Groups(codes, table, labels_of, [per, "prompt"] if falls_back else [per])


def group_numbers(table: Any, per: str | None) -> NDArray[np.int64]:
    """Return a number for each row, equal within a group of `group_by`; -1 without a value.

    Without `per`, all rows are one group.
    """
    if per in (FOLDER, ALL) and per not in table.column_names:
        return group_by(table, per).codes
    return group_codes(table, per)


def group_by_pattern(table: Any, pattern: str) -> Groups:
    """Return groups by what the pattern's groups, or else the whole pattern, match in the id.

    Raises UsageError for an invalid pattern, and for ids that do not match.
    """
    compiled = compiled_pattern(pattern)
    # Keys are tuples, since (`a b`, `c`) and (`a`, `b c`) have the same label.
    numbers: dict[tuple[str | None, ...], int] = {}
    codes, missed = [np.empty(0, np.int64)], list[str | None]()
    check_text(table, "id")
    for batch in batches_of(table, ["id"]):
        ids = batch.column(0).to_pylist()
        found = [compiled.search(name or "") for name in ids]
        missed += [name for name, match in zip(ids, found, strict=True) if match is None]
        keys = [match.groups() or (match[0],) for match in found if match]
        codes.append(np.array([numbers.setdefault(k, len(numbers)) for k in keys], np.int64))
    if missed:
        raise UsageError(
            f"--per-match: {len(missed)} of {len(table)} ids do not match {pattern!r}: "
            f"{missed[0]!r}",
            hint="Change the pattern, or remove these rows with `librehps filter`.",
        )
    if not any(part for key in numbers for part in key):
        raise UsageError(f"--per-match: {pattern!r} matches only empty text")

    def labels_of(rows: Any) -> Any:
        matches = [compiled.search(name or "") for name in text_column(rows, "id").to_pylist()]
        keys = [match.groups() or (match[0],) for match in matches if match]
        labels = [" ".join(part or "" for part in key) for key in keys]
        return pa.chunked_array([pa.array(labels, pa.string())])

    return Groups(np.concatenate(codes), table, labels_of, ["id"])


def compiled_pattern(pattern: str) -> re.Pattern[str]:
    """Return the compiled pattern; raises UsageError for an invalid one."""
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--per-match: invalid regular expression {pattern!r}: {error}") from error


def check_per(columns: Sequence[str], per: str) -> None:
    """Raise UsageError if rows with these columns cannot be grouped by `per`."""
    if per not in (FOLDER, ALL, *columns):
        raise UsageError(f"no column {per}; expected one of: {', '.join(columns)}")


def _all(rows: Any) -> Any:
    return pa.chunked_array([pa.array([ALL] * len(rows), pa.string())])


def _folders(table: Any) -> Any:
    names = pc.coalesce(text_column(table, "media"), text_column(table, "id"))
    folders = pc.replace_substring_regex(names, _LEAF, r"\1")
    return pc.if_else(pc.equal(folders, ""), ".", folders)
