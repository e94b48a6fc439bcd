"""Columns of one table in the order of the rows of another."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from librehps.scores.scored_file import Mask, ScoredFile, StoredRows, TableRows
from librehps.scores.select import column_of

# Larger columns are kept in temporary files.
MAX_COLUMN_BYTES = 4 << 20


class GatheredRows:
    """Columns of a table, each read when it is first needed; the rows are those of `places`.

    `names` maps the new name of a column to its name in the table; -1 in `places` gives null.
    """

    def __init__(self, table: Any, names: Mapping[str, str], places: NDArray[Any]) -> None:
        self._table, self._names, self._places = table, names, places
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._columns: dict[str, ScoredFile] = {}
        kinds = {new: table.schema.field(name).type for new, name in names.items()}
        self.schema = pa.schema({new: _plain(kind) for new, kind in kinds.items()})
        self.rows = len(places)
        self.nbytes = sum(kind.bit_width // 8 for kind in self.schema.types) * self.rows

    def batches(
        self, names: Sequence[str], kept: Mask | None = None, encoded: bool = False
    ) -> Iterator[Any]:
        columns = [self._column(name).batches([name], kept) for name in names]
        schema = pa.schema([self.schema.field(name) for name in names])
        for batches in zip(*columns, strict=True):
            arrays = [batch.column(0) for batch in batches]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    def read(self) -> Any:
        """Return all columns as a `pyarrow.Table`."""
        return pa.table({name: self._gathered(name) for name in self.schema.names})

    def _column(self, name: str) -> ScoredFile:
        if name not in self._columns:
            column = pa.table({name: self._gathered(name)})
            stored: ScoredFile = TableRows(column)
            if column.nbytes > MAX_COLUMN_BYTES:
                self._folder = self._folder or tempfile.TemporaryDirectory(prefix="librehps-")
                file = Path(self._folder.name, f"{len(self._columns)}.arrow")
                stored = StoredRows(column, file)
            self._columns[name] = stored
        return self._columns[name]

    def _gathered(self, name: str) -> Any:
        column = column_of(self._table, self._names[name], ())
        column = column.cast(self.schema.field(name).type).combine_chunks()
        places = pa.array(self._places, mask=np.asarray(self._places < 0))
        return column.take(places)


def _plain(kind: Any) -> Any:
    """Return the type of the numbers of a column, of a width that is known."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    is_plain = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return kind if is_plain else pa.float64()
