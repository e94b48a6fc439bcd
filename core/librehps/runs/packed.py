"""Arrow columns in fewer bytes: texts without offsets, and constant columns in the schema.

A packed column is one or two columns of a batch, whose names are numbers. The metadata of the
schema says how to restore each column.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# Metadata: a JSON list with a record for each column, in the order of the columns.
_KEY = b"librehps.packed"
# Fields of a record. A column has one way to be restored: a constant `value` of a type, texts of
# `data`, which may be hexadecimal, with lengths that are a number or another column, or a `column`.
NAME, TYPE, VALUE, COLUMN = "name", "type", "value", "column"
DATA, LENGTHS, HEX = "data", "lengths", "hex"
_TYPES = {
    str(one): one
    for one in (
        *(pa.null(), pa.string(), pa.bool_(), pa.int32(), pa.int64(), pa.float32(), pa.float64()),
        pa.list_(pa.int32()),
    )
}
_LENGTH_TYPES = (np.uint8, np.uint16, np.int32)

Record = dict[str, Any]
# The arrays of a field, one for each batch.
Pieces = list[Any]


def packed(
    columns: Mapping[str, Any], rows: int, more: Sequence[Record] = ()
) -> tuple[Any, list[Any]]:
    """Return (schema, batches of `rows` rows) of Arrow arrays of one length, at least one row.

    The records `more` are for the caller, who restores what has no column.
    """
    starts = range(0, len(next(iter(columns.values()))), rows)
    records, fields = [*more], list[Pieces]()
    for name, array in columns.items():
        record, added = _packed(array, starts, rows, len(fields))
        records.append({NAME: name, **record})
        fields += added
    if not fields:
        # A batch without a column would have no number of rows.
        name, array = next(iter(columns.items()))
        records[len(more)] = {NAME: name, COLUMN: "0"}
        fields = [_cut(array, starts, rows)]
    metadata = {_KEY: json.dumps(records, separators=(",", ":"))}
    types = [pa.field(str(at), pieces[0].type) for at, pieces in enumerate(fields)]
    schema = pa.schema(types, metadata=metadata)
    batches = zip(*fields, strict=True)
    return schema, [pa.RecordBatch.from_arrays(list(one), schema=schema) for one in batches]


def records_of(schema: Any) -> dict[str, Record] | None:
    """Return the record of each column by name; None for a schema of columns as they are."""
    text = (schema.metadata or {}).get(_KEY)
    return None if text is None else {one[NAME]: one for one in json.loads(text)}


def fields_of(records: Mapping[str, Record], names: Collection[str]) -> list[int]:
    """Return the numbers of the fields that hold the named columns."""
    found = (records[name].get(key) for name in names for key in (DATA, LENGTHS, COLUMN))
    return sorted({int(at) for at in found if isinstance(at, str)})


def type_of(record: Record, schema: Any) -> Any:
    """Return the Arrow type of the column that is restored from the fields of a schema."""
    if COLUMN in record:
        return schema.field(record[COLUMN]).type
    return _TYPES[record[TYPE]] if VALUE in record else pa.string()


def is_null(record: Record) -> bool:
    """Return True for a column of nulls that has no field."""
    return record.get(VALUE, "") is None


def unpacked(batch: Any, records: Mapping[str, Record], names: Collection[str]) -> dict[str, Any]:
    """Return the named columns of a batch, which has their fields."""
    return {name: _unpacked(batch, records[name]) for name in names}


def _cut(array: Any, starts: range, rows: int) -> Pieces:
    return [array.slice(start, rows) for start in starts]


def _packed(array: Any, starts: range, rows: int, first: int) -> tuple[Record, list[Pieces]]:
    """Return the record of a column, and the fields for it, whose first number is `first`."""
    if array.null_count == len(array):
        return {TYPE: str(array.type), VALUE: None}, []
    if array.type == pa.string():
        found = _packed_texts(array, starts, rows, first)
        if found is not None:
            return found
    return {COLUMN: str(first)}, [_cut(array, starts, rows)]


def _packed_texts(
    texts: Any, starts: range, rows: int, first: int
) -> tuple[Record, list[Pieces]] | None:
    """Return the same as `_packed`; None for nulls that hide a text."""
    count, (_, places, data) = len(texts), texts.buffers()
    offsets = np.frombuffer(places, np.int32)[texts.offset : texts.offset + count + 1]
    lengths = np.diff(offsets)
    is_null = texts.is_null().to_numpy(zero_copy_only=False) if texts.null_count else None
    if is_null is not None and lengths[is_null].any():
        return None
    content = bytes(memoryview(data or b"")[offsets[0] : offsets[-1]])
    least, most = int(lengths.min()), int(lengths.max())
    is_even = is_null is None and least == most
    if is_even and content[:most] == content[len(content) - most :]:
        text = content[:most]
        if content == text * count:
            return {TYPE: str(texts.type), VALUE: text.decode()}, []
    record: Record = {DATA: str(first), LENGTHS: most if is_even else str(first + 1)}
    cuts = offsets[[*starts, count]] - offsets[0]
    if not (lengths & 1).any() and (found := _from_hex(content, most)) is not None:
        record[HEX], content, cuts = True, found, cuts // 2
    fields = [_blobs(content, cuts.tolist(), starts, rows, count)]
    if not is_even:
        small = next(one for one in _LENGTH_TYPES if most <= np.iinfo(one).max)
        fields.append(_cut(pa.array(lengths.astype(small), mask=is_null), starts, rows))
    return record, fields


def _from_hex(content: bytes, length: int) -> bytes | None:
    """Return the bytes of which the content is the lower-case hexadecimal text; None if it is none.

    The first `length` bytes are looked at first.
    """
    for some in (content[:length], content):
        try:
            found = bytes.fromhex(some.decode("ascii"))
        except ValueError:
            return None
        # Blanks between digits are no error, and upper-case letters alone lack this bit.
        is_exact = 2 * len(found) == len(some)
        if not (is_exact and np.bitwise_and.reduce(np.frombuffer(some, np.uint8)) & 0x20):
            return None
    return found


def _blobs(content: bytes, cuts: Sequence[int], starts: range, rows: int, count: int) -> Pieces:
    """Return the content of each batch as values of one width, with zeros at the end."""
    sizes = [min(rows, count - start) for start in starts]
    pieces = [content[one:two] for one, two in pairwise(cuts)]
    width = max(1, *(-(-len(p) // size) for p, size in zip(pieces, sizes, strict=True)))
    found = []
    for piece, size in zip(pieces, sizes, strict=True):
        whole = pa.py_buffer(piece.ljust(size * width, b"\0"))
        found.append(pa.Array.from_buffers(pa.binary(width), size, [None, whole]))
    return found


def _unpacked(batch: Any, record: Record) -> Any:
    count = batch.num_rows
    if COLUMN in record:
        return batch.column(record[COLUMN])
    if VALUE in record:
        kind, value = _TYPES[record[TYPE]], record[VALUE]
        return pa.nulls(count, kind) if value is None else pa.repeat(pa.scalar(value, kind), count)
    lengths, validity = record[LENGTHS], None
    offsets = np.zeros(count + 1, np.int32)
    if isinstance(lengths, int):
        offsets[1:] = lengths
    else:
        column = batch.column(lengths)
        validity, values = column.buffers()
        offsets[1:] = np.frombuffer(values, column.type.to_pandas_dtype(), count)
    np.cumsum(offsets, out=offsets)
    data = batch.column(record[DATA]).buffers()[1]
    if HEX in record:
        data = pa.py_buffer(data.to_pybytes().hex().encode())
    if offsets[-1] > data.size:
        raise ValueError("lengths of texts are damaged")
    return pa.Array.from_buffers(pa.string(), count, [validity, pa.py_buffer(offsets), data])


def around(inner: Any, outer: Any) -> tuple[Any, Any] | None:
    """Return the texts before and after each text `inner` in the text `outer` of its row.

    None where this is not found in few steps: all texts of a column have one length, or all texts
    before and all texts after are equal.
    """
    if inner.null_count or outer.null_count:
        return None
    first, last = inner[0].as_py(), inner[-1].as_py()
    if not first or first not in outer[0].as_py():
        return None
    before, _, after = outer[0].as_py().partition(first)
    is_even = outer[-1].as_py() == before + last + after
    if is_even and outer.equals(pc.binary_join_element_wise(before, inner, after, "")):
        return pa.repeat(before, len(outer)), pa.repeat(after, len(outer))
    texts = [_as_matrix(one) for one in (outer, inner)]
    if any(one is None for one in texts):
        return None
    whole, part = texts
    start, end = len(before.encode()), len(before.encode()) + part.shape[1]
    if not np.array_equal(whole[:, start:end], part):
        return None
    return _of_matrix(whole[:, :start]), _of_matrix(whole[:, end:])


def _as_matrix(texts: Any) -> Any:
    """Return the bytes of texts of one length as (texts, length), None for other texts."""
    count, (_, places, data) = len(texts), texts.buffers()
    offsets = np.frombuffer(places, np.int32)[texts.offset : texts.offset + count + 1]
    lengths = np.diff(offsets)
    if (lengths != lengths[0]).any():
        return None
    content = np.frombuffer(data or b"", np.uint8)[offsets[0] : offsets[-1]]
    return content.reshape(count, lengths[0])


def _of_matrix(matrix: Any) -> Any:
    count, length = matrix.shape
    offsets = np.arange(count + 1, dtype=np.int32) * length
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(matrix.tobytes())]
    return pa.Array.from_buffers(pa.string(), count, buffers)
