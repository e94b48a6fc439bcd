"""The life of a run that writes one file: start, resume, finish."""

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from librehps.errors import UsageError
from librehps.runs.item_json import Listed
from librehps.runs.journal import ERROR, NEW, SEEDING, Journal, stamp
from librehps.scores.columns import chosen_columns
from librehps.scores.markers import journal_folder
from librehps.scores.read import read_origin, read_table
from librehps.scores.row import to_full_record
from librehps.scores.writer import check_suffix, open_sink
from librehps.settings import Settings, comparable, differing
from librehps.types import Item, ScoredRow

Record = dict[str, Any]
COMMIT_INTERVAL_S = 2.0
COPY_BATCH_ROWS = 1024
OVERWRITE_HINT = "Use the same options, or --overwrite to start over."
NUMERICS_HINT = "Another version of librehps wrote it: use that version, or --overwrite."


class Scores(Protocol):
    """A function that scores items and yields their rows in the order of the items."""

    def __call__(self, items: Iterable[Item]) -> Iterator[ScoredRow]: ...


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

    # True if the journal keeps the rows until the output is written.
    _keeps_rows = True

    def __init__(
        self, output: Path, *, resume: bool, retry_errors: bool = False, overwrite: bool = False
    ) -> None:
        self._check(output)
        if overwrite and (resume or retry_errors):
            raise UsageError("--overwrite and --resume or --retry-errors cannot be used together")
        self.output, self._overwrite = output, overwrite
        self.resumes, self.retries = resume or retry_errors, retry_errors
        self.journal = Journal(journal_folder(output), self._keeps_rows)
        if not (self.resumes or overwrite):
            hint = "Use --resume to continue, or --overwrite to start over."
            if self.journal.is_frozen:
                raise UsageError(f"an unfinished run of {output} exists", hint=hint)
            if self._is_there():
                hint = "Choose another output, or use --overwrite."
                raise UsageError(f"{output} already exists", hint=hint)

    def _check(self, output: Path) -> None:
        check_suffix(output)

    def _is_there(self) -> bool:
        return self.output.exists()

    @property
    def is_started(self) -> bool:
        """True if the journal of an earlier run exists, which this run continues."""
        return self.journal.is_frozen and not self._overwrite

    @property
    def is_complete(self) -> bool:
        """True if the output is complete, so that no row has to be scored."""
        return self.resumes and not self.retries and self._is_finished

    @property
    def reuses_output(self) -> bool:
        """True if only the failed rows of a complete output are scored again."""
        return self.retries and self._is_finished

    @property
    def _is_finished(self) -> bool:
        return self._is_there() and not self.journal.is_frozen

    def __enter__(self) -> "Job":
        was_started = self.is_started
        self.journal.open(clear=self._overwrite)
        if was_started != self.is_started:
            self.journal.close()
            raise UsageError(f"another process has just finished the run of {self.output}")
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
            self._check_same(self.journal.run["settings"], settings, self.journal.folder)
            check_same_request(self.journal.run["request"], request, self.journal.folder)
            self._check_containers()
            chosen_columns(columns, self.journal.run["own_columns"], settings.axes)
            return
        assert listed is not None  # noqa: S101 - only a started run has a listing
        rows = None
        if self.reuses_output:
            self.check_origin(settings, request)
            rows = self._finished_rows(columns, settings)
            facts[SEEDING] = True
        self.journal.freeze(
            listed,
            facts,
            lambda found: chosen_columns(columns, found["own_columns"], settings.axes),
        )
        if rows is not None:
            self._seed(rows)

    def check_origin(self, settings: Settings, request: Mapping[str, Any]) -> None:
        """Raise UsageError where the settings or the request of the output differ from these."""
        old_settings, old_request = read_origin(self._origin_file())
        self._check_same(old_settings, settings, self.output)
        if old_request:
            check_same_request(old_request, request, self.output)

    def _origin_file(self) -> Path:
        return self.output

    def _check_same(self, before: Mapping[str, Any], now: Settings, place: Path) -> None:
        names = differing(before, now.record())
        _refuse(names, comparable(before), now.record(), place, str)

    def finished_counts(self) -> Counts:
        """Return the number of rows of the complete output, by status."""
        table = self._read_output(("status",))
        statuses = Counter(table["status"].to_pylist())
        kinds = table["error_type"].to_pylist() if "error_type" in table.column_names else []
        errors = Counter(kind for kind in kinds if kind)
        return Counts(statuses["ok"], statuses["error"], errors)

    def _read_output(self, needed: Sequence[str]) -> Any:
        table, _ = read_table([self.output])
        lacking = [name for name in needed if name not in table.column_names]
        # JSON Lines without rows do not say which columns they have.
        if lacking and len(table):
            raise lacking_columns(self.output, lacking)
        return table

    def _finished_rows(
        self, columns: Sequence[str] | str, settings: Settings
    ) -> Iterable[Record] | None:
        """Return the rows of the complete output to copy; None where no row has to be copied."""
        wanted = chosen_columns(columns, {}, settings.axes) if isinstance(columns, str) else columns
        table = self._read_output(("id", "status", *wanted))
        batches = table.to_batches(max_chunksize=COPY_BATCH_ROWS)
        return (row for batch in batches for row in batch.to_pylist())

    def _seed(self, rows: Iterable[Record]) -> None:
        """Copy the rows into the journal; raises UsageError where the ids of the source differ."""
        items = self.journal.items({NEW})
        for row, (index, item) in zip_longest(rows, items, fillvalue=(-1, None)):
            found = row["id"] if isinstance(row, dict) else None
            expected = None if item is None else item.id
            if item is None or not isinstance(row, dict) or found != expected:
                self.journal.delete()
                raise changed_source(self.output, found, expected)
            self.journal.append(index, row, item.extra)
        del self.journal.run[SEEDING]
        self.journal.write_run()

    def _check_containers(self) -> None:
        for name, before in self.journal.run["stamps"].items():
            if not Path(name).exists() or stamp(name) != before:
                raise UsageError(
                    f"cannot resume {self.output}: {name} has changed since the run started",
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
        return Counts(ok, failed, self.journal.error_types())

    @property
    def is_incomplete(self) -> bool:
        """True if rows may be missing after `run` was interrupted."""
        return bool(self.journal.counts()[0]) or self.retries

    def run(self, score: Scores) -> Generator[ScoredRow, None, None]:
        """Score the remaining items; yield each row after it is written to the journal."""
        indices: list[int] = []
        wanted = {NEW, ERROR} if self.retries else {NEW}

        def items() -> Iterator[Item]:
            for index, item in self.journal.items(wanted):
                indices.append(index)
                yield item

        settings, committed = self._settings, time.monotonic()
        for row in score(items()):
            record = to_full_record(row, settings)
            self.journal.append(indices.pop(0), record, row.item.extra)
            if time.monotonic() - committed > COMMIT_INTERVAL_S:
                self.journal.commit()
                committed = time.monotonic()
            yield row
        self.journal.commit()

    def finish(self, settings: Settings, columns: Sequence[str] | str) -> None:
        """Write the output from the journal, then delete the journal."""
        own = self.journal.run.get("own_columns", {})
        kinds = chosen_columns(columns, own, settings.axes)
        request = self.journal.run["request"]
        with open_sink(self.output, settings, kinds, request) as sink:
            for record, own in self.journal.rows():
                sink.write({**record, **own})
        self.journal.delete()

    @property
    def _settings(self) -> Settings:
        return Settings.from_record(self.journal.run["settings"])


def check_same_request(before: Mapping[str, Any], now: Mapping[str, Any], place: Path) -> None:
    """Raise UsageError where the request differs from the earlier run, naming each difference."""
    names = sorted(name for name in {**before, **now} if before.get(name) != now.get(name))
    _refuse(names, before, now, place)


def lacking_columns(output: Path, lacking: Sequence[str]) -> UsageError:
    """Return the error for an output to resume that has not all columns of the run."""
    return UsageError(
        f"cannot resume {output}: columns not found: {', '.join(lacking)}",
        hint="Use the same --columns, another -o, or --overwrite to start over.",
    )


def changed_source(output: Path, found: str | None, expected: str | None) -> UsageError:
    """Return the error for a row of the output whose id is not that of the source's item."""
    row = "no row" if found is None else repr(found)
    item = "no item" if expected is None else repr(expected)
    return UsageError(
        f"the source has changed: {output} has {row} where the source has {item}",
        hint="Restore the source for --retry-errors, or use --overwrite to start over.",
    )


def _refuse(
    names: Sequence[str],
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    place: Path,
    shown: Callable[[Any], str] = repr,
) -> None:
    if names:
        pairs = "; ".join(f"{k} {shown(before.get(k))}, now {shown(now.get(k))}" for k in names)
        hint = NUMERICS_HINT if "numerics" in names else OVERWRITE_HINT
        raise UsageError(f"cannot resume {place}: started with {pairs}", hint=hint)
