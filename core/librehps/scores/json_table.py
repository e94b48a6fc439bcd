"""JSON Lines read as Arrow tables, with a copy on disk of what is too large for memory."""

import tempfile
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from librehps.scores.columns import MAX_EXACT_INT, default_columns, full_columns
from librehps.scores.file_table import FileTable
from librehps.scores.json_lines_table import read_lines
from librehps.scores.parquet import arrow_type
from librehps.scores.scored_file import Mask, ScoredFile, StoredRows, TableRows

# Fits the processor's cache.
BLOCK_BYTES = 4 << 20
MAX_BYTES_IN_MEMORY = 64 << 20
# Longer lines are read by Python: Arrow crashes on thousands of nested lists.
MAX_ARROW_LINE_BYTES = 8192


class Readable(Protocol):
    """A binary file, or what yields bytes as one."""

    def read(self, size: int, /) -> bytes: ...


class JsonRows:
    """The rows of JSON Lines, of which large ones are kept in temporary files.

    Score columns have the types of `full_columns`, other columns inferred types; text like a date
    stays text. Raises ValueError, or an Arrow error, for lines that are not JSON objects of one
    type per name.
    """

    def __init__(self, stream: Readable, axes: Sequence[str]) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._parts: list[ScoredFile] = []
        waiting: list[Any] = []
        ours = {name: arrow_type(kind) for name, kind in full_columns(axes).items()}
        for table in _tables(stream, ours):
            waiting.append(table)
            if sum(part.nbytes for part in waiting) > MAX_BYTES_IN_MEMORY:
                self._store(waiting)
                waiting = []
        if waiting or not self._parts:
            self._parts.append(TableRows(_joined(waiting) if waiting else _no_rows(axes)))
        schemas = [part.schema for part in self._parts]
        self.schema = pa.unify_schemas(schemas, promote_options="permissive")
        self.rows = sum(part.rows for part in self._parts)
        self.nbytes = sum(part.nbytes for part in self._parts)

    def batches(
        self, names: Sequence[str], kept: Mask | None = None, encoded: bool = False
    ) -> Iterator[Any]:
        files = [("the temporary copy of JSON Lines", part) for part in self._parts]
        table = FileTable(files, self.schema, kept)
        yield from table.batches(names, encoded)

    def _store(self, tables: Sequence[Any]) -> None:
        self._folder = self._folder or tempfile.TemporaryDirectory(prefix="librehps-")
        file = Path(self._folder.name, f"{len(self._parts)}.arrow")
        self._parts.append(StoredRows(_joined(tables), file))


def _joined(tables: Sequence[Any]) -> Any:
    return pa.concat_tables(tables, promote_options="permissive")


def _no_rows(axes: Sequence[str]) -> Any:
    kinds = default_columns(axes)
    return pa.table({name: pa.array([], arrow_type(kind)) for name, kind in kinds.items()})


def _tables(stream: Readable, ours: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the rows of each block of whole lines, as a table."""
    texts: dict[str, Any] = {}
    schema, line = pa.schema([]), 1
    for block in line_blocks(stream):
        if not block.isspace():
            lines = arrow_lines(block)
            table = _fast_table(block, lines, ours, texts) if lines else None
            table = read_lines(block.decode(), ours, line) if table is None else table
            if len(table):
                schema = _unified(schema, table, line)
                yield table
        line += block.count(b"\n")


def _unified(schema: Any, table: Any, line: int) -> Any:
    """Return the schema of earlier rows and a table, whose first row is on this line or after it.

    Raises ValueError for a column whose types differ.
    """
    for field in table.schema:
        at = schema.get_field_index(field.name)
        pair = [pa.schema([schema.field(at)]), pa.schema([field])] if at >= 0 else []
        try:
            pa.unify_schemas(pair, promote_options="permissive") if pair else None
        except pa.ArrowException as error:
            before = schema.field(at).type
            line += pc.index(table[field.name].is_valid(), True).as_py()
            raise ValueError(
                f"line {line}: column {field.name}: expected {before}, got {field.type}"
            ) from error
    return pa.unify_schemas([schema, table.schema], promote_options="permissive")


def line_blocks(stream: Readable) -> Iterator[bytes]:
    """Yield the bytes of a stream in blocks that end with a line, without a byte order mark."""
    left = stream.read(len(BOM_UTF8)).removeprefix(BOM_UTF8)
    while block := stream.read(BLOCK_BYTES):
        end = block.rfind(b"\n") + 1
        if end:
            yield left + block[:end]
        left = block[end:] if end else left + block
    if left:
        yield left


def arrow_lines(block: bytes) -> int:
    """Return the number of lines that Arrow may read; 0 unless all are short and begin with `{`.

    Arrow crashes on a line `null`.
    """
    values = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(values == ord("\n"))
    starts = np.append(0, ends + 1)
    starts = starts[starts < len(block)]
    is_short = np.diff(starts, append=len(block)).max() <= MAX_ARROW_LINE_BYTES
    return len(starts) if is_short and (values[starts] == ord("{")).all() else 0


def _fast_table(
    block: bytes, lines: int, ours: Mapping[str, Any], texts: dict[str, Any]
) -> Any | None:
    """Return the rows as Arrow reads them; None where Python might read them differently.

    `texts` holds the columns whose text Arrow would take for dates; new ones are added.
    """
    options = pj.ReadOptions(use_threads=False, block_size=len(block) + 1)

    def read() -> Any:
        known = pj.ParseOptions(explicit_schema=pa.schema(texts) if texts else None)
        return pj.read_json(pa.BufferReader(block), options, known)

    try:
        if not block.isascii():
            block.decode()
        table = read()
        names = table.column_names
        dates = {f.name: _without_dates(f.type) for f in table.schema if _has_dates(f.type)}
        if dates:
            texts |= dates
            table = read().select(names)
        # Arrow takes several objects in a line, and an object in several lines.
        if len(table) != lines or not all(map(_is_exact, table.columns)):
            return None
        columns = {n: _converted(table.column(n), ours.get(n)) for n in table.column_names}
    except (pa.ArrowException, ValueError):
        return None
    return pa.table(columns) if columns else None


def _has_dates(kind: Any) -> bool:
    if pa.types.is_nested(kind):
        return any(_has_dates(kind.field(i).type) for i in range(kind.num_fields))
    return bool(pa.types.is_timestamp(kind))


def _without_dates(kind: Any) -> Any:
    """Return the type with text in place of dates."""
    if pa.types.is_list(kind):
        return pa.list_(_without_dates(kind.value_type))
    if pa.types.is_struct(kind):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        return pa.struct([field.with_type(_without_dates(field.type)) for field in fields])
    return pa.string() if pa.types.is_timestamp(kind) else kind


def _is_exact(column: Any) -> bool:
    """Return False for numbers that may be integers which no double holds."""
    if pa.types.is_list(column.type):
        return _is_exact(pc.list_flatten(column))
    if pa.types.is_struct(column.type):
        return all(map(_is_exact, column.flatten()))
    if not pa.types.is_floating(column.type):
        return True
    return not (np.abs(column.to_numpy()) >= MAX_EXACT_INT).any()


def _converted(column: Any, kind: Any | None) -> Any:
    """Return a column in the type of its name; raises an Arrow error where the types differ."""
    of, found = pa.types, column.type
    if kind is None or found == kind:
        return column
    is_number = of.is_int64(found) or (of.is_float64(found) and of.is_floating(kind))
    is_list = of.is_list(found) and (of.is_int64(found.value_type) or of.is_null(found.value_type))
    fits = is_list if of.is_list(kind) else is_number and not of.is_string(kind)
    if not (fits or of.is_null(found)):
        raise pa.ArrowInvalid(f"expected {kind}, got {found}")
    return column.cast(kind)
