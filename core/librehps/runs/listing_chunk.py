"""A chunk of a listing: an Arrow file of up to some thousand items, in batches of BATCH_ITEMS.

Columns are the texts of an item, its own columns (a struct, or JSON text where their types differ
within the chunk), and `rest`: JSON of all that has no column, null for most items.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import pyarrow as pa

from librehps.errors import UsageError
from librehps.files import is_utf8
from librehps.runs.item_json import from_fields, media_record, problem_record
from librehps.storage.url_path import AnyPath, UrlPath
from librehps.types import Item

TEXTS = ("id", "media", "prompt", "kind", "group")
EXTRA, REST = "extra", "rest"
BATCH_ITEMS = 2048
# Chunks at URLs that a process keeps, of about a megabyte each.
MAX_CHUNKS_KEPT = 4
# Types that a column of Arrow holds exactly; an integer in a column of floats would change.
EXACT_TYPES = (str, bool, int, float)

Record = dict[str, Any]


def chunk_content(items: Sequence[Item]) -> Any:
    """Return the content of a chunk file, as a buffer."""
    rest: dict[int, Record] = defaultdict(dict)
    columns = {name: _texts(name, items, rest) for name in TEXTS}
    for at, problem in enumerate(map(attrgetter("problem"), items)):
        if problem is not None:
            rest[at]["problem"] = problem_record(problem)
    columns[EXTRA] = _extras(list(map(attrgetter("extra"), items)))
    texts = [json.dumps(rest[at]) if at in rest else None for at in range(len(items))]
    columns[REST] = pa.array(texts, pa.string())
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    table = pa.table(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table, BATCH_ITEMS)
    return sink.getvalue()


def read_chunk(file: AnyPath, start: int, end: int) -> Iterator[Item]:
    """Yield the items from `start` to `end` (exclusive), counted within the chunk."""
    for batch in _batches(file, start, end):
        yield from _items(batch)


def read_ids(file: AnyPath, start: int, end: int) -> Any:
    """Return the ids of these items as an Arrow array of chunks."""
    found = [batch.column(0) for batch in _batches(file, start, end, [0])]
    return pa.chunked_array(found, pa.string())


def _batches(
    file: AnyPath, start: int, end: int, columns: list[int] | None = None
) -> Iterator[Any]:
    options = pa.ipc.IpcReadOptions(included_fields=columns)
    try:
        with _opened(file) as source:
            reader = pa.ipc.open_file(source, options=options)
            for number in range(start // BATCH_ITEMS, reader.num_record_batches):
                first = number * BATCH_ITEMS
                if first >= end:
                    return
                batch = reader.get_batch(number)
                yield batch.slice(max(0, start - first), end - max(first, start))
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


def _texts(name: str, items: Sequence[Item], rest: dict[int, Record]) -> Any:
    """Return a text column; values that are no UTF-8 text are moved to `rest`."""
    values = list(map(attrgetter(name), items))
    if set(map(type, values)) <= {str, type(None)}:
        try:
            return pa.array(values, pa.string())
        except UnicodeEncodeError:
            pass
    for at, value in enumerate(values):
        plain = media_record(value) if name == "media" else value
        if not isinstance(plain, str | None) or (plain and not is_utf8(plain)):
            rest[at][name], plain = plain, None
        values[at] = plain
    return pa.array(values, pa.string())


def _extras(extras: Sequence[Any]) -> Any:
    names = list(extras[0])
    if names and all(list(extra) == names for extra in extras):
        columns = [[extra[name] for extra in extras] for name in names]
        if all(map(_is_exact, columns)):
            return pa.StructArray.from_arrays(list(map(pa.array, columns)), names)
    return pa.array([json.dumps(extra) if extra else None for extra in extras], pa.string())


def _is_exact(values: Sequence[Any]) -> bool:
    """Return whether an Arrow array gives back these very values."""
    kinds = set(map(type, values)) - {type(None)}
    return len(kinds) <= 1 and kinds <= set(EXACT_TYPES)


def _items(batch: Any) -> list[Item]:
    texts = [batch.column(name).to_pylist() for name in TEXTS]
    extras = batch.column(EXTRA)
    if pa.types.is_struct(extras.type):
        own = extras.to_pylist()
    else:
        own = [json.loads(extra) if extra else {} for extra in extras.to_pylist()]
    items = list(map(Item, *texts, own))
    rest = batch.column(REST)
    if rest.null_count < len(rest):
        for at, text in enumerate(rest.to_pylist()):
            if text is not None:
                items[at] = from_fields({**vars(items[at]), **json.loads(text)})
    return items
