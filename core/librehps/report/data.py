"""The data of the report: columns of a score table as plain values, ready for JSON."""

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
from librehps.errors import NothingScoredError
from librehps.scores.columns import axes_among, full_columns
from librehps.scores.select import column_of, group_codes, number_column, text_column

Record = dict[str, Any]
REQUIRED_COLUMNS = ("overall", "overall_mu")
# Limits of the user's own columns: their number, and the characters of a value.
MAX_USER_COLUMNS, MAX_CELL_CHARS = 8, 200
# Finer than the difference of a score between devices.
SCORE_DECIMALS = 4


@dataclass(frozen=True)
class Rows:
    """The rows of a report: values by column, as the page reads them, and media paths."""

    columns: Record
    paths: list[str | None]

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
            return [0] * len(self.paths)
        codes: list[int] = (self.columns["prompt"] if group["codes"] is None else group)["codes"]
        return codes

    @property
    def scores(self) -> list[float | None]:
        """The mu of overall of each row."""
        mu: list[float | None] = self.columns["axes"]["overall"]["mu"]
        return mu


def rows_of(table: Any, by: str | None, per: str | None, folder: Path) -> Rows:
    """Return the rows of a score table, for a page in `folder`.

    `by` is the column of generators; `per` is the column of groups (default: prompt). Raises
    UsageError if a column is not found, and NothingScoredError if overall has no value.
    """
    if per is None and "prompt" in table.column_names:
        per = "prompt"
    if not _has_axis(table, "overall"):
        raise NothingScoredError("no row has values in both columns overall and overall_mu")
    paths = _texts(table, "media")
    columns = _columns(table, by, per, paths)
    return Rows({**columns, "link": _links(paths, folder)}, paths)


def _columns(table: Any, by: str | None, per: str | None, media: list[str | None]) -> Record:
    ids, names = _texts(table, "id"), axes_among(table.column_names)
    return {
        "rows": len(table),
        "id": [i if i is not None else m for i, m in zip(ids, media, strict=True)],
        "media": [None if m == i else m for i, m in zip(ids, media, strict=True)],
        "prompt": _coded(_texts(table, "prompt")),
        "kind": _coded(_texts(table, "kind")),
        "error_type": _error_types(table),
        "error": _sparse(_texts(table, "error")),
        "axes": {axis: _axis(table, axis) for axis in names if _has_axis(table, axis)},
        "by": None if by is None else {"name": by, **_coded(generators_of(table, by).to_pylist())},
        "group": _groups(table, per),
        "own": _own(table, {by, per}),
    }


def _links(media: Sequence[str | None], folder: Path) -> list[str | None]:
    """Return the link to each existing file, relative to the page's folder and percent-encoded.

    The leading dot and the encoded colons keep browsers from reading a scheme in a file name.
    """
    return [None if path is None else _link(path, folder) for path in media]


def _link(path: str, folder: Path) -> str | None:
    try:
        if not Path(path).is_file():
            return None
        relative = relpath(path, folder)
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


def _has_axis(table: Any, axis: str) -> bool:
    names = (axis, f"{axis}_mu")
    if not all(name in table.column_names for name in names):
        return False
    return all(any(value is not None for value in _numbers(table, name)) for name in names)


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
    _, first, codes = np.unique(group_codes(table, per), return_index=True, return_inverse=True)
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
    own, prompt = _texts(table, per), _texts(table, "prompt")
    if per != "group":
        return lambda row: own[row]
    # The group of a row without a group is its prompt.
    return lambda row: own[row] if own[row] is not None else prompt[row]


def _own(table: Any, shown: set[str | None]) -> dict[str, list[str | None]]:
    """Return the user's own columns as text, without those shown elsewhere on the page."""
    plain = dict.fromkeys(f.name for f in table.schema if _is_plain(f.type))
    ours = full_columns(axes_among(table.column_names))
    names = [name for name in plain if name not in ours and name not in shown]
    return {name: _short(_texts(table, name)) for name in names[:MAX_USER_COLUMNS]}


def _is_plain(kind: Any) -> bool:
    """Return True if the type is neither nested nor bytes, such as embedded images."""
    of = (pa.types.is_nested, pa.types.is_binary, pa.types.is_large_binary,
          pa.types.is_fixed_size_binary)  # fmt: skip
    return not any(fits(kind) for fits in of)


def _short(texts: Sequence[str | None]) -> list[str | None]:
    return [
        t if t is None or len(t) <= MAX_CELL_CHARS else t[: MAX_CELL_CHARS - 1] + "…" for t in texts
    ]
