"""Which rows compete with each other: those of a prompt, a folder, a column's value, a pattern."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from librehps.errors import UsageError
from librehps.scores.select import column_of, group_codes, text_column

FOLDER = "folder"
# Of a name, what follows its last separator.
_LEAF = r"[/\\]?[^/\\]*$"


@dataclass(frozen=True)
class Groups:
    """`codes` (rows,) are equal within a group; `labels` an Arrow column, what each is called."""

    codes: NDArray[np.int64]
    labels: Any


def group_by(table: Any, per: str) -> Groups:
    """By `group` (a row without one is in its prompt's), `folder` of the media, or any column.

    Raises UsageError for a column that is not there, or that rows have no value in.
    """
    if per == FOLDER and FOLDER not in table.column_names:
        return _by_labels(_folders(table))
    codes = group_codes(table, per)
    column = column_of(table, per, table.column_names)
    if per == "group" and "prompt" in table.column_names:
        column = pc.coalesce(column.cast(pa.string()), text_column(table, "prompt"))
    if column.null_count:
        raise UsageError(
            f"{column.null_count} rows have no {per}, and cannot be grouped by it",
            hint="Group by another column, or leave them out with `librehps filter`.",
        )
    return Groups(codes, column.cast(pa.string()))


def group_by_pattern(table: Any, pattern: str) -> Groups:
    """By what the pattern's groups, or else the whole of it, match in the id.

    Raises UsageError for a bad pattern, and for ids that it does not match.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"{pattern!r} is no regular expression: {error}") from error
    ids = text_column(table, "id").to_pylist()
    found = [compiled.search(name or "") for name in ids]
    missed = [name for name, match in zip(ids, found, strict=True) if match is None]
    if missed:
        raise UsageError(
            f"{pattern!r} matches nothing in {len(missed)} of {len(ids)} ids: {missed[0]!r}",
            hint="Every row must belong to a group; leave others out with `librehps filter`.",
        )
    keys = [match.groups() or (match[0],) for match in found if match]
    if not any(part for key in keys for part in key):
        raise UsageError(f"{pattern!r} matches nothing but empty text: no group has a name")
    # Of two groups of a pattern, `a b` + `c` and `a` + `b c` are not the same.
    places: dict[tuple[str | None, ...], int] = {}
    codes = [places.setdefault(key, len(places)) for key in keys]
    labels = pa.array([" ".join(part or "" for part in key) for key in keys], pa.string())
    return Groups(np.array(codes, dtype=np.int64), pa.chunked_array([labels]))


def _folders(table: Any) -> Any:
    names = pc.coalesce(text_column(table, "media"), text_column(table, "id"))
    folders = pc.replace_substring_regex(names, _LEAF, "")
    return pc.if_else(pc.equal(folders, ""), ".", folders)


def _by_labels(labels: Any) -> Groups:
    encoded = labels.combine_chunks().dictionary_encode()
    return Groups(encoded.indices.to_numpy().astype(np.int64), labels)
