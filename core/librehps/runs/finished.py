"""A complete output: its columns, and the output again with some rows replaced."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj
import pyarrow.parquet as pq

from librehps.errors import UsageError
from librehps.runs.refusals import changed_output, lacking_columns, other_columns
from librehps.runs.row_status import ERROR, NEW, OK
from librehps.runs.row_store import CHUNK_ROWS, RowStore
from librehps.scores.columns import TEXT
from librehps.scores.parquet import arrow_type
from librehps.scores.read import read_table
from librehps.scores.sink import Sink

BLOCK_BYTES = 1 << 23


class FinishedOutput:
    """A complete scored file; methods raise UsageError if it cannot be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._is_parquet = path.suffix.lower() == ".parquet"

    def names(self) -> list[str]:
        """Return the names of the columns; JSON Lines without rows have none."""
        with self._translated():
            if self._is_parquet:
                return list(pq.read_schema(self.path).names)
            line = next(self._lines(), None)
            return [] if line is None else list(json.loads(line))

    def check_names(self, names: Sequence[str]) -> None:
        """Raise UsageError for columns that this file lacks; it may have no rows to lack them."""
        there = self.names()
        lacking = [name for name in names if name not in there]
        if there and lacking:
            raise lacking_columns(self.path, lacking)

    def ids(self) -> Iterator[str]:
        """Yield the id of each row."""
        for chunk in self.texts("id")["id"].chunks:
            for start in range(0, len(chunk), CHUNK_ROWS):
                yield from chunk.slice(start, CHUNK_ROWS).to_pylist()

    def counts(self) -> tuple[int, int, Counter[str]]:
        """Return the number of ok rows, of failed rows, and of failed rows by error type."""
        table = self.texts("status", "error_type")
        statuses = counted(table, "status")
        return statuses["ok"], statuses["error"], counted(table)

    def texts(self, *names: str) -> Any:
        """Return text columns as an Arrow table; `error_type` is null if the file lacks it."""
        there = self.names()
        self.check_names([name for name in names if name != "error_type"])
        with self._translated():
            if self._is_parquet:
                table = pq.read_table(self.path, columns=[n for n in names if n in there])
            else:
                table = self._json_texts(names)
        for name in names:
            if name not in table.column_names:
                table = table.append_column(name, pa.nulls(len(table), pa.string()))
        return table.select(names)

    def check_columns(self, kinds: Mapping[str, str]) -> None:
        """Raise UsageError for columns that this file lacks, or has with another type."""
        self.check_names(list(kinds))
        if self._is_parquet:
            schema = pq.read_schema(self.path)
            differ = [n for n, kind in kinds.items() if schema.field(n).type != arrow_type(kind)]
            if differ:
                raise other_columns(self.path, differ)

    def take_statuses(self, status: bytearray) -> None:
        """Set the status of each item that is NEW to that of its row in this file."""
        found = self.texts("status")["status"]
        if len(found) != len(status):
            raise changed_output(self.path, f"{len(found)} rows", f"{len(status)}")
        known = np.frombuffer(status, np.uint8)
        is_ok = pc.fill_null(pc.equal(found, "ok"), False).to_numpy()
        np.copyto(known, np.where(is_ok, OK, ERROR).astype(np.uint8), where=known == NEW)

    def error_types(self, rows: RowStore) -> Counter[str]:
        """Return the number of failed rows that are not in the store, by error type."""
        table = self.texts("status", "error_type")
        is_kept = pa.array(~rows.has_row(0, len(table)))
        return counted(table.filter(pc.and_(is_kept, pc.equal(table["status"], "error"))))

    def rewrite(self, sink: Sink, rows: RowStore, kinds: Mapping[str, str]) -> None:
        """Write the columns `kinds` of all rows to the sink; rows in the store replace ours."""
        with self._translated():
            pieces = self._tables(kinds) if self._is_parquet else self._blocks(kinds)
            start = 0
            for count, piece in pieces:
                fresh = np.flatnonzero(rows.has_row(start, start + count))
                table = rows.rows(start + fresh, list(kinds)) if len(fresh) else None
                sink.replace(piece, fresh, table)
                start += count
            if start != len(rows.status):
                raise changed_output(self.path, f"{start} rows", f"{len(rows.status)}")

    def _tables(self, kinds: Mapping[str, str]) -> Iterator[tuple[int, Any]]:
        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(CHUNK_ROWS, columns=list(kinds)):
                yield len(batch), pa.Table.from_batches([batch]).select(list(kinds))

    def _blocks(self, kinds: Mapping[str, str]) -> Iterator[tuple[int, list[bytes]]]:
        names, lines = list(kinds), self._lines()
        is_same = self.names() == names
        while block := list(islice(lines, CHUNK_ROWS)):
            yield len(block), block if is_same else [_chosen(line, names) for line in block]

    def _lines(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            for at, line in enumerate(file):
                line = line.removeprefix(b"\xef\xbb\xbf") if at == 0 else line
                if line.strip():
                    yield line if line.endswith(b"\n") else line + b"\n"

    def _json_texts(self, names: Sequence[str]) -> Any:
        schema = pa.schema([(name, arrow_type(TEXT)) for name in names])
        parse = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
        try:
            return pj.read_json(self.path, pj.ReadOptions(block_size=BLOCK_BYTES), parse)
        except pa.ArrowException:
            # Unusual lines, or none: the slow reader takes them, or names what is wrong.
            table, _ = read_table([self.path])
            return table.select([name for name in names if name in table.column_names])

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError, ValueError) as error:
            raise UsageError(f"{self.path} cannot be read: {error}") from error


def counted(table: Any, column: str = "error_type") -> Counter[str]:
    """Return how often a column has each text."""
    pairs = pc.value_counts(table[column].combine_chunks().drop_null()).to_pylist()
    return Counter({pair["values"]: pair["counts"] for pair in pairs})


def _chosen(line: bytes, names: Sequence[str]) -> bytes:
    row = json.loads(line)
    kept = {name: row.get(name) for name in names}
    return json.dumps(kept, ensure_ascii=False).encode() + b"\n"
