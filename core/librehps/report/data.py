"""The rows that a report shows: columns of a score table as plain values, ready for JSON."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import fsencode
from os.path import relpath
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa

from librehps.decide.generators import generators_of
from librehps.decide.groups import FOLDER, group_by, group_numbers
from librehps.media.named import Found
from librehps.report.survey import SCORE_DECIMALS, Survey, short
from librehps.scores.columns import axes_among, full_columns
from librehps.scores.select import column_of, number_column, text_column

Record = dict[str, Any]
TEXT_COLUMNS = ("id", "media", "kind", "prompt", "status", "error_type", "error")
MAX_USER_COLUMNS = 8


@dataclass(frozen=True)
class Rows:
    """The rows that a page shows: values by column, as the page reads them, and their media.

    `order` has the rows of a sample, most important first; None if all rows are shown. `first` has
    rows that get a thumbnail before most others.
    """

    columns: Record
    media: list[Found | None]
    order: Sequence[int] | None = None
    first: Sequence[int] = ()

    @property
    def kinds(self) -> list[str | None]:
        """The kind of each row, None if unknown."""
        values, codes = self.columns["kind"]["values"], self.columns["kind"]["codes"]
        return [values[code] if code >= 0 else None for code in codes]

    @property
    def groups(self) -> list[int]:
        """The group of each row."""
        group = self.columns["group"]
        if group is None:
            return [0] * len(self.media)
        codes: list[int] = (self.columns["prompt"] if group["codes"] is None else group)["codes"]
        return codes

    @property
    def scores(self) -> list[float | None]:
        """The mu of overall of each row."""
        mu: list[float | None] = self.columns["axes"]["overall"]["mu"]
        return mu


def rows_of(table: Any, survey: Survey, media: list[Found | None], folder: Path) -> Rows:
    """Return the rows of a table, for a page in `folder`; `media` has those of each row.

    The table has the rows of the survey, or some of them.
    """
    names = _texts(table, "media")
    columns = _columns(table, survey, names)
    return Rows({**columns, "link": [_link(one, folder) for one in media]}, media)


def needed_columns(table: Any, survey: Survey) -> list[str]:
    """Return the names of the columns that a page shows."""
    scores = [name for axis in survey.axes for name in (axis, f"{axis}_mu")]
    own = _own_names(table, {survey.by, survey.per})
    named = dict.fromkeys([*TEXT_COLUMNS, survey.by, survey.per, *scores, *own])
    return [name for name in named if name is not None and name in table.column_names]


def _columns(table: Any, survey: Survey, media: list[str | None]) -> Record:
    by, per, ids = survey.by, survey.per, _texts(table, "id")
    own = _own_names(table, {by, per})
    return {
        "rows": len(table),
        "whole": survey.record,
        "id": [i if i is not None else m for i, m in zip(ids, media, strict=True)],
        "media": [None if m == i else m for i, m in zip(ids, media, strict=True)],
        "prompt": _coded(_texts(table, "prompt")),
        "kind": _coded(_texts(table, "kind")),
        "error_type": _error_types(table),
        "error": _sparse(_texts(table, "error")),
        "axes": {axis: _axis(table, axis) for axis in survey.axes},
        "by": None if by is None else {"name": by, **_coded(generators_of(table, by).to_pylist())},
        "group": _groups(table, per),
        "own": {name: _short(_texts(table, name)) for name in own},
    }


def _link(media: Found | None, folder: Path) -> str | None:
    """Return the link to an existing file, relative to the page's folder and percent-encoded.

    The leading dot and the encoded colons keep browsers from reading a scheme in a file name.
    """
    if not isinstance(media, Path):
        return None
    try:
        if not media.is_file():
            return None
        relative = relpath(media, folder)
    except (OSError, ValueError):
        # An invalid file name, or a file on another drive.
        return None
    return "./" + quote(fsencode(Path(relative).as_posix()))


def _texts(table: Any, name: str) -> list[str | None]:
    if name not in table.column_names:
        return [None] * len(table)
    if name in full_columns(()):
        found: list[str | None] = text_column(table, name).to_pylist()
        return found
    values = column_of(table, name, table.column_names).to_pylist()
    return [None if value is None else str(value) for value in values]


def _coded(texts: Sequence[str | None]) -> Record:
    """Return distinct `values` in order of first use, and each row's index as `codes`, or -1."""
    places: dict[str, int] = {}
    codes = [-1 if text is None else places.setdefault(text, len(places)) for text in texts]
    return {"values": list(places), "codes": codes}


def _sparse(texts: Sequence[str | None]) -> dict[int, str]:
    """Return a mapping from row to text, of the rows with a text."""
    return {row: text for row, text in enumerate(texts) if text is not None}


def _error_types(table: Any) -> Record:
    """Return the error types; an error row without a type has `unknown`."""
    status = text_column(table, "status").to_pylist()
    named = _texts(table, "error_type")
    pairs = zip(status, named, strict=True)
    return _coded([None if state == "ok" else name or "unknown" for state, name in pairs])


def _axis(table: Any, axis: str) -> Record:
    """Return the means in [0, 1] to show, and the mu to sort by; None for missing values."""
    return {"mean": _numbers(table, axis), "mu": _numbers(table, f"{axis}_mu")}


def _numbers(table: Any, name: str) -> list[float | None]:
    return [_rounded(value) for value in number_column(table, name).to_pylist()]


def _rounded(value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return round(value, SCORE_DECIMALS)


def _groups(table: Any, per: str | None) -> Record | None:
    """Return group codes from 0 in order of first use, and each group's label or None.

    For prompts both are None, since the page has the prompts already.
    """
    if per is None:
        return None
    if per == "prompt":
        return {"name": per, "codes": None, "labels": None}
    _, first, codes = np.unique(group_numbers(table, per), return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    label = _labels(table, per)
    return {
        "name": per,
        "codes": rank[codes].tolist(),
        "labels": [label(int(row)) for row in np.sort(first)],
    }


def _labels(table: Any, per: str) -> Callable[[int], str | None]:
    if per == FOLDER and per not in table.column_names:
        folders = group_by(table, per).labels.to_pylist()
        return lambda row: folders[row]
    own, prompt = _texts(table, per), _texts(table, "prompt")
    if per != "group":
        return lambda row: own[row]
    # The group of a row without a group is its prompt.
    return lambda row: own[row] if own[row] is not None else prompt[row]


def _own_names(table: Any, shown: set[str | None]) -> list[str]:
    """Return the user's own columns, without those shown elsewhere on the page."""
    plain = dict.fromkeys(f.name for f in table.schema if _is_plain(f.type))
    ours = full_columns(axes_among(table.column_names))
    return [name for name in plain if name not in ours and name not in shown][:MAX_USER_COLUMNS]


def _is_plain(kind: Any) -> bool:
    """Return True if the type is neither nested nor bytes, such as embedded images."""
    of = (pa.types.is_nested, pa.types.is_binary, pa.types.is_large_binary,
          pa.types.is_fixed_size_binary)  # fmt: skip
    return not any(fits(kind) for fits in of)


def _short(texts: Sequence[str | None]) -> list[str | None]:
    return [None if text is None else short(text) for text in texts]
