"""Scored rows as Arrow batches, with one column for each value of a row."""

from collections.abc import Callable, Collection, Mapping, Sequence
from operator import attrgetter
from types import NoneType
from typing import Any

import numpy as np
import pyarrow as pa

from librehps.files import path_text, printable
from librehps.scores.columns import DOUBLE, INDEX, PHASH, TEXT, as_text, full_columns
from librehps.scores.parquet import arrow_type
from librehps.scores.scored_rows import ScoredRows, as_columns
from librehps.settings import Settings
from librehps.types import Item, ScoredRow, media_text

NUMBERS = ("", "_mu", "_sigma")


class RowSchema:
    """The columns of rows in a journal: the index, every score table column, the user's own.

    `own` maps the user's columns to their kinds. Numbers of the kind DOUBLE are kept as text, so
    that JSON Lines can show 3 and 3.0 as the source did. Only with `hashes` there is a column of
    perceptual hashes.
    """

    def __init__(self, settings: Settings, own: Mapping[str, str], hashes: bool = False) -> None:
        self.axes, self._digest = settings.axes, settings.digest
        self.own, self._hashes = dict(own), hashes
        kinds = {**full_columns(settings.axes), **own}
        if not hashes:
            del kinds[PHASH]
        stored = {name: TEXT if name in own and k == DOUBLE else k for name, k in kinds.items()}
        self.texts = [name for name, kind in stored.items() if kind == TEXT]
        fields = [(name, arrow_type(kind)) for name, kind in stored.items()]
        self._arrow_types = dict([(INDEX, pa.int64()), *fields])
        self.arrow = pa.schema(list(self._arrow_types.items()))
        # Types of the columns that a listing may have in the same form.
        in_listing = ("id", "media", *(name for name, kind in own.items() if kind != DOUBLE))
        self.listed_types = {name: self._arrow_types[name] for name in in_listing}

    def batch(self, indices: Any, rows: Sequence[ScoredRow], listed: Collection[str] = ()) -> Any:
        """Return the rows, which have these indices in the listing, as one Arrow batch.

        The columns `listed`, some of `listed_types`, are null: they are read from the listing.
        """
        found = as_columns(rows, self.axes)
        columns = {
            INDEX: indices,
            **_facts(found),
            **_numbers(found),
            "settings": pa.repeat(self._digest, len(rows)),
            **self._item_columns(found.items, listed),
        }
        if self._hashes:
            columns[PHASH] = found.phashes
        return self._batch(columns)

    def known_batch(self, indices: Sequence[int], items: Sequence[Item], scores: Any) -> Any:
        """Return rows of items whose scores are known: the columns of the Arrow table `scores`.

        Other columns of a score are null.
        """
        columns = {
            INDEX: indices,
            "status": pa.repeat("ok", len(items)),
            "settings": pa.repeat(self._digest, len(items)),
            **self._item_columns(items, ()),
        }
        others = [field for field in self.arrow if field.name not in columns]
        return self._batch({**columns, **{one.name: _column(scores, one) for one in others}})

    def _batch(self, columns: Mapping[str, Any]) -> Any:
        arrays = [
            values if isinstance(values := columns[name], pa.Array) else pa.array(values, kind)
            for name, kind in self._arrow_types.items()
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.arrow)

    def _item_columns(self, items: Sequence[Item], listed: Collection[str]) -> dict[str, Any]:
        """Return id, media, prompt, group and the user's own columns.

        Prompt and group may be others than those of the listing.
        """
        found: dict[str, Any] = {
            name: _texts(list(map(attrgetter(name), items))) for name in ("prompt", "group")
        }
        found |= {name: pa.nulls(len(items), self.listed_types[name]) for name in listed}
        if "id" not in found:
            found["id"] = _texts([item.id for item in items])
        if "media" not in found:
            found["media"] = _media([item.media for item in items])
        return found | {name: self._own(name, items) for name in self.own if name not in found}

    def _own(self, name: str, items: Sequence[Item]) -> Any:
        values = [item.extra.get(name) for item in items]
        is_text = self.own[name] in (TEXT, DOUBLE)
        return [as_text(value) for value in values] if is_text else values


def _facts(rows: ScoredRows) -> dict[str, Any]:
    nothing = pa.nulls(len(rows), pa.string())
    found = {
        "kind": _often_equal(rows.kinds, pa.string()),
        "width": _often_equal(rows.widths, pa.int32()),
        "height": _often_equal(rows.heights, pa.int32()),
        "frames": _often_equal(rows.frames, pa.list_(pa.int32())),
        "status": pa.repeat("ok", len(rows)),
        "error_type": nothing,
        "error": nothing,
        "prompt_tokens": rows.prompt_tokens,
        "sha256": rows.hashes,
        "scalar": rows.scalars,
    }
    failed = [(at, error) for at, error in enumerate(rows.errors) if error is not None]
    if failed:
        columns = [[text] * len(rows) for text in ("ok", None, None)]
        for at, error in failed:
            texts = ("error", type(error).__name__, printable(str(error)))
            for column, text in zip(columns, texts, strict=True):
                column[at] = text
        found |= zip(("status", "error_type", "error"), columns, strict=True)
    return found


def _often_equal(values: Sequence[Any], kind: Any) -> Any:
    """Return values as an Arrow array of a type, quickly where all are equal."""
    first = values[0] if values else None
    is_one = values.count(first) == len(values)
    if is_one and first is None:
        return pa.nulls(len(values), kind)
    return pa.repeat(pa.scalar(first, kind), len(values)) if is_one else pa.array(values, kind)


def _column(table: Any, field: Any) -> Any:
    """Return a column of a table as an array of the field's type, nulls if the table lacks it."""
    if field.name not in table.column_names:
        return pa.nulls(len(table), field.type)
    return table[field.name].combine_chunks().cast(field.type)


def _media(values: list[Any]) -> Any:
    """Return the paths or URLs of media as UTF-8 text, None for media in memory."""
    if set(map(type, values)) == {str}:
        return _texts(values, path_text)
    return [media_text(value) for value in values]


def _texts(values: list[Any], spell: Callable[[Any], str] = printable) -> Any:
    """Return values as an Arrow array of UTF-8 text, except None."""
    if values.count(None) == len(values):
        return pa.nulls(len(values), pa.string())
    if set(map(type, values)) <= {str, NoneType}:
        try:
            return pa.array(values, pa.string())
        except UnicodeEncodeError:
            pass
    return [v if v is None or (type(v) is str and v.isascii()) else spell(v) for v in values]


def _numbers(rows: ScoredRows) -> dict[str, Any]:
    """Return the columns of scores by axis."""
    numbers, found = rows.numbers.astype(np.float32), dict[str, Any]()
    is_null = np.isnan(numbers)
    some: Any = is_null.any(2).tolist()
    every: Any = is_null.all(2).tolist()
    # Slices of one array, which take a tenth of the time that an array for each column takes.
    flat, count = pa.array(numbers.ravel()), len(rows)
    for part, end in enumerate(NUMBERS):
        for at, axis in enumerate(rows.axes):
            if every[part][at]:
                column = pa.nulls(count, pa.float32())
            elif some[part][at]:
                column = pa.array(numbers[part, at], mask=is_null[part, at])
            else:
                column = flat.slice((part * len(rows.axes) + at) * count, count)
            found[f"{axis}{end}"] = column
    return found
