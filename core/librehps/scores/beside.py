"""Columns that stand beside those of a table, also of a table whose columns are read on demand."""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from librehps.scores.file_table import FileTable
from librehps.scores.scored_file import Mask, ScoredFile, TableRows


def with_columns(table: Any, columns: Any) -> Any:
    """Return the table with more columns, an Arrow table or a ScoredFile of as many rows.

    Columns of the same names are replaced.
    """
    names = columns.schema.names
    kept = table.drop_columns([name for name in table.column_names if name in names])
    if not isinstance(table, FileTable) and isinstance(columns, pa.Table):
        for name in names:
            kept = kept.append_column(name, columns.column(name))
        return kept
    rows = TableRows(columns) if isinstance(columns, pa.Table) else columns
    beside = BesideRows(kept, rows)
    return FileTable([("the added columns", beside)], beside.schema)


class BesideRows:
    """The rows of a FileTable with the columns of another ScoredFile of as many rows."""

    def __init__(self, table: FileTable, added: ScoredFile) -> None:
        self._table, self._added = table, added
        fields = [*table.schema, *added.schema]
        self.schema = pa.schema(fields, table.schema.metadata)
        self.rows = len(table)
        self.nbytes = int(table.row_bytes * len(table)) + added.nbytes

    def batches(
        self, names: Sequence[str], kept: Mask | None = None, encoded: bool = False
    ) -> Iterator[Any]:
        theirs = [name for name in names if name in self._added.schema.names]
        own = [name for name in names if name not in theirs]
        if not own:
            yield from self._added.batches(theirs, kept, encoded)
            return
        table = self._table if kept is None else self._table.filter(kept)
        if not theirs:
            yield from table.batches(own, encoded)
            return
        left = pa.schema([self.schema.field(name) for name in theirs]).empty_table()
        added = self._added.batches(theirs, kept, encoded)
        for batch in table.batches(own, encoded):
            if not len(batch):
                continue
            while len(left) < len(batch):
                left = pa.concat_tables([left, pa.Table.from_batches([next(added)])])
            now, left = left.slice(0, len(batch)), left.slice(len(batch))
            columns = {**_columns(batch), **_columns(now.combine_chunks().to_batches()[0])}
            yield pa.RecordBatch.from_pydict({name: columns[name] for name in names})


def _columns(batch: Any) -> dict[str, Any]:
    return dict(zip(batch.schema.names, batch.columns, strict=True))
