"""Parquet: float32 scores, and the full settings in the file's metadata."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from librehps.settings import Settings
from librehps.sink.base import Record, Sink
from librehps.sink.schema import COLUMNS, INTEGER, INTEGERS, REAL, TEXT

ROW_GROUP = 65_536
METADATA_KEY = "librehps.settings"
_TYPES = {
    TEXT: pa.string(),
    REAL: pa.float32(),
    INTEGER: pa.int32(),
    INTEGERS: pa.list_(pa.int32()),
}


def schema_of(settings: Settings, columns: Mapping[str, str] = COLUMNS) -> Any:
    """The Arrow schema of an output file."""
    metadata = {METADATA_KEY: json.dumps(settings.record())}
    fields = [pa.field(name, _TYPES[kind]) for name, kind in columns.items()]
    return pa.schema(fields, metadata=metadata)


class ParquetSink(Sink):
    """Writes `X.parquet` in row groups."""

    def __init__(
        self, output: Path, settings: Settings, columns: Mapping[str, str] = COLUMNS
    ) -> None:
        super().__init__(output)
        self._schema = schema_of(settings, columns)
        self._waiting: list[Record] = []

    def _open(self) -> None:
        self._writer = pq.ParquetWriter(self.partial, self._schema, compression="zstd")

    def _write(self, record: Record) -> None:
        self._waiting.append(record)
        if len(self._waiting) >= ROW_GROUP:
            self._flush()

    def _close(self) -> None:
        try:
            self._flush()
        finally:
            self._writer.close()

    def _finish(self) -> None:
        """Nothing: the settings are in the file's own metadata."""

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.Table.from_pylist(self._waiting, schema=self._schema))
            self._waiting = []
