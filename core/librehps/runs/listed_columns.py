"""Columns of rows that the listing has already, so that a journal need not store them again."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from librehps.errors import OutputError
from librehps.runs.listing import CHUNK_ITEMS, Listing
from librehps.runs.listing_chunk import BATCH_ITEMS, read_columns, read_types

MAX_CACHED_CHUNKS = 2
T = TypeVar("T")


class ListedColumns:
    """The columns `types` of listed items, as an output has them; methods may raise OSError.

    A batch of the listing may lack some of them, or all.
    """

    def __init__(self, listing: Listing, types: Mapping[str, Any]) -> None:
        self._listing, self.types = listing, types
        self._cached_names = lru_cache(MAX_CACHED_CHUNKS)(self._names_of)
        self._cached = lru_cache(MAX_CACHED_CHUNKS)(self._columns_of)

    def names(self, indices: Any) -> frozenset[str]:
        """Return the columns that the listing has for all items with these indices, at least one.

        These are none, or `id` is among them.
        """
        numbers = np.unique(indices // BATCH_ITEMS).tolist()
        return frozenset.intersection(*(_at(self._cached_names, number) for number in numbers))

    def filled(self, table: Any, indices: Any, names: Sequence[str]) -> Any:
        """Return the rows of items with these indices: rows without id take our columns `names`."""
        if not table["id"].null_count:
            return table
        if (whole := self._of_range(table, indices)) is not None:
            return _with_columns(table, whole, names)
        numbers, which = np.unique(indices // BATCH_ITEMS, return_inverse=True)
        has = [_at(self._cached_names, number) for number in numbers.tolist()]
        is_listed = table["id"].combine_chunks().is_null().to_numpy(zero_copy_only=False)
        if (is_listed & np.array([not some for some in has])[which]).any():
            raise OutputError(
                f"{self._listing.folder}: damaged listing", "Use --overwrite to start over."
            )
        batches = [_at(self._cached, number) for number in numbers.tolist()]
        places = np.cumsum([0, *map(len, batches)])[which] + indices % BATCH_ITEMS
        found = taken(pa.Table.from_batches(batches).select(names), places[is_listed])
        for name in names:
            is_there = np.array([name in some for some in has])[which]
            values = found[name]
            if not is_there.all():
                values = values.filter(pa.array(is_there[is_listed]))
            column = _merged(table[name], is_listed & is_there, values)
            table = table.set_column(table.schema.get_field_index(name), name, column)
        return table

    def _of_range(self, table: Any, indices: Any) -> Any:
        """Return our columns of the items with these indices, if they follow each other.

        None if they do not, a row has an id, or a batch of the listing lacks a column.
        """
        first, last = int(indices[0]), int(indices[-1])
        is_range = np.array_equal(indices, np.arange(first, first + len(indices)))
        if not is_range or table["id"].null_count < len(table):
            return None
        numbers = range(first // BATCH_ITEMS, last // BATCH_ITEMS + 1)
        if any(len(_at(self._cached_names, number)) < len(self.types) for number in numbers):
            return None
        batches = [_at(self._cached, number) for number in numbers]
        return pa.Table.from_batches(batches).slice(first % BATCH_ITEMS, len(indices))

    def _names_of(self, first: int) -> list[frozenset[str]]:
        """Return the names of the columns of each batch in the chunk of the item `first`."""
        found = read_types(self._listing.chunk(first))
        return [frozenset(n for n, t in self.types.items() if there.get(n) == t) for there in found]

    def _columns_of(self, first: int) -> list[Any]:
        """Return the columns of each batch in the chunk of the item `first`, null where lacking."""
        found = zip(
            read_columns(self._listing.chunk(first)), self._cached_names(first), strict=True
        )
        return [self._whole(batch, names) for batch, names in found]

    def _whole(self, batch: Any, names: frozenset[str]) -> Any:
        columns = [
            batch.column(name) if name in names else pa.nulls(len(batch), kind)
            for name, kind in self.types.items()
        ]
        return pa.RecordBatch.from_arrays(columns, schema=pa.schema(list(self.types.items())))


def _at(of_chunk: Callable[[int], list[T]], number: int) -> T:
    """Return what a function of chunks gives for a batch of the listing."""
    batches = CHUNK_ITEMS // BATCH_ITEMS
    return of_chunk(number // batches * CHUNK_ITEMS)[number % batches]


def taken(rows: Any, places: Any) -> Any:
    """Return the rows of an Arrow table at these places, of which one must be."""
    if np.array_equal(places, np.arange(places[0], places[0] + len(places))):
        return rows.slice(places[0], len(places))
    return rows.combine_chunks().take(pa.array(places))


def _with_columns(table: Any, others: Any, names: Sequence[str]) -> Any:
    """Return the table with the named columns of another."""
    columns = [others[n] if n in names else table[n] for n in table.column_names]
    return pa.table(columns, table.column_names)


def _merged(column: Any, mask: Any, values: Any) -> Any:
    """Return the column with the values in place of those where the mask is true."""
    if mask.all():
        return values
    return pc.replace_with_mask(column.combine_chunks(), pa.array(mask), values.combine_chunks())
