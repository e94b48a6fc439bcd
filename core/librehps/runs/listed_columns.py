"""Columns of rows that the listing has already, so that a journal need not store them again."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from librehps.errors import OutputError
from librehps.runs.listing import CHUNK_ITEMS, Listing
from librehps.runs.listing_chunk import BATCH_ITEMS, read_columns

MAX_CACHED_BATCHES = 16


class ListedColumns:
    """The columns `types` of listed items, as an output has them; methods may raise OSError.

    A batch of the listing may lack some of them; without `id` and `media` it counts as lacking all.
    """

    def __init__(self, listing: Listing, types: Mapping[str, Any]) -> None:
        self._listing, self.types = listing, types
        self._cached = lru_cache(MAX_CACHED_BATCHES)(self._batch)

    def names(self, indices: Any) -> frozenset[str]:
        """Return the columns that the listing has for all items with these indices, at least one.

        These are none, or `id` is among them.
        """
        numbers = np.unique(indices // BATCH_ITEMS).tolist()
        return frozenset.intersection(*(frozenset(self._cached(number)) for number in numbers))

    def filled(self, table: Any, indices: Any, names: Sequence[str]) -> Any:
        """Return the rows of items with these indices: rows without id take our columns `names`."""
        if not table["id"].null_count:
            return table
        numbers, which = np.unique(indices // BATCH_ITEMS, return_inverse=True)
        batches = [self._cached(number) for number in numbers.tolist()]
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

    def _batch(self, number: int) -> dict[str, Any]:
        """Return the columns of a batch of the listing."""
        first = number * BATCH_ITEMS
        _, batch = read_columns(self._listing.chunk(first), first % CHUNK_ITEMS)
        there = dict(zip(batch.schema.names, batch.columns, strict=True))
        if not {"id", "media"} <= there.keys():
            return {}
        types = self.types.items()
        return {n: there[n] for n, kind in types if n in there and there[n].type == kind}


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
