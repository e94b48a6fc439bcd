"""Items from a manifest: a row file with one row per item, read while the run goes on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from librehps.errors import UsageError
from librehps.items.rows import MEDIA_NAMES, ColumnOptions, RowReader, find_columns
from librehps.media.archived import ParquetCell
from librehps.rowfiles import RowFile, Schema
from librehps.types import Item


class Manifest:
    """The items of a manifest file.

    The columns are read at once, the rows during iteration; both raise UsageError for an
    unreadable file.
    """

    def __init__(
        self,
        file: Path,
        options: ColumnOptions,
        root: str | None,
        allow_remote: bool,
        reserved: frozenset[str],
    ) -> None:
        self._rows, self.skipped = RowFile(file), 0
        self.container = file
        schema = self._rows.schema()
        if schema is None:
            raise UsageError(f"{file}: no rows")
        self.dropped = _other_pictures(schema, options.media)
        names = [name for name in schema.names if name not in self.dropped]
        self.columns = find_columns(names, options, str(file), reserved, is_open=self._rows.is_open)
        self._holds_bytes = self.columns.media in schema.binary
        self.has_prompts = self.columns.prompt is not None
        self._reader = RowReader(self.columns, root or str(file.parent), allow_remote)

    def __iter__(self) -> Iterator[Item]:
        for number, (place, row) in enumerate(self._rows.rows(self.columns.used)):
            cell = None
            if self._holds_bytes:
                # Rows come without the images; a worker reads the bytes later.
                path = _path_in(row.get(self.columns.media))
                cell = ParquetCell(str(self.container), self.columns.media, number, path)
            yield self._reader.item(row, place, cell)


def _other_pictures(schema: Schema, asked: str | None) -> list[str]:
    """Return the binary columns except the media; copied to the output they would be huge."""
    media = asked or next((name for name in MEDIA_NAMES if name in schema.names), None)
    return [name for name in schema.names if name in schema.binary and name != media]


def _path_in(value: Any) -> str:
    """Return the path in a `{bytes, path}` cell; empty if the cell has no path."""
    return (value.get("path") if isinstance(value, dict) else None) or ""
