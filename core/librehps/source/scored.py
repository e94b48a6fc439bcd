"""Scored files read back: one, several, or a directory of parts."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from librehps.errors import UsageError

SUFFIXES = (".parquet", ".jsonl")
# Where sink/parquet.py keeps the settings of a run.
METADATA_KEY = b"librehps.settings"


def read_table(paths: Sequence[Path]) -> tuple[Any, dict[str, Any]]:
    """(Arrow table, settings record, empty where there is none) of all files together.

    Raises UsageError for a missing or unreadable file, and where settings differ.
    """
    import pyarrow as pa

    files = [file for path in paths for file in _files(path)]
    tables, records = [], []
    for file in files:
        try:
            tables.append(_table(file))
        except (pa.ArrowException, OSError) as error:
            raise UsageError(f"{file} cannot be read: {error}") from error
        record = _settings(file, tables[-1])
        if record:
            records.append((file, record))
    for file, record in records[1:]:
        differ = sorted(k for k in record | records[0][1] if record.get(k) != records[0][1].get(k))
        if differ:
            raise UsageError(
                f"{file} and {records[0][0]} differ in settings: {', '.join(differ)}",
                hint="Scores of different settings cannot be compared; score again with one.",
            )
    table = pa.concat_tables(tables, promote_options="permissive")
    return table, records[0][1] if records else {}


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        parts = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
        if not parts:
            raise UsageError(f"{path} holds no .parquet and no .jsonl file")
        return parts
    if not path.is_file():
        raise UsageError(f"no such file: {path}")
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: a scored file ends in .parquet or .jsonl")
    return [path]


def _table(file: Path) -> Any:
    if file.suffix.lower() == ".parquet":
        import pyarrow.parquet as pq

        return pq.read_table(file)
    import pyarrow.json

    return pyarrow.json.read_json(file)


def _settings(file: Path, table: Any) -> dict[str, Any]:
    stored = (table.schema.metadata or {}).get(METADATA_KEY)
    beside = file.with_name(file.name + ".settings.json")
    if stored is None and beside.exists():
        stored = beside.read_bytes()
    record: dict[str, Any] = json.loads(stored) if stored else {}
    return record
