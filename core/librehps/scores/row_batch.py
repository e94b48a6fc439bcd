"""Scored rows as Arrow batches, with one column for each value of a row."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from librehps.files import printable
from librehps.scores.columns import DOUBLE, TEXT, as_text, full_columns
from librehps.scores.parquet import arrow_type
from librehps.settings import Settings
from librehps.types import AxisColumns, Item, ScoredRow, VideoScore, media_text

# Column with the row's index in the listing; a column of the user can have any other name.
INDEX = "librehps.index"


class RowSchema:
    """The columns of rows in a journal: the index, every score table column, the user's own.

    `own` maps the user's columns to their kinds. Numbers of the kind DOUBLE are kept as text, so
    that JSON Lines can show 3 and 3.0 as the source did.
    """

    def __init__(self, settings: Settings, own: Mapping[str, str]) -> None:
        self.axes, self._digest = settings.axes, settings.digest
        self.own = dict(own)
        kinds = {**full_columns(settings.axes), **own}
        stored = {name: TEXT if name in own and k == DOUBLE else k for name, k in kinds.items()}
        self.texts = [name for name, kind in stored.items() if kind == TEXT]
        fields = [(name, arrow_type(kind)) for name, kind in stored.items()]
        self._arrow_types = [(INDEX, pa.int64()), *fields]
        self.arrow = pa.schema(self._arrow_types)

    def batch(self, indices: Sequence[int], rows: Sequence[ScoredRow]) -> Any:
        """Return the rows, which have these indices in the listing, as one Arrow batch."""
        columns = {
            INDEX: indices,
            **_facts(rows),
            **_scores(rows, self.axes),
            "settings": [self._digest] * len(rows),
            **self._own_columns([row.item for row in rows]),
        }
        arrays = [
            pa.array(values := columns[name], kind, from_pandas=isinstance(values, np.ndarray))
            for name, kind in self._arrow_types
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.arrow)

    def known_batch(self, indices: Sequence[int], items: Sequence[Item], scores: Any) -> Any:
        """Return rows of items whose scores are known: the columns of the Arrow table `scores`.

        Other columns of a score are null.
        """
        columns = {
            INDEX: indices,
            **_of_items(items),
            "status": ["ok"] * len(items),
            "settings": [self._digest] * len(items),
            **self._own_columns(items),
        }
        arrays = [
            _column(scores, f) if f.name not in columns else pa.array(columns[f.name], f.type)
            for f in self.arrow
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.arrow)

    def _own_columns(self, items: Sequence[Item]) -> dict[str, list[Any]]:
        return {name: self._own(name, items) for name in self.own}

    def _own(self, name: str, items: Sequence[Item]) -> list[Any]:
        values = [item.extra.get(name) for item in items]
        is_text = self.own[name] in (TEXT, DOUBLE)
        return [as_text(value) for value in values] if is_text else values


def _facts(rows: Sequence[ScoredRow]) -> dict[str, list[Any]]:
    nothing: list[Any] = [None] * len(rows)
    types, errors = nothing, nothing
    if any(row.error is not None for row in rows):
        found = [row.error for row in rows]
        types = [None if error is None else type(error).__name__ for error in found]
        errors = [None if error is None else printable(str(error)) for error in found]
    return {
        **_of_items([row.item for row in rows]),
        "kind": [row.kind for row in rows],
        "width": [row.width for row in rows],
        "height": [row.height for row in rows],
        "frames": [s.frames if isinstance(s := row.score, VideoScore) else None for row in rows],
        "status": ["error" if row.score is None else "ok" for row in rows],
        "error_type": types,
        "error": errors,
        "prompt_tokens": [row.prompt_tokens for row in rows],
        "sha256": [row.sha256 for row in rows],
    }


def _of_items(items: Sequence[Item]) -> dict[str, list[Any]]:
    return {
        "id": _texts([item.id for item in items]),
        "media": _media([item.media for item in items]),
        "prompt": _texts([item.prompt for item in items]),
        "group": _texts([item.group for item in items]),
    }


def _column(table: Any, field: Any) -> Any:
    """Return a column of a table as an array of the field's type, nulls if the table lacks it."""
    if field.name not in table.column_names:
        return pa.nulls(len(table), field.type)
    return table[field.name].combine_chunks().cast(field.type)


def _media(values: list[Any]) -> list[Any]:
    """Return the paths or URLs of media as UTF-8 text, None for media in memory."""
    if set(map(type, values)) == {str}:
        return _texts(values)
    return [media_text(value) for value in values]


def _texts(values: list[Any]) -> list[Any]:
    """Return values as UTF-8 text, except None."""
    if set(map(type, values)) == {str} and "".join(values).isascii():
        return values
    return [v if v is None or (type(v) is str and v.isascii()) else printable(v) for v in values]


def _scores(rows: Sequence[ScoredRow], axes: Sequence[str]) -> dict[str, Any]:
    """Return the columns of numbers; NaN stands for null, since no score is NaN."""
    numbers = np.full((3, len(axes), len(rows)), np.nan)
    groups: dict[tuple[str, ...], list[int]] = {}
    scored = [AxisColumns.of({} if row.score is None else row.score.axes) for row in rows]
    for at, one in enumerate(scored):
        groups.setdefault(one.names, []).append(at)
    for names, some_at in groups.items():
        if not names:
            continue
        some = [scored[at] for at in some_at]
        places: Any = slice(None) if len(groups) == 1 else some_at
        columns = ([s.means for s in some], [s.mus for s in some], [s.sigmas for s in some])
        for part, values in zip(numbers, columns, strict=True):
            flat = np.fromiter(chain.from_iterable(values), float, len(names) * len(some))
            for name, column in zip(names, flat.reshape(-1, len(names)).T, strict=True):
                if name in axes:
                    part[axes.index(name), places] = column
    found: dict[str, Any] = {
        "scalar": [None if row.score is None else row.score.scalar for row in rows]
    }
    for at, name in enumerate(axes):
        found[name], found[f"{name}_mu"], found[f"{name}_sigma"] = numbers[:, at]
    return found
