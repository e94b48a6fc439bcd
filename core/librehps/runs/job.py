"""The life of a run that writes one file: start, resume, finish."""

import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from librehps.errors import UsageError
from librehps.runs.compared_source import ComparedSource
from librehps.runs.gathered import IndexQueue, gathered
from librehps.runs.item_json import Listed
from librehps.runs.journal import ERROR, HASHES, NEW, SEEDING, Journal, stamp
from librehps.runs.moved import SAMPLE_ITEMS, check_media
from librehps.runs.refusals import changed_output, just_finished, unfinished_update
from librehps.runs.refusals import changed_source as changed_source
from librehps.runs.refusals import lacking_columns as lacking_columns
from librehps.runs.same_run import check_same_request, check_same_settings
from librehps.scores.columns import PHASH, asked_names, chosen_columns, has_hashes
from librehps.scores.markers import journal_folder
from librehps.scores.read import read_origin
from librehps.scores.writer import check_suffix, open_sink
from librehps.settings import Settings
from librehps.storage.store import exists
from librehps.storage.url_path import AnyPath
from librehps.types import Item, ScoredRow

if TYPE_CHECKING:
    from librehps.engine.disk_cache import ContentScores
    from librehps.runs.changes import Changes
    from librehps.runs.finished import FinishedOutput

Record = dict[str, Any]
COMMIT_INTERVAL_S = 2.0
# Key in run.json: a row that the journal lacks is in the output, whose failed rows are retried.
OUTPUT_HAS_ROWS = "output_has_rows"
# Key in run.json: the run is an update, which only another update continues.
UPDATE = "update"
LOCAL_HINT = "Write a local file, then copy it to the bucket."
HASHES_NOTE = (
    "the run was started without perceptual hashes: the output has no column phash; "
    "add it later with --update --columns full"
)


class Scores(Protocol):
    """A function that scores items and yields their rows, some at a time, in the same order."""

    def __call__(self, items: Iterable[Item]) -> Iterator[Sequence[ScoredRow]]: ...


class Counts(NamedTuple):
    """The number of rows by status; `errors` counts failed rows by error type, where known."""

    ok: int
    failed: int
    errors: Counter[str]


class Job:
    """A scoring run that writes the file `output`; a context manager.

    Raises UsageError where the output or its journal exists and neither `resume` nor `overwrite`
    is given. `retry_errors` resumes, and scores rows with status error again.
    """

    # The verb of messages that refuse other options.
    _verb = "resume"
    # True if the journal keeps the rows until the output is written.
    _keeps_rows = True

    def __init__(
        self, output: AnyPath, *, resume: bool, retry_errors: bool = False, overwrite: bool = False
    ) -> None:
        self._check(output)
        if overwrite and (resume or retry_errors):
            raise UsageError("--overwrite and --resume or --retry-errors cannot be used together")
        self.output, self._overwrite = output, overwrite
        self.resumes, self.retries = resume or retry_errors, retry_errors
        self.journal = Journal(journal_folder(output), self._keeps_rows)
        self._counts: Counts | None = None
        if not (self.resumes or overwrite):
            if self.journal.is_frozen:
                way = "--resume (or --update)" if self._keeps_rows else "--resume"
                hint = f"Use {way} to continue, or --overwrite to start over."
                raise UsageError(f"an unfinished run of {output} exists", hint=hint)
            if self._is_there():
                hint = "Choose another output, or use --overwrite."
                if self._keeps_rows:
                    hint = f"{hint[:-1]}, or --update to keep its scores."
                raise UsageError(f"{output} already exists", hint=hint)

    def _check(self, output: AnyPath) -> None:
        check_suffix(local_output(output))

    def check_writable(self) -> None:
        """Raise UsageError for an output in a bucket that cannot be written; called early."""

    def _is_there(self) -> bool:
        return self.output.exists()

    # True if the run brings an earlier output up to date.
    updates = False
    # True if the output is also written where the run was interrupted.
    writes_partly = False
    # Counts of an update that has finished.
    changes: "Changes | None" = None

    @property
    def known(self) -> "ContentScores | None":
        """Scores of earlier runs by content, which an update keeps."""
        return None

    def notes(self, columns: Sequence[str] | str) -> Sequence[str]:
        """Return notes on rows of earlier runs that are not used, or lack columns."""
        return (HASHES_NOTE,) if has_hashes(columns) and not self.journal.has_hashes else ()

    @property
    def is_started(self) -> bool:
        """True if the journal of an earlier run exists, which this run continues."""
        return self.journal.is_frozen and not self._overwrite

    @property
    def is_complete(self) -> bool:
        """True if the output is complete, so that no row has to be scored."""
        return self.resumes and self._is_finished and not self.reuses_output

    @property
    def reuses_output(self) -> bool:
        """True if only the failed rows of a complete output are scored again."""
        return self.retries and self._is_finished and self.finished_counts().failed > 0

    @property
    def _is_finished(self) -> bool:
        return self._is_there() and not self.journal.is_frozen

    def __enter__(self) -> "Job":
        was_started = self.is_started
        self.journal.open(clear=self._overwrite)
        has_output = self._is_there() and not (self.resumes or self._overwrite)
        if was_started != self.is_started or self.is_complete or has_output:
            self.__exit__()
            raise just_finished(self.output)
        return self

    def __exit__(self, *_: object) -> None:
        if self.journal.is_frozen:
            self.journal.close()
        else:
            # Without a listing there is nothing to resume.
            self.journal.delete()

    def begin(
        self,
        settings: Settings,
        request: Mapping[str, Any],
        listed: Listed | None,
        columns: Sequence[str] | str,
    ) -> None:
        """List the source in the journal, or check that the run can be continued.

        `listed` is required unless the run `is_started`. Raises UsageError for settings or a
        request that differ from the earlier run, naming them, and for an unknown column.
        """
        facts: Record = {"settings": settings.record(), "request": dict(request)}
        if self.is_started:
            if UPDATE in self.journal.run:
                raise unfinished_update(self.output)
            self.check_settings(settings)
            check_same_request(self.journal.run["request"], request, self.journal.folder)
            self._check_containers()
            self._kinds(columns, settings)
            self._take_folder(request.get("folder"))
            self._take_statuses()
            self._check_output()
            return
        assert listed is not None  # noqa: S101 - only a started run has a listing
        facts[HASHES] = has_hashes(columns)
        if self.reuses_output:
            self.check_origin(settings, request)
            ids = self._finished_rows(columns, settings)
            facts[HASHES] = facts[HASHES] and PHASH in self._finished_names()
            facts[SEEDING if ids is None else OUTPUT_HAS_ROWS] = True
            listed = listed if ids is None else ComparedSource(listed, ids, self.output)
        self.journal.freeze(
            listed,
            facts,
            lambda found: self._check_kinds(columns, settings, found["own_columns"]),
        )
        self._take_statuses()

    def _check_output(self) -> None:
        """Raise UsageError where the output with the other rows is no longer that of the run."""
        if OUTPUT_HAS_ROWS in self.journal.run:
            start = 0
            for found in self._finished.ids():
                expected = self.journal.listing.ids(start, start + len(found))
                if not expected.combine_chunks().equals(found):
                    pairs = zip(found.to_pylist(), expected.to_pylist(), strict=True)
                    one, other = next(pair for pair in pairs if pair[0] != pair[1])
                    raise changed_output(self.output, repr(one), repr(other))
                start += len(found)

    def _take_statuses(self) -> None:
        """Set the status of rows that only the output has, as after an interrupted retry."""
        if OUTPUT_HAS_ROWS in self.journal.run:
            self._finished.take_statuses(self.journal.status)

    def check_settings(self, settings: Settings) -> None:
        """Raise UsageError where these settings differ from those that the run began with."""
        check_same_settings(self.journal.run["settings"], settings, self.journal.folder, self._verb)

    def check_origin(self, settings: Settings, request: Mapping[str, Any]) -> None:
        """Raise UsageError where the settings or the request of the output differ from these."""
        old_settings, old_request = read_origin(self._origin_file())
        check_same_settings(old_settings, settings, self.output, self._verb)
        if old_request:
            check_same_request(old_request, request, self.output, self._verb)

    def origin_settings(self) -> Mapping[str, Any]:
        """Return the record of the settings of the complete output."""
        return read_origin(self._origin_file())[0]

    def _origin_file(self) -> AnyPath:
        return self.output

    def finished_counts(self) -> Counts:
        """Return the number of rows of the complete output, by status."""
        if self._counts is None:
            self._counts = Counts(*self._finished.counts())
        return self._counts

    @property
    def _finished(self) -> "FinishedOutput":
        # Imported here: a row on stdout needs no pyarrow.
        from librehps.runs.finished import FinishedOutput

        return FinishedOutput(local_output(self.output))

    def _finished_rows(
        self, columns: Sequence[str] | str, settings: Settings
    ) -> Iterable[Any] | None:
        """Return the ids of the complete output as Arrow arrays; None for rows in parts."""
        self.check_names(columns, settings)
        return self._finished.ids()

    def check_names(self, columns: Sequence[str] | str, settings: Settings) -> None:
        """Raise UsageError for columns that the complete output lacks."""
        there = self._finished_names()
        wanted = ("id", "status", *asked_names(columns, settings.axes, there))
        lacking = [name for name in wanted if name not in there]
        # JSON Lines without rows name no columns.
        if there and lacking:
            raise lacking_columns(self.output, lacking)

    def _finished_names(self) -> Sequence[str]:
        """Return the names of the columns of the complete output."""
        return self._finished.names()

    def _kinds(self, columns: Sequence[str] | str, settings: Settings) -> dict[str, str]:
        """Return the kind of each column of the output.

        Raises UsageError for columns that are unknown, or that the run was started without.
        """
        kinds = chosen_columns(columns, self.journal.run.get("own_columns", {}), settings.axes)
        if PHASH in kinds and not self.journal.has_hashes:
            if not isinstance(columns, str):
                raise lacking_columns(self.journal.folder, [PHASH])
            del kinds[PHASH]
        return kinds

    def _check_kinds(
        self, columns: Sequence[str] | str, settings: Settings, own: Mapping[str, str]
    ) -> None:
        """Raise UsageError for columns that the run cannot write."""
        kinds = chosen_columns(columns, own, settings.axes)
        if self._keeps_rows and self.reuses_output:
            there = self._finished_names()
            self._finished.check_columns(
                {n: k for n, k in kinds.items() if n in there or n != PHASH}
            )

    def _take_folder(self, folder: str | None) -> None:
        """Take over the folder where the run goes on, if the listed media are there."""
        request = self.journal.run["request"]
        if folder is not None and request.get("folder") != folder:
            listed = self.journal.listing.range(0, min(SAMPLE_ITEMS, self.journal.run["total"]))
            check_media(listed, folder, self.journal.folder)
            request["folder"] = folder
            self.journal.write_run()

    def _check_containers(self) -> None:
        for name, before in self.journal.run["stamps"].items():
            is_there = exists(name)
            if not is_there or stamp(name) != before:
                problem = "has changed since the run started" if is_there else "not found"
                raise UsageError(
                    f"cannot resume {self.output}: {name} {problem}",
                    hint="Restore the file, or use --overwrite to start over.",
                )

    @property
    def facts(self) -> Record:
        """The facts of the source in the journal: total, skipped, dropped, own_columns, ..."""
        return self.journal.run

    @property
    def remaining(self) -> int:
        """The number of items still to score."""
        new, _, failed = self.journal.counts()
        return new + failed * self.retries

    @property
    def kept(self) -> Counts:
        """The rows of an earlier call that are not scored again; read before `run`."""
        _, ok, failed = self.journal.counts()
        if self.retries:
            return Counts(ok, 0, Counter())
        errors = self.journal.error_types()
        if OUTPUT_HAS_ROWS in self.journal.run:
            errors += self._finished.error_types(self.journal.rows)
        return Counts(ok, failed, errors)

    @property
    def is_incomplete(self) -> bool:
        """True if rows may be missing after `run` was interrupted."""
        return bool(self.journal.counts()[0]) or self.retries

    def run(self, score: Scores) -> Generator[Sequence[ScoredRow], None, None]:
        """Score the remaining items; yield rows once the journal has them.

        Rows of windows that quickly follow each other are yielded together; see `gathered`. These
        rows survive a kill of this process, which loses those of at most `HOLD_S`; rows of the last
        `COMMIT_INTERVAL_S` may be scored again after a power loss.
        """
        indices = IndexQueue()

        def noted(block: tuple[Sequence[int], Sequence[Item]]) -> Sequence[Item]:
            indices.add(block[0])
            return block[1]

        committed = time.monotonic()
        blocks = self._blocks({NEW, ERROR} if self.retries else {NEW})
        windows = score(chain.from_iterable(map(noted, blocks)))
        for rows in gathered(windows, self.journal.rows.schema.axes):
            self.journal.append(indices.take(len(rows)), rows)
            if time.monotonic() - committed > COMMIT_INTERVAL_S:
                self.journal.commit()
                committed = time.monotonic()
            yield rows
        self.journal.commit()

    def _blocks(self, wanted: set[int]) -> Iterator[tuple[Sequence[int], Sequence[Item]]]:
        return self.journal.blocks(wanted)

    def finish(self, settings: Settings, columns: Sequence[str] | str) -> None:
        """Write the output from the journal, then delete the journal."""
        kinds = self._kinds(columns, settings)
        request = self.journal.run["request"]
        with open_sink(local_output(self.output), settings, kinds, request) as sink:
            if OUTPUT_HAS_ROWS in self.journal.run:
                self._finished.rewrite(sink, self.journal.rows, kinds)
            else:
                for table in self.journal.rows.in_order(list(kinds)):
                    sink.write_table(table)
        self.journal.delete()


def local_output(output: AnyPath) -> Path:
    """Return the path of an output of a job that writes local files alone."""
    if not isinstance(output, Path):
        raise UsageError(f"{output}: expected a local file", hint=LOCAL_HINT)
    return output
