"""Writes one part of an output folder from the scored rows of its range of the listing.

Any process that sees the folder can write a part; no process holds the rows of all parts.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import compress, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from librehps.engine.engine import Work
from librehps.errors import EngineError, OutputError, StorageNotFoundError
from librehps.runs.blocks import block_parts, interleaved, ok_rows, with_own
from librehps.runs.journal_folder import RUN_FILE
from librehps.runs.listing import Listing
from librehps.runs.progress import RunProgress
from librehps.scores.columns import PHASH, TEXT, full_columns
from librehps.scores.parquet import BATCH_ROWS, schema_of, to_batch
from librehps.scores.parts import Parts
from librehps.scores.row_batch import RowSchema
from librehps.scores.scored_rows import as_columns
from librehps.scores.sink import Record
from librehps.settings import Settings
from librehps.storage.outputs import content_of
from librehps.storage.url_path import UrlPath
from librehps.types import Item, ScoredRow


class Unit(NamedTuple):
    """The items from `start` to `end` (exclusive) of the part that begins at `part`.

    `failed_only`: only the items whose rows in the existing part are errors. `deaths`: the number
    of processes that died with these items, `tries` those with this very unit. `lost`: the items
    are not tried again, each gets a WorkerDiedError. `blocks`: first indices of blocks with rows of
    these items. `is_block`: the unit is a block itself, not a part.
    """

    part: int
    start: int
    end: int
    failed_only: bool = False
    deaths: int = 0
    tries: int = 0
    lost: bool = False
    blocks: tuple[int, ...] = ()
    is_block: bool = False

    @property
    def rows(self) -> int:
        return self.end - self.start


@dataclass
class UnitResult:
    """The row counts of a scored unit; `table` holds the rows of a unit that is not a whole part.

    `unread`: some media files that the node lacks, and URLs that it cannot read. `warnings`: those
    of the process since its last result.
    """

    unit: Unit
    progress: RunProgress = field(default_factory=lambda: RunProgress(None, Work()))
    table: Any = None
    unread: tuple[str | Path, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class PartWriter:
    """A writer of the parts of a run."""

    parts: Parts
    listing: Listing
    columns: Mapping[str, str]
    settings: Settings
    request: Mapping[str, Any]

    def is_whole(self, unit: Unit) -> bool:
        """Return True if the unit is a complete part."""
        return (unit.start, unit.end) == self.parts.bounds(unit.part)

    def items(self, unit: Unit) -> list[Item]:
        """Return the items of a unit that have no row.

        Raises OSError or StorageError if the listing or the part is unreadable, and OutputError
        where another process has ended the run.
        """
        with self.not_ended():
            items = list(self.listing.range(unit.start, unit.end))
            if unit.failed_only:
                failed = _failed(self.parts.read(unit.part))
                return list(compress(items, failed[unit.start - unit.part : unit.end - unit.part]))
            return list(compress(items, ~self._ok_rows(unit)[0]))

    def table(self, rows: Sequence[ScoredRow]) -> Any:
        """Return the rows as a table in the output's columns."""
        axes = self.settings.axes
        own = {n: kind for n, kind in self.columns.items() if n not in full_columns(axes)}
        columns = RowSchema(self.settings, own, PHASH in self.columns)
        found, starts = as_columns(rows, axes), range(0, len(rows), BATCH_ROWS)
        some = (found.cut(start, start + BATCH_ROWS) for start in starts)
        batches = [columns.batch(range(len(part)), part) for part in some]
        table = pa.Table.from_batches(batches, columns.arrow).select(list(self.columns))
        return table.cast(self._schema(self.columns))

    def with_blocks(self, unit: Unit, table: Any) -> Any:
        """Return the table of a unit's items with the rows that blocks have; raises OSError."""
        has_row, rows = self._ok_rows(unit)
        if rows is None:
            return table
        names = [name for name in self.columns if name not in rows.column_names]
        items = compress(self.listing.range(unit.start, unit.end), has_row)
        own = self._table((item.extra for item in items), {n: self.columns[n] for n in names})
        return interleaved(~has_row, with_own(rows, own, table.schema), table)

    def _ok_rows(self, unit: Unit) -> tuple[Any, Any]:
        blocks = block_parts(self.listing, self.parts.run)
        return ok_rows(blocks, unit.blocks, unit.start, unit.end)

    def _table(self, records: Iterable[Record], columns: Mapping[str, str]) -> Any:
        schema = self._schema(columns)
        texts = [name for name, kind in columns.items() if kind == TEXT]
        # Some at a time, since Python objects take ten times the memory of Arrow.
        left, batches = iter(records), []
        while some := list(islice(left, BATCH_ROWS)):
            batches.append(to_batch(some, schema, texts))
        return pa.Table.from_batches(batches, schema)

    def _schema(self, columns: Mapping[str, str]) -> Any:
        return schema_of(self.settings, columns, self.request, self.parts.output / "part")

    def write(self, unit: Unit, tables: Sequence[Any], failed: int) -> None:
        """Write the unit's part from tables of its rows, in order; `failed` rows are errors.

        Raises EngineError where the rows are not those of the listed items.
        """
        first, end = self.parts.bounds(unit.part)
        table = pa.concat_tables(tables)
        if unit.failed_only:
            with self.not_ended():
                before = self.parts.read(first)
            if np.count_nonzero(_failed(before)) < len(table):
                # Another process, given up but alive, has scored these rows since.
                return
            table = _replaced(before, table)
        with self.not_ended():
            ids = self.listing.ids(first, end)
        has_ids = "id" in table.column_names
        if len(table) != end - first or (has_ids and not table["id"].equals(ids)):
            raise EngineError(
                f"{self.parts.path(first)}: rows are missing or of other items",
                hint="Continue from the complete parts with --resume.",
            )
        if not unit.is_block:
            self.check_owner()
        self.parts.write(first, table, failed)

    @contextmanager
    def not_ended(self) -> Iterator[None]:
        """Return a context manager that raises OutputError for a file of the run that is gone.

        At a URL, where another process can end the run, or start it over.
        """
        try:
            yield
        except StorageNotFoundError as error:
            raise self._ended() from error

    def check_owner(self) -> None:
        """Raise OutputError where another process has ended the run, or has started it over.

        At a URL, where no lock keeps others out.
        """
        journal = self.listing.folder.parent
        if isinstance(journal, UrlPath):
            found = json.loads(content_of(journal / RUN_FILE) or b"{}")
            if found.get("run") != self.parts.run:
                raise self._ended()

    def _ended(self) -> OutputError:
        return OutputError(
            f"another process has ended this run of {self.parts.output}, or has started it over",
            hint="Repeat the command with --resume: it says whether the output is complete.",
        )


def _failed(table: Any) -> Any:
    """Return, for each row, whether its status is error."""
    return pc.equal(table["status"], "error").to_numpy(zero_copy_only=False)


def _replaced(before: Any, again: Any) -> Any:
    """Return the rows of a part, those with status error replaced by `again`, in order."""
    failed = _failed(before)
    return interleaved(failed, before.filter(pa.array(~failed)), again)
