"""Parquet output: float32 scores, and the full settings in the file's metadata."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from librehps.scores.columns import (
    BOOLEAN,
    DOUBLE,
    INTEGER,
    INTEGERS,
    LONG,
    PHASH,
    REAL,
    TEXT,
    as_text,
    default_columns,
)
from librehps.scores.markers import PLACE_KEY, REQUEST_KEY, SETTINGS_KEY
from librehps.scores.media_folder import recorded
from librehps.scores.sink import Record, Sink
from librehps.settings import Settings
from librehps.storage.url_path import AnyPath

ROW_GROUP_ROWS = 65_536
# Rows buffered as Python objects, which take ten times the memory of Arrow.
BATCH_ROWS = 2048
# Texts that few rows share.
UNIQUE_TEXTS = ("id", "media", "sha256", PHASH)
_TYPES = {
    TEXT: pa.string(),
    REAL: pa.float32(),
    INTEGER: pa.int32(),
    INTEGERS: pa.list_(pa.int32()),
    LONG: pa.int64(),
    DOUBLE: pa.float64(),
    BOOLEAN: pa.bool_(),
}


def arrow_type(kind: str) -> Any:
    """Return the Arrow type of a column kind."""
    return _TYPES[kind]


def schema_of(
    settings: Settings,
    columns: Mapping[str, str],
    request: Mapping[str, Any] | None,
    output: AnyPath | None = None,
) -> Any:
    """Return the Arrow schema of the file `output`.

    Settings, request and the folders of the media are in the metadata.
    """
    metadata = {SETTINGS_KEY: json.dumps(settings.record())}
    if output is not None:
        metadata[PLACE_KEY] = json.dumps(recorded(output, request))
    if request is not None:
        metadata[REQUEST_KEY] = json.dumps(request)
    fields = [pa.field(name, _TYPES[kind]) for name, kind in columns.items()]
    return pa.schema(fields, metadata=metadata)


def dictionary_columns(schema: Any) -> list[str]:
    """Return the paths of columns that are worth a dictionary: not scores, nor texts of one row."""
    return [
        f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name
        for field in schema
        if field.type != pa.float32() and field.name not in UNIQUE_TEXTS
    ]


def to_batch(records: Sequence[Record], schema: Any, texts: Sequence[str]) -> Any:
    """Return the records as an Arrow batch; values in the columns `texts` become text."""
    rows = [{**record, **{name: as_text(record.get(name)) for name in texts}} for record in records]
    return pa.RecordBatch.from_pylist(rows, schema=schema)


class ParquetSink(Sink):
    """A sink that writes `X.parquet` in row groups."""

    def __init__(
        self,
        output: Path,
        settings: Settings,
        columns: Mapping[str, str] | None = None,
        request: Mapping[str, Any] | None = None,
        home: AnyPath | None = None,
    ) -> None:
        super().__init__(output)
        columns = default_columns(settings.axes) if columns is None else columns
        self._schema = schema_of(settings, columns, request, home or output)
        self._names = [name for name, kind in columns.items() if kind == TEXT]
        self._waiting: list[Record] = []
        self._tables: list[Any] = []

    def _open(self) -> None:
        columns = dictionary_columns(self._schema)
        self._writer = pq.ParquetWriter(
            self.partial, self._schema, compression="zstd", use_dictionary=columns
        )

    def _write(self, record: Record) -> None:
        self._waiting.append(record)
        if len(self._waiting) >= BATCH_ROWS:
            self._pack()

    def _write_table(self, table: Any) -> None:
        self._put(table.select(self._schema.names).cast(self._schema))

    def _replace(self, rows: Any, places: Any, table: Any) -> None:
        rows = rows.cast(self._schema)
        if len(places):
            order = np.arange(len(rows))
            order[places] = len(rows) + np.arange(len(places))
            fresh = table.select(self._schema.names).cast(self._schema)
            rows = pa.concat_tables([rows, fresh]).combine_chunks().take(pa.array(order))
        self._put(rows)

    def _close(self) -> None:
        try:
            self._pack()
            self._flush(1)
        finally:
            self._writer.close()

    def _finish(self) -> None:
        """Do nothing: the settings are in the file's own metadata."""

    def _pack(self) -> None:
        if self._waiting:
            batch = to_batch(self._waiting, self._schema, self._names)
            self._waiting = []
            self._put(pa.Table.from_batches([batch]))

    def _put(self, table: Any) -> None:
        self._tables.append(table)
        self._flush(ROW_GROUP_ROWS)

    def _flush(self, least: int) -> None:
        """Write row groups while at least `least` rows wait."""
        while sum(map(len, self._tables)) >= least:
            table = pa.concat_tables(self._tables)
            self._writer.write_table(table.slice(0, ROW_GROUP_ROWS))
            self._tables = [table.slice(ROW_GROUP_ROWS)]
