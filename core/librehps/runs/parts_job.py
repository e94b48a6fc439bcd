"""The life of a run that writes a folder of parts: start, resume, finish."""

import secrets
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from functools import cached_property
from itertools import zip_longest
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from librehps.errors import EngineError, UsageError
from librehps.files import writing
from librehps.rowfiles.parquet_file import footer
from librehps.runs.blocks import block_parts
from librehps.runs.item_json import Listed
from librehps.runs.job import Counts, Job, changed_source, lacking_columns
from librehps.runs.journal import SEEDING
from librehps.runs.part_writer import PartWriter, Unit, UnitResult
from librehps.runs.refusals import just_finished
from librehps.scores.columns import full_columns
from librehps.scores.markers import DONE_FILE
from librehps.scores.parts import (
    Part,
    Parts,
    check_folder,
    done_facts,
    part_files,
    part_source,
)
from librehps.settings import Settings
from librehps.storage.outputs import check_writable, make_folder
from librehps.storage.url_path import AnyPath, UrlPath

# Written to a bucket, and deleted again, before a model is loaded.
PROBE_FILE = "probe"

# A function that scores the units and writes their parts, and yields a result for each part.
ScoreUnits = Callable[[list[Unit], PartWriter], Generator[UnitResult, None, None]]


class PartsJob(Job):
    """A scoring run that writes a folder of parts; rows of incomplete parts are scored again."""

    _keeps_rows = False

    @cached_property
    def run_id(self) -> str:
        """The random id of a new run, which its parts and blocks have."""
        return secrets.token_hex(6)

    def block_writer(self, settings: Settings) -> PartWriter:
        """Return a writer of the blocks of a new run, whose folder it makes."""
        listing = self.journal.listing.absolute()
        blocks = block_parts(listing, self.run_id)
        with writing(blocks.output, "Choose an output in another folder."):
            make_folder(blocks.output)
        return PartWriter(blocks, listing, full_columns(settings.axes), settings, {})

    def _check(self, output: AnyPath) -> None:
        check_folder(output)

    def check_writable(self) -> None:
        """Raise UsageError where no file can be written to the bucket of the output."""
        if isinstance(self.journal.folder, UrlPath):
            check_writable(self.journal.folder, PROBE_FILE)

    def _is_there(self) -> bool:
        return bool(part_files(self.output)) or (self.output / DONE_FILE).exists()

    @property
    def _is_finished(self) -> bool:
        return bool(done_facts(self.output)) and not self.journal.is_frozen

    @property
    def _parts_folder(self) -> AnyPath:
        """The folder of the parts."""
        return self.output

    def _part_kinds(self, columns: Sequence[str] | str, settings: Settings) -> Mapping[str, str]:
        """Return the columns of the parts."""
        return self._kinds(columns, settings)

    def begin(
        self,
        settings: Settings,
        request: Mapping[str, Any],
        listed: Listed | None,
        columns: Sequence[str] | str,
    ) -> None:
        """Start or continue the run like `Job.begin`; create the folder, find complete parts."""
        reuses_output = self.reuses_output
        if self.resumes and self._is_there() and not (self.is_started or self._is_finished):
            raise UsageError(
                f"cannot resume {self.output}: {self.journal.folder} not found",
                hint="Restore this folder, or use --overwrite to start over.",
            )
        is_new = not (self.is_started or self._overwrite or reuses_output)
        super().begin(settings, request, listed, columns)
        if is_new and self._is_there():
            # In a bucket, where another process may do a whole run while this one lists its items.
            self.journal.delete()
            raise just_finished(self.output)
        run = self.journal.run
        if "run" not in run:
            done = done_facts(self.output) if reuses_output else {}
            run["run"] = done.get("run") or self.run_id
            if not reuses_output:
                self.journal.write_run()
        parts = Parts(self._parts_folder.absolute(), run["total"], run["run"])
        listing = self.journal.listing.absolute()
        self.writer = PartWriter(
            parts, listing, self._part_kinds(columns, settings), settings, run["request"]
        )
        if reuses_output:
            self._check_items()
        self._read_finished(parts.begin())

    def _finished_rows(self, columns: Sequence[str] | str, settings: Settings) -> None:
        """Return None: no row has to be copied out of its part."""

    def _finished_names(self) -> Sequence[str]:
        names: list[str] = footer(self._origin_file()).schema.to_arrow_schema().names
        return names

    def _origin_file(self) -> AnyPath:
        files = part_files(self.output)
        if not files:
            raise UsageError(
                f"{self.output} contains no parts", hint="Use --overwrite to start over."
            )
        return files[0]

    def finished_counts(self) -> Counts:
        """Return the number of rows of the complete folder, by status."""
        done = done_facts(self.output)
        files = part_files(self.output) if done["errors"] else []
        return Counts(done["ok"], done["errors"], _error_types(files))

    @property
    def kept(self) -> Counts:
        """The rows of an earlier call that are not scored again."""
        return self._kept

    @property
    def remaining(self) -> int:
        """The number of items still to score."""
        return self._remaining

    @property
    def is_incomplete(self) -> bool:
        """True if items are still without a row."""
        return bool(self._left)

    def run_parts(self, score: ScoreUnits) -> Generator[UnitResult, None, None]:
        """Yield the result of each part once it is written, and of blocks that were scored."""
        with closing(score(self.units(), self.writer)) as results:
            for result in results:
                if not result.unit.is_block:
                    del self._left[result.unit.part]
                yield result

    def units(self) -> list[Unit]:
        """Return the parts that are still to be scored, or have failed rows to retry."""
        return [self._unit(first, part) for first, part in sorted(self._left.items())]

    def _unit(self, first: int, part: Part | None) -> Unit:
        return Unit(first, *self.writer.parts.bounds(first), failed_only=part is not None)

    def finish(self, settings: Settings, columns: Sequence[str] | str) -> None:
        """Mark the folder as complete, then delete the journal; the arguments are ignored.

        Raises EngineError, naming the parts, where parts are missing.
        """
        self._check_complete()
        self.writer.check_owner()
        if not self.writer.parts.total:
            # Settings and request are stored in a part, so an empty shard needs one.
            self.writer.parts.write(0, self.writer.table([]), 0)
        self.writer.parts.finish()
        self.journal.delete()

    def _check_complete(self) -> None:
        if self.is_incomplete:
            raise EngineError(
                f"{self.output}: {len(self._left)} parts were not scored",
                hint="Score them with --resume.",
            )

    def _check_items(self) -> None:
        """Raise UsageError where the ids in a complete folder differ from the listed items."""
        try:
            self._check_columns("id", "status")
            listing, total, at = self.journal.listing, self.journal.run["total"], 0
            for file in part_files(self.output):
                found = pq.read_table(part_source(file), columns=["id"])["id"]
                end = min(at + len(found), total)
                expected = listing.ids(at, end)
                if not found.equals(expected):
                    raise first_difference(self.output, found, expected)
                at = end
            if at < total:
                raise changed_source(self.output, None, listing.ids(at, at + 1)[0].as_py())
        except UsageError:
            self.journal.delete()
            raise
        del self.journal.run[SEEDING]
        self.journal.write_run()

    def _read_finished(self, whole: Mapping[int, Part]) -> None:
        """Find the parts that are still to be scored, or that have failed rows to retry."""
        parts = self.writer.parts
        if whole:
            self._check_columns(*(["status"] if self.retries else []))
        kept = [part for part in whole.values() if not (self.retries and part.errors)]
        self._left: dict[int, Part | None] = {
            first: whole.get(first)
            for first in range(0, parts.total, parts.rows)
            if first not in whole or (self.retries and whole[first].errors)
        }
        ok = sum(part.ok for part in whole.values())
        errors = sum(part.errors for part in kept)
        files = [parts.path(part.first) for part in kept if part.errors]
        self._kept = Counts(ok, errors, _error_types(files))
        self._remaining = parts.total - ok - errors

    def _check_columns(self, *needed: str) -> None:
        names = footer(part_files(self._parts_folder)[0]).schema.to_arrow_schema().names
        lacking = [name for name in needed if name not in names]
        if lacking:
            raise lacking_columns(self.output, lacking)
        if names != [*self.writer.columns]:
            differ = sorted({*names} ^ {*self.writer.columns})
            raise UsageError(
                f"cannot resume {self.output}: columns differ: {', '.join(differ)}",
                hint="Use the same --columns, or --overwrite to start over.",
            )


def first_difference(output: AnyPath, found: Any, expected: Any) -> UsageError:
    """Return the error for the first id of a part that differs from the listing."""
    pairs = zip_longest(found.to_pylist(), expected.to_pylist())
    return changed_source(output, *next(pair for pair in pairs if pair[0] != pair[1]))


def _error_types(files: Sequence[AnyPath]) -> Counter[str]:
    """Return the number of failed rows by error type, over files with the column error_type."""
    found: Counter[str] = Counter()
    for file in files:
        if "error_type" in footer(file).schema.to_arrow_schema().names:
            kinds = pq.read_table(part_source(file), columns=["error_type"])["error_type"]
            kinds = kinds.drop_null()
            pairs = pc.value_counts(kinds).to_pylist()
            found.update({pair["values"]: pair["counts"] for pair in pairs if pair["values"]})
    return found
