"""Blocks: rows that a cluster scored while the source was still being listed.

The size of the parts and the user's own columns are known at the end of the listing, so a block
holds scores alone and lies in the journal. A part takes the ok rows of its blocks; failed rows, and
blocks that were not written, are scored again.
"""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from librehps.runs.listing import Listing
from librehps.scores.parts import Parts

# A divisor of the listing's CHUNK_ITEMS; about 10 seconds of a GPU.
BLOCK_ROWS = 1024


def block_parts(listing: Listing, run: str) -> Parts:
    """Return the blocks of a run, a folder of parts; an actor of another run has another folder.

    The name begins with that of the listing, which a bucket keeps apart from those of others.
    """
    folder = listing.folder.with_name(f"{listing.folder.name}-blocks-{run}")
    return Parts(folder, sys.maxsize, run, BLOCK_ROWS)


def blocks_of(start: int, end: int) -> range:
    """Return the first index of each block that holds an item from `start` to `end`."""
    return range(start // BLOCK_ROWS * BLOCK_ROWS, end, BLOCK_ROWS)


def ok_rows(parts: Parts, blocks: Iterable[int], start: int, end: int) -> tuple[Any, Any]:
    """Return which items from `start` to `end` have an ok row in the blocks, and these rows.

    The rows are an Arrow table, None without rows. Raises OSError.
    """
    has_row, tables = np.zeros(end - start, bool), []
    for first in sorted(blocks):
        one, two = max(first, start), min(first + BLOCK_ROWS, end)
        if one < two:
            table = parts.read(first).slice(one - first, two - one)
            is_ok = pc.equal(table["status"], "ok")
            has_row[one - start : two - start] = is_ok.to_numpy(zero_copy_only=False)
            tables.append(table.filter(is_ok))
    return has_row, pa.concat_tables(tables) if has_row.any() else None


def interleaved(is_second: Any, first: Any, second: Any) -> Any:
    """Return a table that takes its next row from `second` where the mask is true, else `first`."""
    order = np.empty(len(is_second), np.int64)
    order[~is_second] = np.arange(len(first))
    order[is_second] = len(first) + np.arange(len(second))
    return pa.concat_tables([first.cast(second.schema), second]).take(pa.array(order))


def with_own(table: Any, own: Any, schema: Any) -> Any:
    """Return the scores in a table and the user's own columns in another, in a schema's order."""
    there: Sequence[str] = table.column_names
    columns = [table[name] if name in there else own[name] for name in schema.names]
    return pa.table(columns, schema=schema)
