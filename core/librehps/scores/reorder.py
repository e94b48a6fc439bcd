"""Rows of a score table in an order of their own, a limited number at a time."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from librehps.scores.file_table import FileTable
from librehps.scores.scored_file import BATCH_ROWS

Rows = NDArray[np.integer[Any]]
MAX_BYTES_IN_MEMORY = 128 << 20


def in_order(table: Any, rows: Rows) -> Iterator[Any]:
    """Yield the rows with these numbers, in their order, in tables of at most BATCH_ROWS rows.

    Rows of large files that are not in the files' order are sorted through a temporary folder.
    """
    if isinstance(table, FileTable) and table.row_bytes * len(rows) <= MAX_BYTES_IN_MEMORY:
        table, rows = table.take(rows), np.arange(len(rows))
    if not isinstance(table, FileTable):
        for first in range(0, len(rows), BATCH_ROWS):
            yield table.take(pa.array(rows[first : first + BATCH_ROWS]))
        return
    order = np.argsort(rows, kind="stable")
    if len(rows) <= np.iinfo(np.int32).max:
        order = order.astype(np.int32)
    mask = np.zeros(len(table), dtype=bool)
    mask[rows] = True
    chosen = table.filter(mask)
    if len(chosen) < len(rows):
        raise ValueError("expected distinct rows")
    if (rows[1:] > rows[:-1]).all():
        yield from (pa.Table.from_batches([batch]) for batch in chosen.to_batches())
        return
    with tempfile.TemporaryDirectory(prefix="librehps-") as folder:
        count = -(-len(rows) // BATCH_ROWS)
        files = [Path(folder, f"{at}.arrow") for at in range(count)]
        _distribute(chosen, order, files)
        for at, file in enumerate(files):
            with pa.OSFile(str(file)) as stored, pa.ipc.open_stream(stored) as reader:
                part = reader.read_all()
            # The bucket holds its rows in the files' order.
            places = order[order // BATCH_ROWS == at]
            yield part.take(pa.array(np.argsort(places)))


def _distribute(chosen: FileTable, places: Rows, files: Sequence[Path]) -> None:
    """Write each row to the file of its place in the order."""
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with ExitStack() as stack:
        writers = [
            stack.enter_context(pa.ipc.new_stream(str(file), chosen.schema, options=options))
            for file in files
        ]
        first = 0
        for batch in chosen.to_batches():
            buckets = places[first : first + len(batch)] // BATCH_ROWS
            first += len(batch)
            for bucket in np.unique(buckets).tolist():
                writers[bucket].write_batch(batch.filter(pa.array(buckets == bucket)))
