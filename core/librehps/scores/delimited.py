"""Arrow tables written as CSV or TSV, for spreadsheets and other programs."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from librehps.scores.json_values import as_text_value, plain_values

DELIMITERS = {".csv": ",", ".tsv": "\t"}
BATCH_ROWS = 65_536


def write_delimited(table: Any, delimiter: str, file: Path) -> None:
    """Write a table with a header as UTF-8: null as nothing, lists and structs as JSON text.

    Numbers are the shortest text that gives the same number; NaN and infinity are null.
    """
    schema = pa.schema([(field.name, _written_type(field.type)) for field in table.schema])
    options = csv.WriteOptions(delimiter=delimiter, quoting_style="needed")
    with csv.CSVWriter(file, schema, write_options=options) as writer:
        for batch in table.to_batches(max_chunksize=BATCH_ROWS):
            pairs = zip(batch.columns, schema, strict=True)
            columns = [_written(column, field.type) for column, field in pairs]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))


def _written_type(kind: Any) -> Any:
    """Return the type that a column is written with; text where CSV has no such type."""
    if pa.types.is_dictionary(kind):
        return _written_type(kind.value_type)
    if pa.types.is_decimal(kind):
        return pa.float64()
    is_plain = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    return kind if is_plain else pa.string()


def _written(column: Any, kind: Any) -> Any:
    if pa.types.is_floating(kind):
        return pc.if_else(pc.is_finite(column.cast(kind)), column.cast(kind), None)
    is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    if is_text or not pa.types.is_string(kind):
        return column.cast(kind)
    return pa.array([_text(value) for value in plain_values(column)], kind)


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, list | dict | tuple):
        return json.dumps(value, ensure_ascii=False, default=as_text_value)
    return as_text_value(value)
