"""Arrow tables written as output files or as lines of JSON."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from librehps.files import growing, write_whole, writing
from librehps.scores.columns import TEXT, OwnColumns, as_text, default_columns, full_columns
from librehps.scores.delimited import DELIMITERS, write_delimited
from librehps.scores.json_values import as_text_value, plain_values
from librehps.scores.markers import PLACE, PLACE_KEY, SETTINGS_KEY, settings_file
from librehps.scores.parquet import ROW_GROUP_ROWS, arrow_type
from librehps.storage.outputs import uploading
from librehps.storage.url_path import AnyPath, UrlPath

MAX_BATCH_ROWS = 65_536


def table_of(records: Sequence[Mapping[str, Any]], axes: Sequence[str]) -> Any:
    """Return an Arrow table of score records, with the user's own columns."""
    own, full = OwnColumns(), full_columns(axes)
    kept = []
    for record in records:
        theirs = {name: value for name, value in record.items() if name not in full}
        kept.append({**record, **own.see(theirs)})
    names = dict.fromkeys(name for record in records for name in record if name in full)
    kinds = {**{name: full[name] for name in names or default_columns(axes)}, **own.kinds()}
    schema = pa.schema([(name, arrow_type(kind)) for name, kind in kinds.items()])
    texts = [name for name, kind in own.kinds().items() if kind == TEXT]
    rows = [{**row, **{name: as_text(row.get(name)) for name in texts}} for row in kept]
    return pa.Table.from_pylist(rows, schema=schema)


def write_table(
    table: Any, settings: dict[str, Any], output: AnyPath, place: Mapping[str, Any] | None = None
) -> None:
    """Write the table to a temporary file, and rename or upload the file when it is complete.

    `place` is the record of the folders of its media, None if unknown.
    """
    if isinstance(output, UrlPath):
        with writing(output), uploading(output, settings_file(output)) as local:
            write_table(table, settings, local, place)
        return
    suffix = output.suffix.lower()
    with writing(output, errors=(OSError, pa.ArrowException)), growing(output) as partial:
        if suffix in DELIMITERS:
            write_delimited(table, DELIMITERS[suffix], partial)
            return
        put = _put_parquet if suffix == ".parquet" else _put_jsonl
        put(table, settings, place, output, partial)


def write_records(records: Sequence[Mapping[str, Any]], output: AnyPath) -> None:
    """Write records of any columns like `write_table`."""
    names = dict.fromkeys(name for record in records for name in record)
    rows = [{name: record.get(name) for name in names} for record in records]
    write_table(pa.Table.from_pylist(rows), {}, output)


def _put_parquet(
    table: Any,
    settings: dict[str, Any],
    place: Mapping[str, Any] | None,
    output: Path,
    partial: Path,
) -> None:
    # A table joined from several files has the metadata of the first file alone.
    stored = {SETTINGS_KEY: settings, PLACE_KEY: place}
    known = {
        name.encode(): json.dumps(record).encode() for name, record in stored.items() if record
    }
    schema = table.schema.with_metadata({**(table.schema.metadata or {}), **known} or None)
    with pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        for group in row_groups(table):
            writer.write_table(group.cast(schema), row_group_size=ROW_GROUP_ROWS)
        if not len(table):
            writer.write_table(schema.empty_table())


def row_groups(table: Any) -> Iterator[Any]:
    """Yield the rows of a table in tables of ROW_GROUP_ROWS rows; the last may be smaller."""
    waiting: list[Any] = []
    rows = 0
    for batch in table.to_batches(max_chunksize=ROW_GROUP_ROWS):
        left = batch
        while rows + len(left) >= ROW_GROUP_ROWS:
            yield pa.Table.from_batches([*waiting, left.slice(0, ROW_GROUP_ROWS - rows)])
            left = left.slice(ROW_GROUP_ROWS - rows)
            waiting, rows = [], 0
        if len(left):
            waiting.append(left)
            rows += len(left)
    if waiting:
        yield pa.Table.from_batches(waiting)


def _put_jsonl(
    table: Any,
    settings: dict[str, Any],
    place: Mapping[str, Any] | None,
    output: Path,
    partial: Path,
) -> None:
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in json_lines(table))
    beside = settings_file(output)
    # The settings of the replaced file are not those of the new file.
    beside.unlink(missing_ok=True)
    if settings or place:
        record = {**settings, **({PLACE: place} if place else {})}
        write_whole(beside, json.dumps(record, indent=1) + "\n")


def json_lines(table: Any) -> Iterator[str]:
    """Yield each row as valid JSON: NaN and infinity as null, dates as text, bytes as base64."""
    names = table.column_names
    for batch in table.to_batches(max_chunksize=MAX_BATCH_ROWS):
        columns = [plain_values(column) for column in batch.columns]
        for values in zip(*columns, strict=True):
            row = dict(zip(names, values, strict=True))
            yield json.dumps(row, ensure_ascii=False, default=as_text_value)
