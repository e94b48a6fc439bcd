"""Rows of a JSONL, JSON, CSV, TSV or Parquet file, each with where it stands."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from librehps.errors import PreferenceError, UsageError

Row = dict[str, Any]


def read_rows(path: Path) -> list[tuple[str, Row]]:
    """(place, row) of each row, by the file's suffix; raises PreferenceError, UsageError."""
    if not path.is_file():
        raise UsageError(f"no such file: {path}")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise PreferenceError(f"{path}: expected one of {' '.join(READERS)}")
    try:
        return list(reader(path))
    except (UnicodeDecodeError, csv.Error, json.JSONDecodeError, OSError) as error:
        raise PreferenceError(f"{path} cannot be read: {error}") from error


def _jsonl(path: Path) -> Iterator[tuple[str, Row]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield f"{path}, line {number}", _object(json.loads(line), path, number)


def _json(path: Path) -> Iterator[tuple[str, Row]]:
    content = json.loads(path.read_text(encoding="utf-8-sig"))
    if not isinstance(content, list):
        raise PreferenceError(f"{path} does not hold a JSON array")
    for number, row in enumerate(content, 1):
        yield f"{path}, entry {number}", _object(row, path, number)


def _csv(path: Path, delimiter: str = ",") -> Iterator[tuple[str, Row]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter=delimiter)
        for row in reader:
            place = f"{path}, line {reader.line_num}"
            if None in row or None in row.values():
                raise PreferenceError(f"{place} has another number of fields than the header")
            yield place, dict(row)


def _tsv(path: Path) -> Iterator[tuple[str, Row]]:
    yield from _csv(path, "\t")


def _parquet(path: Path) -> Iterator[tuple[str, Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except pa.ArrowException as error:
        raise PreferenceError(f"{path} cannot be read: {error}") from error
    for number, row in enumerate(table.to_pylist(), 1):
        yield f"{path}, row {number}", row


def _object(row: object, path: Path, number: int) -> Row:
    if not isinstance(row, dict):
        raise PreferenceError(f"{path}, line {number} is not a JSON object")
    return row


READERS: dict[str, Callable[[Path], Iterator[tuple[str, Row]]]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".tsv": _tsv,
    ".parquet": _parquet,
}
