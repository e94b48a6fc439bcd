"""Scored files as one table whose columns are read when they are needed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa

from librehps.errors import UsageError
from librehps.scores.scored_file import Mask, ScoredFile


class FileTable:
    """The rows of scored files, with the methods of `pyarrow.Table` that decisions use.

    `files` maps the name of each file, for messages, to its rows. `schema` names the columns that
    are read; a column that a file lacks is null there. `kept` is a mask of the rows of all files.
    """

    def __init__(
        self, files: Sequence[tuple[str, ScoredFile]], schema: Any, kept: Mask | None = None
    ) -> None:
        self._files, self.schema, self._kept = files, schema, kept
        # Codes of columns, which take long to compute.
        self.codes: dict[str, Any] = {}
        total = sum(file.rows for _, file in files)
        self.num_rows = total if kept is None else int(np.count_nonzero(kept))

    def __len__(self) -> int:
        return self.num_rows

    @property
    def column_names(self) -> list[str]:
        names: list[str] = self.schema.names
        return names

    @property
    def row_bytes(self) -> float:
        """The mean size of a row with all columns of the files."""
        rows = sum(file.rows for _, file in self._files)
        return sum(file.nbytes for _, file in self._files) / max(1, rows)

    def select(self, names: Sequence[str]) -> "FileTable":
        """Return the table of some columns, which are not read yet."""
        fields = [self.schema.field(name) for name in names]
        return FileTable(self._files, pa.schema(fields, self.schema.metadata), self._kept)

    def drop_columns(self, names: Sequence[str]) -> "FileTable":
        """Return the table without some columns."""
        return self.select([name for name in self.column_names if name not in names])

    def filter(self, mask: Any) -> "FileTable":
        """Return the rows of a mask, (rows,); null stands for False."""
        if not isinstance(mask, np.ndarray):
            mask = np.asarray(mask.fill_null(False))
        if self._kept is None:
            return FileTable(self._files, self.schema, mask)
        kept = self._kept.copy()
        kept[self._kept] = mask
        return FileTable(self._files, self.schema, kept)

    def column(self, column: int | str) -> Any:
        """Return a column as a `pyarrow.ChunkedArray`."""
        name = column if isinstance(column, str) else self.column_names[column]
        chunks = [batch.column(0) for batch in self.batches([name])]
        return pa.chunked_array(chunks, self.schema.field(name).type)

    def take(self, rows: Any) -> Any:
        """Return the rows with these numbers, in their order, as a `pyarrow.Table`."""
        numbers, places = np.unique(np.asarray(rows), return_inverse=True)
        mask = np.zeros(len(self), dtype=bool)
        mask[numbers] = True
        return self.filter(mask).read().take(pa.array(places.ravel()))

    def slice(self, offset: int, length: int) -> Any:
        """Return some consecutive rows as a `pyarrow.Table`."""
        return self.take(np.arange(offset, min(offset + length, len(self))))

    def to_batches(self, max_chunksize: int | None = None) -> Iterator[Any]:
        """Yield all columns of the rows, in batches."""
        for batch in self.batches(self.column_names):
            size = max_chunksize or max(len(batch), 1)
            for first in range(0, len(batch), size):
                yield batch.slice(first, size)

    def read(self) -> Any:
        """Return the rows as a `pyarrow.Table`."""
        return pa.Table.from_batches(list(self.to_batches()), self.schema)

    def batches(self, names: Sequence[str], encoded: bool = False) -> Iterator[Any]:
        """Yield some columns of the rows, in batches; with `encoded`, texts as dictionaries.

        Raises UsageError for a file that cannot be read.
        """
        schema = pa.schema([self.schema.field(name) for name in names])
        release_unused()
        first = 0
        for origin, file in self._files:
            kept = None if self._kept is None else self._kept[first : first + file.rows]
            first += file.rows
            if kept is not None and not kept.any():
                continue
            there = [name for name in names if name in file.schema.names]
            with reading(origin):
                if not there:
                    yield _nulls(schema, file.rows if kept is None else int(kept.sum()))
                    continue
                for batch in file.batches(there, kept, encoded):
                    yield _fitted(batch, schema, encoded)
        release_unused()


def release_unused() -> None:
    """Return memory that Arrow keeps for its next batches to the system."""
    pa.default_memory_pool().release_unused()


@contextmanager
def reading(origin: Any) -> Iterator[None]:
    """Raise UsageError, which names the file, in place of an error of Arrow or of the system."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UsageError(f"{origin} cannot be read: {error}") from error


def _fitted(batch: Any, schema: Any, encoded: bool) -> Any:
    """Return the batch with the columns and types of the schema."""
    columns = []
    for field in schema:
        at = batch.schema.get_field_index(field.name)
        columns.append(
            pa.nulls(len(batch), field.type) if at < 0 else _cast(batch.column(at), field, encoded)
        )
    fields = [field.with_type(column.type) for field, column in zip(schema, columns, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields, schema.metadata))


def _cast(column: Any, field: Any, encoded: bool) -> Any:
    kind = column.type
    is_same = kind == field.type
    is_encoded = encoded and pa.types.is_dictionary(kind) and kind.value_type == field.type
    return column if is_same or is_encoded else column.cast(field.type)


def _nulls(schema: Any, rows: int) -> Any:
    arrays = [pa.nulls(rows, field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def batches_of(table: Any, names: Sequence[str], encoded: bool = False) -> Iterator[Any]:
    """Yield some columns of a FileTable or of a `pyarrow.Table`, in batches."""
    if isinstance(table, FileTable):
        yield from table.batches(names, encoded)
    else:
        yield from table.select(list(names)).to_batches()
