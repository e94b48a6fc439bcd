"""Scored rows as Arrow batches, with one column for each value of a row."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from librehps.files import printable
from librehps.scores.columns import DOUBLE, TEXT, as_text, full_columns
from librehps.scores.parquet import arrow_type
from librehps.settings import Settings
from librehps.types import Item, ScoredRow, VideoScore, media_text

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
        self.arrow = pa.schema([(INDEX, pa.int64()), *fields])

    def batch(self, indices: Sequence[int], rows: Sequence[ScoredRow]) -> Any:
        """Return the rows, which have these indices in the listing, as one Arrow batch."""
        columns = {
            INDEX: indices,
            **_facts(rows),
            **_scores(rows, self.axes),
            "settings": [self._digest] * len(rows),
            **self._own_columns([row.item for row in rows]),
        }
        arrays = [pa.array(columns[f.name], f.type) for f in self.arrow]
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
        "media": [media_text(item.media) for item in items],
        "prompt": _texts([item.prompt for item in items]),
        "group": _texts([item.group for item in items]),
    }


def _column(table: Any, field: Any) -> Any:
    """Return a column of a table as an array of the field's type, nulls if the table lacks it."""
    if field.name not in table.column_names:
        return pa.nulls(len(table), field.type)
    return table[field.name].combine_chunks().cast(field.type)


def _texts(values: list[Any]) -> list[Any]:
    """Return values as UTF-8 text, except None."""
    return [v if v is None or (type(v) is str and v.isascii()) else printable(v) for v in values]


def _scores(rows: Sequence[ScoredRow], axes: Sequence[str]) -> dict[str, list[Any]]:
    known = [{} if row.score is None else row.score.axes for row in rows]
    found: dict[str, list[Any]] = {
        "scalar": [None if row.score is None else row.score.scalar for row in rows]
    }
    for name in axes:
        scores = [axes_of.get(name) for axes_of in known]
        found[name] = [None if s is None else s.mean for s in scores]
        found[f"{name}_mu"] = [None if s is None else s.raw_mean for s in scores]
        found[f"{name}_sigma"] = [None if s is None else s.sigma for s in scores]
    return found
