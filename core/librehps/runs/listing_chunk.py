"""A chunk of a listing: a frame with an Arrow file of some thousand items, in BATCH_ITEMS batches.

Columns are the texts of an item, its own columns (a struct, or JSON text where their types differ
within the chunk), and `rest`: JSON of all that has no column, null for most items. In the file the
columns are packed, and those of the struct are columns of their own.
"""

import json
import sys
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import repeat
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from librehps.errors import UsageError
from librehps.files import is_utf8
from librehps.items.item_columns import FIELDS, ItemColumns
from librehps.runs.frames import framed, payload_of
from librehps.runs.item_json import from_fields, media_record, problem_record
from librehps.runs.own_values import OwnColumns, OwnValues
from librehps.runs.packed import around, fields_of, is_null, packed, records_of, type_of, unpacked
from librehps.storage.url_path import AnyPath, UrlPath
from librehps.types import Item

EXTRA, REST = "extra", "rest"
# Before the name of an own column in a file, where it is a column of its own.
_OWN = f"{EXTRA}."
BATCH_ITEMS = 2048
# The columns of a chunk, and those of them that an output has in the same form.
_FIELDS, _OF_OUTPUT = (*FIELDS, EXTRA, REST), ("id", "media")
# In a file, the texts before and after the id in `media`, which then has no column.
_AROUND_ID = ("media.before", "media.after")
# Chunks at URLs that a process keeps, of about a megabyte each.
MAX_CHUNKS_KEPT = 4
# The first bytes of an Arrow file.
_ARROW = b"ARROW1"
# Types of Arrow that hold the values of Python exactly.
EXACT_TYPES = frozenset((pa.null(), pa.string(), pa.bool_(), pa.int64(), pa.float64()))

Record = dict[str, Any]
Choose = Callable[[int, int], Sequence[int]]


def chunk_content(items: ItemColumns) -> bytes:
    """Return the content of a chunk file."""
    content = memoryview(_arrow_file(items))
    return framed(content, zlib.crc32(content))


def _arrow_file(items: ItemColumns) -> Any:
    """Return the Arrow file of a chunk, as a buffer."""
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
    schema, batches = packed(_flat(columns), BATCH_ITEMS)
    options = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema, options=options) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue()


def _flat(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a file: own columns of a struct, and what `media` has besides `id`."""
    found = dict(columns)
    if pa.types.is_struct(columns[EXTRA].type):
        extras = found.pop(EXTRA)
        own = zip(extras.type.names, extras.flatten(), strict=True)
        found |= {f"{_OWN}{name}": column for name, column in own}
    beside = around(found["id"], found["media"])
    if beside is not None:
        del found["media"]
        found |= zip(_AROUND_ID, beside, strict=True)
    return found


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
    with _reader(file, _FIELDS) as reader:
        for number in range(reader.batches):
            start = first + number * BATCH_ITEMS
            indices = choose(start, min(start + BATCH_ITEMS, end))
            if len(indices):
                batch = reader.batch(number)
                if len(indices) < len(batch):
                    batch = batch.take(pa.array([index - start for index in indices]))
                yield indices, _items(batch)


def read_ids(file: AnyPath, start: int, end: int) -> Any:
    """Return the ids of these items as an Arrow array of chunks."""
    found = [batch.column(0) for batch in _batches(file, start, end, FIELDS[:1])]
    return pa.chunked_array(found, pa.string())


def read_types(file: AnyPath) -> list[dict[str, Any]]:
    """Return the Arrow types of the columns that `read_columns` gives for each batch of a chunk.

    There are none for a batch with anything in `rest`: its columns are not those of an output.
    """
    with _reader(file, (REST,)) as reader:
        types = {**dict.fromkeys(_OF_OUTPUT, pa.string()), **reader.own_types}
        if reader.lacks(REST):
            return [types] * reader.batches
        rests = [reader.batch(at).column(REST) for at in range(reader.batches)]
    return [types if rest.null_count == len(rest) else {} for rest in rests]


def read_columns(file: AnyPath) -> list[Any]:
    """Return columns of the items in each batch of a chunk as Arrow batches, as an output has them.

    The columns are `id` and `media`, and the items' own columns, unless their types differ.
    """
    return [_columns(batch) for batch in _batches(file, 0, sys.maxsize, (*_OF_OUTPUT, EXTRA))]


def _columns(batch: Any) -> Any:
    found, extras = {name: batch.column(name) for name in _OF_OUTPUT}, batch.column(EXTRA)
    if pa.types.is_struct(extras.type):
        found |= zip(extras.type.names, extras.flatten(), strict=True)
    return pa.RecordBatch.from_pydict(found)


def _batches(file: AnyPath, start: int, end: int, names: Sequence[str] = _FIELDS) -> Iterator[Any]:
    with _reader(file, names) as reader:
        for number in range(start // BATCH_ITEMS, reader.batches):
            first = number * BATCH_ITEMS
            if first >= end:
                return
            yield reader.batch(number).slice(max(0, start - first), end - max(first, start))


class _Reader:
    """The named columns of a chunk, batch by batch, and the types of own columns."""

    def __init__(self, source: Any, names: Sequence[str]) -> None:
        schema = pa.ipc.open_file(source).schema
        self._names, self._records = names, records_of(schema)
        self.own_types = self._own_types(schema)
        if self._records is None:
            # Of a journal of layout 2 or 3.
            fields = [schema.get_field_index(name) for name in names]
        else:
            if EXTRA in names and EXTRA not in self._records:
                own = [name for name in self._records if name.startswith(_OWN)]
                self._names = [*(name for name in names if name != EXTRA), *own]
            if "media" in names and "media" not in self._records:
                self._names = [
                    *(n for n in self._names if n not in ("id", "media")),
                    "id",
                    *_AROUND_ID,
                ]
            fields = fields_of(self._records, self._names)
        # A batch is too small for threads, which would take half as long again. No fields would
        # mean all of them.
        options = pa.ipc.IpcReadOptions(included_fields=fields or [0], use_threads=False)
        self._reader = pa.ipc.open_file(source, options=options)
        self.batches: int = self._reader.num_record_batches

    def _own_types(self, schema: Any) -> dict[str, Any]:
        """Return the Arrow type of each own column that is a column here, or in a struct."""
        if self._records is not None:
            own = {n: one for n, one in self._records.items() if n.startswith(_OWN)}
            return {n.removeprefix(_OWN): type_of(one, schema) for n, one in own.items()}
        extras = schema.field(EXTRA).type
        is_struct = pa.types.is_struct(extras)
        return {field.name: field.type for field in extras} if is_struct else {}

    def lacks(self, name: str) -> bool:
        """Return True for a column that is known to have nulls alone."""
        return self._records is not None and is_null(self._records[name])

    def batch(self, number: int) -> Any:
        """Return a batch of the columns."""
        batch = self._reader.get_batch(number)
        if self._records is None:
            return batch
        found = unpacked(batch, self._records, self._names)
        own = {n.removeprefix(_OWN): found.pop(n) for n in self._names if n.startswith(_OWN)}
        if own:
            found[EXTRA] = pa.StructArray.from_arrays(list(own.values()), list(own))
        if _AROUND_ID[0] in found:
            before, after = (found.pop(name) for name in _AROUND_ID)
            found["media"] = pc.binary_join_element_wise(before, found["id"], after, "")
        return pa.RecordBatch.from_arrays(list(found.values()), list(found))


@contextmanager
def _reader(file: AnyPath, names: Sequence[str]) -> Iterator[_Reader]:
    """Open a chunk; raises UsageError for a damaged one, also while it is read."""
    try:
        with pa.BufferReader(_arrow_content(file)) as source:
            yield _Reader(source, names)
    except (ValueError, KeyError, pa.ArrowNotImplementedError) as error:
        raise UsageError(
            f"{file}: damaged listing ({error})", hint="Use --overwrite to start over."
        ) from error


def _arrow_content(file: AnyPath) -> bytes | memoryview:
    return _checked(file) if isinstance(file, Path) else _kept(file)


@lru_cache(maxsize=MAX_CHUNKS_KEPT)
def _kept(file: UrlPath) -> bytes | memoryview:
    """Return a chunk at a URL, which does not change; several parts are read from it."""
    return _checked(file)


def _checked(file: AnyPath) -> bytes | memoryview:
    """Return the Arrow file of a chunk; raises ValueError for bytes that were not written so."""
    content = file.read_bytes()
    # A chunk up to layout 4 has no frame.
    return content if content.startswith(_ARROW) else payload_of(content)


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
