"""A table in which some texts of the column media are replaced, while it is read."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

MEDIA = "media"


@dataclass(frozen=True)
class WithMedia:
    """A table whose media have other paths, with the methods of `pyarrow.Table` for writing."""

    table: Any
    schema: Any
    paths: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.table)

    @property
    def column_names(self) -> list[str]:
        names: list[str] = self.schema.names
        return names

    def to_batches(self, max_chunksize: int | None = None) -> Iterator[Any]:
        """Yield the rows as Arrow batches."""
        for batch in self.table.to_batches(max_chunksize=max_chunksize):
            at = batch.schema.get_field_index(MEDIA)
            texts = batch.column(at).cast(pa.string()).to_pylist()
            media = pa.array([self.paths.get(text, text) for text in texts], pa.string())
            yield batch.set_column(at, MEDIA, media).cast(self.schema)

    def read(self) -> Any:
        """Return the `pyarrow.Table` with all rows."""
        return pa.Table.from_batches(self.to_batches(), self.schema)


def with_media(table: Any, paths: Mapping[str, str]) -> Any:
    """Return the table with the media `paths`, by the texts that the rows have now."""
    if not paths:
        return table
    at = table.schema.get_field_index(MEDIA)
    return WithMedia(table, table.schema.set(at, pa.field(MEDIA, pa.string())), paths)
