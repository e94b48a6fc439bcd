"""Parquet: float32 scores, and the full settings in the file's metadata."""

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from librehps.settings import Settings
from librehps.sink.schema import COLUMNS, INTEGER, INTEGERS, REAL, TEXT, Record, partial_of

ROW_GROUP = 65_536
METADATA_KEY = "librehps.settings"
_TYPES = {
    TEXT: pa.string(),
    REAL: pa.float32(),
    INTEGER: pa.int32(),
    INTEGERS: pa.list_(pa.int32()),
}


def schema_of(settings: Settings) -> Any:
    """The Arrow schema of an output file."""
    metadata = {METADATA_KEY: json.dumps(settings.record())}
    fields = [pa.field(name, _TYPES[kind]) for name, kind in COLUMNS.items()]
    return pa.schema(fields, metadata=metadata)


class ParquetSink:
    """Writes `X.parquet` in row groups."""

    def __init__(self, output: Path, settings: Settings) -> None:
        self._output, self._schema = output, schema_of(settings)
        self._waiting: list[Record] = []
        self._writer = pq.ParquetWriter(partial_of(output), self._schema, compression="zstd")

    def write(self, record: Record) -> None:
        self._waiting.append(record)
        if len(self._waiting) >= ROW_GROUP:
            self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._flush()
        self._writer.close()
        if error is None:
            partial_of(self._output).replace(self._output)

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.Table.from_pylist(self._waiting, schema=self._schema))
            self._waiting = []
