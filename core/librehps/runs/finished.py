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
from librehps.scores.json_lines_table import read_lines
from librehps.scores.json_table import arrow_lines, line_blocks
from librehps.scores.parquet import arrow_type
from librehps.scores.sink import Sink


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

    def ids(self) -> Iterator[Any]:
        """Yield the ids of the rows as Arrow arrays, some rows at a time."""
        return (batch["id"] for batch in self.texts("id"))

    def counts(self) -> tuple[int, int, Counter[str]]:
        """Return the number of ok rows, of failed rows, and of failed rows by error type."""
        statuses, errors = Counter[str](), Counter[str]()
        for batch in self.texts("status", "error_type"):
            statuses += counted(batch["status"])
            errors += counted(batch["error_type"])
        return statuses["ok"], statuses["error"], errors

    def texts(self, *names: str) -> Iterator[Any]:
        """Yield text columns in Arrow batches; `error_type` is null if the file lacks it."""
        there = self.names()
        self.check_names([name for name in names if name != "error_type"])
        with self._translated():
            known = [name for name in names if name in there]
            batches = self._batches(known) if self._is_parquet else self._json_batches(names)
            for batch in batches:
                columns = [_text(batch, name) for name in names]
                yield pa.RecordBatch.from_arrays(columns, list(names))

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
        known, found = np.frombuffer(status, np.uint8), [np.empty(0, np.uint8)]
        for batch in self.texts("status"):
            is_ok = np.asarray(pc.fill_null(pc.equal(batch["status"], "ok"), False))
            found.append(np.where(is_ok, OK, ERROR).astype(np.uint8))
        rows = np.concatenate(found)
        if len(rows) != len(status):
            raise changed_output(self.path, f"{len(rows)} rows", f"{len(status)}")
        np.copyto(known, rows, where=known == NEW)

    def error_types(self, rows: RowStore) -> Counter[str]:
        """Return the number of failed rows that are not in the store, by error type."""
        found, start = Counter[str](), 0
        for batch in self.texts("status", "error_type"):
            is_kept = pa.array(~rows.has_row(start, start + len(batch)))
            is_error = pc.equal(batch["status"], "error")
            found += counted(batch["error_type"].filter(pc.and_(is_kept, is_error)))
            start += len(batch)
        return found

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
        for batch in self._batches(list(kinds)):
            yield len(batch), pa.Table.from_batches([batch]).select(list(kinds))

    def _batches(self, names: Sequence[str]) -> Iterator[Any]:
        # With a buffer, what was read of all row groups stays in memory.
        with pq.ParquetFile(self.path, pre_buffer=False) as file:
            yield from file.iter_batches(CHUNK_ROWS, columns=list(names))

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

    def _json_batches(self, names: Sequence[str]) -> Iterator[Any]:
        types, line = dict.fromkeys(names, arrow_type(TEXT)), 1
        with self.path.open("rb") as file:
            for block in line_blocks(file):
                table = _json_table(block, types, line)
                yield from table.combine_chunks().to_batches()
                line += block.count(b"\n")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError, ValueError) as error:
            raise UsageError(f"{self.path} cannot be read: {error}") from error


def counted(texts: Any) -> Counter[str]:
    """Return how often an Arrow array has each text."""
    pairs = pc.value_counts(texts.drop_null()).to_pylist()
    return Counter({pair["values"]: pair["counts"] for pair in pairs})


def _text(batch: Any, name: str) -> Any:
    """Return a column of a batch as text, nulls if the batch lacks it."""
    at = batch.schema.get_field_index(name)
    return pa.nulls(len(batch), pa.string()) if at < 0 else batch.column(at).cast(pa.string())


def _json_table(block: bytes, types: Mapping[str, Any], line: int) -> Any:
    """Return columns of JSON Lines; `line` is the number of the first line.

    Raises ValueError for lines that are not JSON objects of one type per name.
    """
    schema = pa.schema(list(types.items()))
    options = pj.ReadOptions(use_threads=False, block_size=len(block) + 1)
    parse = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    lines = arrow_lines(block)
    try:
        table = pj.read_json(pa.BufferReader(block), options, parse) if lines else None
    except pa.ArrowException:
        table = None
    # Unusual lines, or none: the slow reader takes them, or names what is wrong.
    if table is None or len(table) != lines:
        table = read_lines(block.decode(), types, line)
    return table


def _chosen(line: bytes, names: Sequence[str]) -> bytes:
    row = json.loads(line)
    kept = {name: row.get(name) for name in names}
    return json.dumps(kept, ensure_ascii=False).encode() + b"\n"
