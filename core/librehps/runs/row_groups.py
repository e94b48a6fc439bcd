"""Groups of a journal's rows as bytes, without what can be restored from the rest."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from librehps.engine.outcome import sigmoids
from librehps.runs.packed import NAME, Record, fields_of, packed, records_of, unpacked
from librehps.scores.row_batch import INDEX

# A group of layout 2 is Parquet, which begins so.
_PARQUET = b"PAR1"
# Fields of a record: the index of the first of rows that follow each other, and the name of the
# column with the mu of a mean.
_FIRST, _MU = "first", "mu"


def group_payload(table: Any, axes: Sequence[str]) -> memoryview:
    """Return the payload of a group's frame: its rows as one compressed batch of Arrow IPC."""
    columns = dict(zip(table.column_names, table.combine_chunks().columns, strict=True))
    columns = {name: column.chunk(0) for name, column in columns.items()}
    records = list[Record]()
    indices = columns[INDEX].to_numpy()
    if np.array_equal(indices, np.arange(indices[0], indices[0] + len(indices))):
        records.append({NAME: INDEX, _FIRST: int(indices[0])})
        del columns[INDEX]
    for axis in axes:
        if _is_mean(columns[axis], mu := columns[f"{axis}_mu"]):
            records.append({NAME: axis, _MU: f"{axis}_mu"})
            del columns[axis]
    schema, batches = packed(columns, len(table), records)
    options = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema, options=options) as writer:
        writer.write_batch(batches[0])
    return memoryview(sink.getvalue())


def group_table(payload: bytes, names: Sequence[str]) -> Any:
    """Return the named columns of the rows in a group's frame."""
    source = pa.BufferReader(payload)
    if payload.startswith(_PARQUET):
        with pq.ParquetFile(source) as file:
            return file.read(columns=list(names), use_threads=False).select(names)
    with pa.ipc.open_stream(source) as reader:
        schema = reader.schema
    records = records_of(schema)
    if records is None:
        # Of layout 3.
        at = [schema.get_field_index(name) for name in names]
        return pa.Table.from_batches([_read(payload, at)]).select(names)
    stored = [records[name].get(_MU, name) for name in names if _FIRST not in records[name]]
    batch = _read(payload, fields_of(records, stored))
    found = unpacked(batch, records, stored)
    for name in names:
        if _FIRST in records[name]:
            first = records[name][_FIRST]
            found[name] = pa.array(np.arange(first, first + len(batch)))
        elif _MU in records[name]:
            found[name] = _means(found[records[name][_MU]])
    return pa.table([found[name] for name in names], list(names))


def _read(payload: bytes, fields: list[int]) -> Any:
    # No fields would mean all of them.
    options = pa.ipc.IpcReadOptions(included_fields=fields or [0], use_threads=False)
    with pa.ipc.open_stream(pa.BufferReader(payload), options=options) as reader:
        return reader.read_next_batch()


def _numbers(scores: Any) -> Any:
    """Return scores as float32, NaN for null."""
    return scores.to_numpy(zero_copy_only=False)


def _is_mean(mean: Any, mu: Any) -> bool:
    """Return True if `_means` gives exactly these means, bit by bit."""
    if mu.null_count == len(mu) or mean.null_count != mu.null_count:
        return False
    if int(np.isnan(_numbers(mu)).sum()) != mu.null_count:
        return False
    pairs = (_numbers(mean), _numbers(_means(mu)))
    return np.array_equal(*(one.view(np.uint32) for one in pairs))


def _means(mus: Any) -> Any:
    """Return the mean for each mu, as the engine computes it of a mu that is a float32."""
    values = _numbers(mus).astype(float)
    means, is_null = np.zeros(len(values), np.float32), np.isnan(values)
    means[~is_null] = sigmoids(values[~is_null])
    return pa.array(means, mask=is_null if mus.null_count else None)
