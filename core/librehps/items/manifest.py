"""Items from a manifest: a row file with one row per item, read while the run goes on."""

from collections.abc import Iterator

from librehps.errors import UsageError
from librehps.files import printable
from librehps.items.item_columns import ItemColumns, blocks, columns_of
from librehps.items.passed_over import PassedOver
from librehps.items.rows import (
    ColumnOptions,
    Columns,
    Found,
    RowReader,
    check_ranges,
    find_columns,
)
from librehps.media.archived import ParquetCell
from librehps.media.named import media_value
from librehps.media.parquet_column import forget_columns
from librehps.rowfiles import Row, RowFile, Schema
from librehps.storage.url_path import AnyPath, address, as_path, origins
from librehps.types import Item


class Manifest:
    """The items of a manifest file.

    The columns are read at once, the rows during iteration; both raise UsageError for an
    unreadable file. `name` begins the ids of media inside the file, `prefix` those of relative
    paths. `repeats_paths` is set if paths inside the file do not tell its media apart.
    """

    def __init__(
        self,
        rows: RowFile,
        options: ColumnOptions,
        root: str | None,
        allow_remote: bool,
        reserved: frozenset[str],
        prefix: str = "",
    ) -> None:
        self._rows, self.passed_over = rows, PassedOver()
        file = rows.file
        self.container, self.name, self.repeats_paths = file, file.name, False
        schema = self._rows.schema()
        if schema is None:
            raise UsageError(
                f"{file}: no rows",
                hint="Write a header, such as image,prompt, and a row for each item.",
            )
        binary = [name for name in schema.names if name in schema.binary]
        names = [name for name in schema.names if name not in schema.binary]
        self.columns = find_columns(
            names, options, str(file), reserved, is_open=self._rows.is_open, binary=binary
        )
        if not self._rows.is_open:
            _check_entry(self.columns, schema, file)
        # Bytes that are not the media would make a huge output.
        self.dropped = [name for name in binary if name != self.columns.media]
        self.holds_bytes = self.columns.media in schema.binary
        if self.holds_bytes:
            check_ranges(file, "pictures inside a Parquet file")
            forget_columns()
        self.has_prompts, self.names = self.columns.has_prompts, names
        self.place = f"the first row of {file}" if rows.is_open else str(file)
        # With a root, media do not lie below the folders of their manifests.
        below = "" if root else prefix
        folder = root or address(file.parent)
        homes = origins([file, as_path(folder)])
        self._reader = RowReader(self.columns, folder, allow_remote, below, prefix, homes)

    def __iter__(self) -> Iterator[Item]:
        for number, (place, row) in enumerate(self._rows.rows(self.columns.used)):
            # Rows come without the images; a worker reads the bytes later.
            cell = self._cell(row, number) if self.holds_bytes else None
            yield self._reader.item(row, place, cell)

    def item_columns(self) -> Iterator[ItemColumns]:
        """Yield the items as columns of many items at a time."""
        if self.holds_bytes:
            yield from map(columns_of, blocks(self))
            return
        for block in self._rows.blocks(self.columns.used):
            found = self._reader.plain_columns(block)
            yield found or columns_of([self._reader.item(r, place) for place, r in block.placed()])

    def paths_inside(self) -> Iterator[str]:
        """Yield the paths of the media inside the file."""
        if self.holds_bytes:
            for _, row in self._rows.rows([self.columns.media]):
                if path := self._path(row):
                    yield path

    def _cell(self, row: Row, number: int) -> Found:
        path, columns = self._path(row), self.columns
        cell = ParquetCell(
            address(self.container),
            columns.media,
            number,
            path,
            columns.entry,
            self._reader.root,
            self.repeats_paths,
        )
        name = printable(f"{self.name}/{number}" if self.repeats_paths or not path else path)
        return cell, name, None

    def _path(self, row: Row) -> str:
        """Return the path in a `{bytes, path}` cell; empty if the cell has no path."""
        path = media_value(row.get(self.columns.media), self.columns.entry)
        return path if isinstance(path, str) else ""


def _check_entry(columns: Columns, schema: Schema, file: AnyPath) -> None:
    """Raise UsageError where a column of lists has no index, or another column has one."""
    name, is_list = columns.media, columns.media in schema.lists
    if is_list and columns.entry is None:
        raise UsageError(
            f"{file}: column {name!r} holds lists; expected the index of one entry",
            hint=f"Use the first entry of each list: --media-column '{name}[0]'",
        )
    if columns.entry is not None and not is_list:
        raise UsageError(
            f"{file}: column {name!r} holds no lists, so it has no entry {columns.entry}",
            hint=f"Use --media-column {name}",
        )
