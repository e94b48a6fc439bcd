"""A run that brings an output up to date: rows of known content are kept, the rest is scored."""

import json
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from librehps.engine.content_key import content_keys
from librehps.errors import ItemError
from librehps.files import publish
from librehps.items.prompts import PromptFinder
from librehps.media.media import READ_ERRORS, Media
from librehps.runs.changes import COLUMNS, Changes, Comparison
from librehps.runs.item_json import Listed
from librehps.runs.job import UPDATE, Job
from librehps.runs.journal import HASHES
from librehps.runs.kept_errors import KeptErrors
from librehps.runs.known_rows import KEY, OF_ITEM, KnownRows, known_tables, row_keys
from librehps.runs.media_stamps import Content, MediaStamps, stamp_keys, stamps_file
from librehps.runs.refusals import lacking_columns
from librehps.runs.request import RunRequest
from librehps.runs.row_store import GROUP_ROWS
from librehps.runs.same_run import check_same_request
from librehps.runs.vanished import check_vanished, marked, output_columns, vanished_rows
from librehps.scores.columns import PHASH, full_columns, has_hashes
from librehps.scores.file_table import batches_of
from librehps.scores.markers import SETTINGS_KEY, journal_folder
from librehps.scores.read import open_table, read_origin
from librehps.scores.writer import open_sink
from librehps.settings import Settings, differing
from librehps.types import Item

# Key in run.json: columns of scores that the old output lacks, so that kept rows lack them too.
LACKING = "lacking"


class UpdateJob(Job):
    """A run that writes `output` once more, with the rows of the old output where they still hold.

    The items are listed again, also after a kill. Rows of vanished items stay at the end, unless
    `prune`. `changes` counts what became of the rows, once the run has finished. With
    `writes_partly` an interrupted run writes its rows too, with all old ones that they do not
    replace, and leaves the other items to the next update.
    """

    output: Path
    _verb = "update"
    updates = True

    def __init__(
        self, output: Path, request: RunRequest, *, prune: bool = False, writes_partly: bool = False
    ) -> None:
        super().__init__(output, resume=False, overwrite=True)
        self._request, self._prune, self.writes_partly = request, prune, writes_partly

    @property
    def known(self) -> KnownRows | None:
        """The rows of the old output, None if none tells a score."""
        return self._known if len(self._known) else None

    def notes(self, columns: Sequence[str] | str) -> Sequence[str]:
        """Return a note on an old output whose rows do not tell the content of their media."""
        if self._old is None or not len(self._old):
            return ()
        there = self._old.column_names
        if "sha256" not in there:
            return (f"{self.output} has no hashes of its media: all are scored again, this once",)
        if self.journal.has_hashes and PHASH not in there:
            return (f"{self.output} has no perceptual hashes: all media are read, this once",)
        return ()

    def __enter__(self) -> "UpdateJob":
        self.journal.open()
        return self

    def __exit__(self, *_: object) -> None:
        if self.journal.is_frozen or self.journal.known_files():
            self.journal.close()
        else:
            self.journal.delete()

    def begin(
        self,
        settings: Settings,
        request: Mapping[str, Any],
        listed: Listed | None,
        columns: Sequence[str] | str,
    ) -> None:
        """List the source in the journal, and take over the rows whose content is known.

        Raises UsageError for settings, a request or columns that differ from the output's.
        """
        assert listed is not None  # noqa: S101 - an update lists its source
        self._check_earlier(settings, request)
        self._old = self._old_table()
        self._known = self._known_rows(settings)
        if self.journal.is_frozen:
            self._keep_rows()
            self._known = self._known_rows(settings)
        self.journal.freeze(
            listed,
            {
                "settings": settings.record(),
                "request": dict(request),
                UPDATE: True,
                HASHES: self._adds_hashes(columns),
                LACKING: self._lacking(settings),
            },
            lambda found: self._check_kinds(columns, settings, found["own_columns"]),
        )
        self._stamps = MediaStamps(stamps_file(self.output), settings.digest)
        self._take_known(self._request.prompt_finder(self.facts["has_prompts"]))

    def _check_earlier(self, settings: Settings, request: Mapping[str, Any]) -> None:
        """Raise UsageError where the output, or an interrupted run, was made with other options."""
        if self._is_there():
            self.check_origin(settings, request)
        if self.journal.is_frozen:
            self.check_settings(settings)
            before = self.journal.run["request"]
            check_same_request(before, request, self.journal.folder, self._verb)

    def _old_table(self) -> Any:
        """Return the rows of the output, None if there is none."""
        if not self._is_there():
            return None
        table = open_table([self.output])[0]
        if lacking := [name for name in ("id", "status") if name not in table.column_names]:
            raise lacking_columns(self.output, lacking, self._verb)
        return table

    def _known_rows(self, settings: Settings) -> KnownRows:
        output = [self.output] if self._is_there() else []
        # A kill can leave kept rows without the record of the run, which tells other settings.
        now = settings.record()
        kept = [f for f in self.journal.known_files() if not differing(read_origin(f)[0], now)]
        return KnownRows([*output, *kept], settings.axes)

    def _keep_rows(self) -> None:
        """Write the scores of an interrupted run that no file has to a file that outlives it."""
        rows, lacking = self.journal.rows, self.journal.run.get(LACKING, ())
        there = rows.schema.arrow.names
        ours = [name for name in full_columns(rows.schema.axes) if name in there]
        names = [name for name in ours if name not in lacking]
        files = self.journal.known_files()
        file = journal_folder(self.output) / f"known-{len(files):04d}.parquet"
        partial = file.with_suffix(".partial")
        record = {SETTINGS_KEY: json.dumps(self.journal.run["settings"])}
        schema = pa.schema([rows.schema.arrow.field(name) for name in names], metadata=record)
        with pq.ParquetWriter(partial, schema, compression="zstd") as writer:
            for table in known_tables(rows, names):
                numbers = self._known.numbers(row_keys(table).tolist())
                found = table.filter(pa.array(numbers < 0))
                writer.write_table(found.cast(schema))
        publish(partial, file)
        self.journal.restart()

    def _lacking(self, settings: Settings) -> list[str]:
        """Return the columns of a score that kept rows lack, and that are not made from media."""
        not_lacking = (*OF_ITEM, PHASH)
        content = [name for name in full_columns(settings.axes) if name not in not_lacking]
        return [name for name in content if len(self._known) and name not in self._known.columns]

    def _adds_hashes(self, columns: Sequence[str] | str) -> bool:
        """Return True if the new output has perceptual hashes: asked for, or kept from the old."""
        is_kept = columns == "default" and self._old is not None and PHASH in self._old.column_names
        return is_kept or has_hashes(columns)

    def _check_kinds(
        self, columns: Sequence[str] | str, settings: Settings, own: Mapping[str, str]
    ) -> None:
        """Raise UsageError for columns that the run cannot write."""
        kinds = self._output_columns(columns, settings, own)
        if lacking := [name for name in self._lacking(settings) if name in kinds]:
            raise lacking_columns(self.output, lacking, self._verb)

    def _output_columns(
        self, columns: Sequence[str] | str, settings: Settings, own: Mapping[str, str]
    ) -> dict[str, str]:
        old = set() if self._old is None else set(self._old.column_names)
        before = old.difference(self._lacking(settings))
        return output_columns(columns, settings.axes, own, self._prune, before)

    def _take_known(self, finder: PromptFinder) -> None:
        """Write the rows of items whose media have not changed, and whose content is known."""
        total, errors = self.facts["total"], self._old_errors()
        self._keys, self._is_kept = np.zeros(total, KEY), np.zeros(total, bool)
        for start in range(0, total, GROUP_ROWS):
            items = list(self.journal.listing.range(start, min(start + GROUP_ROWS, total)))
            keys = stamp_keys(items)
            self._keys[start : start + len(items)] = np.frombuffer(b"".join(keys), KEY)
            found = zip(count(start), items, self._stamps.find(keys), strict=False)
            asked = [_prompted(at, item, content, finder) for at, item, content in found]
            there = [one for one in asked if one is not None]
            self._take([one for one in there if one[2][1] is not None])
            self._take_errors([(at, item) for at, item, (_, kind) in there if kind is None], errors)

    def _take(self, found: Sequence[tuple[int, Item, Content]]) -> None:
        """Write the rows of those items, with their indices, whose content is known."""
        if not found:
            return
        hashes, kinds = zip(*(content for _, _, content in found), strict=True)
        keys = content_keys(kinds, hashes, [item.prompt for _, item, _ in found])
        numbers = self._whole(self._known.numbers(keys))
        kept = [one for one, number in zip(found, numbers, strict=True) if number >= 0]
        if kept:
            scores = self._known.take(numbers[numbers >= 0])
            indices, items = [at for at, _, _ in kept], [item for _, item, _ in kept]
            self._is_kept[indices] = True
            self.journal.append_batch(self.journal.rows.schema.known_batch(indices, items, scores))

    def _old_errors(self) -> KeptErrors | None:
        """Return the errors of the old output that still hold; None if another version wrote it."""
        before = None if self._old is None else self.origin_settings().get("version")
        return KeptErrors(self._old) if before == self.facts["settings"]["version"] else None

    def _take_errors(self, found: Sequence[tuple[int, Item]], errors: KeptErrors | None) -> None:
        """Write the rows of items whose media cannot be scored, as the old output has them."""
        pairs = [(at, errors.row(item)) for at, item in found] if errors is not None else []
        rows = {at: row for at, row in pairs if row is not None}
        if rows:
            self._is_kept[[*rows]] = True
            self.journal.append([*rows], [*rows.values()])

    def _whole(self, numbers: Any) -> Any:
        """Return the numbers of rows, with -1 in place of rows that lack a hash of this run."""
        if not self.journal.has_hashes or not (numbers >= 0).any():
            return numbers
        if PHASH not in self._known.columns:
            return np.full_like(numbers, -1)
        whole = numbers.copy()
        has_hash = self._known.take(numbers[numbers >= 0])[PHASH].is_valid()
        whole[numbers >= 0] = np.where(has_hash, numbers[numbers >= 0], -1)
        return whole

    def finish(self, settings: Settings, columns: Sequence[str] | str) -> None:
        """Write the output from the journal and the rows of vanished items; delete the journal."""
        own, request = self.journal.run["own_columns"], self.journal.run["request"]
        kinds = self._output_columns(columns, settings, own)
        self.changes, gone = self._compare()
        has_vanished = self._old is not None and (self.is_incomplete or not self._prune)
        if has_vanished:
            # Before the first row is written: other columns of vanished items end the update.
            check_vanished(self._old, gone, own, self.output)
        with open_sink(self.output, settings, kinds, request) as sink:
            sink.keeps_equal = True
            names = [name for name in kinds if name in self._journalled]
            for _, table in self.journal.rows.there(names):
                sink.write_table(marked(table, False, kinds))
            if has_vanished:
                for table in vanished_rows(self._old, gone, kinds, self.output):
                    sink.write_table(table)
        self._stamps.update(self._keys, self._is_kept, self.journal)
        self.journal.delete()

    def _compare(self) -> tuple[Changes, Any]:
        """Return what became of the rows, and a mask of the old rows of vanished items."""
        if self._old is None:
            return Changes(new=self.facts["total"] - self.remaining), None
        batches = batches_of(self._old, ["id"])
        ids = (batch.column(0).to_pylist() for batch in batches)
        compared = Comparison(ids, self._known.keys[: len(self._old)])
        for indices, table in self.journal.rows.there(COLUMNS):
            compared.add(table, self._is_kept[indices])
        return compared.result(self._prune and not self.is_incomplete)

    @property
    def _journalled(self) -> list[str]:
        names: list[str] = self.journal.rows.schema.arrow.names
        return names


def _prompted(
    at: int, item: Item, content: Content | None, finder: PromptFinder
) -> tuple[int, Item, Content] | None:
    """Return the index, the item with its prompt, and its content; None for the engine's items.

    The kind of its content is None for media that cannot be scored.
    """
    if content is None or item.problem is not None:
        return None
    try:
        return at, finder(item, Media(item.media)), content
    except (ItemError, *READ_ERRORS):
        # The engine meets the same error, and makes its row.
        return None
