"""A chunk of a listing: an Arrow file of up to some thousand items, in batches of BATCH_ITEMS.

Columns are the texts of an item, its own columns (a struct, or JSON text where their types differ
within the chunk), and `rest`: JSON of all that has no column, null for most items.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import repeat
from pathlib import Path
from typing import Any

import pyarrow as pa

from librehps.errors import UsageError
from librehps.files import is_utf8
from librehps.items.item_columns import FIELDS, ItemColumns
from librehps.runs.item_json import from_fields, media_record, problem_record
from librehps.runs.own_values import OwnColumns, OwnValues
from librehps.storage.url_path import AnyPath, UrlPath
from librehps.types import Item

EXTRA, REST = "extra", "rest"
BATCH_ITEMS = 2048
# The columns of a chunk, and those of them that an output has in the same form.
_FIELDS, _OF_OUTPUT = (*FIELDS, EXTRA, REST), ("id", "media")
# Chunks at URLs that a process keeps, of about a megabyte each.
MAX_CHUNKS_KEPT = 4
# Types of Arrow that hold the values of Python exactly.
EXACT_TYPES = frozenset((pa.null(), pa.string(), pa.bool_(), pa.int64(), pa.float64()))

Record = dict[str, Any]
Choose = Callable[[int, int], Sequence[int]]


def chunk_content(items: ItemColumns) -> Any:
    """Return the content of a chunk file, as a buffer."""
    rest: dict[int, Record] = defaultdict(dict)
    texts = zip(FIELDS, items.fields, strict=True)
    columns = {name: _texts(name, values, rest) for name, values in texts}
    for at, problem in items.problems.items():
        rest[at]["problem"] = problem_record(problem)
    columns[EXTRA] = _extras(items)
    others = (
        [json.dumps(rest[at]) if at in rest else None for at in range(len(items))] if rest else []
    )
    columns[REST] = pa.array(others, pa.string()) if rest else pa.nulls(len(items), pa.string())
    options = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
    table = pa.table(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table, BATCH_ITEMS)
    return sink.getvalue()


def read_chunk(file: AnyPath, start: int, end: int) -> Iterator[list[Item]]:
    """Yield the items from `start` to `end` (exclusive), counted within the chunk, in blocks."""
    return map(_items, _batches(file, start, end))


def read_chosen(
    file: AnyPath, first: int, end: int, choose: Choose
) -> Iterator[tuple[Sequence[int], list[Item]]]:
    """Yield (indices, items) of the chosen items of each batch with any.

    `first` is the index of the chunk's first item, `end` that of the last of all and one more.
    `choose` returns the indices that are wanted between two indices.
    """
    with _reader(file) as reader:
        for number in range(reader.num_record_batches):
            start = first + number * BATCH_ITEMS
            indices = choose(start, min(start + BATCH_ITEMS, end))
            if len(indices):
                batch = reader.get_batch(number)
                if len(indices) < len(batch):
                    batch = batch.take(pa.array([index - start for index in indices]))
                yield indices, _items(batch)


def read_ids(file: AnyPath, start: int, end: int) -> Any:
    """Return the ids of these items as an Arrow array of chunks."""
    found = [batch.column(0) for batch in _batches(file, start, end, [0])]
    return pa.chunked_array(found, pa.string())


def read_types(file: AnyPath) -> list[dict[str, Any]]:
    """Return the Arrow types of the columns that `read_columns` gives for each batch of a chunk.

    There are none for a batch with anything in `rest`: its columns are not those of an output.
    """
    with _opened(file) as source:
        extras = pa.ipc.open_file(source).schema.field(EXTRA).type
    own = {field.name: field.type for field in extras} if pa.types.is_struct(extras) else {}
    types = {**dict.fromkeys(_OF_OUTPUT, pa.string()), **own}
    batches = _batches(file, 0, sys.maxsize, [_FIELDS.index(REST)])
    return [types if _is_plain(batch) else {} for batch in batches]


def read_columns(file: AnyPath) -> list[Any]:
    """Return columns of the items in each batch of a chunk as Arrow batches, as an output has them.

    The columns are `id` and `media`, and the items' own columns, unless their types differ.
    """
    names = (*_OF_OUTPUT, EXTRA)
    batches = _batches(file, 0, sys.maxsize, [_FIELDS.index(name) for name in names])
    return [_columns(batch) for batch in batches]


def _is_plain(batch: Any) -> bool:
    return int(batch.column(REST).null_count) == len(batch)


def _columns(batch: Any) -> Any:
    found, extras = {name: batch.column(name) for name in _OF_OUTPUT}, batch.column(EXTRA)
    if pa.types.is_struct(extras.type):
        found |= zip(extras.type.names, extras.flatten(), strict=True)
    return pa.RecordBatch.from_pydict(found)


def _batches(
    file: AnyPath, start: int, end: int, columns: list[int] | None = None
) -> Iterator[Any]:
    with _reader(file, columns) as reader:
        for number in range(start // BATCH_ITEMS, reader.num_record_batches):
            first = number * BATCH_ITEMS
            if first >= end:
                return
            batch = reader.get_batch(number)
            yield batch.slice(max(0, start - first), end - max(first, start))


@contextmanager
def _reader(file: AnyPath, columns: list[int] | None = None) -> Iterator[Any]:
    """Open a chunk; raises UsageError for a damaged one, also while it is read."""
    # A batch is too small for threads, which would take half as long again.
    options = pa.ipc.IpcReadOptions(included_fields=columns, use_threads=False)
    try:
        with _opened(file) as source:
            yield pa.ipc.open_file(source, options=options)
    except pa.ArrowInvalid as error:
        raise UsageError(
            f"{file}: damaged listing ({error})", hint="Use --overwrite to start over."
        ) from error


def _opened(file: AnyPath) -> Any:
    if isinstance(file, Path):
        return pa.OSFile(str(file))
    return pa.BufferReader(_content(file))


@lru_cache(maxsize=MAX_CHUNKS_KEPT)
def _content(file: UrlPath) -> bytes:
    """Return a chunk at a URL, which does not change; several parts are read from it."""
    return file.read_bytes()


def _texts(name: str, values: Sequence[Any], rest: dict[int, Record]) -> Any:
    """Return a text column; values that are no UTF-8 text are moved to `rest`."""
    array = _exact_array(values)
    if array is not None and (array.null_count == len(array) or array.type == pa.string()):
        return array.cast(pa.string())
    texts = []
    for at, value in enumerate(values):
        plain = media_record(value) if name == "media" else value
        if not isinstance(plain, str | None) or (plain and not is_utf8(plain)):
            rest[at][name], plain = plain, None
        texts.append(plain)
    return pa.array(texts, pa.string())


def _extras(items: ItemColumns) -> Any:
    extras = items.extras
    if isinstance(extras, Mapping):
        if not extras:
            return pa.nulls(len(items), pa.string())
        arrays = list(map(_exact_array, extras.values()))
        if all(array is not None for array in arrays):
            return pa.StructArray.from_arrays(arrays, list(extras))
    return pa.array([json.dumps(row) if row else None for row in items.rows], pa.string())


def _exact_array(values: Sequence[Any]) -> Any:
    """Return an Arrow array that gives back these very values; None if no array does."""
    first = values[0] if values else None
    try:
        if type(first) is str and first == values[-1] and values.count(first) == len(values):
            return pa.repeat(first, len(values))
        array = pa.array(values)
    except (pa.ArrowException, UnicodeEncodeError, OverflowError):
        return None
    # An integer in a column of floats would change.
    is_mixed = array.type == pa.float64() and set(map(type, values)) - {float, type(None)}
    return array if array.type in EXACT_TYPES and not is_mixed else None


def _items(batch: Any) -> list[Item]:
    items = list(map(Item, *(_values(batch.column(name)) for name in FIELDS), _extras_of(batch)))
    rest = batch.column(REST)
    if rest.null_count < len(rest):
        for at, text in enumerate(rest.to_pylist()):
            if text is not None:
                items[at] = from_fields({**vars(items[at]), **json.loads(text)})
    return items


def _values(texts: Any) -> Iterable[str | None]:
    """Return the texts of a column, of which kind and group are often the same for all items."""
    first = texts[0].as_py() if len(texts) else None
    if texts[-1:].to_pylist() == [first]:
        is_one = (
            texts.null_count == len(texts)
            if first is None
            else texts.equals(pa.repeat(first, len(texts)))
        )
        if is_one:
            return repeat(first, len(texts))
    found: list[str | None] = texts.to_pylist()
    return found


def _extras_of(batch: Any) -> Iterable[Mapping[str, Any] | None]:
    """Return the own columns of each item, None for an item without any."""
    extras = batch.column(EXTRA)
    if pa.types.is_struct(extras.type):
        return map(OwnValues, repeat(OwnColumns(extras)), range(len(extras)))
    return [json.loads(extra) if extra else None for extra in extras.to_pylist()]
