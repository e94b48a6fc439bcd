"""The life of a run that writes one file at a URL, which no process can append to.

The rows are kept as parts in the journal next to the file, and joined in one upload at the end.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice, repeat
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from librehps.errors import UsageError
from librehps.runs.job import Counts, changed_source
from librehps.runs.journal import SEEDING
from librehps.runs.parts_job import PartsJob, first_difference
from librehps.scores.columns import DOUBLE, TEXT
from librehps.scores.file_table import batches_of
from librehps.scores.markers import SCORED_SUFFIXES, settings_file
from librehps.scores.read import open_table
from librehps.scores.writer import open_sink
from librehps.settings import Settings
from librehps.storage.at_once import MAX_CALLS, at_once
from librehps.storage.outputs import uploading
from librehps.storage.url_path import AnyPath, UrlPath

PARTS_FOLDER = "parts"


class UrlFileJob(PartsJob):
    """A scoring run that writes a .parquet or .jsonl file at a URL."""

    output: UrlPath

    def _check(self, output: AnyPath) -> None:
        if not output.name or output.suffix.lower() not in SCORED_SUFFIXES:
            raise UsageError(f"{output}: use .parquet, .jsonl, or a folder")

    def _is_there(self) -> bool:
        # A path of its own: a path remembers what it found.
        return UrlPath(self.output.url).is_file()

    @property
    def _is_finished(self) -> bool:
        return self._is_there() and not self.journal.is_frozen

    @property
    def _parts_folder(self) -> AnyPath:
        return self.journal.folder / PARTS_FOLDER

    def _part_kinds(self, columns: Sequence[str] | str, settings: Settings) -> Mapping[str, str]:
        """Return all columns; the output has those that are asked for when it is written."""
        own = self.journal.run["own_columns"]
        kinds = self._kinds("full", settings)
        # JSON Lines show 3 and 3.0 as the source did.
        return {n: TEXT if n in own and kind == DOUBLE else kind for n, kind in kinds.items()}

    def _origin_file(self) -> AnyPath:
        return self.output

    def finished_counts(self) -> Counts:
        """Return the number of rows of the complete file, by status."""
        if self._counts is None:
            statuses, errors = Counter[str](), Counter[str]()
            table = open_table([self.output])[0]
            names = [n for n in ("status", "error_type") if n in table.column_names]
            for batch in batches_of(table, names):
                for name, found in zip(names, (statuses, errors), strict=False):
                    pairs = pc.value_counts(batch[name].drop_null()).to_pylist()
                    found.update({pair["values"]: pair["counts"] for pair in pairs})
            self._counts = Counts(statuses["ok"], statuses["error"], errors)
        return self._counts

    def _finished_names(self) -> Sequence[str]:
        names: list[str] = open_table([self.output])[0].column_names
        return names

    def _finished_rows(self, columns: Sequence[str] | str, settings: Settings) -> None:
        """Raise UsageError for columns that the complete file lacks; its rows become parts."""
        self.check_names(columns, settings)

    def _check_items(self) -> None:
        """Make parts of the complete file, whose failed rows are scored again.

        Raises UsageError where its ids differ from the listed items.
        """
        table = open_table([self.output])[0]
        parts, at = self.writer.parts, 0
        pieces = chain(_cut(table, parts.rows), repeat(table.schema.empty_table()))
        try:
            for first in range(0, parts.total, parts.rows):
                end = parts.bounds(first)[1]
                rows = next(pieces).slice(0, end - first)
                ids = self.writer.listing.ids(first, end)
                if not rows["id"].equals(ids):
                    raise first_difference(self.output, rows["id"], ids)
                failed = pc.sum(pc.equal(rows["status"], "error")).as_py() or 0
                parts.write(first, self._fitted(rows), failed)
                at = end
            if at < len(table):
                raise changed_source(self.output, table.slice(at, 1)["id"][0].as_py(), None)
        except UsageError:
            self.journal.delete()
            raise
        del self.journal.run[SEEDING]
        self.journal.write_run()

    def _fitted(self, rows: Any) -> Any:
        """Return rows of the file as rows of a part; columns that the file lacks are null."""
        schema = self.writer.table([]).schema
        columns = [
            rows[field.name].cast(field.type)
            if field.name in rows.column_names
            else pa.nulls(len(rows), field.type)
            for field in schema
        ]
        return pa.Table.from_arrays(columns, schema=schema)

    def finish(self, settings: Settings, columns: Sequence[str] | str) -> None:
        """Write the file from the parts, then delete the journal."""
        self._check_complete()
        self.writer.check_owner()
        kinds = self._kinds(columns, settings)
        request = self.journal.run["request"]
        beside = settings_file(self.output)
        with (
            self.writer.parts.translated(),
            uploading(self.output, beside) as local,
            open_sink(local, settings, kinds, request, self.output) as sink,
        ):
            for table in self._tables():
                sink.write_table(table)
        self.journal.delete()

    def _tables(self) -> Iterator[Any]:
        """Yield the rows of the parts, of which several are read at once."""
        parts = self.writer.parts
        firsts = iter(range(0, parts.total, parts.rows))
        while some := list(islice(firsts, MAX_CALLS)):
            with self.writer.not_ended():
                tables = at_once(parts.read, some)
            yield from tables


def _cut(table: Any, rows: int) -> Iterator[Any]:
    """Yield the rows of a table, read once, as tables of `rows` rows; the last may have fewer."""
    some, count = list[Any](), 0
    for batch in table.to_batches():
        left = batch
        while len(left):
            some.append(left.slice(0, rows - count))
            count += len(some[-1])
            left = left.slice(len(some[-1]))
            if count == rows:
                yield pa.Table.from_batches(some)
                some, count = [], 0
    if some:
        yield pa.Table.from_batches(some)
