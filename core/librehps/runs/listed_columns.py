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
        numbers, which = np.unique(indices // BATCH_ITEMS, return_inverse=True)
        batches = [_at(self._cached, number) for number in numbers.tolist()]
        is_listed = table["id"].combine_chunks().is_null().to_numpy(zero_copy_only=False)
        if (is_listed & np.array([not batch for batch in batches])[which]).any():
            raise OutputError(
                f"{self._listing.folder}: damaged listing", "Use --overwrite to start over."
            )
        for name in names:
            arrays = [batch.get(name, ()) for batch in batches]
            mask = is_listed & np.array([len(array) > 0 for array in arrays])[which]
            if mask.any():
                starts = np.cumsum([0, *map(len, arrays)])[which]
                column = pa.chunked_array([array for array in arrays if len(array)])
                values = taken(column, (starts + indices % BATCH_ITEMS)[mask])
                at = table.schema.get_field_index(name)
                table = table.set_column(at, name, _merged(table[name], mask, values))
        return table

    def _names_of(self, first: int) -> list[frozenset[str]]:
        """Return the names of the columns of each batch in the chunk of the item `first`."""
        found = read_types(self._listing.chunk(first))
        return [frozenset(n for n, t in self.types.items() if there.get(n) == t) for there in found]

    def _columns_of(self, first: int) -> list[dict[str, Any]]:
        """Return the columns of each batch in the chunk of the item `first`."""
        found = read_columns(self._listing.chunk(first))
        names = self._cached_names(first)
        return [{n: batch[n] for n in has} for batch, has in zip(found, names, strict=True)]


def _at(of_chunk: Callable[[int], list[T]], number: int) -> T:
    """Return what a function of chunks gives for a batch of the listing."""
    batches = CHUNK_ITEMS // BATCH_ITEMS
    return of_chunk(number // batches * CHUNK_ITEMS)[number % batches]


def taken(rows: Any, places: Any) -> Any:
    """Return the rows of an Arrow table or column at these places, of which one must be."""
    if np.array_equal(places, np.arange(places[0], places[0] + len(places))):
        return rows.slice(places[0], len(places))
    return rows.combine_chunks().take(pa.array(places))


def _merged(column: Any, mask: Any, values: Any) -> Any:
    """Return the column with the values in place of those where the mask is true."""
    if mask.all():
        return values
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    return pc.replace_with_mask(column.combine_chunks(), pa.array(mask), values)
