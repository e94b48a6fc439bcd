"""Groups of a journal's rows as bytes, without what can be restored from the rest."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from librehps.engine.outcome import sigmoids
from librehps.runs.packed import NAME, Record, fields_of, packed, records_of, unpacked
from librehps.scores.columns import INDEX

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
    for axis in _restored(columns, axes):
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
    if INDEX in names and _FIRST in records[INDEX]:
        first = records[INDEX][_FIRST]
        found[INDEX] = pa.array(np.arange(first, first + len(batch)))
    found |= _mean_columns({n: found[records[n][_MU]] for n in names if _MU in records[n]})
    return pa.table([found[name] for name in names], list(names))


def _read(payload: bytes, fields: list[int]) -> Any:
    # No fields would mean all of them.
    options = pa.ipc.IpcReadOptions(included_fields=fields or [0], use_threads=False)
    with pa.ipc.open_stream(pa.BufferReader(payload), options=options) as reader:
        return reader.read_next_batch()


def _restored(columns: Mapping[str, Any], axes: Sequence[str]) -> list[str]:
    """Return the axes whose means `_means` gives exactly, bit by bit."""
    scored = [axis for axis in axes if columns[axis].null_count < len(columns[axis])]
    if not scored:
        return []
    means, mus = (
        np.stack([_numbers(columns[f"{axis}{end}"]) for axis in scored]) for end in ("", "_mu")
    )
    bits = means.view(np.uint32) == _means(mus).view(np.uint32)
    nans = np.isnan(mus).sum(1)
    nulls = [[columns[f"{axis}{end}"].null_count for end in ("", "_mu")] for axis in scored]
    pairs = zip(scored, bits.all(1), nans.tolist(), nulls, strict=True)
    return [axis for axis, same, nan, null in pairs if same and null == [nan, nan]]


def _numbers(scores: Any) -> Any:
    """Return scores as float32, NaN for null."""
    return scores.to_numpy(zero_copy_only=False)


def _means(mus: Any) -> Any:
    """Return the mean for each mu, as the engine computes it of a mu that is a float32."""
    means: Any = sigmoids(mus.ravel().astype(float)).astype(np.float32)
    # Like the NaN of a null.
    means[np.isnan(means)] = np.nan
    return means.reshape(mus.shape)


def _mean_columns(mus: Mapping[str, Any]) -> dict[str, Any]:
    """Return the column of means for each column of mu."""
    if not mus:
        return {}
    means = _means(np.stack([_numbers(column) for column in mus.values()]))
    is_null = [
        c.is_null().to_numpy(zero_copy_only=False) if c.null_count else None for c in mus.values()
    ]
    columns = zip(mus, means, is_null, strict=True)
    return {name: pa.array(values, mask=mask) for name, values, mask in columns}
