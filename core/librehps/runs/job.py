"""A run with an output file: begun, taken up again, finished."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, Protocol

from librehps.errors import UsageError
from librehps.runs.item_json import Listed
from librehps.runs.journal import ERROR, NEW, SEEDING, Journal, journal_of, stamp
from librehps.scores.columns import chosen_columns
from librehps.scores.row import to_full_record
from librehps.scores.writer import check_suffix, open_sink
from librehps.settings import Settings
from librehps.types import Item, ScoredRow

Record = dict[str, Any]
# Seconds between two times that the rows are forced to the disk itself.
COMMIT_EVERY = 2.0


class Scores(Protocol):
    """How items become rows, in order."""

    def __call__(self, items: Iterable[Item]) -> Iterator[ScoredRow]: ...


class Job:
    """Scores a source into `output`; use it in a `with` block.

    Raises UsageError where an output or journal is there and neither `resume` nor `overwrite` is
    given. `retry_errors` resumes too, and does the rows again that say error.
    """

    def __init__(
        self, output: Path, *, resume: bool, retry_errors: bool = False, overwrite: bool = False
    ) -> None:
        self._check(output)
        if overwrite and (resume or retry_errors):
            raise UsageError("--overwrite begins anew: it cannot go with --resume, --retry-errors")
        self.output, self._overwrite = output, overwrite
        self.resumes, self.retries = resume or retry_errors, retry_errors
        self.journal = Journal(journal_of(output), self._keeps_rows)
        if not (self.resumes or overwrite):
            hint = "--resume goes on with it, --overwrite begins anew."
            if self.journal.is_frozen:
                raise UsageError(f"a run that writes {output} has not finished", hint=hint)
            if self._is_there():
                raise UsageError(f"{output} exists", hint="Give another name, or --overwrite.")

    # Whether the journal holds the rows until the output is written.
    _keeps_rows = True

    def _check(self, output: Path) -> None:
        check_suffix(output)

    def _is_there(self) -> bool:
        return self.output.exists()

    @property
    def is_begun(self) -> bool:
        """Whether there is a journal to go on with."""
        return self.journal.is_frozen and not self._overwrite

    @property
    def is_complete(self) -> bool:
        """Whether the output is there already, and nothing of it is to be done again."""
        return self.resumes and not self.retries and self._is_finished

    @property
    def redoes(self) -> bool:
        """Whether the rows of a finished output are taken over, but for the errors."""
        return self.retries and self._is_finished

    @property
    def _is_finished(self) -> bool:
        return self._is_there() and not self.journal.is_frozen

    def __enter__(self) -> "Job":
        was_begun = self.is_begun
        self.journal.open(anew=self._overwrite)
        if was_begun != self.is_begun:
            self.journal.close()
            raise UsageError(f"another process has just finished {self.output}")
        return self

    def __exit__(self, *_: object) -> None:
        if self.journal.is_frozen:
            self.journal.close()
        else:
            # Nothing was scored: what is there is of no use to anyone.
            self.journal.delete()

    def begin(
        self,
        settings: Settings,
        request: Mapping[str, Any],
        listed: Listed | None,
        columns: Sequence[str] | str,
    ) -> None:
        """Freeze the source, or check that the run before was asked for the same.

        `listed` is needed where no run was begun. Raises UsageError, naming what differs, or a
        column that there is not.
        """
        facts: Record = {"settings": settings.record(), "request": dict(request)}
        if self.is_begun:
            for name, now in facts.items():
                check_same(self.journal.run[name], now, name, self.journal.folder)
            self._check_containers()
            chosen_columns(columns, self.journal.run["own_columns"], settings.axes)
            return
        assert listed is not None  # noqa: S101 - only a begun run has its listing already
        if self.redoes:
            facts[SEEDING] = True
        axes = settings.axes
        self.journal.freeze(
            listed, facts, lambda found: chosen_columns(columns, found["own_columns"], axes)
        )

    def seed(self, rows: Iterable[Record]) -> None:
        """Take over the rows of a complete output; raises UsageError where the source changed."""
        items = self.journal.items({NEW})
        for row, (index, item) in zip_longest(rows, items, fillvalue=(-1, None)):
            found = row["id"] if isinstance(row, dict) else "nothing"
            wanted = "nothing" if item is None else item.id
            if item is None or not isinstance(row, dict) or found != wanted:
                self.journal.delete()
                raise UsageError(
                    f"{self.output} has {found!r} where the source has {wanted!r}",
                    hint="--retry-errors needs the source as it was; --overwrite begins anew.",
                )
            self.journal.append(index, row, item.extra)
        del self.journal.run[SEEDING]
        self.journal.write_run()

    def _check_containers(self) -> None:
        for name, before in self.journal.run["stamps"].items():
            if not Path(name).exists() or stamp(name) != before:
                raise UsageError(
                    f"{name} changed since this run was begun",
                    hint="Its items are read from places in it: --overwrite begins anew.",
                )

    @property
    def left(self) -> int:
        """Items still to score."""
        new, _, failed = self.journal.counts()
        return new + failed * self.retries

    def run(self, score: Scores) -> Iterator[ScoredRow]:
        """Score what is left; each row is journalled before it is given."""
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
            if time.monotonic() - committed > COMMIT_EVERY:
                self.journal.commit()
                committed = time.monotonic()
            yield row
        self.journal.commit()

    def finish(self, settings: Settings, columns: Sequence[str] | str) -> None:
        """Write the output from the journal, which is then gone."""
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


def check_same(before: Mapping[str, Any], now: Mapping[str, Any], what: str, place: Path) -> None:
    """Raise UsageError, naming what differs from what was asked before."""
    differ = sorted(k for k in {**before, **now} if before.get(k) != now.get(k))
    if differ:
        raise UsageError(
            f"{place} was begun with other {what}: "
            + "; ".join(f"{k} {before.get(k)!r}, now {now.get(k)!r}" for k in differ),
            hint="Give the same again, or --overwrite to begin anew.",
        )
