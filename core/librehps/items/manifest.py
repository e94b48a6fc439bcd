"""Manifests: a row for each item, as CSV, TSV, JSON Lines or Parquet, read as it is needed."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from librehps.errors import UsageError
from librehps.items.rows import MEDIA_NAMES, ColumnOptions, Columns, RowReader, find_columns
from librehps.media.archived import ParquetCell
from librehps.types import Item

Row = Mapping[str, Any]
# A field of a CSV file may be long: a prompt, a list of numbers.
LONGEST_FIELD = 1 << 24
ROWS_AT_ONCE = 1024


class Manifest:
    """The items of a manifest file; its columns are known before the first row is read.

    Raises UsageError for a file that cannot be read, here or on the way.
    """

    def __init__(
        self,
        file: Path,
        options: ColumnOptions,
        root: str | None,
        allow_remote: bool,
        reserved: frozenset[str],
    ) -> None:
        self._file, self.skipped = file, 0
        self.container = file
        self.dropped: list[str] = []
        self._format = FORMATS[file.suffix.lower()]
        self._media = options.media
        names = self._names()
        self.columns = find_columns(
            names, options, str(file), reserved, is_open=self._format is _jsonl
        )
        self.has_prompts = self.columns.prompt is not None
        self._reader = RowReader(self.columns, root or str(file.parent), allow_remote)

    def __iter__(self) -> Iterator[Item]:
        with _translated(self._file):
            yield from self._format(self._file, self._reader)

    def _names(self) -> list[str]:
        with _translated(self._file):
            if self._format is _parquet:
                import pyarrow.parquet as pq

                schema = pq.read_schema(self._file)
                media = self._media or next((n for n in MEDIA_NAMES if n in schema.names), None)
                # Other pictures of a row would be copied into every file we write.
                self.dropped = [f.name for f in schema if f.name != media and _is_binary(f.type)]
                return [name for name in schema.names if name not in self.dropped]
            first = next(iter(_RAW[self._format](self._file)), None)
        if first is None:
            raise UsageError(f"{self._file} holds no row")
        return list(first[1])


@contextmanager
def _translated(file: Path) -> Iterator[None]:
    """Errors of a manifest's own reader, as usage errors that name the file."""
    import pyarrow as pa

    try:
        yield
    except (OSError, UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        raise UsageError(f"{file} cannot be read: {error}") from error


def json_rows(lines: Iterable[str | bytes], place: str) -> Iterator[tuple[str, Row]]:
    """(place, row) of JSON Lines; raises UsageError for a line that holds no object."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{place}, line {number}"
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UsageError(f"{where} is no JSON: {error}") from error
        if not isinstance(row, dict):
            raise UsageError(f"{where} is not a JSON object")
        yield where, row


def _jsonl_rows(file: Path) -> Iterator[tuple[str, Row]]:
    with file.open(encoding="utf-8-sig") as lines:
        yield from json_rows(lines, str(file))


def _csv_rows(file: Path) -> Iterator[tuple[str, Row]]:
    csv.field_size_limit(LONGEST_FIELD)
    delimiter = "\t" if file.suffix.lower() == ".tsv" else ","
    with file.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, delimiter=delimiter)
        for row in reader:
            where = f"{file}, line {reader.line_num}"
            if None in row or None in row.values():
                raise UsageError(f"{where} has another number of fields than the header")
            # An empty field of a CSV file is none.
            yield where, {name: value or None for name, value in row.items()}


def _jsonl(file: Path, reader: RowReader) -> Iterator[Item]:
    for where, row in _jsonl_rows(file):
        yield reader.item(row, where)


def _csv(file: Path, reader: RowReader) -> Iterator[Item]:
    for where, row in _csv_rows(file):
        yield reader.item(row, where)


def _parquet(file: Path, reader: RowReader) -> Iterator[Item]:
    """Rows without the pictures: bytes are read when their turn comes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = pq.ParquetFile(file)
    columns = reader.columns
    kind = source.schema_arrow.field(columns.media).type
    is_struct, holds_bytes = pa.types.is_struct(kind), _is_binary(kind)
    wanted = _wanted(columns, is_struct, holds_bytes)
    row = 0
    for batch in source.iter_batches(ROWS_AT_ONCE, columns=wanted):
        for values in batch.to_pylist():
            cell = None
            if holds_bytes:
                path = ((values.get(columns.media) or {}).get("path") or "") if is_struct else ""
                cell = ParquetCell(str(file), columns.media, row, path)
            yield reader.item(values, f"{file}, row {row}", cell)
            row += 1


def _is_binary(kind: Any) -> bool:
    """Whether it holds bytes, by itself or as `{bytes, path}`."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _wanted(columns: Columns, is_struct: bool, holds_bytes: bool) -> list[str]:
    others = [columns.prompt, columns.id, columns.group, *columns.own]
    named = [name for name in others if name is not None]
    if is_struct:
        return [*named, f"{columns.media}.path"]
    return named if holds_bytes else [*named, columns.media]


FORMATS: dict[str, Callable[[Path, RowReader], Iterator[Item]]] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".parquet": _parquet,
}
_RAW: dict[Any, Callable[[Path], Iterator[tuple[str, Row]]]] = {
    _csv: _csv_rows,
    _jsonl: _jsonl_rows,
}
